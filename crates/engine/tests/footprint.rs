//! The sum of a run's memory against what it takes, byte by byte: everything that is allocated is counted.

#![allow(unsafe_code, clippy::unwrap_used)]

use clino_domain::{
    Dtype, InMemory, MeasureRequest, Outcome, Precision, ProbeGroup, References, RunFootprint, RunSpec,
    RunValidator, Snapshot, SnapshotHeader, Stop, Tensor, ValidatedRun, Value,
};
use clino_engine::{Arrived, Engine, GpuValidator, Hints, Limits};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: the system's allocator does all of it; sizes are only counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as its caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as its caller has promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as its caller has promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        add(size);
        // SAFETY: as its caller has promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: they count what the process allocates.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The most that `work` has taken beside what there was.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = live();
    PEAK.store(before, Ordering::Relaxed);
    let answer = work();
    (answer, PEAK.load(Ordering::Relaxed) - before)
}

fn mib(bytes: impl Into<f64>) -> f64 {
    bytes.into() / f64::from(1 << 20)
}

/// Numbers by chance, the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn within(&mut self, least: usize, most: usize) -> usize {
        least + self.next() as usize % (most - least + 1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.within(0, of.len() - 1)]
    }
}

/// A run, what measures it and the type that its snapshots come in.
struct Case {
    spec: RunSpec,
    threads: usize,
    dtype: Dtype,
    with_init: bool,
}

fn measure(name: &str, parameters: &[(&str, f64)]) -> MeasureRequest {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value)));
    MeasureRequest { name: name.into(), parameters: parameters.collect() }
}

fn worded(mut request: MeasureRequest, name: &str, word: &str) -> MeasureRequest {
    request.parameters.insert(name.into(), Value::Text(word.into()));
    request
}

/// Every measure, with as little work as it may have; those that end early are kept from it.
fn measures() -> Vec<MeasureRequest> {
    let tiny = ("tol", 1e-300);
    vec![
        measure("loss", &[]),
        measure("margin", &[]),
        measure("param_norm", &[]),
        measure("gradient_norm", &[]),
        measure("sharpness", &[("draws", 3.0)]),
        measure("sharpness", &[("draws", 1.0), ("steps", 2.0)]),
        measure("sharpness_profile", &[("draws", 2.0)]),
        measure("flat_radius", &[("draws", 2.0), ("tolerance", 0.9)]),
        measure("sharpness_paper", &[("draws", 2.0)]),
        measure("sam", &[]),
        measure("asam", &[]),
        measure("worst_case", &[("iters", 2.0)]),
        measure("keskar", &[("iters", 2.0)]),
        measure("average_case", &[("draws", 2.0)]),
        measure("low_pass", &[("draws", 3.0)]),
        measure("pac_bayes", &[("draws", 2.0)]),
        worded(measure("critical", &[]), "direction", "gradient"),
        measure("critical", &[]),
        measure("gradient_noise", &[]),
        measure("fisher_trace", &[("draws", 1.0)]),
        measure("hessian_top", &[("iters", 5.0), tiny]),
        worded(measure("hessian_top", &[("iters", 3.0), tiny]), "method", "power"),
        measure("hessian_trace", &[("sketch", 4.0), ("draws", 2.0)]),
        worded(measure("hessian_trace", &[("draws", 2.0)]), "method", "hutchinson"),
        measure("hessian_density", &[("steps", 4.0), ("runs", 2.0)]),
        measure("landscape", &[("points", 5.0)]),
        measure("landscape", &[("points", 3.0), ("dims", 2.0)]),
        measure("spectrum", &[]),
        measure("norm_bounds", &[]),
    ]
}

fn floats(count: usize, scale: f64, dtype: Dtype, chance: &mut Chance) -> Vec<u8> {
    let size = dtype.size() as usize;
    let mut bytes = Vec::with_capacity(count * size);
    for _ in 0..count {
        let x = scale * (chance.next() as f64 / f64::from(1u32 << 31) * 2.0 - 1.0);
        match dtype {
            Dtype::F64 => bytes.extend(x.to_le_bytes()),
            _ => bytes.extend((x as f32).to_le_bytes()),
        }
    }
    bytes
}

