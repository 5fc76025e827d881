//! What a daemon may touch on a disk, what it keeps of a repeated request, and what its files are: through its sockets and
//! its command line.

#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{Daemon, PATIENCE, TestUpload, open_request, quick};
use pb::push_snapshot_request::Frame;
use pb::watch_response::Event;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

fn finished(event: &Event) -> bool {
    matches!(event, Event::Finished(_))
}

fn with_data(directory: &Path) -> Daemon {
    let data = directory.join("data");
    Daemon::at(&directory.join("clino.sock"), &["--data", data.to_str().unwrap()])
}

/// What `clino` says of arguments with which it must not start or go on, in no more time than a person waits.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CLINO_")) {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("clino {arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn row_51_files_of_others_are_neither_removed_nor_moved_in_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let precious = ["snapshots/step-100.safetensors", "snapshots/optimizer.pt", "probes/en.safetensors"];
    for name in precious {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), name).unwrap();
    }
    let data = directory.path().to_str().unwrap();
    let socket = path("s");
    let (audit, http) = (path("audit.jsonl"), "127.0.0.1:0");
    let (code, message) = refused(&[
        "serve",
        "--socket",
        socket.to_str().unwrap(),
        "--data",
        data,
        "--audit",
        audit.to_str().unwrap(),
        "--http",
        http,
    ]);
    assert_eq!(code, Some(64), "{message}");
    for word in [data, "\"probes\"", "no history of clino", "choose an empty or a new directory"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(precious.iter().all(|name| std::fs::read_to_string(path(name)).unwrap() == *name));
    let mut names: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["probes", "snapshots"], "nothing is made there");
}

#[tokio::test]
async fn row_51_a_spool_keeps_what_others_have_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let names = [format!("{}.safetensors", "ab".repeat(32)), "x.unfinished".into(), ".tmpAbCdEf".into()];
    names.iter().for_each(|name| std::fs::write(directory.path().join(name), "precious").unwrap());
    let mut daemon = Daemon::start(&["--spool", directory.path().to_str().unwrap()]);
    let (mut clients, run, upload) = large(&daemon).await;
    clients.push(upload).await.unwrap();
    clients.watch_until(&run, finished).await;
    daemon.signal("-TERM");
    assert!(daemon.wait().0.success());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), names.len());
}

fn names_in(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn row_52_a_draining_daemon_leaves_its_successors_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("clino.sock");
    let mut old = Daemon::at(&socket, &["--grace", "30s"]);
    let mut clients = old.unix_clients().await;
    let run = clients.open("k", common::endless()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    // The old one's socket is replaced while it still runs, as by a successor that finds that it does not listen any more.
    std::fs::remove_file(&socket).unwrap();
    let new = Daemon::at(&socket, &[]);
    old.signal("-TERM");
    assert!(old.wait().0.success());
    new.unix_clients().await.open("k", quick()).await;
    new.still_serves().await;
}

#[tokio::test]
async fn row_59_files_are_their_owners_alone_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let audit = directory.path().join("audit.jsonl");
    std::fs::write(&audit, "").unwrap();
    std::fs::set_permissions(&audit, PermissionsExt::from_mode(0o644)).unwrap();
    let data = directory.path().join("data");
    let flags = ["--data", data.to_str().unwrap(), "--audit", audit.to_str().unwrap()];
    let daemon = Daemon::with_umask("000", &directory.path().join("clino.sock"), &flags);
    let mut clients = daemon.clients().await;
    let run = clients.runs.open_run(open_request("k")).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 0).initialization()).await.unwrap();
    clients.watch_until(&run, finished).await;
    let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o777;
    let mut left = vec![data.clone()];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let is_dir = path.is_dir();
        assert_eq!(mode(&path), if is_dir { 0o700 } else { 0o600 }, "{}", path.display());
        seen += 1;
        if is_dir {
            left.extend(names_in(&path).into_iter().map(|name| path.join(name)));
        }
    }
    assert!(seen >= 3 + 5 + 3, "directories, database and its log, two probes and an initialization: {seen}");
    assert_eq!(mode(&daemon.socket()), 0o600);
    assert_eq!(mode(&audit), 0o640, "the group may be that of whoever ships logs");
}

fn other_bytes(upload: &TestUpload) -> TestUpload {
    let mut other = upload.clone();
    other.data[0] ^= 1;
    other
}

