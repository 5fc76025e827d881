//! Texts that clients choose: kept as they are, bounded, and shown without anything hidden, by the real daemon and commands.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "fleet/openmetrics.rs"]
#[allow(dead_code)]
mod openmetrics;

use clino_client::Client;
use clino_domain::text::{in_quotes, is_hidden, shown};
use clino_domain::{Comparison, Direction, Moment, RunFilter, Subject};
use clino_proto::pb;
use common::{Clients, Daemon, TestUpload, blamed, group, measure, open_request, quick};
use openmetrics::ParsedExposition;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use pb::decisions_client::DecisionsClient;
use pb::watch_response::Event;
use prost::Message;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tonic::{Code, Status};

/// What people call things, and what comes of copying from pages and paths.
const ODD: [&str; 12] = [
    "sweep/7",
    "xlm-r/en",
    "lr=1e-3",
    "a+b",
    "run #7",
    "final (2)",
    "two  spaces and a, comma",
    r#"he said "no" \ maybe"#,
    "日本語/русский/عربى",
    "नमूना १",
    "emoji 👩\u{200d}💻",
    "CON*?<b>&;|$(x)'`{{.}}",
];

fn start(directory: &TempDir) -> Daemon {
    let (data, audit) = (directory.path().join("data"), directory.path().join("audit"));
    let flags = ["--data", data.to_str().unwrap(), "--audit", audit.to_str().unwrap()];
    let flags = [&flags[..], &["--http", "127.0.0.1:0", "--run-metrics", "20"]].concat();
    Daemon::at(&directory.path().join("clino.sock"), &flags)
}

fn named(name: &str) -> pb::OpenRunRequest {
    let policy = pb::Policy {
        mode: 0,
        rules: vec![pb::Rule {
            name: "threshold".into(),
            on: format!("loss@{}", in_quotes(name)),
            parameters: measure("", &[("upper", 1e9)]).parameters,
        }],
    };
    pb::OpenRunRequest {
        name: name.into(),
        project: name.into(),
        experiment: name.into(),
        tags: [(name.to_owned(), name.to_owned())].into(),
        groups: vec![group(name, 1), group("other", 2)],
        measures: quick(),
        policy: Some(policy),
        ..open_request(name)
    }
}

async fn measured(clients: &mut Clients, request: pb::OpenRunRequest) -> String {
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&run, 3)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
    run
}

fn clino(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(arguments).env_remove("CLINO_ADDR").stdin(Stdio::null()).output().unwrap()
}

/// What a command prints, in which nothing is hidden.
fn printed(arguments: &[&str]) -> String {
    let output = clino(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!hides(&text), "{arguments:?}: {text:?}");
    text
}

fn hides(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && is_hidden(c))
}

fn scraped(daemon: &Daemon) -> ParsedExposition {
    let (_, body) = daemon.http_get("/metrics/runs");
    assert!(!hides(&body), "{body:?}");
    ParsedExposition::parse(&body)
}

/// The names of a run in an export, and its groups: `None` is of the weights.
type Exported = ([String; 3], Option<String>);

fn parquet_rows(path: &Path, run: &str) -> Vec<Exported> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let place = |name: &str| {
        let columns = reader.metadata().file_metadata().schema_descr().columns().iter();
        columns.map(|column| column.name()).position(|known| known == name).unwrap()
    };
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let rows = rows.filter(|row| row.get_string(place("run_id")).unwrap() == run);
    let text = |row: &parquet::record::Row, name: &str| row.get_string(place(name)).cloned();
    rows.map(|row| {
        let names = ["run_name", "project", "experiment"].map(|name| text(&row, name).unwrap());
        (names, text(&row, "probe_group").ok())
    })
    .collect()
}

