#![allow(clippy::unwrap_used)]

use super::due::Wait;
use super::*;
use clino_domain::budget::{Budget, BudgetPart};
use clino_domain::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
struct OneTensor(Vec<TensorSpec>);

impl Layout for OneTensor {
    fn parameters(&self) -> &[TensorSpec] {
        &self.0
    }
    fn arrange(&self, manifest: &Manifest) -> Result<Vec<usize>, Fault> {
        match manifest.tensors() == self.0 {
            true => Ok(vec![0]),
            false => Err(Fault::field(FaultKind::Precondition, "tensors[0].shape", "another one")),
        }
    }
    fn arrange_initialization(&self, _: &Manifest) -> Result<Vec<Option<usize>>, Fault> {
        unreachable!("the registry compares with what it has received")
    }
    fn statistics_builder(&self, _: &Manifest, _: &[usize], _: References) -> Box<dyn StatisticsBuilder> {
        unreachable!("these tests send no bytes")
    }
}

const PLANNED: Planned =
    Planned { work: clino_domain::Work::of(1.0, 0.0, 0.0), counted: false, seconds: None };

/// Knows no rules.
#[derive(Debug)]
struct Undecided;

impl PolicyCompiler for Undecided {
    fn compile(
        &self,
        _: &Policy,
        _: &[MeasureRequest],
        _: &[String],
    ) -> Result<Arc<dyn PolicyEvaluator>, Fault> {
        Err(Fault::invalid("policy", "there are no rules"))
    }
    fn rules(&self) -> Vec<RuleInfo> {
        vec![]
    }
}

/// Admits everything; measures `loss`, `distance` (needs the initialization) and `update` (needs the previous).
struct Lenient;

fn info(name: &'static str, init: bool, previous: bool) -> MeasureInfo {
    let needs = Needs { init, previous, ..Needs::default() };
    let text = "";
    MeasureInfo {
        name,
        summary: text,
        formula: text,
        source: text,
        parts: &[],
        cost: text,
        rescaling: false,
        invariance: text,
        needs,
        parameters: vec![],
        standard: true,
    }
}

impl RunValidator for Lenient {
    fn validate(&self, run: &RunSpec) -> Result<ValidatedRun, Fault> {
        let measure =
            |info: MeasureInfo| MeasureRequest { name: info.name.into(), parameters: BTreeMap::new() };
        Ok(ValidatedRun {
            model_type: "one".into(),
            layout: Arc::new(OneTensor(vec![spec()])),
            measures: self.catalogue().into_iter().map(measure).collect(),
            needs: self.catalogue().into_iter().map(|info| info.needs).collect(),
            plan: vec![PLANNED; 3],
            examples: vec![8],
            precision: Precision::F64,
            warnings: Vec::new(),
            footprint: footprint(&run.config_json),
            needs_init: true,
            needs_previous: true,
            prepared: PreparedModel(Arc::new(())),
        })
    }
    fn preparation(&self, run: &RunSpec) -> u64 {
        let tensors = run.groups.iter().flat_map(|group| group.tensors.iter());
        8 * tensors.map(|tensor| tensor.spec.numel().unwrap()).sum::<u64>()
    }
    fn catalogue(&self) -> Vec<MeasureInfo> {
        vec![info("loss", false, false), info("distance", true, false), info("update", false, true)]
    }
}

/// `KEPT KEY WORKING` in MiB; another configuration takes nothing.
fn footprint(config: &str) -> RunFootprint {
    let words: Vec<&str> = config.split(' ').collect();
    let [kept, key, working] = words[..] else { return RunFootprint::default() };
    let part = |name, mib: &str| MemoryPart { name, bytes: mib.parse::<u64>().unwrap() << 20 };
    let probes = part("probes", kept);
    let mut footprint =
        RunFootprint { working: vec![part("the gradient", working)], ..RunFootprint::default() };
    match key {
        "-" => footprint.kept.push(probes),
        key => footprint.shared.push(SharedPart { key: key.into(), part: probes }),
    }
    footprint
}

#[derive(Debug, Default)]
struct Diary(Mutex<Vec<(RunId, Event)>>);

impl Diary {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().iter().map(|(_, event)| event.clone()).collect()
    }
}

impl Journal for Diary {
    fn refusal(&self, _: &RunId) -> Option<String> {
        None
    }
    fn open(&self, _: RunRecord, _: DecisionContext) {}
    fn append(&self, run: &RunId, event: Event) {
        self.0.lock().unwrap().push((run.clone(), event));
    }
    fn forget(&self, _: &RunId) {}
}

