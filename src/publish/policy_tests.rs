//! Policies that are slow, or fail: whom they hold up, and what becomes of the order of events.
#![allow(clippy::unwrap_used)]

use super::durable_tests::durable;
use super::{Bounds, EventBus, fixtures};
use crate::store::fixtures::{PATIENCE, acceptance, at, loss, record, run};
use crate::store::sqlite::SqliteStore;
use clino_domain::*;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { events: 64, bytes: 1 << 20, records: 8, reports: 4 };

/// A policy that stops where the rule holds.
fn context(rule: impl Fn(&[SeriesPoint]) -> bool + Send + Sync + 'static) -> DecisionContext {
    fixtures::context(move |points| if rule(points) { Advice::Stop } else { Advice::Continue })
}

fn last(points: &[SeriesPoint]) -> f64 {
    points.last().map_or(0.0, |point| point.value)
}

/// A policy that tells that it has been asked for the first time, and answers when it is let.
struct SlowPolicy {
    asked: Receiver<()>,
    answer: SyncSender<()>,
}

impl SlowPolicy {
    fn new(stops: fn(f64) -> bool) -> (Self, DecisionContext) {
        let (asking, asked) = sync_channel(1);
        let (answer, answers) = sync_channel::<()>(1);
        let first = Mutex::new(Some((asking, answers)));
        let rule = move |points: &[SeriesPoint]| {
            let first = first.lock().unwrap().take();
            if let Some((asking, answers)) = first {
                asking.send(()).unwrap();
                answers.recv_timeout(PATIENCE).unwrap();
            }
            stops(last(points))
        };
        (Self { asked, answer }, context(rule))
    }

    fn is_asked(&self) {
        self.asked.recv_timeout(PATIENCE).unwrap();
    }

    fn answers(&self) {
        self.answer.send(()).unwrap();
    }
}

fn measured(bus: &EventBus, run: &RunId, step: u64, value: f64) {
    bus.accept(run, acceptance(step));
    bus.append(run, Event::Started { snapshot: at(step), readings: 1 });
    bus.append(run, loss(step, value));
    bus.append(run, Event::Finished { snapshot: at(step), seconds: 0.5 });
}

/// A bus with a store, and one without.
fn buses() -> ([Arc<EventBus>; 2], TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (kept, _) = durable(BOUNDS, SqliteStore::open(directory.path(), None).unwrap());
    ([kept, EventBus::new(BOUNDS).started().unwrap()], directory)
}

