//! One budget for the process: what clients send, keep open and have measured stays within `--memory`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{
    Daemon, TestUpload, bytes_of, finished, measure, numbers, open_request, probe_of, quick, spec,
    wide_config, wide_elements, wide_specs,
};
use pb::put_probe_request::Frame as ProbeFrame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

const MIB: u64 = 1 << 20;
/// What the process may take besides `--memory`: its code, its threads, and what the allocator keeps.
const BESIDES: u64 = 64 * MIB;

/// Bytes that are claimed for something, of which `/metrics` tells.
fn claimed(daemon: &Daemon, part: &str) -> u64 {
    let line = format!("clino_budget_used_bytes{{budget=\"{part}\"}} ");
    let text = daemon.http_get("/metrics").1;
    text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok()).unwrap() as u64
}

fn assert_within(daemon: &Daemon, memory: u64) {
    let peak = daemon.peak_bytes();
    eprintln!("peak {} MiB of {} + {}", peak >> 20, memory >> 20, BESIDES >> 20);
    assert!(peak <= memory + BESIDES, "{} MiB", peak >> 20);
}

/// Frames of a probe of that many rows of 1024 half-precision numbers.
fn probe_frames(rows: u64, fill: u8) -> Vec<pb::PutProbeRequest> {
    let tensors =
        vec![spec("inputs", pb::Dtype::F16, &[rows, 1024]), spec("labels", pb::Dtype::I64, &[rows])];
    let mut data = vec![fill; rows as usize * 2048];
    data.extend((0..rows).flat_map(|row| (row % 2).to_le_bytes()));
    let mut frames = vec![ProbeFrame::Begin(pb::ProbeManifest { tensors, project: String::new() })];
    frames.extend(data.chunks(1 << 20).enumerate().map(|(i, part)| {
        ProbeFrame::Chunk(clino_proto::convert::chunk_to_pb((i as u64) << 20, part.to_vec().into()))
    }));
    frames.push(ProbeFrame::Commit(pb::Commit::default()));
    frames.into_iter().map(|frame| pb::PutProbeRequest { frame: Some(frame) }).collect()
}

async fn put(daemon: &Daemon, rows: u64, fill: u8) -> Result<String, Status> {
    let mut clients = daemon.clients().await;
    let frames = tokio_stream::iter(probe_frames(rows, fill));
    clients.runs.put_probe(frames).await.map(|answer| answer.into_inner().digest)
}

