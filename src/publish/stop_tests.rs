//! A STOP is spoken of only once it is durable.
#![allow(clippy::unwrap_used)]

use super::durable_tests::{beside, durable, fill_disk, free_disk};
use super::{Bounds, EventBus, fixtures};
use crate::store::fixtures::record;
use crate::store::sqlite::SqliteStore;
use clino_domain::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const BOUNDS: Bounds = Bounds { events: 64, bytes: 1 << 20, records: 8, reports: 2 };

const AT: SnapshotRef = SnapshotRef { step: 1, attempt: 1 };

/// A policy that stops at the first loss that it sees.
fn context() -> DecisionContext {
    fixtures::context(|points| if points.is_empty() { Advice::NotEnoughData } else { Advice::Stop })
}

fn loss() -> Reading {
    let loss = MeasureRequest { name: "loss".into(), parameters: Default::default() };
    Reading { value: Some(2.0), ..Reading::blank(loss, None, AT, Precision::F64) }
}

fn events() -> [Event; 4] {
    [
        Event::Accepted { snapshot: AT, kind: WeightKind::Ema, initialization: false },
        Event::Started { snapshot: AT, readings: 1 },
        Event::Reading(Box::new(loss())),
        Event::Finished { snapshot: AT, seconds: 0.5 },
    ]
}

fn measured(bus: &EventBus, run: &RunId) {
    events().into_iter().for_each(|event| bus.append(run, event));
}

fn silent(bus: &EventBus, run: &RunId) {
    assert_eq!(bus.decided(run), None);
    assert_ne!(bus.verdict(run).map(|decision| decision.advice), Some(Advice::Stop));
    assert_eq!(bus.refusal(run), None);
}

fn opened(directory: &Path) -> Arc<EventBus> {
    durable(BOUNDS, SqliteStore::open(directory, None).unwrap()).0
}

/// A bus with a history, and a run there.
fn begun(directory: &Path) -> (Arc<EventBus>, RunId) {
    let bus = opened(directory);
    let run = RunId("r".into());
    bus.open(record(&run), context());
    (bus, run)
}

#[tokio::test]
async fn a_stop_is_spoken_of_when_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, run) = begun(directory.path());
    // The disk is full at first.
    fill_disk(directory.path());
    measured(&bus, &run);
    let fault = bus.settled().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exhausted, "{fault}");
    silent(&bus, &run);
    free_disk(directory.path());
    let told = async {
        while bus.verdict(&run).is_none_or(|decision| decision.advice != Advice::Stop) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert!(bus.refusal(&run).is_some());
    assert_eq!(bus.decided(&run).unwrap().advice, Advice::Stop);
    // A copy of the directory is what a kill -9 would leave.
    let copy = tempfile::tempdir().unwrap();
    // While somebody reads, the writer does not take back the log of which a part would be copied.
    let reader = beside(directory.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    drop(reader);
    let again = opened(copy.path());
    again.resume(&run, context());
    assert_eq!(again.decided(&run), bus.decided(&run));
    assert!(again.refusal(&run).is_some());
}

/// Watchers are woken before the bus asks the policy, and one of them may ask first.
#[tokio::test]
async fn a_snapshot_that_watchers_have_heard_of_counts_in_a_decision() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, run) = begun(directory.path());
    let stream = bus.stream(&run).unwrap();
    for event in events() {
        assert!(stream.tell_now(event).is_some());
    }
    let decision = bus.decisions.decide(&run, None, bus.as_ref()).unwrap().decision;
    assert_eq!((decision.advice, decision.evaluated), (Advice::Stop, Some(AT)));
}

#[tokio::test]
async fn whoever_finds_a_stop_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, run) = begun(directory.path());
    bus.settled().await.unwrap();
    bus.spoken(&run).await.unwrap();
    // Found between two transactions: as if a poll came before the writer.
    bus.decisions.observe(&run, AT, &[&loss()]);
    assert!(bus.decisions.decide(&run, None, bus.as_ref()).unwrap().decision.latched);
    silent(&bus, &run);
    let wait = tokio::time::timeout(Duration::from_millis(50), bus.spoken(&run)).await;
    assert!(wait.is_err(), "it was spoken of");
    let decision = bus.decide(&run, None).unwrap();
    bus.append(&run, Event::Decided(Box::new(decision.clone())));
    bus.spoken(&run).await.unwrap();
    assert_eq!(bus.decided(&run), Some(decision));
}

#[tokio::test]
async fn a_stop_that_a_drain_forestalls_is_not_spoken_of() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, run) = begun(directory.path());
    bus.drain();
    bus.decisions.observe(&run, AT, &[&loss()]);
    bus.decide(&run, None).unwrap();
    let fault = tokio::time::timeout(Duration::from_secs(60), bus.spoken(&run)).await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    silent(&bus, &run);
}