#[derive(Debug)]
struct Nothing(SnapshotHeader);

impl ParameterSource for Nothing {
    fn read(&self, _: usize, _: usize, _: usize, with: &mut dyn FnMut(Dtype, &[u8])) -> Result<(), Fault> {
        // Which snapshot this is, for tests of references.
        with(Dtype::I64, &self.0.at.step.to_le_bytes());
        Ok(())
    }
}

impl ReceivedSnapshot for Nothing {
    fn header(&self) -> &SnapshotHeader {
        &self.0
    }
    fn statistics(&self) -> Option<Arc<Statistics>> {
        None
    }
    fn load(&self) -> Result<Snapshot, Fault> {
        Err(Fault::internal("has no bytes"))
    }
}

fn spec() -> TensorSpec {
    TensorSpec { name: "w".into(), dtype: Dtype::F32, shape: vec![2] }
}

fn registry(most_runs: usize) -> (Registry, Arc<Diary>) {
    let diary = Arc::new(Diary::default());
    (Registry::new(Arc::new(Lenient), Arc::new(Undecided), diary.clone(), Arc::default(), most_runs), diary)
}

fn run_spec(name: &str, delivery: Delivery) -> RunSpec {
    let tensors = Arc::new(vec![Tensor::new(spec(), vec![0; 8].into()).unwrap()]);
    RunSpec {
        name: name.into(),
        config_json: "{}".into(),
        model: None,
        groups: vec![ProbeGroup { name: "en".into(), tensors }],
        measures: vec![],
        seed: 1,
        delivery,
        precision: Precision::Auto,
        budget: None,
        gpu_only: false,
        label: RunLabel::default(),
        policy: None,
    }
}

fn open(registry: &Registry, key: &str) -> RunId {
    registry.open(key, run_spec("a", Delivery::Latest)).unwrap().run.id.clone()
}

fn announcement(run: &RunId, step: u64) -> Announcement {
    Announcement {
        digest: None,
        run: run.clone(),
        key: None,
        step,
        attempt: None,
        kind: WeightKind::Live,
        initialization: false,
        manifest: Manifest::new(vec![spec()], vec![]).unwrap(),
        check: None,
    }
}

fn push(registry: &Registry, announcement: Announcement) -> Result<Receipt, Fault> {
    push_bytes(registry, announcement, "digest")
}

/// A snapshot whose bytes have that digest.
fn push_bytes(registry: &Registry, announcement: Announcement, digest: &str) -> Result<Receipt, Fault> {
    let upload = match registry.announce(announcement)? {
        Admission::Repeated(receipt) => return Ok(receipt),
        Admission::Compared(comparison) => return comparison.settle(digest),
        Admission::Welcome(upload) => upload,
    };
    let room = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(upload.room())?;
    registry.commit(upload, room, digest, |header, _| Arc::new(Nothing(header)))
}

fn step_of(source: &Option<Arc<dyn ParameterSource>>) -> Option<f64> {
    let mut out = [0.0];
    source.as_ref()?.read(0, 0, 1, &mut |dtype, bytes| dtype.widen(bytes, &mut out)).unwrap();
    Some(out[0])
}

/// The first snapshot that is due, as if it had been measured.
fn taken(registry: &Registry) -> DueSnapshot {
    let run = registry.due()[0].run.id.clone();
    let due = registry.take(&run).unwrap();
    registry.finish(&run);
    due
}

#[test]
fn row_17_and_18_a_key_means_one_run() {
    let (registry, _) = registry(10);
    let first = registry.open("k", run_spec("a", Delivery::Latest)).unwrap();
    let second = registry.open("k", run_spec("a", Delivery::Latest)).unwrap();
    assert!(first.created && !second.created && first.run.id == second.run.id);
    let other = registry.open("k", run_spec("b", Delivery::Latest)).unwrap_err();
    assert_eq!((other.kind, other.violations[0].field.as_str()), (FaultKind::Exists, "idempotency_key"));
}

#[test]
fn row_17_and_18_a_key_means_one_snapshot() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    let keyed = |step| Announcement { key: Some("s".into()), ..announcement(&run, step) };
    let first = push(&registry, keyed(1)).unwrap();
    let second = push(&registry, keyed(1)).unwrap();
    assert_eq!(second, Receipt { repeated: true, ..first });
    assert_eq!(push(&registry, keyed(2)).unwrap_err().kind, FaultKind::Exists);
}