fn labels(rows: usize, classes: usize, chance: &mut Chance) -> Tensor {
    let data: Vec<u8> =
        (0..rows).flat_map(|_| (chance.within(0, classes - 1) as i32).to_le_bytes()).collect();
    Tensor::named("labels", Dtype::I32, &[rows as u64], data).unwrap()
}

fn mlp_probe(name: &str, rows: usize, width: usize, classes: usize, chance: &mut Chance) -> ProbeGroup {
    let inputs = floats(rows * width, 1.0, Dtype::F32, chance);
    let inputs = Tensor::named("inputs", Dtype::F32, &[rows as u64, width as u64], inputs).unwrap();
    ProbeGroup::new(name, vec![inputs, labels(rows, classes, chance)])
}

/// Rows of tokens of which some are masked.
fn text_probe(name: &str, rows: usize, width: usize, vocabulary: usize, chance: &mut Chance) -> ProbeGroup {
    let mut ids = Vec::new();
    let mut mask = Vec::new();
    for _ in 0..rows {
        let len = chance.within(width.div_ceil(2), width);
        for at in 0..width {
            ids.extend((chance.within(2, vocabulary - 1) as i32).to_le_bytes());
            mask.push(u8::from(at < len));
        }
    }
    let shape = [rows as u64, width as u64];
    let ids = Tensor::named("input_ids", Dtype::I32, &shape, ids).unwrap();
    let mask = Tensor::named("attention_mask", Dtype::U8, &shape, mask).unwrap();
    ProbeGroup::new(name, vec![ids, mask, labels(rows, 2, chance)])
}

fn mlp(chance: &mut Chance, dear: bool) -> RunSpec {
    let groups = chance.within(1, 3);
    let most = if dear { 700 } else { 1500 };
    let inputs = chance.within(20, most);
    let classes = chance.one(&[2, 10, 10, 300]);
    let hidden = chance.within(1, 3);
    let hidden: Vec<String> = (0..hidden).map(|_| chance.within(100, most).to_string()).collect();
    let act = chance.one(&["relu", "tanh", "gelu"]);
    let config = format!(
        r#"{{"model_type":"mlp","sizes":[{inputs},{},{classes}],"hidden_act":"{act}"}}"#,
        hidden.join(",")
    );
    let most = if dear { 64 } else { 900 };
    let group = |i| mlp_probe(&format!("g{i}"), chance.within(24, most), inputs, classes, chance);
    RunSpec::new(config, (0..groups).map(group).collect())
}

fn encoder(chance: &mut Chance, dear: bool) -> RunSpec {
    let groups = chance.within(1, 2);
    let heads = chance.one(&[2, 4]);
    let hidden = heads * chance.within(16, if dear { 32 } else { 56 });
    let layers = chance.within(1, if dear { 2 } else { 5 });
    let inner = hidden * chance.within(1, 4);
    let vocabulary = chance.within(500, if dear { 8_000 } else { 30_000 });
    let config = format!(
        r#"{{"model_type":"bert","vocab_size":{vocabulary},"hidden_size":{hidden},"num_hidden_layers":{layers},
        "num_attention_heads":{heads},"intermediate_size":{inner},"max_position_embeddings":192}}"#
    );
    let (rows, width) = if dear { (16, 48) } else { (64, 128) };
    let group = |i| {
        let rows = chance.within(8, rows);
        let width = chance.within(16, width);
        text_probe(&format!("g{i}"), rows, width, vocabulary, chance)
    };
    RunSpec::new(config, (0..groups).map(group).collect())
}

