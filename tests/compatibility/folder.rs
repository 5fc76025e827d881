//! The data folders of all releases.

use crate::common::{Daemon, TestUpload, finished, group, measure, open_request};
use crate::{releases, root};
use clino_proto::pb;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use tonic::Code;

fn with_data(directory: &Path) -> Daemon {
    let data = directory.join("data");
    Daemon::at(&directory.join("clino.sock"), &["--data", data.to_str().unwrap()])
}

#[tokio::test]
async fn row_51_a_folder_of_every_release_opens_lists_its_runs_and_goes_on() {
    for release in releases() {
        println!("{}", release.display());
        opens_and_goes_on(&release.join("data")).await;
    }
}

async fn opens_and_goes_on(fixture: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy(fixture, &data);
    let daemon = with_data(directory.path());
    let mut clients = daemon.clients().await;
    let runs = clients.runs.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    let found: Vec<_> = runs.iter().map(|run| (run.name.as_str(), run.accepted, run.closed)).collect();
    assert_eq!(found, [("closed", 1, true), ("open", 2, false)]);
    // It goes on: the distance from the initialization that the older version kept.
    let run = runs[1].run_id.clone();
    let receipt = clients.push(TestUpload::new(&run, 7)).await.unwrap();
    assert!(receipt.measures.contains(&"distance".to_owned()), "{receipt:?}");
    clients.watch_until(&run, finished(7)).await;
    // The key that it took is taken, with the content that it had.
    let again = clients.push(TestUpload::new(&run, 1).key("one")).await.unwrap();
    assert!(again.repeated_upload);
    let other = TestUpload {
        data: vec![0; TestUpload::new(&run, 1).data.len()],
        ..TestUpload::new(&run, 1).key("one")
    };
    assert_eq!(clients.push(other).await.unwrap_err().code(), Code::AlreadyExists);
    assert!(data.join("clino.json").exists());
    for name in ["probes", "snapshots"] {
        assert_eq!(names_in(&data.join(name)), names_in(&fixture.join(name)));
    }
}

/// Makes that folder: `CLINO_OLD=PATH cargo test --release --test compatibility -- --ignored make_a_folder` with the binary
/// of a release, which leaves it in the release's folder.
#[tokio::test]
#[ignore = "writes a fixture"]
async fn make_a_folder_of_a_release() {
    let old = std::env::var("CLINO_OLD").expect("CLINO_OLD: a binary of that version");
    let told = String::from_utf8(Command::new(&old).arg("--version").output().unwrap().stdout).unwrap();
    // As in: clino 0.1.0 (e268f08ea124).
    let version = told.split_whitespace().nth(1).unwrap();
    let data = root().join("tests/fixtures/releases").join(version).join("data");
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--data", data.to_str().unwrap()];
    let mut daemon = Daemon::of(&old, &directory.path().join("clino.sock"), &flags);
    for (name, steps) in [("closed", 1), ("open", 2)] {
        leave(&daemon, name, steps).await;
    }
    daemon.signal("-TERM");
    assert!(daemon.wait().0.success());
}

async fn leave(daemon: &Daemon, name: &str, steps: u64) {
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest {
        name: name.into(),
        measures: vec![measure("loss", &[]), measure("distance", &[])],
        groups: vec![group("en", 1)],
        ..open_request(name)
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    for step in 0..steps {
        let upload = TestUpload::new(&run, step).key(if step == 0 { "zero" } else { "one" });
        clients.push(if step == 0 { upload.initialization() } else { upload }).await.unwrap();
        clients.watch_until(&run, finished(step)).await;
    }
    if name == "closed" {
        clients.runs.close_run(pb::CloseRunRequest { run_id: run, ..Default::default() }).await.unwrap();
    }
}

fn names_in(path: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
