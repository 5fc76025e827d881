//! Peers that send or read nothing, too much or too slowly, whether they are known or not: nothing of the daemon fills, and others
//! are served.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod hostile;

use clino::access::Token;
use clino_proto::pb;
use common::{Daemon, PATIENCE, TestUpload, open_request, quick};
use hostile::{Call, Peer, flood, frame, headers, raw};
use pb::push_snapshot_request::Frame;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

const OPEN: &str = "/clino.v1.Runs/OpenRun";
const LIST: &str = "/clino.v1.Runs/ListMeasures";
const PUSH: &str = "/clino.v1.Snapshots/PushSnapshot";
const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];
/// Of unread and unfinished calls together, in bytes, however many there are: what the daemon takes besides.
const MARGIN: u64 = 64 << 20;

fn with_tokens(flags: &[&str]) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    let hash = Token::new(&[1; 32]).hash();
    let text = format!("[[entry]]\nname = \"a\"\nhash = \"{hash}\"\nprojects = {{ \"*\" = [\"admin\"] }}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut all = vec!["--tokens", path.to_str().unwrap()];
    all.extend(flags);
    (Daemon::start(&all), folder)
}

fn is_shed(status: &tonic::Status) -> bool {
    status.code() == Code::ResourceExhausted && status.get_error_details().retry_info().is_some()
}

#[tokio::test]
async fn row_53_a_stranger_is_answered_before_anything_of_its_message_is_read() {
    let (daemon, _folder) = with_tokens(&[]);
    let mut peer = Peer::connect(&daemon, 1 << 16).await;
    let wrong = Token::new(&[2; 32]);
    for path in [OPEN, LIST, PUSH, "/clino.v1.Reports/Watch", "/no.such/Call"] {
        for token in [None, Some(wrong.reveal())] {
            // Of its message not even the beginning is sent.
            let status = peer.call(path, token).await.status().await;
            assert_eq!(status.code(), Code::Unauthenticated, "{path}: {status}");
        }
    }
    let right = Token::new(&[1; 32]);
    let mut call = peer.call(LIST, Some(right.reveal())).await;
    call.body.send_data(bytes::Bytes::from_static(&[0; 5]), true).unwrap();
    assert!(!call.head().await.unwrap().contains_key("grpc-status"), "whoever is known gets an answer");
}

#[tokio::test]
async fn row_53_health_needs_no_token_and_takes_no_large_message() {
    let (daemon, _folder) = with_tokens(&[]);
    let mut peer = Peer::connect(&daemon, 1 << 16).await;
    let call = peer.ask("/grpc.health.v1.Health/Check").await;
    assert!(!call.head().await.unwrap().contains_key("grpc-status"));
    let mut call = peer.call("/grpc.health.v1.Health/Check", None).await;
    call.begin(1 << 20).await;
    assert!(is_shed(&call.status().await));
}

#[tokio::test]
async fn row_53_messages_of_strangers_fill_nothing() {
    let (daemon, _folder) = with_tokens(&["--memory", "64MiB"]);
    let before = daemon.resident_bytes();
    let mut peers = Vec::new();
    for _ in 0..48 {
        let mut peer = Peer::connect(&daemon, 1 << 16).await;
        for _ in 0..3 {
            let mut call = peer.call(OPEN, None).await;
            call.begin(4_000_000).await;
            assert_eq!(call.status().await.code(), Code::Unauthenticated);
        }
        peers.push(peer);
    }
    let grown = daemon.peak_bytes() - before;
    assert!(grown < MARGIN, "{} MiB for 576 MiB of messages", grown >> 20);
}

/// Begins calls whose messages of 3 MB never end, on a connection each; sent at once.
async fn unfinished(daemon: &Daemon, count: usize) -> Vec<tonic::Status> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        let mut peer = Peer::connect(daemon, 1 << 16).await;
        tasks.push(tokio::spawn(async move {
            let mut call: Call = peer.call(OPEN, None).await;
            call.begin(3_000_000).await;
            call.status().await
        }));
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses
}

