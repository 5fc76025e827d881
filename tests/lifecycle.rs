//! A daemon from start to end, through its sockets.

#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::{convert::event_from_pb, pb};
use common::{Clients, Daemon, PATIENCE, TestUpload, blamed, endless, open_request, probe, quick};
use pb::push_snapshot_request::Frame;
use pb::watch_response::Event;
use prost::Message;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

fn finished(event: &Event) -> bool {
    matches!(event, Event::Finished(_))
}

/// An upload of which the test sends one frame after another.
struct SlowUpload {
    frames: mpsc::Sender<pb::PushSnapshotRequest>,
    answer: tokio::task::JoinHandle<Result<pb::PushSnapshotResponse, Status>>,
}

impl SlowUpload {
    fn begin(clients: &Clients) -> Self {
        let (frames, receiver) = mpsc::channel(16);
        let mut snapshots = clients.snapshots.clone();
        let answer = tokio::spawn(async move {
            let answer = snapshots.push_snapshot(ReceiverStream::new(receiver)).await;
            answer.map(tonic::Response::into_inner)
        });
        Self { frames, answer }
    }

    async fn send(&self, frame: Frame) {
        self.frames.send(pb::PushSnapshotRequest { frame: Some(frame) }).await.unwrap();
    }

    async fn answer(self) -> Result<pb::PushSnapshotResponse, Status> {
        tokio::time::timeout(PATIENCE, self.answer).await.expect("an answer").unwrap()
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    // The daemon's standard error is a pipe that is read at the end only: it holds 64 KiB.
    let mut daemon = Daemon::start(&["--log", "debug"]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    for step in 0..800 {
        let push = clients.push(TestUpload::new(&run, step));
        tokio::time::timeout(PATIENCE, push).await.expect("an answer").unwrap();
    }
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success() && log.len() > 60_000, "{status}, {} bytes", log.len());
}

#[tokio::test]
async fn a_run_from_opening_to_closing() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.unix_clients().await;
    let opened = clients.runs.open_run(open_request("k")).await.unwrap().into_inner();
    assert!(opened.created && opened.measures.len() > 5);
    assert_eq!(opened.precision(), pb::Precision::F64);
    let names: Vec<_> = opened.parameters.iter().map(|spec| spec.name.clone()).collect();
    assert_eq!(names, common::specs().into_iter().map(|spec| spec.name).collect::<Vec<_>>());
    let run = opened.run_id;

    let receipt = clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    assert!(receipt.measures.contains(&"distance".to_owned()), "{receipt:?}");
    assert!(receipt.unmeasured.iter().all(|line| line.measure == "update"), "{receipt:?}");
    clients.watch_until(&run, finished).await;
    let receipt = clients.push(TestUpload::new(&run, 1)).await.unwrap();
    assert!(receipt.unmeasured.is_empty(), "{receipt:?}");
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false })
        .await
        .unwrap();

    let events = clients.watch_until(&run, |_| false).await;
    assert!(events.iter().zip(0..).all(|(event, place)| event.sequence == place));
    assert_eq!(events.last().unwrap().event, Some(Event::Closed(pb::RunClosed {})));
    let announced: u32 = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::Started(started)) => Some(started.readings),
            _ => None,
        })
        .sum();
    let readings = events.iter().filter(|event| matches!(event.event, Some(Event::Reading(_)))).count();
    assert_eq!(announced as usize, readings);
    assert!(events.into_iter().all(|event| event_from_pb(event).is_ok()));

    let summary = clients.run(&run).await;
    assert_eq!((summary.accepted, summary.measured, summary.skipped, summary.pending), (2, 2, 0, 0));
    assert!(summary.closed);
    let report = pb::GetReportRequest { run_id: run.clone(), snapshot: None };
    let report = clients.reports.get_report(report).await.unwrap().into_inner();
    assert_eq!((report.snapshot.unwrap().step, report.state()), (1, pb::SnapshotState::Measured));
    let failed: Vec<_> =
        report.readings.iter().filter(|reading| reading.outcome() != pb::Outcome::Measured).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(report.readings.iter().all(|reading| reading.seconds > 0.0));
    assert_eq!(clients.push(TestUpload::new(&run, 2)).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn health_tells_of_each_service() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let daemon = Daemon::start(&[]);
    let mut health = HealthClient::new(daemon.channel().await);
    for service in ["", "clino.v1.Runs", "clino.v1.Snapshots", "clino.v1.Reports"] {
        // Ready only when the engine has computed something.
        let request = HealthCheckRequest { service: service.into() };
        let mut stream = health.watch(request).await.unwrap().into_inner();
        let serving =
            async { while stream.message().await.unwrap().unwrap().status() != ServingStatus::Serving {} };
        tokio::time::timeout(PATIENCE, serving).await.expect("it serves");
    }
    let unknown = HealthCheckRequest { service: "clino.v1.Nothing".into() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_and_describes() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
    let daemon = Daemon::start(&[]);
    let mut client = ServerReflectionClient::new(daemon.channel().await);
    let requests = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("clino.v1.Snapshots".into()),
    ];
    let requests = requests
        .map(|request| ServerReflectionRequest { host: String::new(), message_request: Some(request) });
    let mut stream = client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answer = |answer: Option<ServerReflectionResponse>| answer.unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer(stream.message().await.unwrap()) else {
        panic!("a list");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["clino.v1.Runs", "clino.v1.Snapshots", "clino.v1.Reports", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    let MessageResponse::FileDescriptorResponse(file) = answer(stream.message().await.unwrap()) else {
        panic!("a file");
    };
    let file = prost_types::FileDescriptorProto::decode(&*file.file_descriptor_proto[0]).unwrap();
    let method = &file.service[0].method[0];
    assert_eq!((method.name(), method.client_streaming()), ("PushSnapshot", true));
}

#[tokio::test]
async fn row_40_the_newest_snapshot_wins_and_the_replaced_one_is_reported() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", endless()).await;
    clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Started(_))).await;
    assert_eq!(clients.push(TestUpload::new(&run, 1)).await.unwrap().replaced, None);
    let receipt = clients.push(TestUpload::new(&run, 2)).await.unwrap();
    assert_eq!(receipt.replaced, Some(pb::SnapshotRef { step: 1, attempt: 1 }));
    let events = clients.watch_until(&run, |event| matches!(event, Event::Skipped(_))).await;
    let Some(Event::Skipped(skipped)) = &events.last().unwrap().event else { panic!("the last one") };
    assert_eq!(skipped.snapshot.unwrap().step, 1);
    assert!(skipped.reason.contains("step 2"), "{}", skipped.reason);
    let report = pb::GetReportRequest { run_id: run.clone(), snapshot: skipped.snapshot };
    let report = clients.reports.get_report(report).await.unwrap().into_inner();
    assert_eq!(report.state(), pb::SnapshotState::Skipped);
    let summary = clients.run(&run).await;
    assert_eq!((summary.accepted, summary.skipped, summary.pending), (3, 1, 2));
}

