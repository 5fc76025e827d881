//! `clino selftest`: whether a device computes what the CPU computes, and how fast. Its answer is made to be pasted into
//! an issue.
//!
//! Owns: which models are measured twice, how near the two must come, the text. May not touch: kernels, measures.

use super::files::TensorFiles;
use super::model::HEADER;
use crate::pipeline::{self, RunMemory};
use clap::{Args, ValueEnum};
use clino_domain::{
    Devices, Fault, InMemory, MeasureRequest, ParameterSource, Precision, ProbeGroup, Reading, References,
    RunSpec, RunValidator, Snapshot, Stop,
};
use clino_engine::{Arrived, Check, Engine, Limits, Speed, Validator};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Arguments of `clino selftest`.
#[derive(Debug, Args)]
pub struct SelftestArguments {
    /// Device to test: cuda:0, several GPUs as cuda:0,cuda:1, or cpu (against itself)
    #[arg(long, default_value_t = Devices::Cuda(vec![0]))]
    device: Devices,
    /// Parts of the test
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Section::Kernels, Section::Measures, Section::Speed])]
    only: Vec<Section>,
    /// Number of elements for the bandwidth test
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 28)]
    elements: usize,
    /// Measures to compare [default: all]
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", num_args = 1.., value_parser = super::arguments::measure)]
    measure: Vec<MeasureRequest>,
    /// Print every comparison, not only the failures and the worst
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Every kernel against the CPU.
    Kernels,
    /// Golden cases measured on the device and on the CPU.
    Measures,
    /// Bandwidth of every kernel against that of a copy.
    Speed,
}

/// A golden case of the tests.
struct SelftestCase {
    name: &'static str,
    config: &'static str,
    expected: &'static str,
    /// Initialization, a snapshot, the one before it, the probe.
    files: [&'static [u8]; 4],
}

macro_rules! case {
    ($name:literal) => {
        SelftestCase {
            name: $name,
            config: include_str!(concat!("../../tests/cases/", $name, "/config.json")),
            expected: include_str!(concat!("../../tests/cases/", $name, "/expected.json")),
            files: [
                include_bytes!(concat!("../../tests/cases/", $name, "/init.safetensors")),
                include_bytes!(concat!("../../tests/cases/", $name, "/snapshot-0040.safetensors")),
                include_bytes!(concat!("../../tests/cases/", $name, "/snapshot-0020.safetensors")),
                include_bytes!(concat!("../../tests/cases/", $name, "/probe.safetensors")),
            ],
        }
    };
}

const CASES: [SelftestCase; 2] = [case!("mlp-tanh"), case!("bert")];

/// How far two devices may be apart, relative to the value and per unit of loss: they round alike, but add in another
/// order, and a difference of losses keeps the rounding of both.
fn allowed(measure: &str, precision: Precision) -> [f64; 2] {
    let f64s = precision == Precision::F64;
    match measure {
        // A sign that flips where the gradient is nearly zero leads elsewhere.
        "keskar" => [0.3, 0.3],
        // Finite differences divide by their step what both gradients round.
        name if name.starts_with("hessian") => [if f64s { 1e-5 } else { 0.1 }, 0.0],
        _ if f64s => [1e-8, 1e-12],
        _ => [1e-3, 1e-6],
    }
}

/// One measure on both devices, over all cases and groups.
struct Compared {
    difference: f64,
    allowed: f64,
    /// The pair that is farthest apart.
    pair: [Option<f64>; 2],
    passes: bool,
}

/// What was found so far.
struct SelftestReport {
    text: String,
    failed: usize,
}

/// Tests and prints; what was found before a part failed is printed too.
///
/// # Errors
/// A device that cannot be opened or fails, and the count of what did not pass.
pub fn run(arguments: SelftestArguments) -> Result<(), Fault> {
    let threads = super::all_processors();
    let engine = super::engine_at(threads, &arguments.device)?;
    let text = format!("## clino {} selftest\n\n{}\n\n", env!("CARGO_PKG_VERSION"), engine.description());
    let mut report = SelftestReport { text, failed: 0 };
    engine.gpu_details().iter().for_each(|line| report.text += &format!("- {line}\n"));
    report.text += "\n";
    let mut outcome = Ok(());
    for section in [Section::Kernels, Section::Measures, Section::Speed] {
        if !arguments.only.contains(&section) {
            continue;
        }
        // What follows may work all the same, unless the device is lost: then the CPU would answer for it.
        if let Err(fault) = part(section, &engine, &arguments, &mut report) {
            report.text += &format!("**{section:?} ended: {}**\n\n", fault.message);
            outcome = outcome.and(Err(fault));
            if !engine.lost().is_empty() {
                break;
            }
        }
    }
    report.text += &match (report.failed, &outcome) {
        (0, Ok(())) => "**passed**\n".to_owned(),
        (0, Err(_)) => "**failed**\n".to_owned(),
        (failed, _) => format!("**{failed} comparisons failed**\n"),
    };
    super::out::print(&report.text)?;
    outcome?;
    match report.failed {
        0 => Ok(()),
        failed => Err(Fault::internal(format!("{failed} comparisons of the selftest failed"))),
    }
}

fn part(
    section: Section,
    engine: &Engine,
    arguments: &SelftestArguments,
    report: &mut SelftestReport,
) -> Result<(), Fault> {
    match section {
        Section::Kernels => {
            let checks = engine.check_kernels()?;
            report.failed += checks.iter().filter(|check| !check.passes()).count();
            report.text += &kernels(&checks, arguments.verbose);
        }
        Section::Measures => {
            let host = Engine::new(super::all_processors())?;
            report.failed += oracle(engine, &mut report.text)?;
            for precision in [Precision::F64, Precision::F32] {
                let compared = compare([engine, &host], &arguments.measure, precision)?;
                report.failed += compared.values().filter(|compared| !compared.passes).count();
                report.text += &measures(&compared, precision);
            }
        }
        Section::Speed => {
            let began = Instant::now();
            let timed = engine.kernel_speeds(arguments.elements, &|| began.elapsed().as_secs_f64())?;
            report.text += &speeds(&timed);
        }
    }
    Ok(())
}

/// Measures whose value stands in a case's expected.json, which another program made in f64.
const EXPECTED: [(&str, &str); 3] = [
    ("loss", "/outputs/loss"),
    ("accuracy", "/outputs/accuracy"),
    ("entropy", "/outputs/predictive_entropy"),
];

/// How near they must come, in f64.
const NEAR: f64 = 1e-9;

/// Holds readings of the golden cases against what is expected of them; how many do not agree.
fn oracle(engine: &Engine, text: &mut String) -> Result<usize, Fault> {
    let asked = EXPECTED.map(|(name, _)| MeasureRequest { name: name.into(), parameters: BTreeMap::new() });
    *text += "### Golden cases against their expected values, f64\n\n\
              | case | measure | device | expected | difference | |\n|---|---|---|---|---|---|\n";
    let mut failed = 0;
    for case in &CASES {
        let expected: serde_json::Value = serde_json::from_str(case.expected)
            .map_err(|error| Fault::internal(format!("expected.json of {}: {error}", case.name)))?;
        let readings = CaseFiles::new(case)?.readings(engine, &asked, Precision::F64)?;
        for (name, place) in EXPECTED {
            let wanted = expected["snapshots"]["snapshot-0040"].pointer(place).and_then(|x| x.as_f64());
            let found = readings.iter().find(|reading| reading.measure == name).and_then(|found| found.value);
            let difference = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() / wanted.abs(),
                _ => f64::INFINITY,
            };
            failed += usize::from(difference.is_nan() || difference > NEAR);
            let [found, wanted] = [found, wanted].map(|x| x.map_or("-".into(), super::table::number));
            let verdict = verdict(difference <= NEAR);
            let case = case.name;
            *text +=
                &format!("| {case} | {name} | {found} | {wanted} | {} | {verdict} |\n", size(difference));
        }
    }
    *text += "\n";
    Ok(failed)
}

