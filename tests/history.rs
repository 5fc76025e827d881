//! What outlives a daemon: through its sockets, across restarts and kills, and from outside by `clino query` and `export`.

#![allow(clippy::unwrap_used)]

mod common;

use clino::publish::{Bounds, EventBus};
use clino::store::sqlite::{DATABASE, SqliteStore};
use clino_domain::{DecisionContext, Event as Happened, Journal, Precision, Reading, SnapshotRef};
use clino_domain::{Delivery, MeasureRequest, Planned, RunId, RunLabel, RunRecord, Work};
use clino_proto::pb;
use common::{Clients, Daemon, PATIENCE, TestUpload, finished, open_request, quick};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use pb::watch_response::Event;
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::{Code, Status};

fn start(directory: &TempDir, flags: &[&str]) -> Daemon {
    let data = directory.path().join("data");
    let mut all = vec!["--data", data.to_str().unwrap()];
    all.extend(flags);
    Daemon::at(&directory.path().join("clino.sock"), &all)
}

fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

/// All events up to now.
async fn told(clients: &mut Clients, run: &str) -> Vec<pb::WatchResponse> {
    let next = clients.run(run).await.next_sequence;
    let request = pb::WatchRequest { run_id: run.into(), from_sequence: Some(0) };
    let mut stream = clients.reports.watch(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while (events.len() as u64) < next {
        let event = tokio::time::timeout(PATIENCE, stream.message()).await.expect("an event");
        events.push(event.unwrap().unwrap());
    }
    events
}

#[tokio::test]
async fn a_restart_resumes_runs_numbers_receipts_and_distances() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = start(&directory, &["--events", "4"]);
    let mut clients = daemon.clients().await;
    let opened = clients.runs.open_run(open_request("k")).await.unwrap().into_inner();
    let run = opened.run_id.clone();
    clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    clients.watch_until(&run, finished(0)).await;
    let receipt = clients.push(TestUpload::new(&run, 1).key("one")).await.unwrap();
    clients.watch_until(&run, finished(1)).await;
    let (events, summary) = (told(&mut clients, &run).await, clients.run(&run).await);
    assert!(events.iter().zip(0..).all(|(event, place)| event.sequence == place));
    let report = |step| pb::GetReportRequest {
        run_id: run.clone(),
        snapshot: Some(pb::SnapshotRef { step, attempt: 1 }),
    };
    let old = clients.reports.get_report(report(0)).await.unwrap().into_inner();
    assert!(old.readings.len() > 10);
    daemon.signal("-TERM");
    assert!(daemon.wait().0.success());

    let daemon = start(&directory, &["--events", "4"]);
    let mut clients = daemon.clients().await;
    let now = clients.run(&run).await;
    assert_eq!(
        pb::RunSummary { plan: vec![], opened_at: 0.0, ..now.clone() },
        pb::RunSummary { plan: vec![], opened_at: 0.0, memory: vec![], ..summary.clone() }
    );
    assert!((now.opened_at - summary.opened_at).abs() < 1e-3);
    assert_eq!(told(&mut clients, &run).await, events);
    assert_eq!(clients.reports.get_report(report(0)).await.unwrap().into_inner(), old);
    let again = clients.runs.open_run(open_request("k")).await.unwrap().into_inner();
    assert_eq!((&again.run_id, again.created), (&run, false));
    assert_eq!((again.measures, again.parameters), (opened.measures, opened.parameters));
    let other = pb::OpenRunRequest { seed: 8, ..open_request("k") };
    assert_eq!(clients.runs.open_run(other).await.unwrap_err().code(), Code::AlreadyExists);

    let repeated = clients.push(TestUpload::new(&run, 1).key("one")).await.unwrap();
    assert!(repeated.repeated_upload);
    assert_eq!(pb::PushSnapshotResponse { repeated_upload: false, ..repeated }, receipt);
    let third = clients.push(TestUpload::new(&run, 1)).await.unwrap();
    assert_eq!(third.attempt, 2);
    assert!(third.measures.contains(&"distance".to_owned()), "{third:?}");
    let update = third.unmeasured.iter().find(|line| line.measure == "update").unwrap();
    assert!(update.reason.contains("restarted"), "{update:?}");
    let second =
        |event: &Event| matches!(event, Event::Finished(end) if end.snapshot.as_ref().unwrap().attempt == 2);
    let more = clients.watch_until(&run, second).await;
    assert!(more.iter().zip(0..).all(|(event, place)| event.sequence == place));
    let distance = |events: &[pb::WatchResponse], attempt: u32| {
        events.iter().find_map(|event| match &event.event {
            Some(Event::Reading(reading))
                if reading.measure == "distance"
                    && *reading.snapshot.as_ref().unwrap() == pb::SnapshotRef { step: 1, attempt } =>
            {
                reading.value
            }
            _ => None,
        })
    };
    assert!(distance(&more, 1).unwrap() > 0.0);
    assert_eq!(distance(&more, 1), distance(&more, 2), "the same bytes are as far from the initialization");
}

