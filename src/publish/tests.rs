#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::fixtures::{checked, record};
use clino_domain::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const BOUNDS: Bounds = Bounds { events: 8, bytes: 1 << 20, records: 3, reports: 2 };

fn bus() -> (Arc<EventBus>, RunId) {
    let bus = Arc::new(EventBus::new(BOUNDS));
    let run = RunId("r".into());
    bus.open(record(&run), DecisionContext::default());
    (bus, run)
}

fn at(step: u64) -> SnapshotRef {
    SnapshotRef { step, attempt: 1 }
}

fn reading(step: u64) -> Event {
    let loss = MeasureRequest { name: "loss".into(), parameters: BTreeMap::new() };
    Event::Reading(Box::new(Reading {
        value: Some(1.0),
        ..Reading::blank(loss, None, at(step), Precision::F64)
    }))
}

fn measured(bus: &EventBus, run: &RunId, step: u64) {
    bus.append(run, Event::Accepted { snapshot: at(step), kind: WeightKind::Live, initialization: false });
    bus.append(run, Event::Started { snapshot: at(step), readings: 1 });
    bus.append(run, reading(step));
    bus.append(run, Event::Finished { snapshot: at(step), seconds: 0.0 });
}

#[test]
fn a_check_that_failed_refuses_snapshots_and_is_not_taken_back() {
    let (bus, run) = bus();
    let check = |step, agrees| bus.append(&run, Event::Checked(Box::new(checked(step, agrees))));
    check(1, true);
    assert_eq!((bus.refusal(&run), bus.standing(&run).unwrap().checked), (None, Some(checked(1, true))));
    check(2, false);
    check(3, true);
    assert_eq!(bus.standing(&run).unwrap().checked, Some(checked(2, false)));
    let refusal = bus.refusal(&run).unwrap();
    assert!(refusal.contains("1.702000") && refusal.contains("2.202000"), "{refusal}");
}

#[tokio::test]
async fn a_watcher_gets_all_events_and_ends_with_the_run() {
    let (bus, run) = bus();
    let mut late = bus.watch(&run, None).unwrap();
    measured(&bus, &run, 1);
    bus.append(&run, Event::Closed);
    bus.append(&run, reading(9));
    for sequence in 0..5 {
        assert_eq!(late.next().await.unwrap().sequence, sequence);
    }
    assert_eq!(late.next().await, None);
    let mut after = bus.watch(&run, None).unwrap();
    assert_eq!(after.next().await.unwrap().event, Event::Closed);
    assert_eq!(after.next().await, None);
}

#[tokio::test]
async fn a_sleeping_watcher_is_woken_and_a_drain_is_its_last_event() {
    let (bus, run) = bus();
    let mut watcher = bus.watch(&run, None).unwrap();
    let task = tokio::spawn(async move { (watcher.next().await, watcher.next().await) });
    tokio::task::yield_now().await;
    bus.drain();
    let (event, end) = task.await.unwrap();
    assert_eq!((event.unwrap().event.clone(), end), (Event::Draining, None));
}

#[tokio::test]
async fn a_watcher_that_lags_gets_a_gap() {
    let (bus, run) = bus();
    let mut watcher = bus.watch(&run, Some(0)).unwrap();
    (1..=5).for_each(|step| measured(&bus, &run, step));
    let gap = watcher.next().await.unwrap();
    assert_eq!((gap.sequence, &gap.event), (11, &Event::Gap { lost: 12 }));
    assert_eq!(watcher.next().await.unwrap().sequence, 12);
}

#[test]
fn unknown_runs_and_places_are_refused() {
    let (bus, run) = bus();
    assert_eq!(bus.watch(&RunId("x".into()), None).unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(bus.watch(&run, Some(1)).unwrap_err().kind, FaultKind::Invalid);
    assert_eq!(bus.report(&run, None).unwrap_err().kind, FaultKind::NotFound);
}

#[test]
fn the_board_keeps_the_newest_and_counts_all() {
    let (bus, run) = bus();
    (1..=4).for_each(|step| measured(&bus, &run, step));
    bus.append(&run, Event::Accepted { snapshot: at(5), kind: WeightKind::Ema, initialization: false });
    bus.append(&run, Event::Skipped { snapshot: at(5), reason: "why".into() });
    let progress = bus.standing(&run).unwrap().progress;
    let expected = Progress {
        accepted: 5,
        measured: 4,
        skipped: 1,
        next_sequence: 18,
        last_accepted: Some(at(5)),
        last_measured: Some(at(4)),
    };
    assert_eq!(progress, expected);
    assert_eq!(bus.report(&run, None).unwrap().snapshot, at(4));
    assert_eq!(bus.report(&run, Some(at(1))).unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(bus.report(&run, Some(at(4))).unwrap().readings.len(), 1);
    let skipped = bus.report(&run, Some(at(5))).unwrap();
    assert_eq!((skipped.state, skipped.kind), (SnapshotState::Skipped, WeightKind::Ema));
    assert_eq!(skipped.reason.as_deref(), Some("why"));
}

#[test]
fn old_readings_go_before_old_records() {
    let bus = EventBus::new(Bounds { reports: 1, ..BOUNDS });
    let run = RunId("r".into());
    bus.open(record(&run), DecisionContext::default());
    (1..=2).for_each(|step| measured(&bus, &run, step));
    let old = bus.report(&run, Some(at(1))).unwrap();
    assert_eq!((old.state, old.readings.len()), (SnapshotState::Measured, 0));
    assert!(old.reason.unwrap().contains("too old"));
}
