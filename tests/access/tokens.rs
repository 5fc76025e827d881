//! Tokens: who is known, and what they may do in which project.

use crate::common::{Clients, Daemon, TestUpload, open_request, quick, raw};
use crate::fixture::{daemon, entry, open, push, send, token, with};
use clino_domain::status::from_status;
use clino_proto::pb;
use pb::decisions_client::DecisionsClient;
use pb::push_snapshot_request::Frame;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tonic::transport::Channel;
use tonic::{Code, Status};

const EVERYTHING: &str = "projects = { \"*\" = [\"admin\"] }";

/// Paths of all calls of clino's own services.
fn methods() -> Vec<&'static str> {
    let set = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap();
    let mut paths: Vec<&'static str> = Vec::new();
    for file in set.file {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!("/clino.v1.{}/{}", service.name(), method.name()).leak());
            }
        }
    }
    paths
}

#[tokio::test]
async fn row_44_whoever_is_not_known_gets_nothing_but_health() {
    let (daemon, _files) = daemon(&entry("a", 1, EVERYTHING), &[]);
    let mut asked = 0;
    let wrong: &'static str = format!("Bearer {}", token(2)).leak();
    for path in methods() {
        for metadata in [&[][..], &[("authorization", wrong)], &[("authorization", "Basic YTpi")]] {
            let status = raw::call(daemon.channel().await, path, b"", metadata).await.unwrap_err();
            // A call that this daemon does not have tells nothing either.
            assert!(matches!(status.code(), Code::Unauthenticated | Code::Unimplemented), "{path}: {status}");
            assert!(!status.message().contains(&token(2)[6..]), "{status}");
            asked += usize::from(status.code() == Code::Unauthenticated);
        }
    }
    assert!(asked >= 27, "only {asked} calls were refused");
    let health = raw::call(daemon.channel().await, "/grpc.health.v1.Health/Check", b"", &[]).await;
    assert!(health.is_ok(), "{health:?}");
}

