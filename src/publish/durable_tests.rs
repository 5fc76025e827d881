//! A bus on a store in SQLite: what outlives it, what a disk that fails does, what can never be kept.
#![allow(clippy::unwrap_used)]

use super::{Bounds, EventBus};
use crate::store::EventStore;
use crate::store::fixtures::{acceptance, at, checked, loss, record};
use crate::store::sqlite::{DATABASE, SqliteStore};
use clino_domain::*;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const BOUNDS: Bounds = Bounds { events: 8, bytes: 1 << 20, records: 3, reports: 2 };

/// A bus on a store, and the runs that are there.
pub(super) fn durable(bounds: Bounds, store: Arc<dyn EventStore>) -> (Arc<EventBus>, Vec<PersistedRun>) {
    let runs = store.runs(10).unwrap();
    let kept = runs.iter().map(|stored| stored.run.clone()).collect();
    (EventBus::new(bounds).durable(store, runs).unwrap(), kept)
}

fn bus(directory: &Path) -> (Arc<EventBus>, Vec<PersistedRun>) {
    durable(BOUNDS, SqliteStore::open(directory, None).unwrap())
}

pub(super) fn end(bus: Arc<EventBus>) {
    assert!(bus.end(Duration::from_secs(60)));
    drop(bus);
}

fn measured(bus: &EventBus, run: &RunId, step: u64) {
    bus.accept(run, acceptance(step));
    bus.append(run, Event::Started { snapshot: at(step), readings: 2 });
    bus.append(run, loss(step, step as f64));
    bus.append(run, loss(step, -1.0));
    bus.append(run, Event::Finished { snapshot: at(step), seconds: 0.5 });
}

async fn all(bus: &EventBus, run: &RunId, count: usize) -> Vec<Arc<Sequenced>> {
    let mut watcher = bus.watch(run, Some(0)).unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), watcher.next()).await;
        events.push(next.unwrap().unwrap());
    }
    events
}

#[tokio::test]
async fn what_was_told_is_there_again_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunId("r".into());
    let (before, _) = bus(directory.path());
    before.open(record(&run), DecisionContext::default());
    (1..=30).for_each(|step| measured(&before, &run, step));
    before.accept(&run, acceptance(31));
    before.append(&run, Event::Started { snapshot: at(31), readings: 2 });
    before.append(&run, loss(31, 0.25));
    before.settled().await.unwrap();
    let told = all(&before, &run, 153).await;
    let standing = before.standing(&run).unwrap();
    before.drain();
    end(before);

    let (after, runs) = bus(directory.path());
    assert_eq!((runs.len(), runs[0].record.seed, runs[0].begun, runs[0].closed), (1, u64::MAX, true, false));
    after.settled().await.unwrap();
    let again = all(&after, &run, 154).await;
    assert_eq!(again[..153], told[..]);
    let reason = "the daemon ended before it was measured".to_owned();
    assert_eq!(*again[153], Sequenced { sequence: 153, event: Event::Skipped { snapshot: at(31), reason } });
    let progress = after.standing(&run).unwrap().progress;
    assert_eq!(progress, super::Progress { skipped: 1, next_sequence: 154, ..standing.progress });
    assert_eq!(after.standing(&run).unwrap().latest, standing.latest);
    let report = after.report(&run, Some(at(3))).unwrap();
    assert_eq!(
        (report.state, report.kind, report.readings.len()),
        (SnapshotState::Measured, WeightKind::Ema, 2)
    );
    assert_eq!(after.report(&run, None).unwrap().snapshot, at(30));
    assert_eq!(after.report(&run, Some(at(31))).unwrap().readings.len(), 1);
    let idempotency = after.idempotency(&run).unwrap();
    assert_eq!((idempotency.attempts.len(), idempotency.receipts[0].0.as_str()), (31, "key 1"));
    let mut recalled = Vec::new();
    after
        .recall(&run, &["loss".into()], None, &mut |at, readings| recalled.push((at.step, readings.len())))
        .unwrap();
    assert_eq!(recalled, (1..=30).map(|step| (step, 2)).collect::<Vec<_>>());
    let mut some = Vec::new();
    let stretch = Some(Stretch { from: 4, most: 3 });
    let mut take = |at: SnapshotRef, readings: &[&Reading]| some.push((at.step, readings[0].value));
    after.recall(&run, &["loss".into()], stretch, &mut take).unwrap();
    assert_eq!(some, [(4, Some(4.0)), (5, Some(5.0)), (6, Some(6.0))]);
    let mut nothing = 0;
    after.recall(&run, &["margin".into()], None, &mut |_, readings| nothing += 1 + readings.len()).unwrap();
    assert_eq!(nothing, 30);
    end(after);
}

