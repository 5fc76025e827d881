//! The audit log, and that no secret is ever written.

use crate::common::Daemon;
use crate::fixture::{AccessFiles, daemon, entry, logging, open, push, token, with};
use clino_client::{Access, Client};
use clino_proto::pb;
use std::os::unix::fs::PermissionsExt;

const MINE: &str = "projects = { mine = [\"push\", \"read\"] }";

#[tokio::test]
async fn what_happens_is_written_with_who_did_it() {
    let audit = AccessFiles::new();
    let path = audit.text("audit");
    let (daemon, _files) = daemon(&entry("trainer", 1, MINE), &["--audit", &path]);
    let mut clients = daemon.clients().await;
    let run = open(&mut clients, &token(1), ("k", "mine")).await.unwrap();
    // A run that was open before is not opened.
    open(&mut clients, &token(1), ("k", "mine")).await.unwrap();
    open(&mut clients, &token(1), ("k", "yours")).await.unwrap_err();
    open(&mut clients, "clino_nobody", ("k", "mine")).await.unwrap_err();
    let id = run.clone();
    clients
        .runs
        .close_run(with(&token(1), pb::CloseRunRequest { run_id: id, resumable: false, abandon: false }))
        .await
        .unwrap();
    audit.line("audit", |line| line["event"] == "closed").await;
    let lines = audit.lines("audit");
    let shown: Vec<_> =
        lines.iter().map(|line| (line["event"].as_str().unwrap(), line["who"].as_str().unwrap())).collect();
    assert_eq!(shown, [("opened", "trainer"), ("denied", "trainer"), ("denied", ""), ("closed", "trainer")]);
    let opened = &lines[0];
    assert_eq!((opened["run"].as_str(), opened["project"].as_str()), (Some(run.as_str()), Some("mine")));
    assert_eq!(
        (opened["method"].as_str(), opened["outcome"].as_str()),
        (Some("/clino.v1.Runs/OpenRun"), Some("ok"))
    );
    assert!(opened["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{opened}");
    assert_eq!(lines[1]["project"], "yours");
    let mode = audit.path("audit").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_log_that_is_moved_away_is_made_again() {
    let files = AccessFiles::new();
    let daemon = Daemon::start(&["--audit", &files.text("audit")]);
    let mut clients = daemon.clients().await;
    clients.open("a", crate::common::quick()).await;
    files.line("audit", |line| line["event"] == "opened").await;
    std::fs::rename(files.path("audit"), files.path("audit.1")).unwrap();
    daemon.signal("-HUP");
    clients.open("b", crate::common::quick()).await;
    files.line("audit", |line| line["event"] == "opened").await;
    assert_eq!((files.lines("audit.1").len(), files.lines("audit").len()), (1, 1));
    daemon.still_serves().await;
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_end() {
    let files = AccessFiles::new();
    let mut daemon = Daemon::start(&["--audit", &files.text("audit")]);
    daemon.clients().await.open("a", crate::common::quick()).await;
    daemon.signal("-TERM");
    assert!(daemon.wait().0.success());
    assert_eq!(files.lines("audit").len(), 1);
}

#[test]
fn an_audit_log_that_cannot_be_written_stops_the_start() {
    let output = crate::common::command().args(["--audit", "/nowhere/audit"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[tokio::test]
async fn no_log_and_no_answer_holds_a_token_however_much_is_logged() {
    let files = AccessFiles::new();
    let (audit, log) = (files.text("audit"), files.path("log"));
    let tokens = files.write("tokens.toml", &entry("trainer", 1, MINE));
    let (mut child, address) = logging(&log, &["--tokens", &tokens, "--audit", &audit, "--log", "trace"]);
    let endpoint = tonic::transport::Endpoint::from_shared(address.clone()).unwrap();
    let mut clients = crate::common::Clients::new(endpoint.connect().await.unwrap());
    let run = open(&mut clients, &token(1), ("k", "mine")).await.unwrap();
    push(&mut clients, &token(1), &run, 1).await.unwrap();
    let mut answers = vec![open(&mut clients, &token(1), ("k", "yours")).await.unwrap_err()];
    for wrong in [token(2), format!("{} {}", token(1), token(2))] {
        answers.push(open(&mut clients, &wrong, ("k", "mine")).await.unwrap_err());
    }
    // A token where none belongs: in the file.
    files.write(
        "tokens.toml",
        &format!("[[entry]]\nname = \"x\"\nhash = \"{}\"\nprojects = {{}}\n", token(3)),
    );
    files.line("audit", |line| line["event"] == "refused_reload").await;
    let access = Access::default().token(&token(2)).unwrap();
    let fault =
        Client::connect_with(&address, &access).await.unwrap().runs(&Default::default()).await.unwrap_err();
    let stopped = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(stopped, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    let audit = std::fs::read_to_string(audit).unwrap();
    assert!(log.contains("TRACE") && log.contains("trainer"), "everything is logged, and who it was");
    let answers = format!("{answers:?} {fault:?}");
    for number in 1..=3 {
        let secret = token(number);
        for (place, text) in [("log", &log), ("audit log", &audit), ("answers", &answers)] {
            let found = text.lines().find(|line| line.contains(&secret[6..]));
            assert!(found.is_none(), "the {place} holds a token: {found:?}");
        }
    }
}