/// Events of a run up to its last one, without the first of them.
async fn story(bus: &EventBus, run: &RunId, from: usize) -> Vec<Event> {
    let mut watcher = bus.watch(run, Some(0)).unwrap();
    let mut events = Vec::new();
    let all = async {
        while let Some(event) = watcher.next().await {
            events.push(event.event.clone());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    events.split_off(from)
}

/// So many events of a run have been told. Not by a watcher, which ends with a run that goes on later.
async fn heard(bus: &EventBus, run: &RunId, count: u64) {
    let all = async {
        while bus.progress(run).unwrap().next_sequence < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

fn advice(event: &Event) -> Option<(Advice, u64)> {
    let Event::Decided(decision) = event else { return None };
    Some((decision.advice, decision.evaluated.unwrap().step))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_takes_its_time_delays_nobody_elses_receipt() {
    let (buses, _directory) = buses();
    for bus in buses {
        let (slow, context_of_slow) = SlowPolicy::new(|loss| loss > 10.0);
        bus.open(record(&run("slow")), context_of_slow);
        measured(&bus, &run("slow"), 1, 11.0);
        slow.is_asked();
        // While it thinks: a run is opened, a snapshot is received and measured, and its own policy has its say.
        let quick = run("quick");
        bus.open(record(&quick), context(|points| last(points) > 10.0));
        measured(&bus, &quick, 1, 12.0);
        tokio::time::timeout(PATIENCE, bus.kept(&quick, "s1")).await.unwrap().unwrap();
        heard(&bus, &quick, 4).await;
        bus.evaluate(&quick);
        tokio::time::timeout(PATIENCE, bus.spoken(&quick)).await.unwrap().unwrap();
        assert_eq!(bus.verdict(&quick).map(|decision| decision.advice), Some(Advice::Stop));
        assert!(bus.refusal(&quick).is_some());
        bus.room().unwrap();
        // Of the slow one the snapshot is told, and nothing else yet.
        heard(&bus, &run("slow"), 4).await;
        assert_eq!((bus.verdict(&run("slow")), bus.refusal(&run("slow"))), (None, None));
        assert!(bus.owes(&run("slow")) && !bus.owes(&quick));
        slow.answers();
        bus.evaluate(&run("slow"));
        tokio::time::timeout(PATIENCE, bus.spoken(&run("slow"))).await.unwrap().unwrap();
        assert!(bus.refusal(&run("slow")).is_some());
        assert!(bus.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_waits_for_what_its_policy_says() {
    for end in [Event::Closed, Event::Draining] {
        let (buses, _directory) = buses();
        for bus in buses {
            let (slow, context_of_slow) = SlowPolicy::new(|loss| loss > 10.0);
            let r = run("slow");
            bus.open(record(&r), context_of_slow);
            measured(&bus, &r, 1, 11.0);
            slow.is_asked();
            match end {
                Event::Draining => bus.drain(),
                _ => bus.append(&r, end.clone()),
            }
            // Nothing comes behind the end.
            bus.append(&r, loss(9, 9.0));
            tokio::time::timeout(PATIENCE, bus.settled()).await.unwrap().unwrap();
            assert_eq!(bus.progress(&r).unwrap().next_sequence, 4, "it has not come");
            slow.answers();
            let story = story(&bus, &r, 3).await;
            assert_eq!(story.len(), 3, "{story:?}");
            assert!(matches!(story[0], Event::Finished { .. }));
            assert_eq!((advice(&story[1]), &story[2]), (Some((Advice::Stop, 1)), &end));
            assert!(bus.end(PATIENCE));
        }
    }
}

/// Which STOPs are found does not depend on how long a policy takes.
#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_is_judged_by_what_there_was_when_it_was_measured() {
    let (buses, _directory) = buses();
    for bus in buses {
        let (slow, context_of_slow) = SlowPolicy::new(|loss| loss > 10.0);
        let r = run("slow");
        bus.open(record(&r), context_of_slow);
        measured(&bus, &r, 1, 5.0);
        slow.is_asked();
        measured(&bus, &r, 2, 11.0);
        measured(&bus, &r, 3, 5.0);
        heard(&bus, &r, 12).await;
        bus.append(&r, Event::Closed);
        slow.answers();
        let story = story(&bus, &r, 0).await;
        let decisions: Vec<_> = story.iter().filter_map(advice).collect();
        assert_eq!(decisions, [(Advice::Continue, 1), (Advice::Stop, 2)]);
        assert_eq!(story.last(), Some(&Event::Closed));
        assert!(bus.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_behind_the_end_is_not_closed_by_it_later() {
    let (buses, _directory) = buses();
    for bus in buses {
        let (slow, context_of_slow) = SlowPolicy::new(|_| false);
        let r = run("slow");
        bus.open(record(&r), context_of_slow);
        measured(&bus, &r, 1, 1.0);
        slow.is_asked();
        bus.append(&r, Event::Closed);
        bus.reopen(&r);
        measured(&bus, &r, 2, 2.0);
        heard(&bus, &r, 9).await;
        slow.answers();
        bus.evaluate(&r);
        bus.append(&r, Event::Closed);
        let story = story(&bus, &r, 5).await;
        assert!(matches!(story[0], Event::Accepted { .. }), "{story:?}");
        assert_eq!(story.iter().filter(|event| **event == Event::Closed).count(), 1);
        assert_eq!(story.last(), Some(&Event::Closed));
        assert!(bus.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_holds_up_no_end() {
    let (buses, _directory) = buses();
    for bus in buses {
        let r = run("r");
        bus.open(record(&r), context(|_| panic!("a rule of a test")));
        measured(&bus, &r, 1, 1.0);
        bus.append(&r, Event::Closed);
        let story = story(&bus, &r, 3).await;
        assert!(matches!(story[..], [Event::Finished { .. }, Event::Closed]), "{story:?}");
        assert!(bus.end(PATIENCE));
    }
}