#[test]
fn row_62_a_key_means_one_content() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    let keyed = |digest: Option<&str>| Announcement {
        key: Some("s".into()),
        digest: digest.map(str::to_owned),
        ..announcement(&run, 1)
    };
    let first = push_bytes(&registry, keyed(None), "one").unwrap();
    let again = Receipt { repeated: true, ..first };
    // Known before: no bytes are asked for.
    let Admission::Repeated(receipt) = registry.announce(keyed(Some("one"))).unwrap() else { panic!() };
    assert_eq!(receipt, again);
    let fault = registry.announce(keyed(Some("two"))).unwrap_err();
    assert!(
        fault.kind == FaultKind::Exists && fault.message.contains("one") && fault.message.contains("two")
    );
    // Known when they have come.
    assert_eq!(push_bytes(&registry, keyed(None), "one").unwrap(), again);
    assert_eq!(push_bytes(&registry, keyed(None), "two").unwrap_err().kind, FaultKind::Exists);
}

#[test]
fn row_62_of_two_uploads_at_once_with_one_key_the_second_is_compared() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    let keyed = || Announcement { key: Some("s".into()), ..announcement(&run, 1) };
    let welcome = || match registry.announce(keyed()).unwrap() {
        Admission::Welcome(upload) => upload,
        other => panic!("{other:?}"),
    };
    let uploads = [welcome(), welcome(), welcome()];
    let digests = ["one", "one", "two"];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answers = uploads.into_iter().zip(digests).map(|(upload, digest)| {
        let room = runtime.block_on(upload.room())?;
        registry.commit(upload, room, digest, |header, _| Arc::new(Nothing(header)))
    });
    let answers: Vec<Result<Receipt, Fault>> = answers.collect();
    let first = answers[0].as_ref().unwrap();
    let second = answers[1].as_ref().unwrap();
    assert!(second.repeated && second.id == first.id);
    assert_eq!(answers[2].as_ref().unwrap_err().kind, FaultKind::Exists);
}

#[test]
fn the_newest_snapshot_replaces_the_one_that_waits_but_references_stay() {
    let (registry, diary) = registry(10);
    let run = open(&registry, "k");
    let init = Announcement { initialization: true, ..announcement(&run, 0) };
    let receipt = push(&registry, init).unwrap();
    assert_eq!(receipt.measures, ["loss", "distance"]);
    assert_eq!(receipt.unmeasured[0].measure, "update");
    push(&registry, announcement(&run, 1)).unwrap();
    let receipt = push(&registry, announcement(&run, 2)).unwrap();
    assert_eq!(receipt.replaced, Some(SnapshotRef { step: 1, attempt: 1 }));
    assert_eq!(receipt.measures, ["loss", "distance", "update"]);
    let work = taken(&registry);
    assert_eq!(work.held.header().at.step, 2);
    assert_eq!((step_of(&work.references.init), step_of(&work.references.previous)), (Some(0.0), Some(1.0)));
    let skipped = diary.events().into_iter().filter(|event| matches!(event, Event::Skipped { .. }));
    assert_eq!(skipped.count(), 2);
}

#[test]
fn a_check_belongs_to_its_snapshot_and_to_rows_that_the_run_has() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    let check = |rows| ModelCheck {
        group: "en".into(),
        rows,
        losses: vec![0.5],
        dtype: Dtype::F32,
        gradient_norms: Vec::new(),
    };
    let with = |step, check| Announcement { check: Some(check), ..announcement(&run, step) };
    push(&registry, with(1, check(vec![7]))).unwrap();
    assert_eq!(taken(&registry).check, Some(check(vec![7])));
    // One that is replaced takes its check with it: its losses are of its parameters.
    push(&registry, with(2, check(vec![0]))).unwrap();
    push(&registry, announcement(&run, 3)).unwrap();
    assert_eq!(taken(&registry).check, None);
    let beyond = push(&registry, with(4, check(vec![8]))).unwrap_err();
    assert_eq!((beyond.kind, beyond.violations[0].field.as_str()), (FaultKind::Invalid, "model_check.rows"));
    let other = push(&registry, with(4, ModelCheck { group: "de".into(), ..check(vec![0]) })).unwrap_err();
    assert_eq!((other.kind, other.violations[0].field.as_str()), (FaultKind::Invalid, "model_check.group"));
}