/// Each measure alone on both architectures, then a few of them at a time.
fn cases() -> Vec<Case> {
    const DEAR: [&str; 6] =
        ["fisher_trace", "pac_bayes", "flat_radius", "spectrum", "norm_bounds", "landscape"];
    let mut chance = Chance(17);
    let all = measures();
    let mut cases = Vec::new();
    for i in 0..100 {
        let some: Vec<MeasureRequest> = match all.get(i / 2) {
            Some(alone) => vec![alone.clone()],
            None => (0..chance.within(2, 5)).map(|_| all[chance.within(0, all.len() - 1)].clone()).collect(),
        };
        let dear = some.iter().any(|measure| DEAR.contains(&&*measure.name));
        let mut spec = if i % 2 == 0 { mlp(&mut chance, dear) } else { encoder(&mut chance, dear) };
        spec.precision = chance.one(&[Precision::F32, Precision::F64]);
        let with_init = some.iter().any(|measure| ["pac_bayes", "norm_bounds"].contains(&&*measure.name));
        spec.measures = some;
        let threads = chance.within(1, 4);
        // The sum is for the widest type that a snapshot may come in.
        let dtype = if i % 10 == 9 { Dtype::F32 } else { Dtype::F64 };
        cases.push(Case { spec, threads, dtype, with_init });
    }
    cases
}

fn snapshot(run: &ValidatedRun, dtype: Dtype, step: u64, chance: &mut Chance) -> Snapshot {
    let tensors = run.layout.parameters().iter().map(|spec| {
        let count = spec.numel().unwrap() as usize;
        let fan = spec.shape.last().copied().unwrap_or(1) as f64;
        let data = floats(count, if spec.shape.len() > 1 { (3.0 / fan).sqrt() } else { 0.5 }, dtype, chance);
        Tensor::named(&spec.name, dtype, &spec.shape, data).unwrap()
    });
    Snapshot::of(SnapshotHeader::live(step), tensors.collect()).unwrap()
}

/// What a run was found to take, and what was said.
struct Found {
    footprint: RunFootprint,
    kept: usize,
    working: usize,
    preparation: usize,
    claimed: u64,
}

impl Found {
    fn share(&self) -> f64 {
        (self.kept + self.working) as f64 / self.footprint.bytes() as f64
    }
}

/// Validates and measures a run, counting.
fn run(case: &Case, engine: &Engine) -> Found {
    let validator = GpuValidator { threads: case.threads, ..GpuValidator::default() };
    let before = live();
    let (validated, preparation) = peak(|| validator.validate(&case.spec).unwrap());
    let kept = live() - before;
    let mut chance = Chance(5);
    // They lie in the spool, of which the run reads pieces.
    let held = |step| {
        let snapshot = snapshot(&validated, case.dtype, step, &mut Chance(step + 7));
        Arc::new(InMemory::new(snapshot, &*validated.layout).unwrap())
    };
    let references = References {
        init: case.with_init.then(|| held(1) as _),
        previous: validated.needs_previous.then(|| held(2) as _),
    };
    let stop = Stop::default();
    let ((), working) = peak(|| {
        let snapshot = snapshot(&validated, case.dtype, 0, &mut chance);
        let arrived = Arrived { snapshot, references, statistics: None };
        let mut session = engine.take(&validated, 3, arrived).unwrap();
        let mut hints = Hints::default();
        for task in session.tasks() {
            let limits = Limits { stop: &stop, clock: &|| 0.0 };
            let reading = session.measure(&task, &mut hints, limits).unwrap();
            assert_ne!(reading.outcome, Outcome::Failed, "{:?}", reading.reason);
        }
    });
    let claimed = validator.preparation(&case.spec);
    Found { footprint: validated.footprint.clone(), kept, working, preparation, claimed }
}

fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