#[tokio::test]
async fn row_44_what_the_daemon_can_do_is_told_to_those_who_are_known() {
    let (daemon, _files) = daemon(&entry("a", 1, "projects = {}"), &[]);
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    // list_services = "".
    let status = raw::call(daemon.channel().await, path, b"\x3a\x00", &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let shown: &'static str = format!("Bearer {}", token(1)).leak();
    let answer =
        raw::call(daemon.channel().await, path, b"\x3a\x00", &[("authorization", shown)]).await.unwrap();
    assert!(answer.windows(13).any(|bytes| bytes == b"clino.v1.Runs"));
}

#[tokio::test]
async fn row_44_scopes_hold_in_their_projects() {
    let text = [
        entry("trainer", 1, "projects = { vision = [\"push\"], shared = [\"push\", \"read\"] }"),
        entry("reader", 2, "projects = { vision = [\"read\"], closed = [], \"*\" = [\"read\"] }"),
        entry("admin", 3, EVERYTHING),
        entry("nobody", 4, "projects = {}"),
    ];
    let (daemon, _files) = daemon(&text.concat(), &[]);
    let mut clients = daemon.clients().await;
    let (trainer, reader, admin, nobody) = (token(1), token(2), token(3), token(4));
    let denied = |answer: Result<String, Status>, field: &str| {
        let fault = from_status(&answer.unwrap_err());
        assert_eq!(
            (fault.kind, fault.violations[0].field.as_str()),
            (clino_domain::FaultKind::Denied, field)
        );
    };
    denied(open(&mut clients, &reader, ("k", "vision")).await, "authorization");
    denied(open(&mut clients, &nobody, ("k", "vision")).await, "authorization");
    denied(open(&mut clients, &trainer, ("k", "text")).await, "project");
    denied(open(&mut clients, &trainer, ("k", "")).await, "project");
    let vision = open(&mut clients, &trainer, ("k", "vision")).await.unwrap();
    let shared = open(&mut clients, &trainer, ("k", "shared")).await.unwrap();
    let closed = open(&mut clients, &admin, ("k", "closed")).await.unwrap();
    assert!(vision != shared && shared != closed, "one key in three projects opens three runs");
    push(&mut clients, &trainer, &vision, 1).await.unwrap();
    let listed = async |token: &str| {
        let request = with(token, pb::ListRunsRequest::default());
        let runs = daemon.clients().await.runs.list_runs(request).await.unwrap().into_inner().runs;
        runs.into_iter().map(|run| run.run_id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&trainer).await, std::slice::from_ref(&shared));
    assert_eq!(listed(&reader).await, [vision.clone(), shared.clone()]);
    assert_eq!(listed(&admin).await, [vision, shared, closed]);
}

/// What a client is told of a run: everything that goes over the wire.
fn seen(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Every call that names a run, and what it is answered.
async fn told(
    (clients, decisions): (&mut Clients, &mut DecisionsClient<Channel>),
    token: &str,
    run: &str,
) -> BTreeMap<&'static str, (Code, String, Vec<u8>)> {
    let run_id = run.to_owned();
    let get = clients.runs.get_run(with(token, pb::GetRunRequest { run_id: run_id.clone() })).await;
    let close = clients
        .runs
        .close_run(with(
            token,
            pb::CloseRunRequest { run_id: run_id.clone(), resumable: false, abandon: false },
        ))
        .await;
    let watch = pb::WatchRequest { run_id: run_id.clone(), from_sequence: Some(u64::MAX) };
    let watch = clients.reports.watch(with(token, watch)).await;
    let snapshot = Some(pb::SnapshotRef { step: 9, attempt: 9 });
    let report = pb::GetReportRequest { run_id: run_id.clone(), snapshot };
    let report = clients.reports.get_report(with(token, report)).await;
    let push = send(clients, token, vec![Frame::Begin(TestUpload::new(run, 1).begin)]).await;
    let decide = decisions
        .decide(with(token, pb::DecideRequest { run_id: run_id.clone(), as_of_step: Some(9) }))
        .await;
    let watch_decisions = pb::WatchDecisionsRequest { run_id: run_id.clone(), from_sequence: Some(u64::MAX) };
    let watch_decisions = decisions.watch_decisions(with(token, watch_decisions)).await;
    let request = pb::OverrideRequest { run_id, reason: "a reason".into() };
    let taken_back = decisions.r#override(with(token, request)).await;
    let all = [
        ("/clino.v1.Runs/GetRun", get.unwrap_err()),
        ("/clino.v1.Runs/CloseRun", close.unwrap_err()),
        ("/clino.v1.Reports/Watch", watch.unwrap_err()),
        ("/clino.v1.Reports/GetReport", report.unwrap_err()),
        ("/clino.v1.Snapshots/PushSnapshot", push.unwrap_err()),
        ("/clino.v1.Decisions/Decide", decide.unwrap_err()),
        ("/clino.v1.Decisions/WatchDecisions", watch_decisions.unwrap_err()),
        ("/clino.v1.Decisions/Override", taken_back.unwrap_err()),
    ];
    all.iter().map(|(path, status)| (*path, seen(status))).collect()
}

/// Calls whose request, or a frame of it, has a field for the id of a run.
fn naming_a_run() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap();
    let messages: BTreeMap<String, _> = set
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .map(|message| (format!(".clino.v1.{}", message.name()), message))
        .collect();
    let names = |message: &prost_types::DescriptorProto| message.field.iter().any(|f| f.name() == "run_id");
    let mut paths = BTreeSet::new();
    for service in set.file.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            let request = messages[method.input_type()];
            let parts = request.field.iter().filter_map(|field| messages.get(field.type_name()));
            if parts.chain([&request]).any(|message| names(message)) {
                paths.insert(format!("/clino.v1.{}/{}", service.name(), method.name()));
            }
        }
    }
    paths
}

#[tokio::test]
async fn row_46_a_run_of_others_is_as_absent_as_one_that_is_not() {
    let text = [
        entry("owner", 1, "projects = { secret = [\"push\", \"read\"] }"),
        entry("other", 2, "projects = { mine = [\"admin\"] }"),
    ];
    let (daemon, _files) = daemon(&text.concat(), &[]);
    let mut clients = daemon.clients().await;
    let run = open(&mut clients, &token(1), ("k", "secret")).await.unwrap();
    let mut decisions = DecisionsClient::new(daemon.channel().await);
    let nothing = "0197a000-0000-7000-8000-000000000000";
    let absent = told((&mut clients, &mut decisions), &token(2), nothing).await;
    assert!(absent.values().all(|(code, _, _)| *code == Code::NotFound), "{absent:?}");
    assert_eq!(told((&mut clients, &mut decisions), &token(2), &run).await, absent);
    assert_eq!(absent.keys().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>(), naming_a_run());
    // The key of others tells nothing either.
    open(&mut clients, &token(2), ("k", "mine")).await.unwrap();
    let get = with(&token(1), pb::GetRunRequest { run_id: run });
    assert!(!clients.runs.get_run(get).await.unwrap().into_inner().run.unwrap().closed);
}

