//! Policies that are slow, or fail: whom they hold up, and what becomes of the order of events.
#![allow(clippy::unwrap_used)]

use super::durable_tests::durable;
use super::{Bounds, Hub};
use crate::store::fixtures::{PATIENCE, acceptance, at, loss, record, run};
use crate::store::sqlite::SqliteStore;
use clino_domain::*;
use std::fmt::{self, Debug};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { events: 64, bytes: 1 << 20, records: 8, reports: 4 };

/// Whether to stop at the points of one subject.
type Rule = Box<dyn Fn(&[Point]) -> bool + Send + Sync>;

/// A policy of one rule.
struct Fake {
    policy: Policy,
    subjects: Vec<Subject>,
    rule: Rule,
}

impl Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Counsel for Fake {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    fn across(&self) -> bool {
        false
    }

    fn consider(&self, evidence: &Evidence<'_>) -> (Decision, Vec<Want>) {
        let points = evidence.own[0].points();
        let stop = (self.rule)(points);
        let last = points.last().map(|point| point.at);
        let decision = Decision {
            id: format!("at {last:?}"),
            run: evidence.run.clone(),
            advice: if stop { Advice::Stop } else { Advice::Continue },
            reason: if stop { Reason::ThresholdCrossed } else { Reason::WarmingUp },
            rule: String::new(),
            sentence: "it is too much".into(),
            compared: vec![],
            evaluated: last,
            best: None,
            next_check_step: None,
            peers: vec![],
            peer_count: 0,
            mode: Mode::Enforce,
            latched: stop,
            overridden: evidence.overridden.cloned(),
            history_digest: String::new(),
            policy_digest: String::new(),
        };
        (decision, vec![])
    }
}

fn case(rule: impl Fn(&[Point]) -> bool + Send + Sync + 'static) -> Case {
    let subjects = vec!["loss".parse().unwrap()];
    let counsel = Fake { policy: Policy::default(), subjects, rule: Box::new(rule) };
    Case { counsel: Some(Arc::new(counsel)), ..Case::default() }
}

fn last(points: &[Point]) -> f64 {
    points.last().map_or(0.0, |point| point.value)
}

/// A policy that tells that it has been asked for the first time, and answers when it is let.
struct Slow {
    asked: Receiver<()>,
    answer: SyncSender<()>,
}

impl Slow {
    fn new(stops: fn(f64) -> bool) -> (Self, Case) {
        let (asking, asked) = sync_channel(1);
        let (answer, answers) = sync_channel::<()>(1);
        let first = Mutex::new(Some((asking, answers)));
        let rule = move |points: &[Point]| {
            let first = first.lock().unwrap().take();
            if let Some((asking, answers)) = first {
                asking.send(()).unwrap();
                answers.recv_timeout(PATIENCE).unwrap();
            }
            stops(last(points))
        };
        (Self { asked, answer }, case(rule))
    }

    fn is_asked(&self) {
        self.asked.recv_timeout(PATIENCE).unwrap();
    }

    fn answers(&self) {
        self.answer.send(()).unwrap();
    }
}

fn measured(hub: &Hub, run: &RunId, step: u64, value: f64) {
    hub.accept(run, acceptance(step));
    hub.append(run, Event::Started { snapshot: at(step), readings: 1 });
    hub.append(run, loss(step, value));
    hub.append(run, Event::Finished { snapshot: at(step), seconds: 0.5 });
}

/// A hub with a store, and one without.
fn hubs() -> ([Arc<Hub>; 2], TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let (kept, _) = durable(BOUNDS, SqliteStore::open(directory.path(), None).unwrap());
    ([kept, Hub::new(BOUNDS).started().unwrap()], directory)
}

