//! A trainer that starts again goes on with its run, over the wire and across restarts of the daemon.

#![allow(clippy::unwrap_used)]

mod common;

use clino_domain::RunId;
use clino_proto::pb;
use common::{Clients, Daemon, TestUpload, open_request};
use pb::watch_response::Event;
use tempfile::TempDir;
use tonic::{Code, Status};

fn start(directory: &TempDir, durable: bool) -> Daemon {
    let data = directory.path().join("data");
    let flags: &[&str] = if durable { &["--data", data.to_str().unwrap()] } else { &[] };
    Daemon::at(&directory.path().join("clino.sock"), flags)
}

fn request(key: &str) -> pb::OpenRunRequest {
    let measures = vec![common::measure("loss", &[]), common::measure("distance", &[])];
    let rule = pb::Rule { name: "patience".into(), on: "loss@en".into(), parameters: Default::default() };
    let policy = pb::Policy { mode: pb::PolicyMode::Advise.into(), rules: vec![rule] };
    pb::OpenRunRequest { resume: true, measures, policy: Some(policy), ..open_request(key) }
}

async fn resume(clients: &mut Clients, key: &str) -> Result<pb::OpenRunResponse, Status> {
    clients
        .runs
        .open_run(pb::OpenRunRequest { name: String::new(), ..request(key) })
        .await
        .map(tonic::Response::into_inner)
}

async fn close(clients: &mut Clients, run: &str, resumable: bool) {
    let request = pb::CloseRunRequest { run_id: run.into(), resumable, abandon: false };
    clients.runs.close_run(request).await.unwrap();
    // The last event: what follows it belongs to who goes on.
    clients.watch_until(run, |event| matches!(event, Event::Closed(_))).await;
}

fn finished(step: u64, attempt: u32) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Finished(end) if end.snapshot == Some(pb::SnapshotRef { step, attempt }))
}

fn distances(events: &[pb::WatchResponse]) -> Vec<(u64, u32, Option<f64>)> {
    let reading = |event: &pb::WatchResponse| match &event.event {
        Some(Event::Reading(reading)) if reading.measure == "distance" => {
            let at = reading.snapshot.as_ref().unwrap();
            Some((at.step, at.attempt, reading.value))
        }
        _ => None,
    };
    events.iter().filter_map(reading).collect()
}

#[tokio::test]
async fn a_run_goes_on_after_its_trainer_and_the_daemon_have_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = start(&directory, true);
    let mut clients = daemon.clients().await;
    let first = resume(&mut clients, "job-7").await.unwrap();
    let run = first.run_id.clone();
    assert!(first.created);
    assert_eq!(clients.run(&run).await.name, "job-7");
    clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    clients.push(TestUpload::new(&run, 10)).await.unwrap();
    clients.watch_until(&run, finished(10, 1)).await;
    close(&mut clients, &run, true).await;

    let again = resume(&mut clients, "job-7").await.unwrap();
    assert_eq!((again.run_id.as_str(), again.created), (run.as_str(), false));
    assert!(!clients.run(&run).await.closed);
    assert_eq!(clients.push(TestUpload::new(&run, 10)).await.unwrap().attempt, 2);
    clients.watch_until(&run, finished(10, 2)).await;
    close(&mut clients, &run, true).await;
    daemon.signal("-TERM");
    assert!(daemon.wait().0.success());

    let daemon = start(&directory, true);
    let mut clients = daemon.clients().await;
    assert!(clients.run(&run).await.closed);
    assert_eq!(resume(&mut clients, &run).await.unwrap().run_id, run, "by its id");
    assert_eq!(clients.push(TestUpload::new(&run, 10)).await.unwrap().attempt, 3);
    let events = clients.watch_until(&run, finished(10, 3)).await;
    assert!(events.iter().zip(0..).all(|(event, place)| event.sequence == place), "without holes");
    let found = distances(&events);
    assert!(found.iter().all(|(.., value)| value.is_some()), "the initialization is kept: {found:?}");
    let again: Vec<_> = found.iter().filter(|(step, ..)| *step == 10).map(|(.., value)| *value).collect();
    assert_eq!(again, [again[0]; 3]);
    close(&mut clients, &run, false).await;
    let refused = resume(&mut clients, "job-7").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("closed for good"), "{}", refused.message());

    let address = format!("unix://{}", directory.path().join("clino.sock").display());
    let client = clino_client::Client::connect(&address).await.unwrap();
    let mut follow = client.run(RunId(run)).follow(Some(0));
    let mut ends = Vec::new();
    let mut place = 0;
    while let Some(event) = follow.next().await.unwrap() {
        assert_eq!(event.sequence, place);
        ends.push(event.event == clino_domain::Event::Closed);
        place += 1;
    }
    assert_eq!(
        ends.iter().filter(|closed| **closed).count(),
        3,
        "a follower reads on behind what was an end"
    );
    assert_eq!(ends.last(), Some(&true));
}