#[tokio::test]
async fn a_run_that_wants_every_snapshot_makes_the_pusher_wait() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let delivery = pb::Delivery::Every.into();
    let request = pb::OpenRunRequest { delivery, measures: endless(), ..open_request("k") };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 0)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Started(_))).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    let third = clients.push(TestUpload::new(&run, 2));
    assert!(tokio::time::timeout(Duration::from_millis(500), third).await.is_err(), "there is no room");
    assert_eq!(clients.run(&run).await.accepted, 2);

    let request = pb::OpenRunRequest { delivery, measures: quick(), ..open_request("fast") };
    let other = daemon_with(&request).await;
    let (fast, mut clients, _daemon) = other;
    let pushes = (0..6).map(|step| {
        let mut clients = clients.clone();
        let upload = TestUpload::new(&fast, step);
        tokio::spawn(async move { clients.push(upload).await })
    });
    for push in pushes.collect::<Vec<_>>() {
        assert_eq!(push.await.unwrap().unwrap().replaced, None);
    }
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: fast.clone(), resumable: false, abandon: false })
        .await
        .unwrap();
    clients.watch_until(&fast, |_| false).await;
    let summary = clients.run(&fast).await;
    assert_eq!((summary.measured, summary.skipped), (6, 0));
}

async fn daemon_with(request: &pb::OpenRunRequest) -> (String, Clients, Daemon) {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.runs.open_run(request.clone()).await.unwrap().into_inner().run_id;
    (run, clients, daemon)
}

#[tokio::test]
async fn a_watcher_that_comes_too_late_gets_a_gap() {
    let daemon = Daemon::start(&["--events", "4"]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, finished).await;
    let next = clients.run(&run).await.next_sequence;
    let events = clients.watch_until(&run, finished).await;
    let Some(Event::Gap(gap)) = &events[0].event else { panic!("{:?}", events[0]) };
    assert_eq!((gap.lost, events[0].sequence), (next - 4, next - 5));
    assert_eq!(events.len(), 5);
    assert!(events.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    let ahead = pb::WatchRequest { run_id: run, from_sequence: Some(next + 1) };
    let status = clients.reports.watch(ahead).await.unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["from_sequence".to_owned()]));
}

fn frames_bytes(frames: &[Frame]) -> f64 {
    let bytes = |frame: &Frame| if let Frame::Chunk(chunk) = frame { chunk.data.len() } else { 0 };
    frames.iter().map(bytes).sum::<usize>() as f64
}

