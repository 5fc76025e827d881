//! Bad input against a real daemon: the answer of the table, and others are served afterwards.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clino_domain::status::from_status;
use clino_proto::{convert::chunk_to_pb, pb};
use common::{Daemon, PATIENCE, TestUpload, blamed, group, open_request, quick, raw, spec};
use pb::push_snapshot_request::Frame;
use pb::watch_response::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Status};

async fn refused_begin(change: impl FnOnce(&mut pb::BeginSnapshot)) -> Status {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let mut upload = TestUpload::new(&run, 1);
    change(&mut upload.begin);
    // Nothing beyond the first frame is sent: it must be refused before bytes flow.
    let status = clients.send(vec![Frame::Begin(upload.begin)]).await.unwrap_err();
    daemon.still_serves().await;
    status
}

#[tokio::test]
async fn row_01_malformed_protobuf() {
    let mut daemon = Daemon::start(&[]);
    for path in ["/clino.v1.Runs/OpenRun", "/clino.v1.Snapshots/PushSnapshot"] {
        let status = raw::call(daemon.channel().await, path, b"\xff\xff\xff", &[]).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status}");
    }
    daemon.still_serves().await;
    daemon.signal("-TERM");
    let (_, _, log) = daemon.wait();
    assert!(log.contains("messages_refused_total=2"), "{log}");
}