/// Events of a run up to its last one, without the first of them.
async fn story(hub: &Hub, run: &RunId, from: usize) -> Vec<Event> {
    let mut watcher = hub.watch(run, Some(0)).unwrap();
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
async fn heard(hub: &Hub, run: &RunId, count: u64) {
    let all = async {
        while hub.progress(run).unwrap().next_sequence < count {
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
    let (hubs, _directory) = hubs();
    for hub in hubs {
        let (slow, case_of_slow) = Slow::new(|loss| loss > 10.0);
        hub.open(record(&run("slow")), case_of_slow);
        measured(&hub, &run("slow"), 1, 11.0);
        slow.is_asked();
        // While it thinks: a run is opened, a snapshot is received and measured, and its own policy has its say.
        let quick = run("quick");
        hub.open(record(&quick), case(|points| last(points) > 10.0));
        measured(&hub, &quick, 1, 12.0);
        tokio::time::timeout(PATIENCE, hub.kept(&quick, "s1")).await.unwrap().unwrap();
        heard(&hub, &quick, 4).await;
        hub.judge(&quick);
        tokio::time::timeout(PATIENCE, hub.spoken(&quick)).await.unwrap().unwrap();
        assert_eq!(hub.verdict(&quick).map(|decision| decision.advice), Some(Advice::Stop));
        assert!(hub.refusal(&quick).is_some());
        hub.room().unwrap();
        // Of the slow one the snapshot is told, and nothing else yet.
        heard(&hub, &run("slow"), 4).await;
        assert_eq!((hub.verdict(&run("slow")), hub.refusal(&run("slow"))), (None, None));
        assert!(hub.owes(&run("slow")) && !hub.owes(&quick));
        slow.answers();
        hub.judge(&run("slow"));
        tokio::time::timeout(PATIENCE, hub.spoken(&run("slow"))).await.unwrap().unwrap();
        assert!(hub.refusal(&run("slow")).is_some());
        assert!(hub.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_run_waits_for_what_its_policy_says() {
    for end in [Event::Closed, Event::Draining] {
        let (hubs, _directory) = hubs();
        for hub in hubs {
            let (slow, case_of_slow) = Slow::new(|loss| loss > 10.0);
            let r = run("slow");
            hub.open(record(&r), case_of_slow);
            measured(&hub, &r, 1, 11.0);
            slow.is_asked();
            match end {
                Event::Draining => hub.drain(),
                _ => hub.append(&r, end.clone()),
            }
            // Nothing comes behind the end.
            hub.append(&r, loss(9, 9.0));
            tokio::time::timeout(PATIENCE, hub.settled()).await.unwrap().unwrap();
            assert_eq!(hub.progress(&r).unwrap().next_sequence, 4, "it has not come");
            slow.answers();
            let story = story(&hub, &r, 3).await;
            assert_eq!(story.len(), 3, "{story:?}");
            assert!(matches!(story[0], Event::Finished { .. }));
            assert_eq!((advice(&story[1]), &story[2]), (Some((Advice::Stop, 1)), &end));
            assert!(hub.end(PATIENCE));
        }
    }
}

/// Which STOPs are found does not depend on how long a policy takes.
#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_is_judged_by_what_there_was_when_it_was_measured() {
    let (hubs, _directory) = hubs();
    for hub in hubs {
        let (slow, case_of_slow) = Slow::new(|loss| loss > 10.0);
        let r = run("slow");
        hub.open(record(&r), case_of_slow);
        measured(&hub, &r, 1, 5.0);
        slow.is_asked();
        measured(&hub, &r, 2, 11.0);
        measured(&hub, &r, 3, 5.0);
        heard(&hub, &r, 12).await;
        hub.append(&r, Event::Closed);
        slow.answers();
        let story = story(&hub, &r, 0).await;
        let decisions: Vec<_> = story.iter().filter_map(advice).collect();
        assert_eq!(decisions, [(Advice::Continue, 1), (Advice::Stop, 2)]);
        assert_eq!(story.last(), Some(&Event::Closed));
        assert!(hub.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_behind_the_end_is_not_closed_by_it_later() {
    let (hubs, _directory) = hubs();
    for hub in hubs {
        let (slow, case_of_slow) = Slow::new(|_| false);
        let r = run("slow");
        hub.open(record(&r), case_of_slow);
        measured(&hub, &r, 1, 1.0);
        slow.is_asked();
        hub.append(&r, Event::Closed);
        hub.reopen(&r);
        measured(&hub, &r, 2, 2.0);
        heard(&hub, &r, 9).await;
        slow.answers();
        hub.judge(&r);
        hub.append(&r, Event::Closed);
        let story = story(&hub, &r, 5).await;
        assert!(matches!(story[0], Event::Accepted { .. }), "{story:?}");
        assert_eq!(story.iter().filter(|event| **event == Event::Closed).count(), 1);
        assert_eq!(story.last(), Some(&Event::Closed));
        assert!(hub.end(PATIENCE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_holds_up_no_end() {
    let (hubs, _directory) = hubs();
    for hub in hubs {
        let r = run("r");
        hub.open(record(&r), case(|_| panic!("a rule of a test")));
        measured(&hub, &r, 1, 1.0);
        hub.append(&r, Event::Closed);
        let story = story(&hub, &r, 3).await;
        assert!(matches!(story[..], [Event::Finished { .. }, Event::Closed]), "{story:?}");
        assert!(hub.end(PATIENCE));
    }
}