#[test]
fn an_initialization_is_its_own_reference_and_stays_that_of_the_run() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    assert_eq!(push(&registry, announcement(&run, 5)).unwrap().unmeasured.len(), 2);
    assert_eq!(step_of(&taken(&registry).references.init), None);
    for (step, initialization, is_second) in
        [(6, true, false), (7, false, false), (8, true, true), (9, false, false)]
    {
        let receipt = push(&registry, Announcement { initialization, ..announcement(&run, step) }).unwrap();
        assert_eq!(receipt.warnings.iter().any(|said| said.starts_with("initialization: ")), is_second);
        let work = taken(&registry);
        assert_eq!(step_of(&work.references.init), Some(6.0));
        assert_eq!(work.held.header().initialization, step == 6);
    }
}

#[test]
fn what_is_abandoned_is_skipped_or_ends() {
    let (registry, diary) = registry(10);
    let run = open(&registry, "a");
    push(&registry, announcement(&run, 1)).unwrap();
    let taken = registry.take(&run).unwrap();
    push(&registry, announcement(&run, 2)).unwrap();
    assert!(matches!(registry.waits_for(&run), Some(Wait::Earlier(at, _)) if at.step == 1));
    registry.abandon(&run, "nobody wants it");
    assert_eq!(taken.stop.check().unwrap_err().message, "nobody wants it");
    assert_eq!((registry.due().len(), registry.waits_for(&run)), (0, None));
    let skipped =
        Event::Skipped { snapshot: SnapshotRef { step: 2, attempt: 1 }, reason: "nobody wants it".into() };
    assert!(diary.events().contains(&skipped));
    registry.finish(&run);
    // What comes later is measured: a policy that said STOP can be overridden.
    push(&registry, announcement(&run, 3)).unwrap();
    assert_eq!(registry.waits_for(&run), Some(Wait::Engine(0)));
    assert!(registry.wait_for_memory(&run, 7) && !registry.wait_for_memory(&run, 7));
    assert_eq!(registry.waits_for(&run), Some(Wait::Memory(7)));
    assert!(registry.take(&run).unwrap().stop.check().is_ok());
}

#[test]
fn runs_take_turns() {
    let (registry, _) = registry(10);
    let a = open(&registry, "a");
    let b = open(&registry, "b");
    push(&registry, announcement(&a, 1)).unwrap();
    push(&registry, announcement(&a, 2)).unwrap();
    push(&registry, announcement(&b, 1)).unwrap();
    let due = || registry.due().iter().map(|due| due.run.id.clone()).collect::<Vec<_>>();
    assert_eq!(due(), [a.clone(), b.clone()]);
    assert_eq!(registry.take(&a).unwrap().held.header().at.step, 2);
    push(&registry, announcement(&a, 3)).unwrap();
    assert_eq!(due(), std::slice::from_ref(&b), "one snapshot of a run at a time");
    assert!(registry.take(&a).is_none());
    registry.finish(&a);
    assert_eq!(due(), [b, a.clone()]);
    assert_eq!(registry.take(&a).unwrap().held.header().at.step, 3);
}

#[tokio::test(start_paused = true)]
async fn every_snapshot_waits_for_room() {
    let (registry, _) = registry(10);
    let run = registry.open("k", run_spec("a", Delivery::Every)).unwrap().run.id.clone();
    let welcome = |step| match registry.announce(announcement(&run, step)).unwrap() {
        Admission::Welcome(upload) => upload,
        _ => panic!("no key was given"),
    };
    let first = welcome(1);
    let second = welcome(2);
    let third = welcome(3);
    let room = first.room().await.unwrap();
    registry.commit(first, room, "d", |header, _| Arc::new(Nothing(header))).unwrap();
    let wait = Duration::from_secs(3600);
    assert!(tokio::time::timeout(wait, second.room()).await.is_err(), "one waits already");
    assert_eq!(taken(&registry).held.header().at.step, 1);
    let room = second.room().await.unwrap();
    assert!(tokio::time::timeout(wait, third.room()).await.is_err(), "the room is given away");
    registry.close(&run, false).unwrap();
    assert_eq!(third.room().await.unwrap_err().kind, FaultKind::Precondition);
    let late = registry.commit(second, room, "d", |header, _| Arc::new(Nothing(header)));
    assert_eq!(late.unwrap_err().kind, FaultKind::Precondition);
}

