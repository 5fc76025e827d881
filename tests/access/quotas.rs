//! Quotas by project.

use crate::common::{Clients, Daemon, TestUpload, blamed, endless, open_request, quick};
use crate::fixture::{AccessFiles, eventually};
use clino_proto::pb;
use pb::push_snapshot_request::Frame;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

fn daemon(quotas: &str) -> (Daemon, AccessFiles) {
    let files = AccessFiles::new();
    let (path, audit) = (files.write("quotas.toml", quotas), files.text("audit"));
    (Daemon::start(&["--quotas", &path, "--audit", &audit]), files)
}

async fn open(clients: &mut Clients, key: &str, project: &str) -> Result<String, Status> {
    let request = pb::OpenRunRequest { measures: quick(), project: project.into(), ..open_request(key) };
    clients.runs.open_run(request).await.map(|answer| answer.into_inner().run_id)
}

/// Code, details and subject of a refusal; the time after which to try again.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, subject: &str) -> Duration {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let details = status.get_error_details();
    let quota = &details.quota_failure().expect("details").violations[0];
    assert_eq!(quota.subject, subject);
    assert!(quota.description.contains("expected"), "{quota:?}");
    assert_eq!(blamed(&status), [subject]);
    details.retry_info().expect("when to try again").retry_delay.expect("a time")
}

#[tokio::test]
async fn row_45_open_runs() {
    let (daemon, files) = daemon("[default]\nopen_runs = 1\n[project.large]\nopen_runs = 2\n");
    let mut clients = daemon.clients().await;
    let first = open(&mut clients, "a", "small").await.unwrap();
    refused(open(&mut clients, "b", "small").await, "project/small/open_runs");
    // The same run again is no other run, and other projects have their own.
    assert_eq!(open(&mut clients, "a", "small").await.unwrap(), first);
    open(&mut clients, "b", "large").await.unwrap();
    open(&mut clients, "c", "large").await.unwrap();
    refused(open(&mut clients, "d", "large").await, "project/large/open_runs");
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: first, resumable: false, abandon: false })
        .await
        .unwrap();
    open(&mut clients, "e", "small").await.unwrap();
    let line = files.line("audit", |line| line["event"] == "quota").await;
    assert_eq!(
        (line["project"].as_str(), line["method"].as_str()),
        (Some("small"), Some("/clino.v1.Runs/OpenRun"))
    );
    // A new file counts without a restart.
    files.write("quotas.toml", "[default]\nopen_runs = 5\n");
    files.line("audit", |line| line["event"] == "reloaded" && line["method"] == "quotas").await;
    open(&mut clients, "d", "large").await.unwrap();
}

#[tokio::test]
async fn row_45_uploads_at_once() {
    let (daemon, _files) = daemon("[default]\nuploads = 1\n");
    let mut clients = daemon.clients().await;
    let run = open(&mut clients, "a", "p").await.unwrap();
    let other = open(&mut clients, "a", "q").await.unwrap();
    let (sender, upload) = loop {
        let (sender, receiver) = mpsc::channel(16);
        let frame = TestUpload::new(&run, 1).frames().into_iter().next();
        sender.send(pb::PushSnapshotRequest { frame }).await.unwrap();
        let mut slow = clients.clone();
        let upload =
            tokio::spawn(async move { slow.snapshots.push_snapshot(ReceiverStream::new(receiver)).await });
        // The first frame may still be on its way: then the other upload is in time, and may take the place.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match clients.push(TestUpload::new(&run, 2)).await {
            Ok(_) => upload.abort(),
            answer => {
                refused(answer, "project/p/uploads");
                break (sender, upload);
            }
        }
    };
    clients.push(TestUpload::new(&other, 2)).await.unwrap();
    for frame in TestUpload::new(&run, 1).frames().into_iter().skip(1) {
        sender.send(pb::PushSnapshotRequest { frame: Some(frame) }).await.unwrap();
    }
    drop(sender);
    upload.await.unwrap().unwrap();
    clients.push(TestUpload::new(&run, 3)).await.unwrap();
}