/// A refusal that tells when to come back.
fn is_shed(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted && clino_domain::status::from_status(status).retry.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_39_many_probes_at_once_stay_within_memory_and_others_are_served() {
    let daemon = Daemon::start(&["--memory", "64MiB", "--http", "127.0.0.1:0"]);
    let mut uploads = tokio::task::JoinSet::new();
    let daemon = std::sync::Arc::new(daemon);
    // 24 x 16 MiB.
    for fill in 0..24 {
        let daemon = daemon.clone();
        uploads.spawn(async move { put(&daemon, 8 << 10, fill).await });
    }
    let mut stored = 0;
    while let Some(answer) = uploads.join_next().await {
        match answer.unwrap() {
            Ok(_) => stored += 1,
            Err(status) => assert!(is_shed(&status), "{status:?}"),
        }
    }
    assert!(stored >= 1, "somebody always gets through");
    daemon.still_serves().await;
    assert!(claimed(&daemon, "probes") <= 64 * MIB);
    // Those that nobody uses make room: each comes through alone.
    for fill in 0..6 {
        put(&daemon, 8 << 10, 100 + fill).await.unwrap();
    }
    let never = put(&daemon, 40 << 10, 1).await.unwrap_err();
    assert_eq!(never.code(), Code::InvalidArgument, "it never fits: {never}");
    assert_within(&daemon, 64 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_58_a_slow_upload_claims_what_has_come_and_others_go_on() {
    let daemon = Daemon::start(&["--memory", "64MiB", "--http", "127.0.0.1:0"]);
    let mut frames = probe_frames(24 << 10, 1);
    frames.truncate(2);
    // 48 MiB are announced, and one came; the sender keeps the stream open.
    let (sender, receiver) = mpsc::channel(2);
    let mut clients = daemon.clients().await;
    let slow = tokio::spawn(async move { clients.runs.put_probe(ReceiverStream::new(receiver)).await });
    for frame in frames {
        sender.send(frame).await.unwrap();
    }
    daemon.until_counted("clino_budget_used_bytes{budget=\"probes\"}", 1.0).await;
    assert!(claimed(&daemon, "probes") <= 2 * MIB, "as much as came, and no more than twice that");
    put(&daemon, 24 << 10, 2).await.unwrap();
    daemon.still_serves().await;
    drop(sender);
    assert!(slow.await.unwrap().is_err());
    assert_within(&daemon, 64 * MIB);
}

/// A model whose snapshots have 3.2 million parameters, 13 MB.
const WIDTH: u64 = 1_790;

fn wide_upload(run: &str, step: u64) -> TestUpload {
    let mut upload = TestUpload::new(run, step);
    upload.begin.tensors = wide_specs(WIDTH);
    upload.data = bytes_of(&numbers(wide_elements(WIDTH) as usize, step as u32 + 1));
    upload.chunk = 1 << 20;
    upload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_39_large_snapshots_of_many_runs_wait_on_disk_and_not_in_memory() {
    let daemon = Daemon::start(&["--memory", "128MiB", "--http", "127.0.0.1:0"]);
    let daemon = std::sync::Arc::new(daemon);
    let mut clients = daemon.clients().await;
    let mut uploads = tokio::task::JoinSet::new();
    let mut runs = Vec::new();
    // 20 x 13 MB at once.
    for i in 0..20 {
        let request = pb::OpenRunRequest {
            config_json: wide_config(WIDTH),
            measures: vec![measure("param_norm", &[])],
            ..open_request(&format!("wide {i}"))
        };
        let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
        let daemon = daemon.clone();
        runs.push(run.clone());
        uploads.spawn(async move { daemon.clients().await.push(wide_upload(&run, 1)).await });
    }
    while let Some(answer) = uploads.join_next().await {
        answer.unwrap().unwrap();
    }
    daemon.still_serves().await;
    for run in &runs {
        clients.watch_until(run, finished(1)).await;
    }
    assert_eq!(claimed(&daemon, "snapshots"), 0);
    assert_within(&daemon, 128 * MIB);
}

/// 9 groups of 200 examples of 64 tokens each: 0.9 MB that are prepared to several.
fn languages(key: &str) -> pb::OpenRunRequest {
    let config = r#"{"model_type":"bert","vocab_size":1000,"hidden_size":4,"num_hidden_layers":1,
        "num_attention_heads":2,"intermediate_size":4,"max_position_embeddings":64,"type_vocab_size":1,"num_labels":3}"#;
    let integers = |name: &str, shape: &[u64], value: &dyn Fn(u64) -> i32| {
        let count = shape.iter().product::<u64>();
        let data: Vec<u8> = (0..count).flat_map(|i| value(i).to_le_bytes()).collect();
        pb::ProbeTensor { spec: Some(spec(name, pb::Dtype::I32, shape)), data: data.into() }
    };
    let group = |seed: u64| {
        let tensors = vec![
            integers("input_ids", &[200, 64], &|i| ((i * 7_919 + seed * 31) % 1_000) as i32),
            integers("attention_mask", &[200, 64], &|_| 1),
            integers("labels", &[200], &|i| (i % 3) as i32),
        ];
        let source = Some(pb::probe_group::Source::Probe(pb::Probe { tensors }));
        pb::ProbeGroup { name: format!("language{seed}"), source }
    };
    pb::OpenRunRequest {
        config_json: config.into(),
        groups: (0..9).map(group).collect(),
        measures: quick(),
        ..open_request(key)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_54_runs_that_are_closed_keep_no_prepared_probes() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    for flags in [&["--http", "127.0.0.1:0"][..], &["--http", "127.0.0.1:0", "--data", folder]] {
        let daemon = Daemon::start(flags);
        let mut clients = daemon.clients().await;
        let mut early = 0;
        for i in 0..60 {
            let request = languages(&format!("sweep {i}"));
            let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
            clients
                .runs
                .close_run(pb::CloseRunRequest { run_id: run, resumable: false, abandon: false })
                .await
                .unwrap();
            if i == 19 {
                early = daemon.resident_bytes();
            }
        }
        let late = daemon.resident_bytes();
        eprintln!("{} MiB after 20 closed runs, {} MiB after 60", early >> 20, late >> 20);
        // 40 runs that kept their probes took 500 MiB.
        assert!(late <= early + 32 * MIB, "{early} bytes became {late}");
        assert_eq!((claimed(&daemon, "runs"), claimed(&daemon, "measuring")), (0, 0));
    }
}

/// A model for probes of 1024 inputs.
fn on_probe(key: &str, source: pb::probe_group::Source) -> pb::OpenRunRequest {
    pb::OpenRunRequest {
        config_json: r#"{"model_type":"mlp","sizes":[1024,2,2],"hidden_act":"relu"}"#.into(),
        groups: vec![pb::ProbeGroup { name: "en".into(), source: Some(source) }],
        measures: quick(),
        ..open_request(key)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_54_a_probe_is_prepared_once_for_all_runs_and_goes_with_the_last() {
    let daemon = Daemon::start(&["--memory", "256MiB", "--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    // 8 MiB of half-precision numbers.
    let digest = put(&daemon, 4 << 10, 1).await.unwrap();
    let mut runs = Vec::new();
    let mut first = 0;
    for i in 0..24 {
        let request = on_probe(&format!("shares {i}"), pb::probe_group::Source::Digest(digest.clone()));
        runs.push(clients.runs.open_run(request).await.unwrap().into_inner().run_id);
        if i == 0 {
            first = claimed(&daemon, "runs");
        }
    }
    let all = claimed(&daemon, "runs");
    assert!(first >= 16 * MIB && all <= first + 8 * MIB, "{first} for one, {all} for 24");
    let summary = clients.run(&runs[0]).await;
    let shared: u64 = summary.memory.iter().filter(|share| share.shared).map(|share| share.bytes).sum();
    assert!(shared >= 16 * MIB && summary.memory.iter().any(|share| share.measuring), "{:?}", summary.memory);
    for run in runs {
        clients
            .runs
            .close_run(pb::CloseRunRequest { run_id: run, resumable: false, abandon: false })
            .await
            .unwrap();
    }
    assert_eq!((claimed(&daemon, "runs"), claimed(&daemon, "measuring")), (0, 0));
    assert_within(&daemon, 256 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_54_runs_with_probes_of_their_own_are_admitted_while_there_is_memory() {
    let daemon = Daemon::start(&["--memory", "96MiB", "--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    let request = |i: usize| {
        let rows: u64 = 1_000;
        let labels = (0..rows).flat_map(|row| (row % 2).to_le_bytes()).collect::<Vec<u8>>();
        let tensor = |spec, data: Vec<u8>| pb::ProbeTensor { spec: Some(spec), data: data.into() };
        let tensors = vec![
            tensor(spec("inputs", pb::Dtype::F16, &[rows, 1024]), vec![i as u8; rows as usize * 2048]),
            tensor(spec("labels", pb::Dtype::I64, &[rows]), labels),
        ];
        on_probe(&format!("own {i}"), pb::probe_group::Source::Probe(pb::Probe { tensors }))
    };
    let mut open = Vec::new();
    let mut refused = 0;
    for i in 0..60 {
        match clients.runs.open_run(request(i)).await {
            Ok(answer) => open.push(answer.into_inner().run_id),
            Err(status) => {
                assert!(is_shed(&status) && status.message().contains("for runs"), "{status:?}");
                refused += 1;
            }
        }
    }
    assert!(open.len() >= 4 && refused >= 10, "{} open, {refused} refused", open.len());
    daemon.still_serves().await;
    for run in open.drain(..) {
        clients
            .runs
            .close_run(pb::CloseRunRequest { run_id: run, resumable: false, abandon: false })
            .await
            .unwrap();
    }
    clients.runs.open_run(request(61)).await.unwrap();
    assert_within(&daemon, 96 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_55_runs_that_no_machine_holds_are_refused_with_the_sum_and_the_daemon_goes_on() {
    let daemon = Daemon::start(&["--memory", "256MiB"]);
    let mut clients = daemon.clients().await;
    let tokens = 200_000;
    let bert = format!(
        r#"{{"model_type":"bert","vocab_size":8,"hidden_size":2,"num_hidden_layers":2,"num_attention_heads":1,
        "intermediate_size":2,"max_position_embeddings":{tokens},"type_vocab_size":1,"num_labels":2}}"#
    );
    let integers = |name: &str, shape: &[u64], value: i32| {
        let count = shape.iter().product::<u64>() as usize;
        let data = value.to_le_bytes().repeat(count);
        pb::ProbeTensor { spec: Some(spec(name, pb::Dtype::I32, shape)), data: data.into() }
    };
    let long = vec![
        integers("input_ids", &[2, tokens], 1),
        integers("attention_mask", &[2, tokens], 1),
        pb::ProbeTensor {
            spec: Some(spec("labels", pb::Dtype::I32, &[2])),
            data: vec![0, 0, 0, 0, 1, 0, 0, 0].into(),
        },
    ];
    let classes = r#"{"model_type":"mlp","sizes":[8,8,16777216],"hidden_act":"relu"}"#;
    let long = pb::Probe { tensors: long };
    for (key, config, probe) in [("long", &*bert, long), ("classes", classes, probe_of(10_000, 1))] {
        let source = Some(pb::probe_group::Source::Probe(probe));
        let request = pb::OpenRunRequest {
            config_json: config.into(),
            groups: vec![pb::ProbeGroup { name: "en".into(), source }],
            measures: vec![measure("loss", &[])],
            ..open_request(key)
        };
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{key}: {status}");
        assert_eq!(common::blamed(&status), ["memory"], "{key}: {status}");
        assert!(status.message().contains(" MiB for "), "{key}: {status}");
    }
    daemon.still_serves().await;
    assert_within(&daemon, 256 * MIB);
}

#[tokio::test]
async fn the_limit_and_its_origin_are_told_at_the_start() {
    let text = |flags: &[&str]| {
        let mut daemon = Daemon::start(flags);
        daemon.signal("-TERM");
        daemon.wait().2
    };
    assert!(text(&["--memory", "300MiB"]).contains("memory=\"300 MiB\" of=\"as set\""));
    let usual = text(&[]);
    assert!(usual.contains("50% of the "), "{usual}");
    assert!(text(&["--memory", "10%"]).contains("10% of the "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_55_a_run_whose_probes_cannot_be_prepared_is_refused_and_others_are_served() {
    let daemon = Daemon::start(&["--memory", "16MiB", "--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    let source = |examples| Some(pb::probe_group::Source::Probe(probe_of(examples, 1)));
    let request = |key: &str, examples| pb::OpenRunRequest {
        groups: vec![pb::ProbeGroup { name: "en".into(), source: source(examples) }],
        measures: quick(),
        ..open_request(key)
    };
    // It takes up to 28 MB to prepare 90,000 examples of 8 numbers.
    let never = clients.runs.open_run(request("a", 90_000)).await.unwrap_err();
    assert_eq!(never.code(), Code::InvalidArgument, "{never}");
    assert!(never.message().contains("--memory"), "{never}");
    let run = clients.runs.open_run(request("b", 32)).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    daemon.still_serves().await;
    assert_within(&daemon, 16 * MIB);
}
