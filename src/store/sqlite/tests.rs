//! SQLite as a store: the contract, and readings bit for bit.
#![allow(clippy::unwrap_used)]

use super::insert::{DatedChange, write};
use super::reading::{ReadingRow, RowContext};
use super::*;
use crate::store::RunChange;
use crate::store::contract::{StoreLocation, contract};
use crate::store::fixtures::record;
use clino_domain::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A directory of `--data`.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            }
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

impl StoreLocation for Directory {
    fn open(&self, retain: Option<Duration>) -> Arc<dyn EventStore> {
        SqliteStore::open(self.0.path(), retain).unwrap()
    }

    fn killed(&self) -> Box<dyn StoreLocation> {
        let left = Self::new();
        // While somebody reads, the writer does not take back the log of which a part would be copied.
        let reader = beside(self.0.path());
        reader.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
        copy(self.0.path(), left.0.path());
        Box::new(left)
    }
}

contract!(Directory::new());

/// Another connection to the database of a directory, as somebody's shell has it.
fn beside(directory: &Path) -> Connection {
    let connection = Connection::open(directory.join(DATABASE)).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection
}

/// Every sort of number, those that SQLite and JSON do not have among them.
fn number() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX];
    prop_oneof![
        prop::sample::select(special.to_vec()),
        any::<u64>().prop_map(f64::from_bits),
        any::<i16>().prop_map(f64::from),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(number(), 0..4)
}

fn maybe() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(number())
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec(("[a-z\"é]{0,3}", maybe()).prop_map(|(name, value)| Part { name, value }), 0..3)
}

fn tensors() -> impl Strategy<Value = Vec<TensorParts>> {
    prop::collection::vec(
        ("[a-z.]{1,4}", parts()).prop_map(|(tensor, parts)| TensorParts { tensor, parts }),
        0..3,
    )
}

fn rungs() -> impl Strategy<Value = Vec<Rung>> {
    let rung = (number(), number(), numbers(), maybe());
    let rung = rung.prop_map(|(alpha, value, draws, stderr)| Rung { alpha, value, draws, stderr });
    prop::collection::vec(rung, 0..3)
}

fn surface() -> impl Strategy<Value = Option<Surface>> {
    let surface = (1u32..3, numbers(), prop::collection::vec(maybe(), 0..4));
    prop::option::of(surface.prop_map(|(dimensions, axis, losses)| Surface { dimensions, axis, losses }))
}

fn plain() -> impl Strategy<Value = Reading> {
    let outcome = prop::sample::select(vec![
        Outcome::Measured,
        Outcome::Undefined,
        Outcome::Unavailable,
        Outcome::Failed,
        Outcome::Skipped,
    ]);
    let estimate = (number(), maybe(), number(), number());
    let estimate = estimate.prop_map(|(mean, stderr, min, max)| Estimate { mean, stderr, min, max });
    let ended = prop::sample::select(vec![Ended::Draws, Ended::Target, Ended::MaxDraws, Ended::MaxSeconds]);
    let interval = prop::option::of((number(), number(), number()));
    let spread = (prop::option::of(estimate), interval);
    let columns = (any::<u64>(), 1..u32::MAX, outcome, maybe(), spread, prop::option::of(ended));
    let texts = (prop::option::of(".{0,5}"), prop::option::of(".{0,5}"), prop::option::of("[a-z]{1,3}"));
    (columns, texts, prop::array::uniform5(number()), any::<bool>()).prop_map(
        |(
            (step, attempt, outcome, value, (estimate, interval), ended),
            (reason, remark, group),
            work,
            known,
        )| {
            let interval = interval.map(|(low, high, level)| Interval { low, high, level });
            let name = if known { "loss" } else { "unknown" };
            let parameters = BTreeMap::from([("p".to_owned(), Value::Number(0.5))]);
            let measure = MeasureRequest { name: name.into(), parameters };
            let [seconds, forwards, backwards, passes, operations] = work;
            Reading {
                outcome,
                value,
                estimate,
                interval,
                ended,
                reason,
                remark,
                seconds,
                work: Work { forwards, backwards, passes, operations },
                ..Reading::blank(measure, group.as_deref(), SnapshotRef { step, attempt }, Precision::F64)
            }
        },
    )
}

fn reading() -> impl Strategy<Value = Reading> {
    let run = (numbers(), numbers()).prop_map(|(nodes, weights)| Quadrature { nodes, weights });
    let rest = (numbers(), parts(), tensors(), rungs(), prop::collection::vec(run, 0..3), surface());
    (plain(), rest, any::<bool>()).prop_map(|(plain, (draws, parts, tensors, rungs, runs, surface), f32)| {
        Reading {
            draws,
            parts,
            tensors,
            rungs,
            runs,
            surface,
            precision: if f32 { Precision::F32 } else { Precision::F64 },
            ..plain
        }
    })
}

fn known() -> MeasureRequest {
    MeasureRequest { name: "loss".into(), parameters: BTreeMap::from([("p".to_owned(), Value::Number(0.5))]) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn readings_come_back_bit_for_bit(readings in prop::collection::vec(reading(), 1..20)) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path(), None).unwrap();
        let mut connection = lock(&store.connection).take().unwrap();
        let context = RowContext { measures: vec![known()], precision: Precision::F64 };
        let run = RunId("r".into());
        let handle = Arc::new(RunHandle::new(RowContext { measures: vec![known()], precision: Precision::F64 }));
        lock(&store.handles).insert(run.clone(), handle.clone());
        let dated = |change| DatedChange { run: run.clone(), handle: handle.clone(), change, at: 1.0 };
        let mut lines = vec![dated(RunChange::Open(Box::new(record(&run))))];
        for (sequence, reading) in (0..).zip(&readings) {
            let event = Arc::new(Sequenced { sequence, event: Event::Reading(Box::new(reading.clone())) });
            handle.advance(&event);
            lines.push(dated(RunChange::Event(event)));
        }
        // Twice, as after a commit of which nobody knows whether it reached the disk.
        write(&mut connection, &store.folder, &lines).unwrap();
        write(&mut connection, &store.folder, &lines).unwrap();
        let page = store.page(&run, 0, 128).unwrap();
        prop_assert_eq!(page.len(), readings.len());
        for (found, expected) in page.iter().zip(&readings) {
            let Event::Reading(found) = &found.event else { panic!("{found:?}") };
            prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            // Also the bits of what is no number.
            prop_assert_eq!(ReadingRow::of(0, found, &context).unwrap(), ReadingRow::of(0, expected, &context).unwrap());
        }
    }
}

#[test]
fn row_47_one_directory_has_one_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(directory.path(), None).unwrap();
    let fault = SqliteStore::open(directory.path(), None).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exists);
    assert!(fault.message.contains(&std::process::id().to_string()), "{fault}");
    drop(first);
    SqliteStore::open(directory.path(), None).unwrap();
}