fn verdict(passes: bool) -> &'static str {
    if passes { "ok" } else { "FAILED" }
}

fn size(difference: f64) -> String {
    if difference == 0.0 { "0".into() } else { format!("{difference:.1e}") }
}

fn kernels(checks: &[Check], verbose: bool) -> String {
    let passed = checks.iter().filter(|check| check.passes()).count();
    let exact = checks.iter().filter(|check| check.allowed == 0.0 && check.passes()).count();
    let mut text = format!(
        "### Kernels against the CPU\n\n{passed} of {} comparisons pass, {exact} of them bit by bit.\n\n\
         | kernel | difference | allowed | |\n|---|---|---|---|\n",
        checks.len()
    );
    let shown = |check: &&Check| verbose || !check.passes() || check.difference > 0.0;
    for check in checks.iter().filter(shown) {
        let Check { kernel, difference, allowed, .. } = check;
        let found = size(*difference);
        let most = size(*allowed);
        text += &format!("| {kernel} | {found} | {most} | {} |\n", verdict(check.passes()));
    }
    text + "\n"
}

fn measures(compared: &BTreeMap<String, Compared>, precision: Precision) -> String {
    let passed = compared.values().filter(|compared| compared.passes).count();
    let mut text = format!(
        "### Measures against the CPU, {}\n\n{passed} of {} measures pass on {}; the pair that is farthest apart:\n\n\
         | measure | device | CPU | difference | allowed | |\n|---|---|---|---|---|---|\n",
        if precision == Precision::F64 { "f64" } else { "f32" },
        compared.len(),
        CASES.map(|case| case.name).join(" and "),
    );
    for (measure, found) in compared {
        let [there, here] = found.pair.map(|value| value.map_or("-".into(), super::table::number));
        let difference = size(found.difference);
        let allowed = size(found.allowed);
        let verdict = verdict(found.passes);
        text += &format!("| {measure} | {there} | {here} | {difference} | {allowed} | {verdict} |\n");
    }
    text + "\n"
}