#[tokio::test]
async fn a_closed_run_ends_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunId("r".into());
    let (before, _) = bus(directory.path());
    before.open(record(&run), DecisionContext::default());
    before.accept(&run, acceptance(1));
    before.close(&run, false);
    before.settled().await.unwrap();
    end(before);
    for _ in 0..2 {
        let (after, runs) = bus(directory.path());
        assert!(runs[0].closed);
        let events = all(&after, &run, 3).await;
        assert!(matches!(events[1].event, Event::Skipped { .. }));
        assert_eq!(events[2].event, Event::Closed);
        after.append(&run, loss(1, 0.0));
        after.settled().await.unwrap();
        assert_eq!(after.standing(&run).unwrap().progress.next_sequence, 3);
        end(after);
    }
}

fn decision(run: &RunId, value: f64) -> Decision {
    Decision {
        id: "id".into(),
        run: run.clone(),
        advice: Advice::Stop,
        reason: Reason::NonFinite,
        rule: "non_finite on loss".into(),
        sentence: "it is not finite".into(),
        compared: vec![("value".into(), value), ("bound".into(), 0.5)],
        evaluated: Some(at(3)),
        best: Some((at(2), -value)),
        next_check_step: None,
        peers: vec![],
        peer_count: 0,
        mode: Mode::Advise,
        latched: true,
        overridden: Some(Overridden { at: Some(at(1)), reason: "why".into(), by: "who".into() }),
        history_digest: "h".into(),
        policy_digest: "p".into(),
    }
}

#[tokio::test]
async fn decisions_come_back_also_with_numbers_that_are_none() {
    for value in [f64::INFINITY, f64::NAN, 0.1] {
        let directory = tempfile::tempdir().unwrap();
        let run = RunId("r".into());
        let (before, _) = bus(directory.path());
        before.open(record(&run), DecisionContext::default());
        before.append(&run, Event::Decided(Box::new(decision(&run, value))));
        before.settled().await.unwrap();
        end(before);
        let (after, _) = bus(directory.path());
        let found = after.standing(&run).unwrap().decision.unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", decision(&run, value)));
        let events = all(&after, &run, 1).await;
        let Event::Decided(told) = &events[0].event else { panic!("{events:?}") };
        assert_eq!(format!("{told:?}"), format!("{found:?}"));
        end(after);
    }
}

/// Rows that SQLite has no room for: the key of this table is used up, which is told as a full disk is. It lasts until the
/// triggers are gone, so no clock is in it.
const FULL: &str = "CREATE TABLE used_up (n INTEGER PRIMARY KEY AUTOINCREMENT);
    INSERT INTO used_up VALUES (9223372036854775807);
    CREATE TRIGGER full_events BEFORE INSERT ON events BEGIN INSERT INTO used_up (n) VALUES (NULL); END;
    CREATE TRIGGER full_readings BEFORE INSERT ON readings BEGIN INSERT INTO used_up (n) VALUES (NULL); END;";

/// Another connection to the database of a directory, as somebody's shell has it.
pub(super) fn beside(directory: &Path) -> Connection {
    let connection = Connection::open(directory.join(DATABASE)).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection
}

/// No event and no reading of a history can be written any more.
pub(super) fn fill_disk(directory: &Path) {
    beside(directory).execute_batch(FULL).unwrap();
}

/// They can be written again.
pub(super) fn free_disk(directory: &Path) {
    beside(directory).execute_batch("DROP TRIGGER full_events; DROP TRIGGER full_readings").unwrap();
}

#[tokio::test]
async fn a_check_outlives_the_process_and_one_that_failed_is_not_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunId("r".into());
    let (before, _) = bus(directory.path());
    before.open(record(&run), DecisionContext::default());
    for (step, agrees) in [(1, true), (2, false), (3, true)] {
        before.append(&run, Event::Checked(Box::new(checked(step, agrees))));
    }
    before.settled().await.unwrap();
    end(before);
    let (after, _) = bus(directory.path());
    assert_eq!(after.standing(&run).unwrap().checked, Some(checked(2, false)));
    assert!(after.refusal(&run).is_some());
    let events: Vec<_> = all(&after, &run, 3).await.into_iter().map(|told| told.event.clone()).collect();
    let told = |step, agrees| Event::Checked(Box::new(checked(step, agrees)));
    assert_eq!(events, [told(1, true), told(2, false), told(3, true)]);
    end(after);
}