fn digest(upload: &TestUpload) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(&upload.data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A repeated key with other bytes, which both digests tell.
fn is_taken(status: &Status, first: &TestUpload, second: &TestUpload) {
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert_eq!(common::blamed(status), ["idempotency_key"]);
    for word in [digest(first).as_str(), digest(second).as_str(), "use a new key"] {
        assert!(status.message().contains(word), "{status}");
    }
}

#[tokio::test]
async fn row_62_a_repeated_key_with_other_bytes_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = None;
    let mut first = None;
    // Before and after a restart.
    for _ in 0..2 {
        let mut daemon = with_data(directory.path());
        let mut clients = daemon.clients().await;
        let opened = clients.open("k", quick()).await;
        assert_eq!(run.get_or_insert(opened.clone()), &opened);
        let upload = TestUpload::new(&opened, 7).key("K");
        let receipt = clients.push(upload.clone()).await.unwrap();
        let first = first.get_or_insert(receipt.clone());
        let repeated = pb::PushSnapshotResponse { repeated_upload: true, ..first.clone() };
        assert_eq!(receipt.digest, digest(&upload));
        let again = clients.push(upload.clone()).await.unwrap();
        assert_eq!(again, repeated);
        let other = other_bytes(&upload);
        is_taken(&clients.push(other.clone()).await.unwrap_err(), &upload, &other);
        // With a digest the answer comes before the bytes, which are not sent here.
        let announced = |upload: &TestUpload, digest: String| {
            let begin = pb::BeginSnapshot { digest, ..upload.begin.clone() };
            vec![Frame::Begin(begin)]
        };
        let again = clients.send(announced(&upload, digest(&upload))).await.unwrap();
        assert_eq!(again, repeated);
        let status = clients.send(announced(&other, digest(&other))).await.unwrap_err();
        is_taken(&status, &upload, &other);
        // Announced otherwise: told at once, without bytes.
        let rewound = TestUpload::new(&opened, 8).key("K");
        let status = clients.send(vec![Frame::Begin(rewound.begin)]).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
        assert_eq!(clients.run(&opened).await.accepted, 1);
        // The same of the key of the run.
        let other = pb::OpenRunRequest {
            measures: quick(),
            groups: vec![common::group("en", 3)],
            ..open_request("k")
        };
        let status = clients.runs.open_run(other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
        assert!(status.message().contains("use a new key") && status.message().contains(&opened), "{status}");
        daemon.signal("-TERM");
        assert!(daemon.wait().0.success());
    }
}

#[tokio::test]
async fn row_62_a_repeated_key_is_answered_when_the_run_takes_nothing_new() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let upload = TestUpload::new(&run, 1).key("K");
    let receipt = clients.push(upload.clone()).await.unwrap();
    clients.runs.close_run(pb::CloseRunRequest { run_id: run.clone(), ..Default::default() }).await.unwrap();
    let again = clients.push(upload.clone()).await.unwrap();
    assert_eq!((again.snapshot_id, again.repeated_upload), (receipt.snapshot_id, true));
    let other = other_bytes(&upload);
    is_taken(&clients.push(other.clone()).await.unwrap_err(), &upload, &other);
}