fn csv_rows(path: &Path, run: &str) -> Vec<Exported> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let head = reader.headers().unwrap().clone();
    let place = |name: &str| head.iter().position(|known| known == name).unwrap();
    let rows = reader.records().map(Result::unwrap).filter(|row| &row[place("run_id")] == run);
    let group = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    rows.map(|row| {
        let names = ["run_name", "project", "experiment"].map(|name| row[place(name)].to_owned());
        (names, group(&row[place("probe_group")]))
    })
    .collect()
}

fn json_rows(path: &Path, run: &str) -> Vec<Exported> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!hides(&text));
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let rows = rows.filter(|row| row["run_id"] == run);
    rows.map(|row| {
        let names = ["run_name", "project", "experiment"].map(|name| row[name].as_str().unwrap().to_owned());
        (names, row["probe_group"].as_str().map(str::to_owned))
    })
    .collect()
}

fn filter(name: &str) -> RunFilter {
    RunFilter {
        project: Some(name.into()),
        experiment: Some(name.into()),
        tags: [(name.into(), name.into())].into(),
        open: false,
    }
}

#[tokio::test]
async fn row_32_odd_names_are_data_wherever_a_run_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for name in ODD {
        runs.push(measured(&mut clients, named(name)).await);
    }
    let client = Client::connect(&daemon.http).await.unwrap();
    let scraped = scraped(&daemon);
    let data = directory.path().join("data");
    let export = |form: &str| {
        let file = directory.path().join(form);
        printed(&["export", "--data", data.to_str().unwrap(), &format!("--{form}"), file.to_str().unwrap()]);
        file
    };
    let (parquet, csv, json) = (export("parquet"), export("csv"), export("jsonl"));
    for (name, run) in ODD.into_iter().zip(&runs) {
        let found = client.runs(&filter(name)).await.unwrap();
        assert_eq!(found.iter().map(|run| &run.run.0).collect::<Vec<_>>(), [run], "{name}");
        assert_eq!((found[0].name.as_str(), &found[0].groups[0]), (name, &name.to_owned()));
        let on: Subject = format!("loss@{}", in_quotes(name)).parse().unwrap();
        assert_eq!(found[0].policy.as_ref().unwrap().rules[0].on, on.to_string());

        let (moment, direction) = (Moment::Last, Direction::Minimize);
        let compared =
            client.compare(&Comparison { filter: filter(name), on, moment, direction }).await.unwrap();
        let loss = compared[0].point.unwrap().value;
        assert_eq!((compared.len(), compared[0].name.as_str()), (1, name));
        let label = shown(name);
        let own = ["name", "project", "experiment", "group"].map(|known| (known, label.as_str()));
        let labels = [&own[..], &[("run", run.as_str()), ("measure", "loss")]].concat();
        assert_eq!(scraped.get("clino_run_reading", &labels), loss, "{name}");

        // Of the loss on two groups and pooled, and of the norm of the weights.
        let names = [name, name, name].map(str::to_owned);
        let mut groups = vec![None, Some(name.to_owned()), Some("other".into()), Some("pooled".into())];
        groups.sort();
        let expected: Vec<Exported> = groups.into_iter().map(|group| (names.clone(), group)).collect();
        for mut rows in [parquet_rows(&parquet, run), csv_rows(&csv, run), json_rows(&json, run)] {
            rows.sort_by(|one, other| one.1.cmp(&other.1));
            assert_eq!(rows, expected, "{name}");
        }
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn odd_names_are_typed_and_printed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = start(&directory);
    let mut clients = daemon.clients().await;
    for name in ODD {
        let run = measured(&mut clients, named(name)).await;
        let (address, tag) = (daemon.http.as_str(), format!("{}={name}", in_quotes(name)));
        let chosen =
            ["--addr", address, "--project", name, "--experiment", name, "--tag", &tag, "--format", "json"];
        let line = |command: &[&str]| {
            let text = printed(&[command, &chosen[..]].concat());
            assert_eq!(text.lines().count(), 1, "{name}: {text}");
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let found = line(&["runs"]);
        assert_eq!((&found["run"], &found["name"]), (&run.as_str().into(), &name.into()));
        let on = format!("loss@{}", in_quotes(name));
        let found = line(&["compare", "--on", &on]);
        assert!(found["value"].is_f64() && found["project"] == name, "{found}");
        // For people: in tables, lines and pictures.
        assert!(
            printed(&["runs", "--addr", address, "--project", name]).contains(run.split('-').next().unwrap())
        );
        assert!(printed(&["watch", "--addr", address, &run, "--once"]).starts_with(&shown(name)));
        printed(&["compare", "--addr", address, "--on", &on]);
        printed(&["fleet", address, "--once"]);
        printed(&["decision", "--addr", address, &run]);
    }
}

#[tokio::test]
async fn groups_that_mean_something_are_no_names() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for name in ["pooled", "*"] {
        let request = pb::OpenRunRequest { groups: vec![group(name, 1)], ..open_request("k") };
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec!["groups[0].name".into()]));
        assert!(status.message().contains("expected another name"), "{}", status.message());
    }
    let request = pb::OpenRunRequest { project: "*".into(), ..open_request("k") };
    let status = clients.runs.open_run(request).await.unwrap_err();
    assert_eq!(blamed(&status), ["project"]);
}