#[test]
fn a_hundred_runs_take_what_their_sums_say() {
    let _alone = alone();
    let engines: HashMap<usize, Engine> =
        (1..=4).map(|threads| (threads, Engine::new(threads).unwrap())).collect();
    let mut wrong = Vec::new();
    let mut near = Vec::new();
    let mut forced = 0;
    println!(
        "{:>3} {:>4} {:>8} {:>8} {:>6}  {:<44} sum",
        "run", "thr", "sum MiB", "measured", "share", "measures"
    );
    for (i, case) in cases().iter().enumerate() {
        let found = run(case, &engines[&case.threads]);
        let names: Vec<&str> = case.spec.measures.iter().map(|measure| &*measure.name).collect();
        let share = found.share();
        println!(
            "{i:>3} {:>4} {:>8.2} {:>8.2} {share:>6.3}  {:<44} {}; kept {:.2} of {:.2}, prepared {:.2}, rss {:.0} for {:.0}",
            case.threads,
            mib(found.footprint.bytes() as f64),
            mib((found.kept + found.working) as f64),
            names.join(" "),
            found.footprint,
            mib(found.kept as f64),
            mib(found.footprint.kept_bytes() as f64),
            mib(found.preparation as f64),
            mib(resident()),
            mib(live() as f64),
        );
        assert!(found.preparation as u64 <= found.claimed, "{} of {}", found.preparation, found.claimed);
        if share > 1.05 || found.kept as f64 > 1.05 * found.footprint.kept_bytes() as f64 {
            wrong.push((i, share));
        }
        if found.footprint.bytes() >= 20 << 20 {
            near.push(share);
        }
        // By force, where a limit that lies 5 to 50 % below the sum would have refused it.
        let limit = found.footprint.bytes() as f64 / (1.05 + 0.45 * (i % 10) as f64 / 9.0);
        forced +=
            usize::from(found.footprint.bytes() >= 20 << 20 && (found.kept + found.working) as f64 > limit);
    }
    near.sort_by(f64::total_cmp);
    let tight = near.iter().filter(|share| (0.93..=1.05).contains(*share)).count();
    println!(
        "{} runs of 20 MiB and more: {near:.3?}; {tight} within 0.93 and 1.05; {forced} exceed their limit",
        near.len()
    );
    assert!(wrong.is_empty(), "more than their sums: {wrong:?}");
    assert!(forced >= 20, "{forced}");
    // Where several threads share small products, not all of them pack at the moment at which the most is held; a
    // snapshot in f32 takes less than the widest type.
    assert!(tight * 3 >= near.len() * 2, "{tight} of {}", near.len());
}

/// A specification that nobody can measure, and the bytes of its sum.
fn said(config: &str, groups: Vec<ProbeGroup>, measures: Vec<MeasureRequest>) -> (RunFootprint, usize) {
    let spec = RunSpec { measures, ..RunSpec::new(config, groups) };
    let (validated, taken) = peak(|| GpuValidator::default().validate(&spec).unwrap());
    (validated.footprint.clone(), taken)
}