#[tokio::test]
async fn row_45_bytes_that_are_held() {
    let size = TestUpload::new("r", 1).data.len();
    let (daemon, _files) = daemon(&format!("[default]\nsnapshot_bytes = {}\n", 2 * size + 1));
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest { measures: endless(), project: "p".into(), ..open_request("a") };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    // Whatever the engine does, no more than two fit: what it takes up gives its bytes back.
    let (sender, receiver) = mpsc::channel(16);
    for frame in TestUpload::new(&run, 1).frames().into_iter().take(2) {
        sender.send(pb::PushSnapshotRequest { frame: Some(frame) }).await.unwrap();
    }
    let mut held = clients.clone();
    let first =
        tokio::spawn(async move { held.snapshots.push_snapshot(ReceiverStream::new(receiver)).await });
    let large = pb::OpenRunRequest {
        config_json: r#"{"model_type":"mlp","sizes":[8,64,3],"hidden_act":"relu"}"#.into(),
        measures: quick(),
        project: "p".into(),
        ..open_request("large")
    };
    let large = clients.runs.open_run(large).await.unwrap().into_inner();
    let mut begin = TestUpload::new(&large.run_id, 1).begin;
    begin.tensors = large.parameters.clone();
    // 8·64 + 64 + 64·3 + 3 parameters of eight bytes are more than two snapshots of the other run.
    for spec in &mut begin.tensors {
        (spec.dtype, spec.byte_length) = (pb::Dtype::F64.into(), None);
    }
    refused(clients.send(vec![Frame::Begin(begin)]).await, "project/p/snapshot_bytes");
    drop(sender);
    assert!(first.await.unwrap().is_err());
    clients.push(TestUpload::new(&run, 2)).await.unwrap();
}

#[tokio::test]
async fn row_45_seconds_of_measuring() {
    let (daemon, files) = daemon("[project.p]\nmeasure_seconds_per_hour = 0.000001\n");
    let mut clients = daemon.clients().await;
    let (run, other) =
        (open(&mut clients, "a", "p").await.unwrap(), open(&mut clients, "a", "q").await.unwrap());
    let receipt = clients.push(TestUpload::new(&run, 1).key("first")).await.unwrap();
    let mut last = None;
    for step in 2.. {
        match clients.push(TestUpload::new(&run, step)).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            answer => {
                last = Some(refused(answer, "project/p/measure_seconds_per_hour"));
                break;
            }
        }
    }
    let retry = last.unwrap();
    assert!(retry > Duration::from_secs(3_500) && retry <= Duration::from_secs(3_600), "{retry:?}");
    // What was received is told again, and others are measured.
    let again = clients.push(TestUpload::new(&run, 1).key("first")).await.unwrap();
    assert_eq!((again.snapshot_id, again.repeated_upload), (receipt.snapshot_id, true));
    clients.push(TestUpload::new(&other, 1)).await.unwrap();
    let lines = eventually(|| Some(files.lines("audit")).filter(|lines| lines.len() >= 3)).await;
    assert!(lines.iter().any(|line| line["event"] == "quota" && line["project"] == "p"), "{lines:?}");
}

#[tokio::test]
async fn row_45_seconds_of_measuring_outlive_the_daemon() {
    let data = tempfile::tempdir().unwrap();
    let files = AccessFiles::new();
    let path = files.write("quotas.toml", "[project.p]\nmeasure_seconds_per_hour = 0.000001\n");
    let start = || Daemon::start(&["--quotas", &path, "--data", data.path().to_str().unwrap()]);
    let daemon = start();
    let mut clients = daemon.clients().await;
    let (run, other) =
        (open(&mut clients, "a", "p").await.unwrap(), open(&mut clients, "a", "q").await.unwrap());
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, pb::watch_response::Event::Finished(_))).await;
    drop(daemon);
    let daemon = start();
    let mut clients = daemon.clients().await;
    let answer = clients.push(TestUpload::new(&run, 2)).await;
    let retry = refused(answer, "project/p/measure_seconds_per_hour");
    assert!(retry > Duration::from_secs(3_400) && retry <= Duration::from_secs(3_600), "{retry:?}");
    clients.push(TestUpload::new(&other, 1)).await.unwrap();
}

/// The frames of a probe's upload, the first `count` of them.
fn probe_frames(project: &str, seed: u32, count: usize) -> Vec<pb::PutProbeRequest> {
    use pb::put_probe_request::Frame;
    let probe = crate::common::probe(seed);
    let tensors = probe.tensors.iter().map(|tensor| tensor.spec.clone().unwrap()).collect();
    let data: Vec<u8> = probe.tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
    let frames = [
        Frame::Begin(pb::ProbeManifest { tensors, project: project.into() }),
        Frame::Chunk(clino_proto::convert::chunk_to_pb(0, data.into())),
        Frame::Commit(pb::Commit::default()),
    ];
    frames.into_iter().take(count).map(|frame| pb::PutProbeRequest { frame: Some(frame) }).collect()
}