/// A run that was stopped, and whoever may take that back.
async fn stopped(daemon: &Daemon) -> (Clients, DecisionsClient<tonic::transport::Channel>, String) {
    let mut clients = daemon.clients().await;
    let rule = pb::Rule {
        name: "threshold".into(),
        on: "param_norm".into(),
        parameters: measure("", &[("upper", 0.0)]).parameters,
    };
    let policy = Some(pb::Policy { mode: 0, rules: vec![rule] });
    let run =
        measured(&mut clients, pb::OpenRunRequest { policy, measures: quick(), ..open_request("stop") })
            .await;
    (clients, DecisionsClient::new(daemon.channel().await), run)
}

async fn take_back(
    decisions: &mut DecisionsClient<tonic::transport::Channel>,
    run: &str,
    reason: &str,
) -> Result<pb::Decision, Status> {
    let request = pb::OverrideRequest { run_id: run.into(), reason: reason.into() };
    decisions.r#override(request).await.map(|answer| answer.into_inner().decision.unwrap())
}

#[tokio::test]
async fn row_56_a_reason_is_bounded_as_it_is_stored_and_escaped_wherever_it_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = start(&directory);
    let (mut clients, mut decisions, run) = stopped(&daemon).await;
    let spaces = format!("x{}", " ".repeat(4_194_000));
    let long = "x".repeat(1_001);
    for bad in [spaces.as_str(), long.as_str(), "", " \n ", "a\nb", "a\u{2028}b", "a\u{7}b"] {
        let status = take_back(&mut decisions, &run, bad).await.unwrap_err();
        assert_eq!(
            (status.code(), blamed(&status)),
            (Code::InvalidArgument, vec!["reason".into()]),
            "{bad:.9}"
        );
        assert!(status.message().len() < 400 && !hides(status.message()), "{:?}", status.message());
    }
    let reason = "it is \u{202e}fine\u{202c} \u{e0041}\u{200b}";
    let taken_back = take_back(&mut decisions, &run, &format!("  {reason}  ")).await.unwrap();
    assert_eq!(taken_back.overridden.unwrap().reason, reason);
    let listed = clients.runs.list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner();
    assert!(listed.encoded_len() < 10_000, "{}", listed.encoded_len());
    assert_eq!(listed.runs[0].decision.as_ref().unwrap().overridden.as_ref().unwrap().reason, reason);

    let said = printed(&["decision", "--addr", &daemon.http, &run]);
    assert!(said.contains(&shown(reason)), "{said}");
    let json = printed(&["decision", "--addr", &daemon.http, &run, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["overridden"]["reason"], reason);
    printed(&["runs", "--addr", &daemon.http]);
    printed(&["runs", "--addr", &daemon.http, "--format", "json"]);
    let data = directory.path().join("data");
    let sql = ["query", "--data", data.to_str().unwrap(), "--sql", "SELECT * FROM decisions"];
    assert!(printed(&sql).contains("\\u{202e}"));
    printed(&[&sql[..], &["--format", "jsonl"]].concat());

    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success() && !hides(&log), "{log:?}");
    assert!(log.contains(r"\u{202e}fine"), "{log}");
    let audit = std::fs::read_to_string(directory.path().join("audit")).unwrap();
    assert!(!hides(&audit), "{audit:?}");
    let lines = audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let outcomes: Vec<_> = lines.filter(|line| line["event"] == "override").collect();
    assert_eq!(outcomes[0]["outcome"], format!("ok: {reason}"));
}