#[test]
fn row_55_what_no_machine_has_is_a_large_number() {
    let _alone = alone();
    let mut chance = Chance(1);
    let density = || vec![measure("hessian_density", &[("steps", 300.0)])];
    let classes = 1 << 24;
    let wide = mlp_probe("wide", 256, 1, classes, &mut chance);
    let (footprint, taken) =
        said(&format!(r#"{{"model_type":"mlp","sizes":[1,{classes}]}}"#), vec![wide], density());
    println!("2^24 classes, 256 rows: {footprint}, said with {:.2} MiB", mib(taken as f64));
    assert!(footprint.bytes() > 60 << 30 && taken < 1 << 20, "{footprint}, {taken}");

    let square = mlp_probe("square", 1, 1 << 20, classes, &mut chance);
    let config = format!(r#"{{"model_type":"mlp","sizes":[{},{classes},{classes}]}}"#, 1 << 20);
    let (footprint, taken) = said(&config, vec![square], density());
    println!("2^24 x 2^24: {footprint}, said with {:.2} MiB", mib(taken as f64));
    assert!(footprint.bytes() > 1 << 50 && taken < 32 << 20, "{footprint}, {taken}");

    let long = |rows, width| {
        let config = format!(
            r#"{{"model_type":"bert","vocab_size":9,"hidden_size":4096,"num_hidden_layers":24,"num_attention_heads":64,
            "intermediate_size":16384,"max_position_embeddings":{width}}}"#
        );
        (config, vec![text_probe("long", rows, width, 9, &mut Chance(3))])
    };
    let (config, groups) = long(1, 400_000);
    let (footprint, taken) = said(&config, groups, density());
    println!("400,000 tokens: {footprint}, said with {:.2} MiB", mib(taken as f64));
    assert!(footprint.bytes() > 1 << 40 && taken < 64 << 20, "{footprint}, {taken}");

    let deep: Vec<String> = (0..10_000).map(|_| "4".to_owned()).collect();
    let config = format!(r#"{{"model_type":"mlp","sizes":[{}]}}"#, deep.join(","));
    let (footprint, taken) =
        said(&config, vec![mlp_probe("deep", 2, 4, 4, &mut chance)], vec![measure("loss", &[])]);
    println!("10,000 layers: {footprint}, said with {:.2} MiB", mib(taken as f64));
    assert!((taken as u64) < 2 * footprint.kept_bytes(), "{footprint}, {taken}");
}

#[test]
fn a_measure_that_does_not_fit_is_left_out_and_says_so() {
    let _alone = alone();
    let mut chance = Chance(2);
    let config = r#"{"model_type":"mlp","sizes":[64,900,900,10]}"#;
    let measures =
        vec![measure("loss", &[]), measure("sam", &[]), measure("hessian_density", &[("steps", 200.0)])];
    let spec = RunSpec { measures, ..RunSpec::new(config, vec![mlp_probe("val", 64, 64, 10, &mut chance)]) };
    let room = 64 << 20;
    let validator = GpuValidator { room, threads: 2, ..GpuValidator::default() };
    let validated = validator.validate(&spec).unwrap();
    let footprint = &validated.footprint;
    assert!(footprint.bytes() <= room, "{footprint}");
    let [left_out] = &footprint.left_out[..] else { panic!("{:?}", footprint.left_out) };
    assert_eq!(validated.measures[left_out.measure].name, "hessian_density");
    assert!(left_out.reason.starts_with("with hessian_density the run takes "), "{}", left_out.reason);
    assert!(validated.warnings.iter().any(|line| line.starts_with("hessian_density is unavailable: ")));
    let engine = Engine::new(2).unwrap();
    let arrived = Arrived {
        snapshot: snapshot(&validated, Dtype::F32, 0, &mut chance),
        references: References::default(),
        statistics: None,
    };
    let mut session = engine.take(&validated, 3, arrived).unwrap();
    let stop = Stop::default();
    for task in session.tasks() {
        let limits = Limits { stop: &stop, clock: &|| 0.0 };
        let reading = session.measure(&task, &mut Hints::default(), limits).unwrap();
        match &*task.measure.name {
            "hessian_density" => {
                assert_eq!(
                    (reading.outcome, reading.reason.as_ref()),
                    (Outcome::Unavailable, Some(&left_out.reason))
                );
            }
            _ => assert_eq!(reading.outcome, Outcome::Measured),
        }
    }
    // Where not even the cheapest fits, nothing is left out: the run is refused with all of it.
    let validator = GpuValidator { room: 1 << 20, threads: 2, ..GpuValidator::default() };
    let footprint = validator.validate(&spec).unwrap().footprint;
    assert!(footprint.bytes() > 1 << 30 && footprint.left_out.is_empty(), "{footprint}");
}

#[test]
fn row_54_runs_that_name_the_same_probe_hold_it_once() {
    let _alone = alone();
    let mut chance = Chance(4);
    let probe = mlp_probe("val", 4096, 1024, 10, &mut chance);
    let bytes = 4096 * 1024 * 8;
    let validator = GpuValidator::default();
    let before = live();
    let open = |i: usize| {
        let config = format!(r#"{{"model_type":"mlp","sizes":[1024,{},10]}}"#, 16 + i);
        validator.validate(&RunSpec::new(config, vec![probe.clone()])).unwrap()
    };
    let runs: Vec<ValidatedRun> = (0..24).map(open).collect();
    let taken = live() - before;
    println!("24 runs of a probe of {:.0} MiB hold {:.1} MiB", mib(f64::from(bytes)), mib(taken as f64));
    assert!((taken as f64) < 1.2 * f64::from(bytes), "{taken}");
    let keys: Vec<&str> = runs.iter().map(|run| run.footprint.shared[0].key.as_str()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
    let own: u64 = runs.iter().flat_map(|run| &run.footprint.kept).map(|part| part.bytes).sum();
    let sum = own + runs[0].footprint.shared[0].part.bytes;
    assert!((taken as f64) < 1.05 * sum as f64, "{taken} bytes, {sum} told");
    drop(runs);
    assert!(live() < before + (1 << 20), "the last one frees it");
}