#[tokio::test]
async fn a_second_run_of_a_name_that_was_meant_to_go_on_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, false);
    let mut clients = daemon.clients().await;
    let named = |key: &str, resume| pb::OpenRunRequest { name: "later".into(), resume, ..request(key) };
    let mut open = async |request| clients.runs.open_run(request).await.unwrap().into_inner();
    let first = open(named("a key of its own", false)).await;
    assert_eq!(first.warnings, [""; 0]);
    let second = open(named("later", true)).await;
    let [warning] = &second.warnings[..] else { panic!("{:?}", second.warnings) };
    assert!(second.created && warning.contains(&first.run_id), "{warning}");
    assert!(warning.contains("resume it by its id"), "{warning}");
    let again = open(named("later", true)).await;
    assert_eq!((again.run_id, again.warnings.len()), (second.run_id, 0), "this one goes on");
    assert_eq!(open(named(&first.run_id, true)).await.run_id, first.run_id, "as the warning says");
}

#[tokio::test]
async fn a_second_trainer_of_one_run_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, false);
    let mut clients = daemon.clients().await;
    let first = resume(&mut clients, "shared").await.unwrap();
    let quiet = resume(&mut clients, "shared").await.unwrap();
    assert_eq!((quiet.run_id, quiet.warnings.len()), (first.run_id.clone(), 0), "nothing was sent yet");
    clients.push(TestUpload::new(&first.run_id, 1)).await.unwrap();
    let second = resume(&mut clients, "shared").await.unwrap();
    let [warning] = &second.warnings[..] else { panic!("{:?}", second.warnings) };
    assert!(warning.starts_with("resume: ") && warning.contains("both write into this run"), "{warning}");
    close(&mut clients, &first.run_id, true).await;
    assert_eq!(resume(&mut clients, "shared").await.unwrap().warnings, [""; 0], "its trainer has ended");
}

#[tokio::test]
async fn who_closed_a_run_is_remembered_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, true);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for (key, orders) in [("trainer", &[true][..]), ("operator", &[false]), ("both", &[true, false])] {
        let run = resume(&mut clients, key).await.unwrap().run_id;
        for resumable in orders {
            close(&mut clients, &run, *resumable).await;
        }
        runs.push(run);
    }
    drop(daemon);
    let daemon = start(&directory, true);
    let mut clients = daemon.clients().await;
    assert_eq!(resume(&mut clients, "trainer").await.unwrap().run_id, runs[0]);
    for key in ["operator", "both"] {
        assert_eq!(resume(&mut clients, key).await.unwrap_err().code(), Code::FailedPrecondition);
    }
}

#[tokio::test]
async fn without_a_history_a_run_goes_on_too() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, false);
    let mut clients = daemon.clients().await;
    let run = resume(&mut clients, "k").await.unwrap().run_id;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, finished(1, 1)).await;
    close(&mut clients, &run, true).await;
    assert_eq!(resume(&mut clients, "k").await.unwrap().run_id, run);
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    let events = clients.watch_until(&run, finished(1, 2)).await;
    assert!(events.iter().zip(0..).all(|(event, place)| event.sequence == place));
    let other = pb::OpenRunRequest { seed: 8, ..request("k") };
    let refused = clients.runs.open_run(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains("seed"), "{}", refused.message());
}