#[tokio::test]
async fn row_56_every_text_of_a_request_is_bounded_and_no_answer_hides_anything() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let evil = "\u{202e}\u{2028}\u{e0041}\x1b[2J\n";
    let (long, hidden) = ("x".repeat(200_000), format!("a{evil}"));
    let rule = |name: &str, on: &str| pb::Rule { name: name.into(), on: on.into(), ..Default::default() };
    let policy = |rule: pb::Rule| Some(pb::Policy { mode: 0, rules: vec![rule] });
    let config = |text: &str| format!("{{\"model_type\": {}}}", serde_json::to_string(text).unwrap());
    for text in [long.as_str(), &hidden] {
        let base = || open_request("k");
        let tensor =
            pb::ProbeTensor { spec: Some(common::spec(text, pb::Dtype::F32, &[1])), data: vec![0; 4].into() };
        let probe = pb::Probe { tensors: vec![tensor] };
        let source = Some(pb::probe_group::Source::Probe(probe));
        let digest = Some(pb::probe_group::Source::Digest(text.into()));
        let parameters = measure(text, &[(text, 1.0)]);
        for request in [
            pb::OpenRunRequest { name: text.into(), ..base() },
            pb::OpenRunRequest { project: text.into(), ..base() },
            pb::OpenRunRequest { experiment: text.into(), ..base() },
            pb::OpenRunRequest { tags: [(text.to_owned(), String::new())].into(), ..base() },
            pb::OpenRunRequest { tags: [("note".to_owned(), text.to_owned())].into(), ..base() },
            pb::OpenRunRequest { config_json: text.into(), ..base() },
            pb::OpenRunRequest { config_json: config(text), ..base() },
            pb::OpenRunRequest { measures: vec![parameters.clone()], ..base() },
            pb::OpenRunRequest {
                measures: vec![pb::MeasureRequest { name: "loss".into(), ..parameters }],
                ..base()
            },
            pb::OpenRunRequest { policy: policy(rule(text, "loss")), ..base() },
            pb::OpenRunRequest { policy: policy(rule("threshold", text)), ..base() },
            pb::OpenRunRequest { policy: policy(rule("threshold", &format!("loss@{text}"))), ..base() },
            pb::OpenRunRequest { groups: vec![pb::ProbeGroup { name: "en".into(), source }], ..base() },
            pb::OpenRunRequest {
                groups: vec![pb::ProbeGroup { name: "en".into(), source: digest }],
                ..base()
            },
        ] {
            let status = clients.runs.open_run(request.clone()).await.expect_err(&format!("{request:.300?}"));
            plain(&status);
        }
        let request = pb::CompareRunsRequest { on: text.into(), ..Default::default() };
        plain(&clients.runs.compare_runs(request).await.unwrap_err());
        let request = pb::ListRunsRequest { page_token: text.into(), ..Default::default() };
        plain(&clients.runs.list_runs(request).await.unwrap_err());
        plain(&clients.runs.get_run(pb::GetRunRequest { run_id: text.into() }).await.unwrap_err());
        let filter = pb::RunFilter { project: text.into(), ..Default::default() };
        let request = pb::ListRunsRequest { filter: Some(filter), ..Default::default() };
        plain(&clients.runs.list_runs(request).await.unwrap_err());
    }
    let key = pb::OpenRunRequest { idempotency_key: long.clone(), ..open_request("k") };
    plain(&clients.runs.open_run(key).await.unwrap_err());
    let many = pb::OpenRunRequest { measures: vec![measure("loss", &[]); 257], ..open_request("k") };
    let status = clients.runs.open_run(many).await.unwrap_err();
    assert_eq!(blamed(&status), ["measures"]);

    let run = clients.open("pushed", quick()).await;
    for text in [long.as_str(), &hidden] {
        let mut upload = TestUpload::new(&run, 1);
        upload.begin.tensors[0].name = text.into();
        plain(&clients.push(upload).await.unwrap_err());
        let mut upload = TestUpload::new(&run, 1);
        upload.begin.aliases = vec![pb::Alias { name: text.into(), target: text.into() }];
        plain(&clients.push(upload).await.unwrap_err());
    }
    daemon.still_serves().await;
}