#[tokio::test]
async fn row_53_messages_that_never_end_are_bounded_and_end() {
    let daemon = Daemon::start(&[&["--memory", "64MiB", "--idle", "5s"], &HTTP[..]].concat());
    let before = daemon.resident_bytes();
    let statuses = unfinished(&daemon, 60).await;
    let shed = statuses.iter().filter(|status| is_shed(status)).count();
    let late = statuses.iter().filter(|status| status.code() == Code::DeadlineExceeded).count();
    // Of what fits, each is told when its time is over; the others at once, and when to come back.
    assert!(late >= 1 && shed >= 1 && late + shed == 60, "{late} late, {shed} shed: {statuses:?}");
    let grown = daemon.peak_bytes() - before;
    assert!(grown < MARGIN, "{} MiB for 180 MB of messages", grown >> 20);
    daemon.until_counted("clino_calls_shed_total{what=\"message\"}", shed as f64).await;
    daemon.until_counted("clino_calls_cut_total{what=\"message\"}", late as f64).await;
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_53_answers_that_nobody_reads_are_bounded_and_given_up() {
    let daemon = Daemon::start(&[&["--memory", "64MiB", "--idle", "5s"], &HTTP[..]].concat());
    let before = daemon.resident_bytes();
    let mut peers = Vec::new();
    let mut bodies = Vec::new();
    let mut shed = 0;
    let mut waiting = 0;
    for _ in 0..20 {
        let mut peer = Peer::connect(&daemon, 0).await;
        for _ in 0..100 {
            let (head, body) = peer.ask(LIST).await.answer().await.unwrap();
            bodies.push(body);
            match tonic::Status::from_header_map(&head) {
                Some(status) => {
                    assert!(is_shed(&status), "{status}");
                    shed += 1;
                }
                None => waiting += 1,
            }
        }
        peers.push(peer);
    }
    assert!(shed >= 1 && waiting >= 1, "{shed} shed, {waiting} wait");
    let grown = daemon.peak_bytes() - before;
    assert!(grown < MARGIN, "{} MiB for 2,000 answers", grown >> 20);
    // What they hold comes back though their streams stay open, and others get answers as large.
    daemon.until_counted("clino_calls_cut_total{what=\"answer\"}", f64::from(waiting)).await;
    let mut clients = daemon.clients().await;
    clients.runs.list_measures(pb::ListMeasuresRequest {}).await.unwrap();
    daemon.still_serves().await;
}

/// Pages of megabytes that nobody reads: none is made before there is room for it, and none on a thread of its own.
#[tokio::test]
async fn row_53_large_answers_wait_for_their_turn() {
    const RUNS: usize = 300;
    let daemon = Daemon::start(&[&["--memory", "256MiB", "--idle", "60s"], &HTTP[..]].concat());
    let mut clients = daemon.clients().await;
    let tags = |run: usize| (0..32).map(move |i| (format!("tag-{i}"), format!("{run:0>120}")));
    for run in 0..RUNS {
        let request = pb::OpenRunRequest {
            tags: tags(run).collect(),
            measures: vec![common::measure("param_norm", &[])],
            ..open_request(&format!("run-{run}"))
        };
        clients.runs.open_run(request).await.unwrap();
    }
    let before = daemon.resident_bytes();
    let mut peer = Peer::connect(&daemon, 0).await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(peer.ask("/clino.v1.Runs/ListRuns").await);
    }
    let mut bodies = Vec::new();
    let mut shed = 0;
    for call in calls {
        let (head, body) = call.answer().await.unwrap();
        bodies.push(body);
        shed += usize::from(tonic::Status::from_header_map(&head).is_some_and(|status| is_shed(&status)));
    }
    assert!(shed >= 1, "pages of all calls found room");
    assert!(daemon.threads() < 64, "{} threads", daemon.threads());
    let peak = daemon.peak_bytes();
    assert!(peak < (256 << 20) + MARGIN, "{} MiB at most, {} before", peak >> 20, before >> 20);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_10_and_58_an_upload_of_a_byte_now_and_then_is_ended() {
    let daemon = Daemon::start(&[&["--idle", "3s"], &HTTP[..]].concat());
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let upload = TestUpload::new(&run, 1);
    let (frames, receiver) = mpsc::channel(1);
    let trickle = tokio::spawn(async move {
        let send = |frame| frames.send(pb::PushSnapshotRequest { frame: Some(frame) });
        send(Frame::Begin(upload.begin.clone())).await.unwrap();
        for (offset, byte) in upload.data.iter().enumerate() {
            let data = vec![*byte].into();
            let chunk = clino_proto::convert::chunk_to_pb(offset as u64, data);
            if send(Frame::Chunk(chunk)).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let answer = clients.snapshots.push_snapshot(ReceiverStream::new(receiver));
    let status = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("a second"), "{status}");
    trickle.await.unwrap();
    daemon.until_counted("clino_calls_cut_total{what=\"upload\"}", 1.0).await;
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_12_floods_of_frames_end_their_connection() {
    let daemon = Daemon::start(&[]);
    let call = headers(LIST);
    let reset = |round: usize| {
        let streams = (0..100).map(|i| 2 * (round * 100 + i) as u32 + 1);
        let one = |stream| [frame(1, 4, stream, &call), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
        streams.flat_map(one).collect()
    };
    flood(&daemon, 1_000, reset);
    let begun = |round: usize| if round == 0 { frame(1, 0, 1, &call) } else { Vec::new() };
    let large = [&[0x10, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
    flood(&daemon, 1_000, |round| [begun(round), frame(9, 0, 1, &large)].concat());
    flood(&daemon, 1_000, |round| [begun(round), frame(9, 0, 1, &[]).repeat(100)].concat());
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_13_streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    let daemon = Daemon::start(&["--memory", "64MiB"]);
    let mut stream = raw(&daemon);
    let push = headers(PUSH);
    let all: Vec<u8> = (0..10_000_u32).flat_map(|i| frame(1, 4, 2 * i + 1, &push)).collect();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || drop(writing.write_all(&all)));
    daemon.still_serves().await;
    let mut refused = Vec::<u8>::new();
    let mut piece = [0; 1 << 16];
    // Refused one by one, or all of them with their connection: the library has a limit on both.
    while refused.windows(4).filter(|code| code == b"\0\0\0\x07").count() < 100 {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => refused.extend(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    drop(stream);
    writer.join().unwrap();
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_14_whoever_is_turned_away_is_told_why() {
    let daemon = Daemon::start_with(&HTTP, &[("CLINO_CONNECTIONS", "1")]);
    let mut kept = daemon.clients().await;
    kept.open("k", quick()).await;
    let address = daemon.http.split("://").nth(1).unwrap();
    let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut told = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut second, &mut told);
    tokio::time::timeout(PATIENCE, read).await.expect("it is closed").unwrap();
    // GOAWAY, with the reason.
    assert!(told[9..].starts_with(&[0, 0, 0x1c, 7]) && told.ends_with(b"too many connections"), "{told:?}");
    daemon.until_counted("clino_connections_refused_total", 1.0).await;
    kept.runs.open_run(open_request("l")).await.unwrap();
}

/// What the HTTP port answers to these bytes, until it closes the connection.
fn http(daemon: &Daemon, request: &str) -> String {
    let mut stream = half_open(daemon, request);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn half_open(daemon: &Daemon, bytes: &str) -> std::net::TcpStream {
    let host = daemon.metrics.as_ref().unwrap().rsplit("http://").next().unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn row_61_livez_answers_whatever_is_half_open() {
    let daemon = Daemon::start(&HTTP);
    let mut others: Vec<_> =
        (0..392).map(|_| half_open(&daemon, "GET /livez HTTP/1.1\r\nHost: localhost\r\n")).collect();
    for _ in 0..10 {
        assert_eq!(daemon.http_get("/livez"), (200, "alive\n".to_owned()));
    }
    daemon.until_counted("clino_http_cut_total{why=\"crowd\"}", 136.0).await;
    // Those that are left are cut by time.
    let last = others.last_mut().unwrap();
    let mut end = Vec::new();
    last.read_to_end(&mut end).unwrap();
    assert!(!end.starts_with(b"HTTP/1.1 200"), "{end:?}");
    daemon.until_counted("clino_http_cut_total{why=\"time\"}", 1.0).await;
}

#[tokio::test]
async fn row_61_a_foreign_host_is_refused() {
    let daemon = Daemon::start(&[&["--http-host", "clino.example"], &HTTP[..]].concat());
    let ask = |host: &str| http(&daemon, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["evil.example:9464", "localhost.evil.example"] {
        let answer = ask(host);
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("--http-host"), "{answer}");
    }
    for host in ["localhost", "127.0.0.1:1", "clino.example:9464"] {
        assert!(ask(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    daemon.until_counted("clino_http_cut_total{why=\"host\"}", 2.0).await;
}