#[tokio::test]
async fn row_62_bytes_are_held_against_the_digest_that_was_announced() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let upload = TestUpload::new(&run, 1);
    let commit = |digest: String| {
        let mut frames = upload.frames();
        frames.pop();
        frames.push(Frame::Commit(pb::Commit { digest }));
        frames
    };
    let begin = |digest: String| {
        let begin = pb::BeginSnapshot { digest, ..upload.begin.clone() };
        TestUpload { begin, ..upload.clone() }.frames()
    };
    let wrong = digest(&other_bytes(&upload));
    for (field, frames) in [("commit.digest", commit(wrong.clone())), ("digest", begin(wrong.clone()))] {
        let status = clients.send(frames).await.unwrap_err();
        assert_eq!((status.code(), common::blamed(&status)), (Code::DataLoss, vec![field.to_owned()]));
        assert!(status.message().contains(&wrong) && status.message().contains(&digest(&upload)), "{status}");
    }
    for (field, frames) in [("commit.digest", commit("AB".repeat(32))), ("digest", begin("ab".into()))] {
        let status = clients.send(frames).await.unwrap_err();
        assert_eq!((status.code(), common::blamed(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    assert_eq!(clients.run(&run).await.accepted, 0);
    clients.send(commit(digest(&upload))).await.unwrap();
    clients.send(begin(digest(&upload))).await.unwrap();
    // A probe that changed on its way is not kept.
    use pb::put_probe_request::Frame as ProbeFrame;
    let probe = common::probe(1);
    let tensors = probe.tensors.iter().map(|tensor| tensor.spec.clone().unwrap()).collect();
    let data: Vec<u8> = probe.tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
    let frames = [
        ProbeFrame::Begin(pb::ProbeManifest { tensors, ..Default::default() }),
        ProbeFrame::Chunk(clino_proto::convert::chunk_to_pb(0, data.into())),
        ProbeFrame::Commit(pb::Commit { digest: wrong }),
    ];
    let requests = frames.map(|frame| pb::PutProbeRequest { frame: Some(frame) });
    let status = clients.runs.put_probe(tokio_stream::iter(requests)).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
}

/// A run and a snapshot of 5 MB, which goes to the spool.
async fn large(daemon: &Daemon) -> (common::Clients, String, TestUpload) {
    const WIDTH: u64 = 1_100;
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest {
        config_json: common::wide_config(WIDTH),
        measures: quick(),
        ..open_request("large")
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    let mut upload = TestUpload::new(&run, 1);
    upload.begin.tensors = common::wide_specs(WIDTH);
    upload.data = common::bytes_of(&common::numbers(common::wide_elements(WIDTH) as usize, 3));
    upload.chunk = 1 << 20;
    assert!(upload.data.len() > 4 << 20);
    (clients, run, upload)
}

#[tokio::test]
async fn row_63_a_spool_that_was_removed_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let daemon = Daemon::start(&["--spool", spool.to_str().unwrap()]);
    let (mut clients, run, upload) = large(&daemon).await;
    std::fs::remove_dir(&spool).unwrap();
    let status = clients.push(upload.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let details = tonic_types::StatusExt::get_error_details(&status);
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay.is_some()), "{details:?}");
    assert!(status.message().contains("send the snapshot again"), "{status}");
    assert_eq!(spool.metadata().unwrap().mode() & 0o077, 0);
    clients.push(upload).await.unwrap();
    clients.watch_until(&run, finished).await;
    // Where it cannot be made again, that is told, too.
    std::fs::remove_dir(&spool).unwrap();
    std::fs::write(&spool, "").unwrap();
    let (mut clients, _, upload) = large(&daemon).await;
    let status = clients
        .push(TestUpload { begin: pb::BeginSnapshot { step: 9, ..upload.begin.clone() }, ..upload })
        .await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
}

/// Things that look like files and have no end, with what they are called.
fn endless_things(directory: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| directory.join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
    vec![
        (path("fifo"), "a FIFO"),
        (path("socket"), "a socket"),
        (directory.to_owned(), "a folder"),
        ("/dev/zero".into(), "a device"),
        ("/proc/self/mem".into(), "too short for a header"),
    ]
}

#[tokio::test]
async fn row_63_what_is_no_file_is_refused_by_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    std::fs::write(&config, common::CONFIG).unwrap();
    let daemon = Daemon::start(&[]);
    let run = daemon.clients().await.open("k", quick()).await;
    let (config, address) = (config.to_str().unwrap(), daemon.http.as_str());
    for (path, name) in endless_things(directory.path()) {
        let path = path.to_str().unwrap();
        let probe = format!("en={path}");
        for arguments in [
            &["push", "--addr", address, "--run", &run, "--step", "1", path][..],
            &["measure", "--config", config, "--snapshot", path, "--probe", &probe],
            &["open", "--addr", address, "--name", "x", "--config", config, "--probe", &probe],
        ] {
            let (code, message) = refused(arguments);
            assert!(code.is_some_and(|code| code != 0), "{arguments:?}");
            assert!(message.contains(path) && message.contains(name), "{arguments:?}: {message}");
        }
    }
    let fifo = directory.path().join("fifo");
    let fifo = fifo.to_str().unwrap();
    // Files of text, also those of the daemon.
    for arguments in [
        &["open", "--addr", address, "--name", "x", "--config", fifo, "--probe", fifo][..],
        &["serve", "--listen", "127.0.0.1:0", "--tokens", fifo],
        &["serve", "--listen", "127.0.0.1:0", "--audit", fifo],
        &["serve", "--listen", "127.0.0.1:0", "--config", fifo],
        &["runs", "--addr", address, "--token-file", fifo],
    ] {
        let (code, message) = refused(arguments);
        assert!(code.is_some_and(|code| code != 0) && message.contains("fifo"), "{arguments:?}: {message}");
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn row_63_a_sparse_file_is_refused_for_what_its_header_says() {
    let directory = tempfile::tempdir().unwrap();
    let (nothing, much) = (directory.path().join("nothing"), directory.path().join("much"));
    std::fs::File::create(&nothing).unwrap().set_len(1 << 40).unwrap();
    let numbers = 1_u64 << 38;
    let header =
        format!(r#"{{"a":{{"dtype":"F32","shape":[{numbers}],"data_offsets":[0,{}]}}}}"#, numbers * 4);
    let mut text = (header.len() as u64).to_le_bytes().to_vec();
    text.extend(header.as_bytes());
    std::fs::write(&much, &text).unwrap();
    let file = std::fs::File::options().write(true).open(&much).unwrap();
    file.set_len(text.len() as u64 + numbers * 4).unwrap();
    let config = directory.path().join("config.json");
    std::fs::write(&config, common::CONFIG).unwrap();
    let daemon = Daemon::start(&[]);
    let run = daemon.clients().await.open("k", quick()).await;
    for (path, pushed, measured) in [
        (&nothing, "not a valid safetensors file", "not a valid safetensors file"),
        (&much, "found \"a\", which the model does not have", "1099511627776 bytes"),
    ] {
        let path = path.to_str().unwrap();
        let probe = format!("en={path}");
        let (_, message) = refused(&["push", "--addr", &daemon.http, "--run", &run, "--step", "1", path]);
        assert!(message.contains(pushed), "{message}");
        let (_, message) = refused(&[
            "measure",
            "--config",
            config.to_str().unwrap(),
            "--snapshot",
            path,
            "--probe",
            &probe,
        ]);
        assert!(message.contains(measured), "{message}");
    }
}