#[tokio::test]
async fn row_38_a_full_disk_refuses_what_is_new_and_recovers_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, _) = bus(directory.path());
    let run = RunId("r".into());
    bus.open(record(&run), DecisionContext::default());
    bus.settled().await.unwrap();
    fill_disk(directory.path());
    bus.accept(&run, acceptance(1));
    bus.append(&run, Event::Started { snapshot: at(1), readings: 500 });
    (0..500).for_each(|i| bus.append(&run, loss(1, f64::from(i))));
    let fault = bus.settled().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
    assert_eq!(bus.room().unwrap_err(), fault);
    assert_eq!(
        bus.standing(&run).unwrap().progress.next_sequence,
        0,
        "nothing was told before it was durable"
    );
    free_disk(directory.path());
    let recovered = async {
        while bus.settled().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), recovered).await.unwrap();
    bus.room().unwrap();
    let events = all(&bus, &run, 502).await;
    assert!(events.iter().zip(0..).all(|(event, due)| event.sequence == due));
    end(bus);
}

#[tokio::test]
async fn runs_that_are_too_old_go_with_their_files() {
    let directory = tempfile::tempdir().unwrap();
    let old = RunId("old".into());
    let young = RunId("young".into());
    let (before, _) = bus(directory.path());
    for run in [&old, &young] {
        let spec = TensorSpec { name: "x".into(), dtype: Dtype::F32, shape: vec![1] };
        let tensors = Arc::new(vec![Tensor::new(spec, vec![7; 4].into()).unwrap()]);
        let digest = if *run == old { "0" } else { "1" }.repeat(64);
        let group = PersistedGroup { name: "en".into(), digest, tensors: Some(tensors) };
        before.open(RunRecord { groups: vec![group], ..record(run) }, DecisionContext::default());
        measured(&before, run, 1);
    }
    before.close(&old, false);
    before.append(&old, Event::Closed);
    before.settled().await.unwrap();
    end(before);
    let probes = || std::fs::read_dir(directory.path().join("probes")).unwrap().count();
    assert_eq!(probes(), 2);
    let store = SqliteStore::open(directory.path(), Some(Duration::from_millis(1))).unwrap();
    let (after, _) = durable(BOUNDS, store);
    let gone = async {
        while after.standing(&old).is_ok() || probes() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert!(after.standing(&young).is_ok());
    assert_eq!(
        after.specification(&young, |_| Err(Fault::internal("no model"))).unwrap().groups[0].tensors[0].data
            [..],
        [7; 4]
    );
    end(after);
    let (_, runs) = bus(directory.path());
    assert_eq!(runs.iter().map(|run| run.record.id.clone()).collect::<Vec<_>>(), [young]);
}

/// The database refuses such a row however often it is written.
const REFUSED: &str = "CREATE TRIGGER refused BEFORE INSERT ON readings WHEN NEW.value = 13
    BEGIN SELECT RAISE(ABORT, 'an unlucky number'); END;
    CREATE TRIGGER unwanted BEFORE INSERT ON runs WHEN NEW.id = 'unwanted'
    BEGIN SELECT RAISE(ABORT, 'it is not wanted'); END;";

#[tokio::test]
async fn row_63_a_row_that_cannot_be_written_is_set_aside_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let run = RunId("r".into());
    let (before, _) = bus(directory.path());
    before.open(record(&run), DecisionContext::default());
    before.settled().await.unwrap();
    beside(directory.path()).execute_batch(REFUSED).unwrap();
    before.accept(&run, acceptance(1));
    (0..40).for_each(|i| before.append(&run, loss(1, f64::from(i))));
    before.kept(&run, "s1").await.unwrap();
    before.room().unwrap();
    // Whoever wants to hear that it is kept hears that it is not; the run itself goes on.
    let unwanted = RunId("unwanted".into());
    before.open(record(&unwanted), DecisionContext::default());
    before.append(&unwanted, loss(1, 1.0));
    let fault = before.kept(&unwanted, "unwanted").await.unwrap_err();
    assert!(fault.kind == FaultKind::Internal && fault.message.contains("not wanted"), "{fault}");
    assert_eq!(before.standing(&unwanted).unwrap().progress.next_sequence, 1);
    assert_eq!(before.counters.metrics.number(clino_domain::metrics::Metric::HistoryDropped, &[]), 3.0);
    end(before);

    let (after, runs) = bus(directory.path());
    assert_eq!(runs.len(), 1);
    after.settled().await.unwrap();
    // All others are there, and a gap says that one is not.
    let events = all(&after, &run, 41).await;
    assert!(events.iter().zip(0..).all(|(event, due)| event.sequence == due));
    assert_eq!(events[14].event, Event::Gap { lost: 1 });
    assert_eq!(events[15].event, loss(1, 14.0));
    end(after);
}