#[tokio::test]
async fn a_run_that_was_closed_stays_closed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", common::endless()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false })
        .await
        .unwrap();
    drop(daemon);
    let daemon = start(&directory, &[]);
    let mut clients = daemon.clients().await;
    assert!(clients.run(&run).await.closed);
    let events = clients.watch_until(&run, |_| false).await;
    assert_eq!(events.last().unwrap().event, Some(Event::Closed(pb::RunClosed {})));
    let skipped = events.iter().find_map(|event| match &event.event {
        Some(Event::Skipped(skipped)) => Some(skipped.reason.clone()),
        _ => None,
    });
    assert_eq!(skipped.as_deref(), Some("the daemon ended before it was measured"));
    assert_eq!(clients.push(TestUpload::new(&run, 2)).await.unwrap_err().code(), Code::FailedPrecondition);
}

/// What the outside knows for sure of one run.
#[derive(Default)]
struct SeenRun {
    /// By sequence number, as bytes.
    events: BTreeMap<u64, Vec<u8>>,
    /// Receipts by key.
    receipts: BTreeMap<String, pb::PushSnapshotResponse>,
}

async fn watch(mut clients: Clients, run: String, seen: Arc<Mutex<SeenRun>>) {
    let from = seen.lock().unwrap().events.last_key_value().map_or(0, |(last, _)| last + 1);
    let request = pb::WatchRequest { run_id: run, from_sequence: Some(from) };
    let Ok(stream) = clients.reports.watch(request).await else { return };
    let mut stream = stream.into_inner();
    while let Ok(Some(event)) = stream.message().await {
        let before = seen.lock().unwrap().events.insert(event.sequence, event.encode_to_vec());
        assert_eq!(before, None, "{} was told twice", event.sequence);
    }
}

async fn push(mut clients: Clients, run: String, first: u64, seen: Arc<Mutex<SeenRun>>) {
    for step in first.. {
        let key = format!("step {step}");
        match clients.push(TestUpload::new(&run, step).key(&key)).await {
            Ok(receipt) => drop(seen.lock().unwrap().receipts.insert(key, receipt)),
            Err(_) => return,
        }
    }
}