#[tokio::test]
async fn sigterm_drains_with_streams_open() {
    let mut daemon = Daemon::start(&["--grace", "5s", "--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", endless()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Started(_))).await;
    let mut watching = clients.clone();
    let watched = run.clone();
    let watch = tokio::spawn(async move { watching.watch_until(&watched, |_| false).await });
    // One upload stays silent, another one goes on to its commit.
    let (silent, busy) = (SlowUpload::begin(&clients), SlowUpload::begin(&clients));
    let frames = TestUpload::new(&run, 2).frames();
    silent.send(frames[0].clone()).await;
    busy.send(frames[0].clone()).await;
    busy.send(frames[1].clone()).await;
    // Three with the first one, which is measured; and bytes of two.
    daemon.until_counted("clino_uploads_started_total{what=\"snapshot\"}", 3.0).await;
    let bytes = frames_bytes(&TestUpload::new(&run, 1).frames()) + frames_bytes(&frames[..2]);
    daemon.until_counted("clino_upload_bytes_total", bytes).await;
    daemon.signal("-TERM");
    while !daemon.http_get("/readyz").1.contains("draining") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for frame in &frames[2..] {
        busy.send(frame.clone()).await;
    }
    assert_eq!(busy.answer().await.unwrap().step, 2);
    assert_eq!(silent.answer().await.unwrap_err().code(), Code::Unavailable);
    let late = clients.runs.open_run(open_request("late")).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable);
    let events = watch.await.unwrap();
    assert_eq!(events.last().unwrap().event, Some(Event::Draining(pb::Draining {})));
    let skipped = events.iter().filter(|event| matches!(event.event, Some(Event::Skipped(_)))).count();
    assert_eq!(skipped, 2, "the one in the engine and the one that waits");
    let socket = daemon.socket();
    let (status, took, log) = daemon.wait();
    // What is measured takes hours: it was told to end.
    assert!(status.success() && took < PATIENCE, "{status} after {took:?}: {log}");
    assert!(!socket.exists());
}

#[tokio::test]
async fn row_20_a_kill_in_the_middle_of_a_push_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("clino.sock");
    let mut daemon = Daemon::at(&socket, &[]);
    let mut clients = daemon.unix_clients().await;
    let run = clients.open("k", quick()).await;
    let upload = TestUpload::new(&run, 1).key("s");
    let half = SlowUpload::begin(&clients);
    for frame in &upload.frames()[..2] {
        half.send(frame.clone()).await;
    }
    daemon.signal("-KILL");
    daemon.wait();
    assert!(half.answer().await.is_err());
    assert!(socket.exists(), "a killed daemon cannot tidy up");
    let daemon = Daemon::at(&socket, &[]);
    let mut clients = daemon.unix_clients().await;
    assert_eq!(clients.push(upload).await.unwrap_err().code(), Code::NotFound, "runs live in memory");
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1).key("s")).await.unwrap();
    daemon.still_serves().await;
}

#[tokio::test]
async fn an_upload_that_falls_silent_is_ended() {
    // Long enough for the frames of the upload that follows, on a busy machine too.
    let daemon = Daemon::start(&["--idle", "3s"]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let slow = SlowUpload::begin(&clients);
    slow.send(TestUpload::new(&run, 1).frames()[0].clone()).await;
    assert_eq!(slow.answer().await.unwrap_err().code(), Code::DeadlineExceeded);
    daemon.still_serves().await;
}

#[tokio::test]
async fn an_upload_without_its_commit_leaves_nothing() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let mut frames = TestUpload::new(&run, 1).frames();
    frames.pop();
    let status = clients.send(frames.clone()).await.unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["frame".to_owned()]));
    frames.truncate(2);
    frames.push(Frame::Commit(pb::Commit::default()));
    assert_eq!(clients.send(frames).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(clients.run(&run).await.accepted, 0);
    daemon.still_serves().await;
}

