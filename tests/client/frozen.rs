//! A daemon that is stopped in the middle: its sockets take what fits into their buffers, and nothing answers.

use crate::common::Daemon;
use crate::fixture::{LARGE, large_plan, parameters, plan};
use crate::{address, daemon};
use clino_client::background::Sender;
use clino_client::{Client, Label, Run};
use clino_domain::{Event, FaultKind, RunId, Tensor};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
/// The limit of each call.
const LIMIT: Duration = Duration::from_secs(1);
/// Without its limit a call ends with the keepalive of the connection, after 30 to 50 seconds.
const KEPT: Duration = Duration::from_secs(10);

/// Stops a daemon in the middle of whatever it does.
fn freeze(daemon: &Daemon) {
    daemon.signal("-STOP");
}

fn kept<T>(call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let answer = call();
    assert!(begun.elapsed() < KEPT, "held for {:?}", begun.elapsed());
    answer
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Sixteen megabytes, which no socket takes at once.
fn large(run: &Run) -> Vec<Tensor> {
    assert!(LARGE.contains("4096"));
    parameters(&run.opened().unwrap().parameters, 1)
}

async fn measured(run: &Run, step: u64) {
    let mut follow = run.follow(Some(0));
    while let Some(event) = follow.next().await.unwrap() {
        if matches!(event.event, Event::Finished { snapshot, .. } if snapshot.step == step) {
            return;
        }
    }
}

#[test]
fn row_64_a_sender_keeps_its_time_beside_a_stopped_daemon_with_an_upload_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let runtime = runtime();
    let run = runtime
        .block_on(async { Client::connect(&address(&daemon)).await.unwrap().open_run(&large_plan()).await });
    let tensors = large(&run.unwrap());
    let quiet = || Arc::new(|_: &str| {});
    let start = || Sender::start_with(&address(&daemon), large_plan(), quiet());
    let (finishes, is_dropped) = (start(), start());
    for sender in [&finishes, &is_dropped] {
        let id = sender.opened(LONG).expect("the run opens");
        sender.snapshot(Label::step(1), tensors.clone());
        runtime.block_on(async {
            measured(&Client::connect(&address(&daemon)).await.unwrap().run(id), 1).await
        });
    }
    freeze(&daemon);
    for sender in [&finishes, &is_dropped] {
        sender.snapshot(Label::step(2), tensors.clone());
        sender.snapshot(Label::step(3), tensors.clone());
    }
    // The upload is under way, or about to be.
    std::thread::sleep(Duration::from_millis(300));
    kept(|| finishes.snapshot(Label::step(4), tensors.clone()));
    assert!(!kept(|| finishes.should_stop()));
    let summary = kept(|| finishes.finish(LIMIT));
    assert_eq!((summary.offered, summary.sent), (4, 1), "{summary:?}");
    kept(|| drop(is_dropped));
    let late = Sender::start_with(&address(&daemon), plan(), quiet());
    assert_eq!(kept(|| late.opened(LIMIT)), None);
    kept(|| late.finish(LIMIT));
}

#[test]
fn row_64_a_follower_keeps_its_patience_beside_a_stopped_daemon_with_an_upload_in_flight() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let runtime = runtime();
    let client = runtime.block_on(Client::connect(&address(&daemon))).unwrap();
    let run = runtime.block_on(client.open_run(&large_plan())).unwrap();
    let tensors = large(&run);
    freeze(&daemon);
    let (pushing, label) = (run.clone(), Label::step(1));
    let push = runtime.spawn(async move { pushing.push(label, tensors).await.map(drop) });
    std::thread::sleep(Duration::from_millis(300));
    // On the connection that the upload fills, and on one of its own.
    let connected = kept(|| runtime.block_on(Client::connect(&address(&daemon))));
    let fresh = connected.expect("the system takes the connection").run(RunId(run.id().0.clone()));
    for (run, from) in [(&run, Some(0)), (&run, None), (&fresh, Some(0)), (&fresh, None)] {
        let mut follow = run.follow(from).patience(LIMIT);
        let fault = kept(|| runtime.block_on(follow.next())).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unavailable);
        assert!(fault.message.contains("waited 1 s"), "{fault}");
    }
    daemon.signal("-CONT");
    // What was in flight arrives once the daemon goes on.
    runtime.block_on(async { tokio::time::timeout(LONG, push).await }).unwrap().unwrap().unwrap();
}