/// Everything that was seen is there, in its place.
async fn check(clients: &mut Clients, run: &str, seen: &Mutex<SeenRun>, seed: u64) {
    let events = told(clients, run).await;
    assert!(events.iter().zip(0..).all(|(event, place)| event.sequence == place), "a hole; seed {seed}");
    let seen = seen.lock().unwrap();
    for (sequence, bytes) in &seen.events {
        let event = events.get(*sequence as usize).map(Message::encode_to_vec);
        assert_eq!(event.as_ref(), Some(bytes), "event {sequence} is another; seed {seed}");
    }
    for (key, receipt) in &seen.receipts {
        let at = pb::SnapshotRef { step: receipt.step, attempt: receipt.attempt };
        let kept = events
            .iter()
            .any(|event| matches!(&event.event, Some(Event::Accepted(found)) if found.snapshot == Some(at)));
        assert!(kept, "the snapshot of {key} was lost; seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_20_a_kill_at_any_moment_loses_nothing_that_was_told() {
    const ROUNDS: usize = 24;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let directory = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(SeenRun::default()));
    let mut first: Option<String> = None;
    for round in 0..=ROUNDS {
        let daemon = start(&directory, &["--log", "warn"]);
        let mut clients = daemon.clients().await;
        let run = clients.open("k", quick()).await;
        assert_eq!(first.get_or_insert(run.clone()), &run, "seed {seed}");
        check(&mut clients, &run, &seen, seed).await;
        if round == ROUNDS {
            break;
        }
        // What was answered last is answered the same again.
        let last = {
            let seen = seen.lock().unwrap();
            let last = seen.receipts.iter().max_by_key(|(_, receipt)| receipt.step);
            last.map(|(key, receipt)| (key.clone(), receipt.clone()))
        };
        if let Some((key, receipt)) = last {
            let step = receipt.step;
            let again = clients.push(TestUpload::new(&run, step).key(&key)).await.unwrap();
            assert!(again.repeated_upload && again.snapshot_id == receipt.snapshot_id, "seed {seed}");
        }
        let watcher = tokio::spawn(watch(clients.clone(), run.clone(), seen.clone()));
        let steps = (round as u64) << 32;
        let pusher = tokio::spawn(push(clients, run, steps, seen.clone()));
        // However busy the machine is, something is told before.
        let known = || {
            let seen = seen.lock().unwrap();
            seen.receipts.len() + seen.events.len()
        };
        let before = known();
        while known() < before + 2 && !pusher.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(2_000 + random(150_000))).await;
        // SIGKILL.
        drop(daemon);
        watcher.await.unwrap();
        pusher.await.unwrap();
    }
    let seen = seen.lock().unwrap();
    assert!(seen.receipts.len() + seen.events.len() > 2 * ROUNDS, "hardly anything happened");
}

/// A run with one snapshot that is measured, and all that was told of it.
async fn measured_once(daemon: &Daemon) -> (Clients, String, Vec<pb::WatchResponse>) {
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, finished(1)).await;
    let before = told(&mut clients, &run).await;
    (clients, run, before)
}

/// How a daemon that cannot start ends, and what it says.
fn refused(directory: &TempDir) -> (Option<i32>, String) {
    let mut command = common::command();
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data(directory));
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn row_47_a_second_daemon_on_one_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let (code, message) = refused(&directory);
    assert_eq!(code, Some(75), "{message}");
    assert!(message.contains("only one daemon"), "{message}");
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_43_a_newer_history_is_refused_and_a_damaged_one_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    drop(start(&directory, &[]));
    let database = data(&directory).join(DATABASE);
    let connection = rusqlite::Connection::open(&database).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "user_version", version + 1).unwrap();
    drop(connection);
    let (code, message) = refused(&directory);
    assert_eq!(code, Some(65), "{message}");
    assert!(message.contains("newer"), "{message}");

    std::fs::write(&database, vec![0x55; 64 << 10]).unwrap();
    let mut daemon = start(&directory, &[]);
    daemon.still_serves().await;
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success());
    assert_eq!(log.lines().filter(|line| line.contains("ERROR")).count(), 1, "{log}");
    let names = std::fs::read_dir(data(&directory)).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().any(|name| name.to_str().unwrap().starts_with("history.db.corrupt-")));
}

/// Another process that holds the only lock of writers, as a shell does in the middle of a transaction.
fn lock(directory: &TempDir) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(data(directory).join(DATABASE)).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn row_43_a_database_that_another_process_locks_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let (mut clients, run, before) = measured_once(&daemon).await;

    let other = lock(&directory);
    // Longer than the daemon waits at once: what cannot be kept is not acknowledged, and what is known can be read.
    let status = clients.push(TestUpload::new(&run, 2).key("two")).await.unwrap_err();
    assert!(is_refusal(&status) && status.message().contains("locked"), "{status:?}");
    assert_eq!(told(&mut clients, &run).await, before);
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let receipt = until_taken(&mut clients, TestUpload::new(&run, 2).key("two")).await;
    clients.watch_until(&run, finished(2)).await;

    // The next start finds what was acknowledged, if nobody is in the way.
    drop(daemon);
    let other = rusqlite::Connection::open(data(&directory).join(DATABASE)).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let (code, message) = refused(&directory);
    assert_eq!(code, Some(75), "{message}");
    assert!(message.contains("another process holds a lock"), "{message}");
    drop(other);
    let names: Vec<_> =
        std::fs::read_dir(data(&directory)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().contains("corrupt")), "{names:?}");
    let daemon = start(&directory, &[]);
    let again = daemon.clients().await.push(TestUpload::new(&run, 2).key("two")).await.unwrap();
    assert_eq!((again.snapshot_id, again.repeated_upload), (receipt.snapshot_id, true));
}