fn speeds(speeds: &[Speed]) -> String {
    let rate = |speed: &Speed| speed.bytes as f64 / speed.seconds * 1e-9;
    let copy = |of: &Speed| {
        let copy = speeds.iter().find(|speed| speed.kernel == "copy" && speed.element == of.element);
        copy.map_or(f64::NAN, rate)
    };
    let mut text = String::from(
        "### Bandwidth\n\n| kernel | MB to move | ms | GB/s | of a copy |\n|---|---|---|---|---|\n",
    );
    for speed in speeds {
        let megabytes = speed.bytes as f64 * 1e-6;
        let milliseconds = speed.seconds * 1e3;
        let share = 100.0 * rate(speed) / copy(speed);
        text += &format!(
            "| {} {} | {megabytes:.0} | {milliseconds:.3} | {:.0} | {share:.0} % |\n",
            speed.kernel,
            speed.element,
            rate(speed)
        );
    }
    text + "\n"
}

/// Measures every case on both engines; the greatest difference by measure.
fn compare(
    engines: [&Engine; 2],
    asked: &[MeasureRequest],
    precision: Precision,
) -> Result<BTreeMap<String, Compared>, Fault> {
    let mut all: BTreeMap<String, Compared> = BTreeMap::new();
    for case in &CASES {
        let files = CaseFiles::new(case)?;
        let there = files.readings(engines[0], asked, precision)?;
        let here = files.readings(engines[1], asked, precision)?;
        let losses = |reading: &Reading| {
            let loss = |other: &&Reading| other.measure == "loss" && other.group == reading.group;
            here.iter().find(loss).and_then(|loss| loss.value).unwrap_or(1.0)
        };
        for (there, here) in there.iter().zip(&here) {
            let found = pair(there, here, losses(here), precision);
            match all.get_mut(&here.measure) {
                Some(known)
                    if known.passes
                        && found.difference / found.allowed <= known.difference / known.allowed => {}
                Some(known) if !known.passes => {}
                _ => drop(all.insert(here.measure.clone(), found)),
            }
        }
    }
    Ok(all)
}

fn pair(there: &Reading, here: &Reading, loss: f64, precision: Precision) -> Compared {
    let [relative, floor] = allowed(&here.measure, precision);
    let pair = [there.value, here.value];
    let (difference, allowed) = match pair {
        [Some(a), Some(b)] => {
            let size = b.abs().max(f64::MIN_POSITIVE);
            ((a - b).abs() / size, relative + floor * (loss + b.abs()) / size)
        }
        [None, None] => (0.0, relative),
        _ => (f64::INFINITY, relative),
    };
    let same = there.measure == here.measure && there.outcome == here.outcome;
    Compared { difference, allowed, pair, passes: same && difference <= allowed }
}

/// What is read of a case.
struct CaseFiles {
    config: &'static str,
    init: Snapshot,
    snapshot: Snapshot,
    previous: Snapshot,
    probe: ProbeGroup,
}

impl CaseFiles {
    fn new(case: &SelftestCase) -> Result<Self, Fault> {
        let failed = |error: io::Error| Fault::internal(format!("a temporary file: {error}"));
        let open = |bytes: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
            file.write_all(bytes).map_err(failed)?;
            TensorFiles::open(Path::new(file.path()))
        };
        let [init, snapshot, previous, probe] = case.files;
        let of = |bytes: &[u8]| open(bytes)?.snapshot(HEADER);
        Ok(Self {
            config: case.config,
            init: of(init)?,
            snapshot: of(snapshot)?,
            previous: of(previous)?,
            probe: open(probe)?.probe("probe")?,
        })
    }

    fn readings(
        &self,
        engine: &Engine,
        asked: &[MeasureRequest],
        precision: Precision,
    ) -> Result<Vec<Reading>, Fault> {
        let every = |name: &str| MeasureRequest { name: name.into(), parameters: BTreeMap::new() };
        let measures = match asked {
            [] => Validator.catalogue().iter().map(|info| every(info.name)).collect(),
            asked => asked.to_vec(),
        };
        let plain = RunSpec::new(self.config, vec![self.probe.clone()]);
        let spec = RunSpec { measures, seed: 1234, precision, ..plain };
        let validated = Validator.validate(&spec)?;
        let source = |snapshot: &Snapshot| -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
            Ok(Some(Arc::new(InMemory::new(snapshot.clone(), &*validated.layout)?)))
        };
        let references = References { init: source(&self.init)?, previous: source(&self.previous)? };
        let arrived = Arrived { snapshot: self.snapshot.clone(), references, statistics: None };
        let mut session = engine.take(&validated, spec.seed, arrived)?;
        let mut memory = RunMemory::default();
        let mut readings = Vec::new();
        let mut keep = |reading| readings.push(reading);
        let limits = Limits { stop: &Stop::default(), clock: &|| 0.0 };
        pipeline::evaluate(&mut session, &mut memory, None, limits, &mut keep)?;
        Ok(readings)
    }
}