#[tokio::test]
async fn row_02_a_message_beyond_the_limit() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest { config_json: " ".repeat(5 << 20), ..open_request("k") };
    let status = clients.runs.open_run(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let run = clients.open("k", quick()).await;
    let huge = chunk_to_pb(0, Bytes::from(vec![0; 5 << 20]));
    let frames = vec![Frame::Begin(TestUpload::new(&run, 1).begin), Frame::Chunk(huge)];
    let status = clients.send(frames).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_02_a_chunk_beyond_its_limit() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let large = chunk_to_pb(0, Bytes::from(vec![0; (1 << 20) + 1]));
    let frames = vec![Frame::Begin(TestUpload::new(&run, 1).begin), Frame::Chunk(large)];
    let status = clients.send(frames).await.unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["chunk.data".to_owned()]));
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_03_an_encoding_that_is_not_offered() {
    let daemon = Daemon::start(&[]);
    for encoding in ["gzip", "zstd", "snappy"] {
        let channel = daemon.channel().await;
        let metadata = [("grpc-encoding", encoding)];
        let status = raw::call(channel, "/clino.v1.Runs/ListRuns", b"", &metadata).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{encoding}: {status}");
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_04_nothing_is_decompressed() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    clients.runs.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    let before = daemon.peak_bytes();
    // 4 MB that would become 4 GB: a block of zeros in the format of gzip, repeated.
    let block = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xec, 0xc1, 1][..], &[0; 1_000][..]].concat();
    let bomb: &'static [u8] = block.repeat(4_000).leak();
    for encoding in ["gzip", "deflate", "zstd"] {
        let metadata = [("grpc-encoding", encoding)];
        let channel = daemon.channel().await;
        let status = raw::call(channel, "/clino.v1.Runs/ListRuns", bomb, &metadata).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{encoding}: {status}");
    }
    let grown = daemon.peak_bytes() - before;
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_06_an_unknown_method() {
    let daemon = Daemon::start(&[]);
    for path in ["/clino.v1.Runs/Nothing", "/clino.v9.Runs/OpenRun"] {
        let status = raw::call(daemon.channel().await, path, b"", &[]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_07_something_that_is_no_http2() {
    // It is not the time to begin that ends it.
    let daemon = Daemon::start_with(&[], &[("CLINO_HANDSHAKE", "10m")]);
    let address = daemon.http.strip_prefix("http://").unwrap();
    for bytes in [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), (0..=255).cycle().take(4_096).collect()] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // Closed with or without a reset, and never answered like a web server.
        assert!(end.is_ok(), "the connection stays open");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_15_a_damaged_chunk() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let mut frames = TestUpload::new(&run, 1).frames();
    let Frame::Chunk(second) = &mut frames[2] else { panic!("the second chunk") };
    second.crc32c ^= 1;
    let status = clients.send(frames).await.unwrap_err();
    assert_eq!((status.code(), from_status(&status).committed), (Code::DataLoss, Some(600)));
    assert_eq!(clients.run(&run).await.accepted, 0);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_16_an_offset_with_a_gap_or_an_overlap() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    for offset in [599, 601] {
        let mut frames = TestUpload::new(&run, 1).frames();
        let Frame::Chunk(second) = &mut frames[2] else { panic!("the second chunk") };
        second.offset = offset;
        let status = clients.send(frames).await.unwrap_err();
        assert_eq!((status.code(), from_status(&status).committed), (Code::OutOfRange, Some(600)));
    }
    let mut frames = TestUpload::new(&run, 1).frames();
    frames.insert(frames.len() - 1, Frame::Chunk(chunk_to_pb(1868, Bytes::from_static(b"more"))));
    assert_eq!(clients.send(frames).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(clients.run(&run).await.accepted, 0);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_17_an_upload_that_is_retried_after_it_succeeded() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    assert_eq!(clients.open("k", quick()).await, run);
    let upload = TestUpload::new(&run, 1).key("snapshot 1");
    let first = clients.push(upload.clone()).await.unwrap();
    // Where the client says what they are, the bytes are not needed again.
    let begin = pb::BeginSnapshot { digest: first.digest.clone(), ..upload.begin.clone() };
    let second = clients.send(vec![Frame::Begin(begin)]).await.unwrap();
    assert!(second.repeated_upload && !first.repeated_upload);
    assert_eq!((second.snapshot_id, second.attempt), (first.snapshot_id.clone(), 1));
    let third = clients.push(upload).await.unwrap();
    assert_eq!(third.snapshot_id, first.snapshot_id);
    assert_eq!(clients.run(&run).await.accepted, 1);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_18_a_key_with_other_content() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let other = pb::OpenRunRequest { seed: 8, measures: quick(), ..open_request("k") };
    let status = clients.runs.open_run(other).await.unwrap_err();
    assert_eq!((status.code(), blamed(&status)), (Code::AlreadyExists, vec!["idempotency_key".to_owned()]));
    clients.push(TestUpload::new(&run, 1).key("s")).await.unwrap();
    let status = clients.push(TestUpload::new(&run, 2).key("s")).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_21_a_shape_whose_bytes_overflow() {
    let shape = [4_194_305, 4_194_305, 211_106_198_978_564];
    let status = refused_begin(|begin| begin.tensors[1].shape = shape.to_vec()).await;
    assert_eq!(
        (status.code(), blamed(&status)),
        (Code::InvalidArgument, vec!["tensors[1].shape".to_owned()])
    );
}

#[tokio::test]
async fn row_22_declared_bytes_that_are_not_those_of_the_shape() {
    let status = refused_begin(|begin| begin.tensors[0].byte_length = Some(63)).await;
    let expected = vec!["tensors[0].byte_length".to_owned()];
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, expected));
    assert!(status.message().contains("found 63, expected 64"), "{status}");
}

#[tokio::test]
async fn row_23_manifests_beyond_their_limits() {
    let f32 = |name: &str, shape: &[u64]| spec(name, pb::Dtype::F32, shape);
    let cases = [
        (vec![f32("a", &[]); 100_001], "tensors"),
        (vec![f32(&"x".repeat(1_000_000), &[1])], "tensors[0].name"),
        (vec![f32("a", &[1; 10_000])], "tensors[0].shape"),
        (vec![], "tensors"),
    ];
    for (tensors, field) in cases {
        let status = refused_begin(|begin| begin.tensors = tensors).await;
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

#[tokio::test]
async fn row_23_a_zero_sized_tensor_is_accepted() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let mut upload = TestUpload::new(&run, 1);
    upload.begin.tensors.push(spec("steps", pb::Dtype::I64, &[0, 7]));
    assert_eq!(clients.push(upload).await.unwrap().attempt, 1);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_24_names_that_are_taken_and_aliases_in_a_circle() {
    let status = refused_begin(|begin| begin.tensors[1].name = begin.tensors[0].name.clone()).await;
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["tensors[1].name".to_owned()]));
    let alias = |name: &str, target: &str| pb::Alias { name: name.into(), target: target.into() };
    let circle = vec![alias("a", "b"), alias("b", "a")];
    let status = refused_begin(|begin| begin.aliases = circle).await;
    let expected = ["aliases[0].target", "aliases[1].target"].map(str::to_owned).to_vec();
    assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, expected));
}