#[tokio::test]
async fn row_38_a_folder_that_cannot_be_written_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let (mut clients, run, before) = measured_once(&daemon).await;

    // A file in the place of a folder fails for root, too.
    let (probes, away) = (data(&directory).join("probes"), data(&directory).join("away"));
    std::fs::rename(&probes, &away).unwrap();
    std::fs::write(&probes, "").unwrap();
    let other = pb::OpenRunRequest { groups: vec![common::group("en", 77)], ..open_request("other") };
    let status = clients.runs.open_run(other.clone()).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    let status = clients.push(TestUpload::new(&run, 2)).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    let report = pb::GetReportRequest { run_id: run.clone(), snapshot: None };
    assert_eq!(clients.reports.get_report(report).await.unwrap().into_inner().snapshot.unwrap().step, 1);
    assert_eq!(told(&mut clients, &run).await, before);

    std::fs::remove_file(&probes).unwrap();
    std::fs::rename(&away, &probes).unwrap();
    until_taken(&mut clients, TestUpload::new(&run, 2)).await;
    clients.watch_until(&run, finished(2)).await;
    clients.runs.open_run(other).await.unwrap();
    let after = told(&mut clients, &run).await;
    assert_eq!(after[..before.len()], before[..]);
}

#[test]
fn row_38_a_directory_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (flag, path) in [("--data", file.clone()), ("--data", file.join("below")), ("--spool", file.clone())]
    {
        let mut command = common::command();
        let output = command.args(["--listen", "127.0.0.1:0", flag]).arg(&path).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

/// Most bytes of any file that a process may write; beyond it writing fails, as SIGXFSZ is ignored.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(daemon.id() as i32);
    let limit = rustix::process::Rlimit { current: bytes, maximum: None };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit).unwrap();
}

async fn until_taken(clients: &mut Clients, upload: TestUpload) -> pb::PushSnapshotResponse {
    let began = Instant::now();
    loop {
        match clients.push(upload.clone()).await {
            Ok(receipt) => return receipt,
            Err(status) => assert!(began.elapsed() < PATIENCE, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
        && status.message().contains("history cannot be written")
}

#[tokio::test]
async fn row_38_a_disk_that_fails_refuses_uploads_serves_reads_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::ignoring_file_limits(
        &directory.path().join("clino.sock"),
        &["--data", data(&directory).to_str().unwrap()],
    );
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, finished(1)).await;
    let before = told(&mut clients, &run).await;

    limit_files(&daemon, Some(1));
    let status = clients.push(TestUpload::new(&run, 2).key("two")).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    let status = clients.runs.open_run(open_request("other")).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    let status = clients.push(TestUpload::new(&run, 3)).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    // What is known can still be read, and nothing more was told.
    let report = pb::GetReportRequest { run_id: run.clone(), snapshot: None };
    assert_eq!(clients.reports.get_report(report).await.unwrap().into_inner().snapshot.unwrap().step, 1);
    assert_eq!(told(&mut clients, &run).await, before);

    limit_files(&daemon, None);
    let receipt = until_taken(&mut clients, TestUpload::new(&run, 2).key("two")).await;
    assert_eq!(receipt.step, 2);
    until_taken(&mut clients, TestUpload::new(&run, 3)).await;
    clients.watch_until(&run, finished(3)).await;
    let after = told(&mut clients, &run).await;
    assert!(after.iter().zip(0..).all(|(event, place)| event.sequence == place));
    assert_eq!(after[..before.len()], before[..]);
}

#[tokio::test]
async fn row_38_below_the_watermark_uploads_are_refused() {
    let daemon = Daemon::start(&["--reserve", "8EiB"]);
    let status = daemon.clients().await.runs.open_run(open_request("k")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("MiB are free"), "{status}");
}

fn clino(arguments: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn questions_are_answered_beside_the_daemon_and_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, finished(1)).await;
    // A rewound step: the later attempt is what the views show.
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    let second =
        |event: &Event| matches!(event, Event::Finished(end) if end.snapshot.as_ref().unwrap().attempt == 2);
    clients.watch_until(&run, second).await;
    let data = data(&directory);
    let ask = |sql: &str, format: &str| clino(&["query", "--sql", sql, "--format", format], &data);
    let sql = "SELECT DISTINCT run_id, run_name, attempt FROM readings_labelled WHERE measure = 'loss'";
    assert_eq!(text(&ask(sql, "csv")), format!("run_id,run_name,attempt\n{run},a test,2\n"));
    let line = format!("{{\"attempt\":2,\"run_id\":\"{run}\",\"run_name\":\"a test\"}}\n");
    assert_eq!(text(&ask(sql, "jsonl")), line);
    assert!(text(&ask(sql, "table")).contains("a test"));
    for sql in [
        "SELECT \"no_such_column\" FROM readings",
        "DELETE FROM readings",
        "DROP TABLE runs",
        "VACUUM",
        "UPDATE runs SET name = 'x' RETURNING name",
    ] {
        let output = ask(sql, "csv");
        assert_eq!(output.status.code(), Some(2), "{sql}: {output:?}");
    }
    assert_eq!(ask("SELECT nothing FROM runs", "csv").status.code(), Some(2));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(clino(&["query", "--sql", "SELECT 1"], empty.path()).status.code(), Some(1));
    let schema = Command::new(env!("CARGO_BIN_EXE_clino")).args(["query", "--schema"]).output().unwrap();
    for word in ["CREATE TABLE runs", "CREATE TABLE readings", "CREATE VIEW readings_labelled"] {
        assert!(text(&schema).contains(word), "{word}");
    }
    drop(daemon);
    // Also where no daemon is, and after a kill.
    assert_eq!(text(&ask("SELECT count(*) AS n FROM runs", "csv")), "n\n1\n");
}