#[tokio::test]
async fn row_49_versions_that_are_too_far_apart_are_told_what_is_needed() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for (key, value, expected) in [
        ("clino-client-version", "0.0.1", "at least 0.1.0"),
        ("clino-min-daemon-version", "99.1.0", "update it to at least 99.1.0"),
    ] {
        let mut request = tonic::Request::new(pb::ListMeasuresRequest {});
        request.metadata_mut().insert(key, value.parse().unwrap());
        let status = clients.runs.list_measures(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert!(status.message().contains(expected), "{status}");
        let fault = from_status(&status);
        assert_eq!(fault.violations[0].field, key);
    }
    // A field that this daemon does not know is ignored: number 999, a varint.
    let mut message = pb::GetRunRequest { run_id: clients.open("k", quick()).await }.encode_to_vec();
    message.extend(b"\xb8\x3e\x01");
    let answer = raw::call(daemon.channel().await, "/clino.v1.Runs/GetRun", message.leak(), &[]).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn without_a_tokens_file_this_machine_may_do_everything_as_before() {
    let daemon = Daemon::start(&[]);
    for mut clients in [daemon.clients().await, daemon.unix_clients().await] {
        let run = clients.open("k", quick()).await;
        // A token that nobody asked for does no harm.
        let request = with(
            "clino_of_another_daemon",
            pb::CloseRunRequest { run_id: run, resumable: false, abandon: false },
        );
        clients.runs.close_run(request).await.unwrap();
    }
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_daemons_own_user_needs_no_token_at_the_socket() {
    let (daemon, _files) = daemon(&entry("a", 1, "projects = { a = [\"read\"] }"), &[]);
    let mut clients = daemon.unix_clients().await;
    clients.open("k", quick()).await;
    // But a token that is shown counts, whoever shows it.
    let status = clients.runs.open_run(with(&token(1), open_request("l"))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let status = clients.runs.open_run(with(&token(2), open_request("l"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

/// Needs the right to become somebody else; says so where it is missing.
#[test]
fn other_users_of_this_machine_are_known_by_their_number() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can become another user");
        return;
    }
    let text = "[[entry]]\nname = \"guest\"\nuid = 65534\nprojects = { \"*\" = [\"read\"] }\n";
    let (daemon, _files) = daemon(text, &[]);
    let socket = daemon.socket();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(socket.parent().unwrap(), open).unwrap();
    // A copy where everybody may run it. A process of its own makes it: a file that this one had open to write could not be
    // run while another test, which starts a process just then, holds it, too.
    let binary = socket.parent().unwrap().join("clino");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_clino")).arg(&binary).status().unwrap().success());
    let ask = |uid: u32| {
        let mut command = Command::new(&binary);
        command.args(["watch", "--once", "--addr", daemon.unix.as_ref().unwrap()]).uid(uid).env_clear();
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(ask(65_534).contains("found no run: `clino open` opens one"), "{}", ask(65_534));
    assert!(ask(65_533).contains("without an entry in the tokens file"), "{}", ask(65_533));
}

#[test]
fn a_tokens_file_that_others_can_read_or_that_is_broken_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    for (text, mode, expected) in [
        (entry("a", 1, EVERYTHING), 0o644, "found mode 0644"),
        ("[[entry]]\nname = \"a\"\nprojects = {}\n".into(), 0o600, "expected a hash"),
    ] {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = crate::common::command().arg("--tokens").arg(&file).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_token_of_the_command_line_opens_the_door() {
    let files = crate::fixture::AccessFiles::new();
    let clino = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (tokens, file) = (files.text("tokens.toml"), files.text("token"));
    let shown = clino(&["token", "ci", "--project", "*=read", "--append", &tokens]);
    assert!(shown.trim().len() == 70 && !std::fs::read_to_string(&tokens).unwrap().contains(shown.trim()));
    let printed = clino(&["token", "ci"]);
    assert!(
        printed.starts_with("clino_") && printed.contains("[[entry]]\nname = \"ci\"\nhash = "),
        "{printed}"
    );
    std::fs::write(&file, &shown).unwrap();
    let daemon = Daemon::start(&["--tokens", &tokens]);
    let ask = |environment: &[(&str, &str)], flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(["watch", "--once", "--addr", &daemon.http]).args(flags);
        command.envs(environment.iter().copied());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let known = "found no run: `clino open` opens one";
    assert!(ask(&[], &[]).contains("CLINO_TOKEN"));
    assert!(ask(&[("CLINO_TOKEN", shown.trim())], &[]).contains(known));
    assert!(ask(&[("CLINO_TOKEN_FILE", &file)], &[]).contains(known));
    assert!(ask(&[("CLINO_TOKEN", "clino_wrong")], &["--token-file", &file]).contains(known));
    assert!(ask(&[("CLINO_TOKEN", "clino_wrong")], &[]).contains("unknown or revoked"));
}