#[test]
fn a_closed_run_ends_when_all_is_measured() {
    let (registry, diary) = registry(10);
    let run = open(&registry, "k");
    push(&registry, announcement(&run, 1)).unwrap();
    registry.close(&run, false).unwrap();
    assert_eq!(push(&registry, announcement(&run, 2)).unwrap_err().kind, FaultKind::Precondition);
    assert!(!diary.events().contains(&Event::Closed));
    registry.take(&run).unwrap();
    assert!(registry.finish(&run));
    registry.close(&run, false).unwrap();
    assert_eq!(diary.events().iter().filter(|event| **event == Event::Closed).count(), 1);
}

#[test]
fn a_full_registry_forgets_closed_runs_only() {
    let (registry, _) = registry(2);
    let first = open(&registry, "a");
    open(&registry, "b");
    let full = registry.open("c", run_spec("a", Delivery::Latest)).unwrap_err();
    assert_eq!(full.kind, FaultKind::Exhausted);
    registry.close(&first, false).unwrap();
    open(&registry, "c");
    assert_eq!(registry.get(&first).unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(registry.list().len(), 2);
    assert_ne!(open(&registry, "b"), first);
}

#[test]
fn a_stop_skips_what_waits_and_wakes_the_engine() {
    let (registry, diary) = registry(10);
    let run = open(&registry, "k");
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| {
            registry.call(std::thread::current());
            while !registry.is_stopped() {
                std::thread::park();
            }
            registry.due().is_empty()
        });
        std::thread::sleep(Duration::from_millis(20));
        registry.stop();
        assert!(idle.join().unwrap());
    });
    assert_eq!(push(&registry, announcement(&run, 1)).unwrap_err().kind, FaultKind::Unavailable);
    assert_eq!(diary.events(), []);
}

#[test]
fn row_28_another_shape_is_refused_before_bytes() {
    let (registry, _) = registry(10);
    let run = open(&registry, "k");
    let other = TensorSpec { shape: vec![3], ..spec() };
    let manifest = Manifest::new(vec![other], vec![]).unwrap();
    let fault = push(&registry, Announcement { manifest, ..announcement(&run, 1) }).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Precondition);
}

#[test]
fn probes_are_found_by_content_and_the_oldest_unused_make_room() {
    let budget = Budget::new(24);
    let store = ProbeStore::new(&budget);
    let tensors = |fill: u8| vec![Tensor::new(spec(), vec![fill; 8].into()).unwrap()];
    let put = |fill| {
        let mut claim = store.claim();
        claim.grow(8).unwrap();
        store.put("p", tensors(fill), claim)
    };
    let a = put(1);
    let b = put(2);
    let c = put(3);
    let unused = Budget::new(8).claim(8).unwrap();
    assert_eq!(store.put("p", tensors(1), unused), a);
    let used = store.get(&b).unwrap();
    put(4);
    assert_eq!(store.get(&c).unwrap_err().kind, FaultKind::Precondition, "c was the oldest unused");
    assert!(store.get(&a).is_ok() && store.get(&b).is_ok());
    assert_eq!(store.claim().grow(25).unwrap_err().kind, FaultKind::Invalid);
    // They make room for whatever needs it, and those that a run is opened with do not.
    let snapshot = budget.claim(16).unwrap();
    assert_eq!(budget.used_for(BudgetPart::Probes), 8);
    assert_eq!(budget.claim(1).unwrap_err().kind, FaultKind::Exhausted);
    assert!(store.get(&b).is_ok() && store.get(&a).is_err());
    drop((used, snapshot));
}

#[test]
fn the_digest_of_a_probe_is_as_documented() {
    let tensor = |name: &str, data: &[u8]| {
        let spec = TensorSpec { name: name.into(), dtype: Dtype::I32, shape: vec![1, 2] };
        Tensor::new(spec, data.to_vec().into()).unwrap()
    };
    // sha256 of b"a\0I32\0" b"1x2\0" + 01*8 + b"b\0I32\0" b"1x2\0" + 02*8, by another implementation.
    let expected = "038a75140a853079d99d8516114a125ffc0b883a8d4d6a6f2459e0eea5627103";
    assert_eq!(probe_digest(&[tensor("b", &[2; 8]), tensor("a", &[1; 8])]), expected);
    // sha256 of b"a\0BOOL\0" b"2\0" + 0001 + b"b\0U16\0" b"1\0" + 0203, likewise.
    let narrow = |name: &str, dtype: Dtype, shape: u64, data: &[u8]| {
        let spec = TensorSpec { name: name.into(), dtype, shape: vec![shape] };
        Tensor::new(spec, data.to_vec().into()).unwrap()
    };
    let narrow = [narrow("a", Dtype::Bool, 2, &[0, 1]), narrow("b", Dtype::U16, 1, &[2, 3])];
    assert_eq!(probe_digest(&narrow), "d149ff7f01fc3014665cc533a6d649442902e4c583d11f9aaeccd9c099e4e1d1");
}

