//! Access that ends in the middle of a stream, and files that change while the daemon runs.

use crate::common::{Daemon, PATIENCE, TestUpload, quick};
use crate::fixture::{AccessFiles, Authority, daemon, entry, eventually, open, token, with};
use clino_client::Client;
use clino_domain::{FaultKind, RunId};
use clino_proto::pb;
use pb::push_snapshot_request::Frame;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

const MINE: &str = "projects = { mine = [\"push\", \"read\"] }";

/// A stream of a run's events that has given its first one.
async fn watch(daemon: &Daemon, token: &str, run: &str) -> Streaming<pb::WatchResponse> {
    let request = pb::WatchRequest { run_id: run.into(), from_sequence: Some(0) };
    daemon.clients().await.reports.watch(with(token, request)).await.unwrap().into_inner()
}

async fn end<T>(stream: &mut Streaming<T>) -> Option<Status> {
    let drain = async {
        while let Some(_event) = stream.message().await? {}
        Ok(())
    };
    tokio::time::timeout(PATIENCE, drain).await.expect("the stream ends").err()
}

/// Two frames of an upload that then waits.
async fn half_an_upload(
    daemon: &Daemon,
    token: &str,
    run: &str,
) -> (mpsc::Sender<pb::PushSnapshotRequest>, tokio::task::JoinHandle<Result<(), Status>>) {
    let (sender, receiver) = mpsc::channel(4);
    for frame in TestUpload::new(run, 1).frames().into_iter().take(2) {
        sender.send(pb::PushSnapshotRequest { frame: Some(frame) }).await.unwrap();
    }
    let (mut clients, request) = (daemon.clients().await, with(token, ReceiverStream::new(receiver)));
    (sender, tokio::spawn(async move { clients.snapshots.push_snapshot(request).await.map(drop) }))
}

#[tokio::test]
async fn row_44_a_token_that_is_revoked_ends_its_streams_and_no_others() {
    let (daemon, files) = daemon(&[entry("a", 1, MINE), entry("b", 2, MINE)].concat(), &[]);
    let run = open(&mut daemon.clients().await, &token(1), ("k", "mine")).await.unwrap();
    let mut revoked = watch(&daemon, &token(1), &run).await;
    let mut kept = watch(&daemon, &token(2), &run).await;
    let (_sender, upload) = half_an_upload(&daemon, &token(1), &run).await;
    let mut clients = daemon.clients().await;
    let runs = clients.runs.watch_runs(with(&token(1), pb::WatchRunsRequest::default())).await;
    let mut runs = runs.unwrap().into_inner();
    assert_eq!(runs.message().await.unwrap().unwrap().runs.len(), 1);
    files.write("tokens.toml", &entry("b", 2, MINE));
    let status = end(&mut runs).await.expect("an error");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let status = end(&mut revoked).await.expect("an error");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let status = tokio::time::timeout(PATIENCE, upload).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let close =
        with(&token(2), pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false });
    daemon.clients().await.runs.close_run(close).await.unwrap();
    assert!(end(&mut kept).await.is_none(), "the other reader sees the run close");
}

#[tokio::test]
async fn row_44_a_scope_that_is_taken_away_ends_the_stream() {
    let (daemon, files) = daemon(&entry("a", 1, MINE), &[]);
    let run = open(&mut daemon.clients().await, &token(1), ("k", "mine")).await.unwrap();
    let mut stream = watch(&daemon, &token(1), &run).await;
    let (_sender, upload) = half_an_upload(&daemon, &token(1), &run).await;
    files.write("tokens.toml", &entry("a", 1, "projects = { mine = [\"decide\"], yours = [\"admin\"] }"));
    let status = end(&mut stream).await.expect("an error");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let status = tokio::time::timeout(PATIENCE, upload).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
}