/// A status that a terminal can show.
fn plain(status: &Status) {
    assert!(
        matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition),
        "{status:?}"
    );
    let fault = clino_domain::status::from_status(status);
    let texts = fault.violations.iter().flat_map(|violation| [&violation.field, &violation.description]);
    for text in texts.chain([&fault.message]) {
        assert!(text.chars().count() <= 301 && !text.chars().any(is_hidden), "{text:?}");
    }
}

#[tokio::test]
async fn what_is_left_unspecified_is_the_default() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let rule = pb::Rule { name: "non_finite".into(), on: "loss".into(), ..Default::default() };
    let request = pb::OpenRunRequest {
        delivery: 0,
        precision: 0,
        policy: Some(pb::Policy { mode: 0, rules: vec![rule] }),
        measures: quick(),
        ..open_request("k")
    };
    let opened = clients.runs.open_run(request.clone()).await.unwrap().into_inner();
    // A small model is measured in f64 where nobody says otherwise.
    assert_eq!(opened.precision(), pb::Precision::F64);
    let run = clients.run(&opened.run_id).await;
    assert_eq!((run.delivery(), run.policy.unwrap().mode()), (pb::Delivery::Latest, pb::PolicyMode::Advise));
    let mut upload = TestUpload::new(&opened.run_id, 1);
    upload.begin.kind = 0;
    clients.push(upload).await.unwrap();
    let events = clients.watch_until(&opened.run_id, |event| matches!(event, Event::Finished(_))).await;
    let kind = events.iter().find_map(|event| match &event.event {
        Some(Event::Accepted(accepted)) => Some(accepted.kind()),
        _ => None,
    });
    assert_eq!(kind, Some(pb::WeightKind::Live));
    let compare = pb::CompareRunsRequest { on: "loss".into(), moment: 0, direction: 0, ..Default::default() };
    assert_eq!(clients.runs.compare_runs(compare).await.unwrap().into_inner().runs.len(), 1);

    // Saying the default is the same run; what has no meaning without a value is refused by name, as is what is unknown.
    let said = pb::OpenRunRequest {
        delivery: pb::Delivery::Latest.into(),
        precision: pb::Precision::Auto.into(),
        ..request.clone()
    };
    assert_eq!(clients.runs.open_run(said).await.unwrap().into_inner().run_id, opened.run_id);
    let unknown = pb::OpenRunRequest { delivery: 9, precision: 9, ..open_request("other") };
    let status = clients.runs.open_run(unknown).await.unwrap_err();
    assert_eq!(blamed(&status), ["delivery", "precision"]);
    let mut upload = TestUpload::new(&opened.run_id, 2);
    upload.begin.tensors[0].dtype = 0;
    let status = clients.push(upload).await.unwrap_err();
    assert_eq!(blamed(&status), ["tensors[0].dtype"]);
    daemon.still_serves().await;
}
