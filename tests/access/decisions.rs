//! Decisions: who may ask for them, and who may take one back.

use crate::common::{Daemon, PATIENCE, TestUpload, measure, open_request, quick};
use crate::fixture::{AccessFiles, daemon, entry, send, token, with};
use clino_proto::pb;
use pb::decisions_client::DecisionsClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A run that stops at its first snapshot: no model has a norm below zero.
async fn stopped(daemon: &Daemon, token: &str) -> String {
    let parameters = measure("threshold", &[("upper", 0.0)]).parameters;
    let rules = vec![pb::Rule { name: "threshold".into(), on: "param_norm".into(), parameters }];
    let policy = Some(pb::Policy { mode: pb::PolicyMode::Enforce.into(), rules });
    let request = pb::OpenRunRequest { policy, project: "p".into(), measures: quick(), ..open_request("k") };
    let mut clients = daemon.clients().await;
    let run = clients.runs.open_run(with(token, request)).await.unwrap().into_inner().run_id;
    send(&mut clients, token, TestUpload::new(&run, 1).frames()).await.unwrap();
    let mut decisions = DecisionsClient::new(daemon.channel().await);
    let stopped = async {
        while decide(&mut decisions, token, &run).await.unwrap().advice() != pb::Advice::Stop {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stopped).await.expect("a STOP");
    run
}

async fn decide(
    client: &mut DecisionsClient<Channel>,
    token: &str,
    run: &str,
) -> Result<pb::Decision, Status> {
    let request = pb::DecideRequest { run_id: run.into(), as_of_step: None };
    Ok(client.decide(with(token, request)).await?.into_inner().decision.unwrap())
}

#[tokio::test]
async fn row_44_decisions_are_told_to_those_who_may_ask_and_taken_back_by_admins() {
    let audit = AccessFiles::new();
    let path = audit.text("audit");
    let text = [
        entry("admin", 1, "projects = { p = [\"admin\"] }"),
        entry("scheduler", 2, "projects = { p = [\"decide\"] }"),
        entry("reader", 3, "projects = { p = [\"read\"] }"),
        entry("trainer", 4, "projects = { p = [\"push\"] }"),
    ];
    let (daemon, files) = daemon(&text.concat(), &["--audit", &path]);
    let run = stopped(&daemon, &token(1)).await;
    let mut client = DecisionsClient::new(daemon.channel().await);
    for asking in [2, 3] {
        assert_eq!(decide(&mut client, &token(asking), &run).await.unwrap().advice(), pb::Advice::Stop);
    }
    let refused = decide(&mut client, &token(4), &run).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let get = with(&token(2), pb::GetRunRequest { run_id: run.clone() });
    let refused = daemon.clients().await.runs.get_run(get).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "a scheduler sees no readings");

    let request = pb::WatchDecisionsRequest { run_id: run.clone(), from_sequence: None };
    let mut stream = client.watch_decisions(with(&token(2), request)).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let take_back = || pb::OverrideRequest { run_id: run.clone(), reason: "a test".into() };
    let refused = client.r#override(with(&token(3), take_back())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    client.r#override(with(&token(1), take_back())).await.unwrap();
    let line = audit.line("audit", |line| line["event"] == "override").await;
    assert_eq!((line["who"].as_str(), line["run"].as_str()), (Some("admin"), Some(run.as_str())));

    files.write("tokens.toml", &text[0]);
    let end = async {
        while stream.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let status = tokio::time::timeout(PATIENCE, end).await.expect("the stream ends").unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}