#[tokio::test]
async fn a_probe_is_put_once_and_named_by_digest() {
    use pb::put_probe_request::Frame as ProbeFrame;
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let probe = probe(1);
    let tensors = probe.tensors.iter().map(|tensor| tensor.spec.clone().unwrap()).collect();
    let data: Vec<u8> = probe.tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
    let chunk = clino_proto::convert::chunk_to_pb(0, data.into());
    let frames = [
        ProbeFrame::Begin(pb::ProbeManifest { tensors, project: String::new() }),
        ProbeFrame::Chunk(chunk),
        ProbeFrame::Commit(pb::Commit::default()),
    ];
    let frames = frames.map(|frame| pb::PutProbeRequest { frame: Some(frame) });
    let digest = clients.runs.put_probe(tokio_stream::iter(frames)).await.unwrap().into_inner().digest;
    let named = |digest: String| pb::OpenRunRequest {
        groups: vec![pb::ProbeGroup {
            name: "en".into(),
            source: Some(pb::probe_group::Source::Digest(digest)),
        }],
        ..open_request("k")
    };
    let status = clients.runs.open_run(named("00".into())).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(blamed(&status), ["groups[0].digest"]);
    assert!(clients.runs.open_run(named(digest)).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn a_catalogue_without_stubs_of_its_own() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let measures =
        clients.runs.list_measures(pb::ListMeasuresRequest {}).await.unwrap().into_inner().measures;
    let sharpness = measures.iter().find(|measure| measure.name == "sharpness").unwrap();
    assert!(sharpness.standard && sharpness.needs.contains(&"probe".to_owned()));
    let unknown =
        pb::OpenRunRequest { measures: vec![common::measure("sharpnes", &[])], ..open_request("k") };
    let status = clients.runs.open_run(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(blamed(&status)[0].starts_with("measures[0]"), "{:?}", blamed(&status));
}

#[tokio::test]
async fn a_full_registry_says_so() {
    let daemon = Daemon::start(&["--runs", "1"]);
    let mut clients = daemon.clients().await;
    let first = clients.open("a", quick()).await;
    let status = clients.runs.open_run(open_request("b")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: first, resumable: false, abandon: false })
        .await
        .unwrap();
    clients.open("b", quick()).await;
}

#[test]
fn the_socket_is_private_and_not_taken_from_a_living_daemon() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.socket();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let second = common::command().arg("--socket").arg(&socket).output().unwrap();
    let message = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{message}");
    assert!(message.contains("another process listens there") && second.stdout.is_empty(), "{message}");
    assert!(socket.exists());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |command: &mut std::process::Command, word: &str| {
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains(word) && output.stdout.is_empty(), "{message}");
    };
    refused(common::command().args(["--listen", "0.0.0.0:0"]), "TLS");
    refused(common::command().arg("--nonsense"), "nonsense");
    refused(common::command().env("CLINO_THREDS", "2"), "threds");
    refused(common::command().args(["--spool", "/nowhere/at/all"]), "spool");
    refused(common::command().args(["--config", "/nowhere.toml"]), "config");
}

#[tokio::test]
async fn statistics_are_made_while_the_bytes_arrive() {
    let mut daemon = Daemon::start(&[]);
    let mut clients = daemon.unix_clients().await;
    let request = pb::OpenRunRequest {
        measures: vec![common::measure("distance", &[]), common::measure("update", &[])],
        delivery: pb::Delivery::Every.into(),
        ..open_request("k")
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false })
        .await
        .unwrap();
    clients.watch_until(&run, |_| false).await;
    daemon.signal("-TERM");
    let (_, _, log) = daemon.wait();
    let measured: Vec<&str> = log.lines().filter(|line| line.contains("on_arrival")).collect();
    // An initialization is its own reference, which there is none of before all of it has arrived.
    assert_eq!(measured.len(), 2, "{log}");
    assert!(measured[0].contains("false") && measured[1].contains("true"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_reader_that_does_not_read_is_cut_and_told_where_to_go_on() {
    let daemon = Daemon::start(&["--idle", "1s", "--log", "warn", "--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    let delivery = pb::Delivery::Every.into();
    // Large readings: of many small ones the reader's own HTTP/2 would complain first.
    let measures = vec![common::measure("average_case", &[("draws", 200.0)])];
    let request = pb::OpenRunRequest { delivery, measures, ..open_request("k") };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    // A window of 64 KiB and nobody who reads.
    let narrow = tonic::transport::Endpoint::from_shared(daemon.http.clone()).unwrap();
    let narrow = narrow.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut slow = common::Clients::new(narrow.connect().await.unwrap());
    let watch = pb::WatchRequest { run_id: run.clone(), from_sequence: Some(0) };
    let mut stream = slow.reports.watch(watch.clone()).await.unwrap().into_inner();
    for step in 1..=60 {
        clients.push(TestUpload::new(&run, step)).await.unwrap();
    }
    clients
        .watch_until(
            &run,
            |event| matches!(event, Event::Finished(f) if f.snapshot.as_ref().unwrap().step == 60),
        )
        .await;
    // The other one that watched, and this one, which has read nothing.
    daemon.until_counted("clino_watches_finished_total", 2.0).await;
    let mut expected = 0;
    let cut = loop {
        match stream.message().await {
            Ok(event) => {
                assert_eq!(event.expect("it is cut before the end").sequence, expected);
                expected += 1;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(cut.code(), Code::ResourceExhausted, "{cut:?}");
    let details = tonic_types::StatusExt::get_error_details(&cut);
    let resume: u64 = details.error_info().unwrap().metadata["from_sequence"].parse().unwrap();
    assert_eq!(resume, expected, "nothing is lost and nothing is told twice");
    let again = pb::WatchRequest { from_sequence: Some(resume), ..watch };
    let mut stream = clients.reports.watch(again).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().sequence, resume);
}