/// A Parquet file as lines of JSON would have it.
fn parquet_rows(path: &Path) -> Vec<serde_json::Value> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let value = |field: &Field| match field {
        Field::Null => serde_json::Value::Null,
        Field::Str(text) => text.clone().into(),
        Field::Long(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        other => panic!("{other:?}"),
    };
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let columns = row.unwrap();
        let columns = columns.get_column_iter().map(|(name, field)| (name.clone(), value(field)));
        serde_json::Value::Object(columns.collect())
    });
    rows.collect()
}

fn csv_rows(path: &Path, like: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let head = reader.headers().unwrap().clone();
    let cell = |row: &serde_json::Value, name: &str, text: &str| match &row[name] {
        serde_json::Value::Null => {
            assert_eq!(text, "", "{name}");
            serde_json::Value::Null
        }
        serde_json::Value::Number(number) if number.is_f64() => text.parse::<f64>().unwrap().into(),
        serde_json::Value::Number(_) => text.parse::<i64>().unwrap().into(),
        _ => text.into(),
    };
    let rows = reader.records().zip(like).map(|(record, like)| {
        let record = record.unwrap();
        let cells = head.iter().zip(&record).map(|(name, text)| (name.to_owned(), cell(like, name, text)));
        serde_json::Value::Object(cells.collect())
    });
    rows.collect()
}