#[tokio::test]
async fn row_44_a_token_that_expires_ends_its_streams() {
    // Late enough for a daemon that starts on a busy machine.
    let end_of = SystemTime::now() + Duration::from_secs(8);
    let expires = humantime::format_rfc3339_millis(end_of);
    let (daemon, _files) = daemon(&entry("a", 1, &format!("{MINE}\nexpires = {expires}")), &[]);
    let run = open(&mut daemon.clients().await, &token(1), ("k", "mine")).await.unwrap();
    let mut stream = watch(&daemon, &token(1), &run).await;
    let status = end(&mut stream).await.expect("an error");
    assert!(SystemTime::now() >= end_of, "not before its time");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("expired"), "{status}");
    let again = open(&mut daemon.clients().await, &token(1), ("l", "mine")).await.unwrap_err();
    assert_eq!(again.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn row_44_a_certificate_that_expires_ends_its_streams() {
    let (files, authority) = (AccessFiles::new(), Authority::new("ca"));
    let [cert, key] = authority.serve(&files);
    let clients = files.write("clients.pem", authority.pem());
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-clients", &clients];
    let daemon = Daemon::start_with(&flags, &[("CLINO_RECHECK", "200ms")]);
    let run = daemon.unix_clients().await.open("k", quick()).await;
    // Certificates count in whole seconds; late enough for a connection on a busy machine.
    let end_of = SystemTime::now() + Duration::from_secs(8);
    let (cert, key) = authority.sign_until("node", &[], Some(end_of));
    let access = authority.trusted().certificate(cert.into_bytes(), key.into_bytes());
    let client = Client::connect_with(&daemon.http, &access).await.unwrap();
    let mut events = std::pin::pin!(client.run(RunId(run)).watch(Some(0)).await.unwrap());
    // No file changes: only looking again finds it.
    let last = tokio::time::timeout(PATIENCE, events.next()).await.expect("the stream ends");
    let fault = last.unwrap().unwrap_err();
    assert!(SystemTime::now() + Duration::from_secs(1) >= end_of, "not before its time");
    assert_eq!(fault.kind, FaultKind::Unauthenticated, "{fault}");
}

#[tokio::test]
async fn row_44_a_good_stream_goes_on_though_the_file_is_gone() {
    let files = AccessFiles::new();
    let tokens = files.write("tokens.toml", &entry("a", 1, MINE));
    let daemon = Daemon::start_with(&["--tokens", &tokens], &[("CLINO_RECHECK", "50ms")]);
    let run = open(&mut daemon.clients().await, &token(1), ("k", "mine")).await.unwrap();
    let mut stream = watch(&daemon, &token(1), &run).await;
    std::fs::remove_file(tokens).unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(2), stream.message()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn a_new_tokens_file_counts_without_a_restart_and_a_broken_one_does_not() {
    let files = AccessFiles::new();
    let (tokens, audit) = (files.write("tokens.toml", &entry("a", 1, MINE)), files.text("audit"));
    let daemon = Daemon::start(&["--tokens", &tokens, "--audit", &audit]);
    let mut clients = daemon.clients().await;
    files.write("tokens.toml", "[[entry]]\nname = 1");
    files.line("audit", |line| line["event"] == "refused_reload" && line["method"] == "tokens").await;
    open(&mut clients, &token(1), ("k", "mine")).await.unwrap();
    files.write("tokens.toml", &entry("b", 2, MINE));
    files.line("audit", |line| line["event"] == "reloaded" && line["method"] == "tokens").await;
    assert_eq!(open(&mut clients, &token(1), ("l", "mine")).await.unwrap_err().code(), Code::Unauthenticated);
    open(&mut clients, &token(2), ("l", "mine")).await.unwrap();
    let refused = files.lines("audit").iter().filter(|line| line["event"] == "refused_reload").count();
    assert_eq!(refused, 1, "a broken file is told once");
}

#[tokio::test]
async fn an_upload_that_waits_for_room_is_looked_at_as_well() {
    let (daemon, files) = daemon(&entry("a", 1, MINE), &[]);
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest {
        measures: crate::common::endless(),
        project: "mine".into(),
        delivery: pb::Delivery::Every.into(),
        ..crate::common::open_request("k")
    };
    let run = clients.runs.open_run(with(&token(1), request)).await.unwrap().into_inner().run_id;
    // One is measured for ever, one waits, and the third finds no room.
    let mut uploads = Vec::new();
    for step in 1..=3 {
        let (mut clients, run) = (daemon.clients().await, run.clone());
        uploads.push(tokio::spawn(
            async move { crate::fixture::push(&mut clients, &token(1), &run, step).await },
        ));
    }
    eventually(|| (uploads.iter().filter(|upload| upload.is_finished()).count() == 2).then_some(())).await;
    files.write("tokens.toml", "");
    let mut ends = Vec::new();
    for upload in uploads {
        ends.push(
            tokio::time::timeout(PATIENCE, upload).await.unwrap().unwrap().map(drop).map_err(|s| s.code()),
        );
    }
    let refused: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, [Code::Unauthenticated]);
}

#[test]
fn frames_are_what_the_tests_take_them_for() {
    let frames = TestUpload::new("r", 1).frames();
    assert!(matches!(frames[..2], [Frame::Begin(_), Frame::Chunk(_)]) && frames.len() > 3);
}
