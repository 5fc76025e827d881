//! Runs share the engine by turns, without a bit of difference, and what nobody wants any more ends.
#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{Daemon, TestUpload, endless, finished, measure, open_request, quick};
use pb::watch_response::Event;

fn is_reading(event: &Event) -> bool {
    matches!(event, Event::Reading(_))
}

fn is_skipped(event: &Event) -> bool {
    matches!(event, Event::Skipped(_))
}

/// Why the last of some events says that a snapshot is skipped.
fn reason(events: &[pb::WatchResponse]) -> String {
    match events.last().and_then(|event| event.event.clone()) {
        Some(Event::Skipped(skipped)) => skipped.reason,
        other => panic!("{other:?}"),
    }
}

/// A run whose snapshot is being measured for longer than a test takes.
async fn dear(clients: &mut common::Clients, key: &str) -> String {
    let run = clients.open(key, endless()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, is_reading).await;
    run
}

#[tokio::test]
async fn row_57_a_dear_run_leaves_others_their_share() {
    let daemon = Daemon::start(&["--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    let first = dear(&mut clients, "dear").await;
    let second = dear(&mut clients, "dear as well").await;
    let cheap = clients.open("cheap", quick()).await;
    for step in 1..4 {
        clients.push(TestUpload::new(&cheap, step)).await.unwrap();
        clients.watch_until(&cheap, finished(step)).await;
    }
    for run in [first, second] {
        assert_eq!(clients.run(&run).await.pending, 1, "it goes on meanwhile");
    }
}

#[tokio::test]
async fn row_57_a_run_that_is_abandoned_ends_at_once() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = dear(&mut clients, "dear").await;
    clients.push(TestUpload::new(&run, 2)).await.unwrap();
    let waiting = clients.run(&run).await.waiting;
    assert!(waiting.contains("snapshot of step 1"), "{waiting}");
    let request = pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: true };
    clients.runs.close_run(request.clone()).await.unwrap();
    let events = clients.watch_until(&run, |event| matches!(event, Event::Closed(_))).await;
    let skipped: Vec<_> =
        events.iter().filter(|event| event.event.as_ref().is_some_and(is_skipped)).collect();
    assert_eq!(skipped.len(), 2, "the one that waited and the one that was measured");
    assert!(reason(&events[..events.len() - 1]).contains("not wanted any more"));
    // Twice is no harm.
    let run = clients.runs.close_run(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.closed, run.pending, run.waiting.as_str()), (true, 0, ""));
    daemon.still_serves().await;
}

/// A run whose policy says STOP, which is enforced, when its first snapshot is measured for so many seconds; `None` when that
/// comes before the second one is there.
async fn stopped_with_two(clients: &mut common::Clients, key: &str, budget: f64) -> Option<String> {
    let upper = pb::Value { kind: Some(pb::value::Kind::Number(0.0)) };
    let rule = pb::Rule {
        name: "threshold".into(),
        on: "param_norm".into(),
        parameters: [("upper".to_owned(), upper)].into(),
    };
    let policy = pb::Policy { mode: pb::PolicyMode::Enforce.into(), rules: vec![rule] };
    let request = pb::OpenRunRequest {
        policy: Some(policy),
        measures: [endless(), vec![measure("param_norm", &[])]].concat(),
        budget_seconds: Some(budget),
        ..open_request(key)
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, is_reading).await;
    clients.push(TestUpload::new(&run, 2)).await.is_ok().then_some(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_57_a_stop_that_is_enforced_ends_what_is_left() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let mut budget = 0.5;
    let run = loop {
        match stopped_with_two(&mut clients, &format!("{budget}"), budget).await {
            Some(run) => break run,
            None => budget *= 2.0,
        }
    };
    let events = clients.watch_until(&run, is_skipped).await;
    assert!(reason(&events).contains("STOP"), "{}", reason(&events));
    daemon.still_serves().await;
}

#[tokio::test]
async fn a_reading_that_does_not_end_within_the_budget_is_skipped() {
    let daemon = Daemon::start(&["--budget", "300ms"]);
    let mut clients = daemon.clients().await;
    let mut measures = endless();
    measures.push(measure("hessian_trace", &[("draws", 4096.0)]));
    let run = clients.open("k", measures).await;
    for step in 1..3 {
        clients.push(TestUpload::new(&run, step)).await.unwrap();
        let events = clients.watch_until(&run, finished(step)).await;
        let skipped = events.iter().filter_map(|event| match &event.event {
            Some(Event::Reading(reading)) if reading.outcome() == pb::Outcome::Skipped => {
                Some(&reading.reason)
            }
            _ => None,
        });
        let reasons: Vec<_> = skipped.collect();
        assert!(reasons.iter().any(|reason| reason.contains("budget of 0.3 s")), "{reasons:?}");
    }
    assert_eq!(clients.run(&run).await.measured, 2);
}

/// Everything of a reading that does not depend on time.
fn bits(events: &[pb::WatchResponse]) -> Vec<pb::Reading> {
    let reading = |event: &pb::WatchResponse| match &event.event {
        Some(Event::Reading(reading)) => Some(pb::Reading { seconds: 0.0, ..reading.clone() }),
        _ => None,
    };
    events.iter().filter_map(reading).collect()
}

#[tokio::test]
async fn readings_are_the_same_alone_and_beside_others() {
    let every = || {
        let with = |name: &str, parameters: &[(&str, f64)]| measure(name, parameters);
        vec![
            with("loss", &[]),
            with("sharpness", &[("draws", 64.0)]),
            with("worst_case", &[]),
            with("hessian_density", &[]),
            with("hessian_top", &[]),
            with("fisher_trace", &[]),
            with("flat_radius", &[]),
            with("gradient_noise", &[]),
            with("spectrum", &[]),
            with("landscape", &[]),
        ]
    };
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let alone = clients.open("alone", every()).await;
    clients.push(TestUpload::new(&alone, 1)).await.unwrap();
    let expected = bits(&clients.watch_until(&alone, finished(1)).await);
    assert!(expected.len() > 20, "{} readings", expected.len());

    dear(&mut clients, "dear").await;
    dear(&mut clients, "dear as well").await;
    let mut others = Vec::new();
    for key in ["a", "b", "c"] {
        let run = clients.open(key, every()).await;
        clients.push(TestUpload::new(&run, 1)).await.unwrap();
        others.push(run);
    }
    for run in others {
        assert_eq!(bits(&clients.watch_until(&run, finished(1)).await), expected);
    }
}
