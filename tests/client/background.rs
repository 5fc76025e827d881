//! A trainer beside a daemon that comes and goes.

use crate::common::PATIENCE;
use crate::fixture::{self, parameters, plan};
use crate::{address, daemon};
use clino_client::background::{Sender, Warn};
use clino_client::{Client, Label};
use clino_domain::{Event, TensorSpec};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Warnings as they come.
fn warnings() -> (Warn, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let theirs = heard.clone();
    (Arc::new(move |warning| theirs.lock().unwrap().push(warning.to_owned())), heard)
}

/// What the small and the large model hold; a trainer knows it from its own model.
fn specs(sizes: [u64; 3]) -> Vec<TensorSpec> {
    let [inputs, hidden, classes] = sizes;
    let spec = |name: &str, shape: &[u64]| TensorSpec {
        name: name.into(),
        dtype: clino_domain::Dtype::F32,
        shape: shape.to_vec(),
    };
    vec![
        spec("layers.0.weight", &[hidden, inputs]),
        spec("layers.0.bias", &[hidden]),
        spec("layers.1.weight", &[classes, hidden]),
        spec("layers.1.bias", &[classes]),
    ]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_daemon_that_comes_late_gets_the_initialization_and_the_newest_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let future = format!("unix://{}", directory.path().join("clino.sock").display());
    let (warn, heard) = warnings();
    let sender = Sender::start_with(&future, plan(), warn);
    let specs = specs([8, 16, 3]);
    sender.snapshot(Label::initialization(), parameters(&specs, 1));
    for step in 1..=10 {
        sender.snapshot(Label::step(step), parameters(&specs, step));
    }
    let began = Instant::now();
    while heard.lock().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE, "a daemon that is away is told");
        std::thread::sleep(Duration::from_millis(5));
    }
    let daemon = daemon(directory.path());
    let run = sender.opened(PATIENCE).expect("the run opens once the daemon is there");
    let summary = sender.finish(PATIENCE);
    assert_eq!((summary.offered, summary.sent, summary.replaced, summary.left), (11, 2, 9, 0));
    assert_eq!(heard.lock().unwrap().len(), 1, "{heard:?}");

    let steps: Vec<u64> = runtime().block_on(async {
        let mut follow = Client::connect(&address(&daemon)).await.unwrap().run(run).follow(Some(0));
        let mut steps = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            if let Event::Accepted { snapshot, .. } = event.event {
                steps.push(snapshot.step);
            }
        }
        steps
    });
    assert_eq!(steps, [0, 10]);
}

#[test]
fn a_trainer_goes_on_when_its_daemon_is_killed_and_when_another_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let (warn, heard) = warnings();
    let sender = Sender::start_with(&address(&daemon), fixture::large_plan(), warn);
    let first = sender.opened(PATIENCE).unwrap();
    let tensors = parameters(&specs([1024, 4096, 3]), 1);
    sender.snapshot(Label::initialization(), tensors.clone());

    // Snapshots of 16 MiB follow each other so closely that the daemon always is in the middle of one.
    let mut steps = 0;
    let mut train = |until: &dyn Fn(u64) -> bool| {
        while !until(steps) {
            steps += 1;
            sender.snapshot(Label::step(steps), tensors.clone());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    train(&|steps| steps >= 30);
    // While it is frozen in the middle of one nothing is taken from the sender: a trainer that waited for it would wait for
    // ever.
    daemon.signal("-STOP");
    train(&|steps| steps >= 60);
    daemon.signal("-CONT");
    // Dropped, it is killed.
    drop(daemon);
    train(&|steps| steps >= 120);
    let daemon = crate::daemon(directory.path());
    let deadline = Instant::now() + PATIENCE;
    let second = || sender.run().filter(|run| *run != first);
    train(&|_| second().is_some() || Instant::now() > deadline);
    let run = second().expect("the run is opened again");
    train(&|steps| steps.is_multiple_of(50));

    let summary = sender.finish(PATIENCE);
    assert_eq!((summary.left, summary.refused), (0, 0), "{summary:?}");
    assert!(summary.sent >= 2 && summary.outages == 1, "{summary:?}");
    assert_eq!(heard.lock().unwrap().len(), 1, "{heard:?}");
    let events = runtime().block_on(async {
        let mut follow = Client::connect(&address(&daemon)).await.unwrap().run(run).follow(Some(0));
        let mut events = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            events.push(event.event);
        }
        events
    });
    assert!(matches!(events[0], Event::Accepted { initialization: true, .. }), "{:?}", events[0]);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Accepted { snapshot, .. } if snapshot.step == steps))
    );
}

#[test]
fn a_refused_snapshot_costs_one_warning_and_the_next_one_goes_through() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let (warn, heard) = warnings();
    let sender = Sender::start_with(&address(&daemon), plan().delivery(clino_domain::Delivery::Every), warn);
    assert!(sender.opened(PATIENCE).is_some());
    for step in 1..=3 {
        sender.snapshot(Label::step(step), parameters(&specs([8, 17, 3]), 1));
    }
    sender.snapshot(Label::step(4), parameters(&specs([8, 16, 3]), 1));
    let summary = sender.finish(PATIENCE);
    assert_eq!((summary.refused, summary.sent, summary.replaced), (3, 1, 0));
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("layers.0"), "{heard:?}");
}