#[tokio::test]
async fn row_25_an_unknown_dtype() {
    for dtype in [0, 77, -1] {
        let status = refused_begin(|begin| begin.tensors[2].dtype = dtype).await;
        assert_eq!(
            (status.code(), blamed(&status)),
            (Code::InvalidArgument, vec!["tensors[2].dtype".into()])
        );
        assert!(status.message().contains("layers.1.bias"), "{status}");
    }
}

#[tokio::test]
async fn row_26_parameters_that_are_not_finite() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", vec![]).await;
    for (step, bad) in (1..).zip([f32::NAN, f32::INFINITY]) {
        let mut upload = TestUpload::new(&run, step);
        upload.data[64..68].copy_from_slice(&bad.to_le_bytes());
        clients.push(upload).await.unwrap();
        let finished =
            |event: &Event| matches!(event, Event::Finished(f) if f.snapshot.unwrap().step == step);
        let events = clients.watch_until(&run, finished).await;
        let reading = |event: pb::WatchResponse| match event.event {
            Some(Event::Reading(reading)) if reading.snapshot.unwrap().step == step => Some(reading),
            _ => None,
        };
        let readings: Vec<_> = events.into_iter().filter_map(reading).collect();
        assert!(readings.len() > 5);
        for reading in readings {
            assert_eq!((reading.outcome(), reading.value), (pb::Outcome::Undefined, None), "{reading:?}");
            assert!(reading.reason.contains("layers.0.weight"), "{}", reading.reason);
        }
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_28_an_architecture_that_changes() {
    let status = refused_begin(|begin| begin.tensors[1].shape = vec![16, 9]).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(!blamed(&status).is_empty());
    let status = refused_begin(|begin| drop(begin.tensors.pop())).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("layers.2.weight"), "{status}");
}

#[tokio::test]
async fn row_30_steps_that_repeat_and_go_back() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    for (step, attempt) in [(5, 1), (5, 2), (3, 1), (5, 3)] {
        assert_eq!(clients.push(TestUpload::new(&run, step)).await.unwrap().attempt, attempt);
    }
    let mut taken = TestUpload::new(&run, 5);
    taken.begin.attempt = 2;
    assert_eq!(clients.push(taken.clone()).await.unwrap_err().code(), Code::AlreadyExists);
    taken.begin.attempt = 9;
    assert_eq!(clients.push(taken).await.unwrap().attempt, 9);
    assert_eq!(clients.run(&run).await.accepted, 5);
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_32_hostile_names() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let long = "x".repeat(10_000);
    for name in ["../../etc/x", "a/../b", "a\0b", &long, "a\u{202e}b", "a\x1b[31m", "a\nb", "a\u{2028}b", ""]
    {
        let request = pb::OpenRunRequest { name: name.into(), ..open_request("k") };
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["name".to_owned()]));
        assert!(status.message().len() < 400);
        assert!(
            !status.message().contains(['\n', '\0', '\x1b', '\u{202e}', '\u{2028}']),
            "{:?}",
            status.message()
        );
        let request = pb::OpenRunRequest { groups: vec![group(name, 1)], ..open_request("k") };
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["groups[0].name".into()]));
    }
    let strange = "../../etc/passwd".to_owned();
    let status = clients.runs.get_run(pb::GetRunRequest { run_id: strange }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    daemon.still_serves().await;
}