fn go_on(registry: &Registry, key: &str) -> Result<(RunId, bool), Fault> {
    let opened = registry.go_on(key, run_spec("a", Delivery::Every))?;
    Ok((opened.run.id.clone(), opened.created))
}

#[test]
fn a_trainer_goes_on_with_the_run_that_it_closed() {
    let (registry, diary) = registry(10);
    let (run, created) = go_on(&registry, "k").unwrap();
    assert!(created, "there is none yet");
    push(&registry, announcement(&run, 1)).unwrap();
    taken(&registry);
    registry.finish(&run);
    assert_eq!(go_on(&registry, "k").unwrap(), (run.clone(), false), "it is open");
    for key in ["k", &run.0] {
        registry.close(&run, true).unwrap();
        assert_eq!(push(&registry, announcement(&run, 2)).unwrap_err().kind, FaultKind::Precondition);
        assert_eq!(go_on(&registry, key).unwrap(), (run.clone(), false));
        let receipt = push(&registry, announcement(&run, 1)).unwrap();
        let update = receipt.unmeasured.iter().find(|line| line.measure == "update");
        assert!(update.is_none_or(|line| line.reason.contains("opened again")), "{update:?}");
        taken(&registry);
        registry.finish(&run);
    }
    assert_eq!(push(&registry, announcement(&run, 1)).unwrap().at.attempt, 4, "attempts are remembered");
    assert_eq!(diary.events().iter().filter(|event| **event == Event::Closed).count(), 2);
}

#[test]
fn a_run_that_was_closed_for_good_is_not_opened_again() {
    let (registry, _) = registry(10);
    for orders in [&[false][..], &[true, false], &[false, true]] {
        let key = format!("{orders:?}");
        let (run, _) = go_on(&registry, &key).unwrap();
        orders.iter().for_each(|resumable| drop(registry.close(&run, *resumable).unwrap()));
        let fault = go_on(&registry, &key).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Precondition);
        assert!(fault.message.contains("closed for good"), "{}", fault.message);
    }
}

#[test]
fn a_run_of_other_content_is_not_gone_on_with() {
    let (registry, _) = registry(10);
    let (run, _) = go_on(&registry, "k").unwrap();
    let other = RunSpec { seed: 99, ..run_spec("a", Delivery::Every) };
    let fault = registry.go_on("k", other).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exists);
    assert!(fault.message.contains("seed") && fault.message.contains(&run.0), "{}", fault.message);
    assert_eq!(fault.violations[0].field, "resume", "what its user wrote");
    assert!(!fault.message.contains("measures"), "they are the same: {}", fault.message);
    let renamed = registry.go_on("k", run_spec("another name", Delivery::Every)).unwrap();
    assert_eq!((renamed.run.name.as_str(), renamed.created), ("a", false), "a name is no content");
    let mut elsewhere = run_spec("a", Delivery::Every);
    elsewhere.label.project = "other".into();
    let theirs = registry.go_on(&run.0, elsewhere).unwrap();
    assert!(theirs.created && theirs.run.id != run, "runs of other projects are not seen");
}

#[tokio::test]
async fn whoever_waits_for_room_hears_that_the_run_is_closed_and_a_run_that_goes_on_has_room() {
    let (registry, _) = registry(10);
    let (run, _) = go_on(&registry, "k").unwrap();
    let welcome = |step| match registry.announce(announcement(&run, step)).unwrap() {
        Admission::Welcome(upload) => upload,
        Admission::Repeated(_) | Admission::Compared(_) => panic!("no key"),
    };
    let first = welcome(1);
    let second = welcome(2);
    let room = first.room().await.unwrap();
    registry.close(&run, true).unwrap();
    assert_eq!(second.room().await.unwrap_err().kind, FaultKind::Precondition);
    drop(room);
    go_on(&registry, "k").unwrap();
    assert!(welcome(3).room().await.is_ok());
}

mod memory;