#[tokio::test]
async fn exports_agree_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory, &[]);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for (key, project) in [("a", "one"), ("b", "two")] {
        let request = pb::OpenRunRequest { project: project.into(), ..open_request(key) };
        let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
        clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
        clients.watch_until(&run, finished(0)).await;
        runs.push(run);
    }
    let data = data(&directory);
    let path = |name: &str| directory.path().join(name);
    let export = |form: &str, name: &str, more: &[&str]| {
        let file = path(name);
        let output = clino(&[&["export", form, file.to_str().unwrap()], more].concat(), &data);
        assert!(output.status.success(), "{output:?}");
    };
    export("--jsonl", "all.jsonl", &[]);
    export("--csv", "all.csv", &[]);
    export("--parquet", "all.parquet", &[]);
    let lines = std::fs::read_to_string(path("all.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 20 && rows.iter().any(|row| row["detail"].is_string() && row["stderr"].is_f64()));
    assert_eq!(parquet_rows(&path("all.parquet")), rows);
    assert_eq!(csv_rows(&path("all.csv"), &rows), rows);
    export("--parquet", "one.parquet", &["--project", "one"]);
    let of = |run: &str| rows.iter().filter(|row| row["run_id"] == run).cloned().collect::<Vec<_>>();
    assert_eq!(parquet_rows(&path("one.parquet")), of(&runs[0]));
    export("--parquet", "run.parquet", &["--run", &runs[1]]);
    assert_eq!(parquet_rows(&path("run.parquet")), of(&runs[1]));
    let output = clino(&["export", "--csv", "-", "--run", "nobody"], &data);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

fn record(run: &RunId) -> RunRecord {
    let measure =
        |name: usize| MeasureRequest { name: format!("measure_{name}"), parameters: BTreeMap::new() };
    RunRecord {
        id: run.clone(),
        key: run.0.clone(),
        fingerprint: "print".into(),
        name: "a run".into(),
        label: RunLabel { project: "p".into(), experiment: "e".into(), ..RunLabel::default() },
        model_type: "mlp".into(),
        parameters: 1_000,
        config_json: "{}".into(),
        model: None,
        groups: vec![],
        measures: (0..10).map(measure).collect(),
        plan: vec![Planned { work: Work::NONE, counted: false, seconds: None }; 10],
        seed: 1,
        delivery: Delivery::Latest,
        precision: Precision::F64,
        budget: None,
        gpu_only: false,
        policy: None,
        opened_at: 1.7e9,
    }
}

/// Fills a history with so many runs of 20 snapshots with 50 readings each.
async fn fill(directory: &Path, runs: usize) {
    let store = SqliteStore::open(directory, None).unwrap();
    let bus = EventBus::new(Bounds::default()).durable(store, Vec::new()).unwrap();
    for number in 0..runs {
        let run = RunId(format!("run {number}"));
        let record = record(&run);
        let measures = record.measures.clone();
        bus.open(record, DecisionContext::default());
        for step in 0..20 {
            let at = SnapshotRef { step, attempt: 1 };
            let digest = "d".repeat(64);
            let receipt = clino_domain::Receipt {
                id: clino_domain::SnapshotId(format!("{number} {step}")),
                at,
                digest,
                measures: vec![],
                unmeasured: vec![],
                replaced: None,
                repeated: false,
                warnings: vec![],
                decision: None,
            };
            let kind = clino_domain::WeightKind::Live;
            let header = clino_domain::SnapshotHeader { at, kind, initialization: false };
            bus.accept(&run, clino_domain::Acceptance { header, receipt, key: None, reference: None });
            bus.append(&run, Happened::Started { snapshot: at, readings: 50 });
            for measure in &measures {
                for group in ["en", "de", "fr", "es", "pooled"] {
                    let blank = Reading::blank(measure.clone(), Some(group), at, Precision::F64);
                    let value = Some(0.1 + step as f64 / 3.0);
                    bus.append(&run, Happened::Reading(Box::new(Reading { value, seconds: 0.01, ..blank })));
                }
            }
            bus.append(&run, Happened::Finished { snapshot: at, seconds: 0.5 });
        }
        bus.settled().await.unwrap();
    }
    assert!(bus.end(PATIENCE));
}

/// Run by `cargo test --release --test history -- --ignored --nocapture a_million`.
#[tokio::test]
#[ignore = "a measurement: writes a million readings"]
async fn a_million_readings_are_served_soon_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let began = Instant::now();
    fill(&data(&directory), 1_000).await;
    let filled = began.elapsed();
    let bytes = std::fs::metadata(data(&directory).join(DATABASE)).unwrap().len();
    println!("filled 1000 runs, 1000000 readings in {filled:?}: {} MiB", bytes >> 20);
    for _ in 0..3 {
        let began = Instant::now();
        let daemon = start(&directory, &["--runs", "1001"]);
        let mut clients = daemon.clients().await;
        let last = clients.run("run 999").await;
        let served = began.elapsed();
        assert_eq!((last.measured, last.latest.len()), (20, 50));
        let request = pb::WatchRequest { run_id: "run 500".into(), from_sequence: Some(0) };
        let mut stream = clients.reports.watch(request).await.unwrap().into_inner();
        let watched = Instant::now();
        let mut events = 0;
        while events < last.next_sequence {
            stream.message().await.unwrap().unwrap();
            events += 1;
        }
        let log = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
        let rss = log.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        println!(
            "serves {served:?} after it was started; {events} old events in {:?}; {rss}",
            watched.elapsed()
        );
    }
}