async fn put(clients: &mut Clients, project: &str, seed: u32) -> Result<String, Status> {
    let frames = tokio_stream::iter(probe_frames(project, seed, 3));
    clients.runs.put_probe(frames).await.map(|answer| answer.into_inner().digest)
}

/// A run that names a probe by its digest.
async fn naming(clients: &mut Clients, key: &str, digest: &str) -> Result<String, Status> {
    let source = Some(pb::probe_group::Source::Digest(digest.into()));
    let groups = vec![pb::ProbeGroup { name: "en".into(), source }];
    let request = pb::OpenRunRequest { groups, measures: quick(), project: "p".into(), ..open_request(key) };
    clients.runs.open_run(request).await.map(|answer| answer.into_inner().run_id)
}

#[tokio::test]
async fn row_45_probes_that_are_held() {
    let size: usize = crate::common::probe(1).tensors.iter().map(|tensor| tensor.data.len()).sum();
    let snapshot = TestUpload::new("r", 1).data.len();
    let (daemon, files) = daemon(&format!("[project.p]\nsnapshot_bytes = {}\n", size + snapshot - 1));
    let mut clients = daemon.clients().await;
    let first = put(&mut clients, "p", 1).await.unwrap();
    let run = naming(&mut clients, "a", &first).await.unwrap();
    // What lies there makes room for what is new, be that a snapshot or a probe; those of others stay.
    let (_, elsewhere) = (put(&mut clients, "", 5).await.unwrap(), put(&mut clients, "q", 4).await.unwrap());
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    assert_eq!(naming(&mut clients, "b", &first).await.unwrap_err().code(), Code::FailedPrecondition);
    naming(&mut clients, "c", &elsewhere).await.unwrap();
    // What is on its way does not.
    let push = async |mut clients: Clients| clients.push(TestUpload::new(&run, 2)).await;
    let (_sender, _upload) = beside_a_slow_probe(&clients, push, "project/p/snapshot_bytes").await;
    let large = crate::common::probe_of(4_096, 3);
    let specs = large.tensors.iter().map(|tensor| tensor.spec.clone().unwrap()).collect();
    let begin = pb::ProbeManifest { tensors: specs, project: "p".into() };
    let begin = pb::PutProbeRequest { frame: Some(pb::put_probe_request::Frame::Begin(begin)) };
    let answer = clients.runs.put_probe(tokio_stream::iter([begin])).await;
    refused(answer, "project/p/snapshot_bytes");
    let probe = |line: &serde_json::Value| line["method"] == "/clino.v1.Runs/PutProbe";
    let line = files.line("audit", |line| line["event"] == "quota" && probe(line)).await;
    assert_eq!(line["project"], "p");
}

/// A probe of a project whose upload has begun and does not end, once another call is refused because of it.
async fn beside_a_slow_probe<T: std::fmt::Debug>(
    clients: &Clients,
    other: impl AsyncFn(Clients) -> Result<T, Status>,
    subject: &str,
) -> (mpsc::Sender<pb::PutProbeRequest>, JoinHandle<Result<Response<pb::PutProbeResponse>, Status>>) {
    loop {
        let (sender, receiver) = mpsc::channel(16);
        sender.send(probe_frames("p", 1, 1).remove(0)).await.unwrap();
        let mut slow = clients.clone();
        let upload = tokio::spawn(async move { slow.runs.put_probe(ReceiverStream::new(receiver)).await });
        // The first frame may still be on its way: then the other call is in time, and may take the place.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match other(clients.clone()).await {
            Ok(_) => upload.abort(),
            answer => {
                refused(answer, subject);
                return (sender, upload);
            }
        }
    }
}

#[tokio::test]
async fn row_45_uploads_of_probes_at_once() {
    let (daemon, _files) = daemon("[default]\nuploads = 1\n");
    let mut clients = daemon.clients().await;
    let other = async |mut clients: Clients| put(&mut clients, "p", 2).await;
    let (sender, upload) = beside_a_slow_probe(&clients, other, "project/p/uploads").await;
    put(&mut clients, "q", 2).await.unwrap();
    for frame in probe_frames("p", 1, 3).into_iter().skip(1) {
        sender.send(frame).await.unwrap();
    }
    drop(sender);
    upload.await.unwrap().unwrap();
    put(&mut clients, "p", 3).await.unwrap();
}

#[test]
fn a_broken_quotas_file_stops_the_start() {
    let files = AccessFiles::new();
    let path = files.write("quotas.toml", "[default]\nrun = 1\n");
    let output = crate::common::command().args(["--quotas", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("quotas: "));
}
