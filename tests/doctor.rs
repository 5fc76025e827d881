//! `clino doctor` on sick daemons, and on the way to none: each disease has its code, and the exit code tells how bad it is.
//! With `--nocapture` the tests print what a person sees.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "access/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use clino_domain::incident::{INCIDENTS, Origin};
use clino_proto::pb;
use common::{
    Clients, Daemon, PATIENCE, TestUpload, endless, finished, group, measure, open_request, quick, spec,
    wide_config,
};
use fixture::{AccessFiles, Authority, entry, token};
use pb::doctor_client::DoctorClient;
use serde_json::Value as Json;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use tonic::Code;

fn clino(words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CLINO_")) {
        command.env_remove(name);
    }
    command.args(words).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

/// What the doctor says, to programs and to people.
struct Visit {
    code: i32,
    json: Json,
    text: String,
}

impl Visit {
    fn to(title: &str, address: &str, environment: &[(&str, &str)]) -> Self {
        let of_json = clino(&["doctor", address, "--format", "json"], environment);
        let of_text = clino(&["doctor", address], &[environment, &[("COLUMNS", "100")]].concat());
        assert_eq!(of_json.status.code(), of_text.status.code());
        let text = String::from_utf8(of_text.stdout).unwrap();
        let code = of_text.status.code().unwrap();
        println!("=== {title}\n$ clino doctor {address}\n{text}(exit code {code})\n");
        let json = serde_json::from_slice(&of_json.stdout).unwrap();
        Self { code, json, text }
    }

    fn findings(&self) -> &Vec<Json> {
        self.json["findings"].as_array().unwrap()
    }

    fn has(&self, code: &str) -> bool {
        self.findings().iter().any(|finding| finding["code"] == code)
    }

    /// The finding of a code, which both forms must have.
    #[track_caller]
    fn find(&self, code: &str) -> &Json {
        let found = self.findings().iter().find(|finding| finding["code"] == code);
        let found = found.unwrap_or_else(|| panic!("no {code} in {:#}", self.json));
        let line = format!("{} {code}", found["severity"].as_str().unwrap());
        assert!(self.text.lines().any(|found| found.starts_with(&line)), "{line}");
        found
    }
}

/// What is found in both forms, until something is.
async fn until(title: &str, daemon: &Daemon, code: &str) -> Visit {
    let began = Instant::now();
    loop {
        let visit = Visit::to(title, &daemon.http, &[]);
        if visit.has(code) {
            return visit;
        }
        assert!(began.elapsed() < PATIENCE, "{code} does not come");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn close(clients: &mut Clients, run: &str) {
    let request = pb::CloseRunRequest { run_id: run.into(), resumable: false, abandon: true };
    clients.runs.close_run(request).await.unwrap();
}

#[tokio::test]
async fn a_daemon_whose_disk_is_full_and_whose_folders_have_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (data, spool) = (path("data"), path("spool"));
    std::fs::create_dir(&spool).unwrap();
    let flags =
        ["--data", data.to_str().unwrap(), "--spool", spool.to_str().unwrap(), "--reserve", "4096TiB"];
    let daemon = Daemon::at(&path("clino.sock"), &flags);
    let mut clients = daemon.clients().await;
    let refused = clients.runs.open_run(open_request("k")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let visit = Visit::to("a disk that is full", &daemon.http, &[]);
    assert_eq!((visit.code, &visit.json["daemon"]["ready"]), (1, &false.into()));
    let full = visit.find("C505");
    assert!(full["count"] == 1 && full["what"].as_str().unwrap().contains("--reserve"), "{full}");
    assert_eq!(full["detail"], "", "the reason is told once");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_dir_all(&spool).unwrap();
    let visit = Visit::to("the same daemon after its folders have gone", &daemon.http, &[]);
    assert_eq!(visit.code, 1);
    assert_eq!(visit.find("C512")["subject"], spool.to_str().unwrap());
    assert_eq!(visit.find("C501")["subject"], data.to_str().unwrap());
    assert!(visit.find("C505")["detail"].as_str().unwrap().starts_with("run: "), "{:#}", visit.json);
    assert!(visit.text.contains("cannot be asked") && !visit.has("C514"), "{}", visit.text);
}

#[tokio::test]
async fn a_run_whose_model_is_another_one() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let mut upload = TestUpload::new(&run, 1);
    let (rows, losses) = (vec![0, 7], vec![100.0, 200.0]);
    let group = "en".to_owned();
    let dtype = pb::Dtype::F32.into();
    upload.begin.model_check = Some(pb::ModelCheck { group, rows, losses, dtype, gradient_norms: vec![] });
    clients.push(upload).await.unwrap();
    clients.watch_until(&run, finished(1)).await;
    // One that goes on all the same is refused.
    clients.push(TestUpload::new(&run, 2)).await.unwrap_err();
    let visit = Visit::to("a run whose model is another one", &daemon.http, &[]);
    assert_eq!(visit.code, 1);
    let found = visit.find("C106");
    assert_eq!((&found["subject"], &found["concern"]), (&run.as_str().into(), &"run".into()));
    assert!(found["what"].as_str().unwrap().contains("150.000000"), "both losses: {found}");
    let refused = visit.find("C201");
    assert!(
        refused["subject"] == run.as_str() && refused["what"].as_str().unwrap().contains("1 so far"),
        "{refused}"
    );
    // Nothing is open any more: what happened is known for an hour.
    close(&mut clients, &run).await;
    let after = Visit::to("the same after the run was closed", &daemon.http, &[]);
    assert!(after.find("C106")["detail"].as_str().unwrap().contains(&run), "{:#}", after.json);
}

/// A run with a probe of its own, of some rows of 1024 numbers.
fn own_probe(key: usize, rows: u64) -> pb::OpenRunRequest {
    let labels = (0..rows).flat_map(|row| (row % 2).to_le_bytes()).collect::<Vec<u8>>();
    let tensor = |spec, data: Vec<u8>| pb::ProbeTensor { spec: Some(spec), data: data.into() };
    let tensors = vec![
        tensor(spec("inputs", pb::Dtype::F16, &[rows, 1024]), vec![key as u8; rows as usize * 2048]),
        tensor(spec("labels", pb::Dtype::I64, &[rows]), labels),
    ];
    let source = Some(pb::probe_group::Source::Probe(pb::Probe { tensors }));
    pb::OpenRunRequest {
        config_json: r#"{"model_type":"mlp","sizes":[1024,8,2],"hidden_act":"relu"}"#.into(),
        groups: vec![pb::ProbeGroup { name: "en".into(), source }],
        measures: vec![measure("loss", &[])],
        ..open_request(&format!("own {key}"))
    }
}

#[tokio::test]
async fn a_daemon_whose_memory_is_used_up() {
    let daemon = Daemon::start(&["--memory", "48MiB", "--runs", "1000"]);
    let mut clients = daemon.clients().await;
    let mut refused = None;
    // Large ones, then small ones into what is left.
    for (rows, runs) in [(1_000, 0..100), (100, 100..400)] {
        for key in runs {
            if let Err(status) = clients.runs.open_run(own_probe(key, rows)).await {
                refused = Some(status);
                break;
            }
        }
    }
    assert_eq!(refused.unwrap().code(), Code::ResourceExhausted);
    let visit = Visit::to("memory that runs have used up", &daemon.http, &[]);
    assert_eq!(visit.code, 1);
    let found = visit.find("C210");
    assert!(found["concern"] == "memory" && found["what"].as_str().unwrap().contains("for runs"), "{found}");
    let refused = visit.find("C203");
    assert!(refused["count"] == 2 && refused["last"].is_f64(), "{refused}");
}

#[tokio::test]
async fn a_daemon_that_holds_no_more_runs_and_a_measure_that_has_no_memory() {
    let daemon = Daemon::start(&["--memory", "32MiB", "--runs", "1"]);
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest {
        config_json: wide_config(512),
        measures: vec![measure("loss", &[]), measure("hessian_top", &[])],
        ..open_request("wide")
    };
    let opened = clients.runs.open_run(request).await.unwrap().into_inner();
    assert!(opened.warnings.iter().any(|warning| warning.contains("hessian_top")), "{:?}", opened.warnings);
    clients.runs.open_run(open_request("another")).await.unwrap_err();
    let visit = Visit::to("no place for a run, and no memory for a measure", &daemon.http, &[]);
    assert_eq!(visit.code, 1);
    let left_out = visit.find("C113");
    assert_eq!(left_out["subject"], opened.run_id.as_str());
    assert!(left_out["what"].as_str().unwrap().contains("for want of memory: hessian_top."), "{left_out}");
    let limit = visit.find("C206");
    assert!(limit["count"] == 1 && limit["what"].as_str().unwrap().contains("--runs"), "{limit}");
    assert_eq!(visit.find("C209")["severity"], "note");
}

#[tokio::test]
async fn runs_that_are_too_dear_for_their_trainers_and_their_budgets() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest {
        name: "in a hurry".into(),
        measures: endless(),
        budget_seconds: Some(0.05),
        ..open_request("budget")
    };
    let hurried = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    clients.push(TestUpload::new(&hurried, 1)).await.unwrap();
    clients.watch_until(&hurried, finished(1)).await;
    let dear = clients.open("dear", endless()).await;
    for step in 0..10 {
        clients.push(TestUpload::new(&dear, step)).await.unwrap();
    }
    let visit =
        until("a dear run that skips most snapshots, and one with a small budget", &daemon, "C114").await;
    assert_eq!(visit.code, 1);
    let skipped = visit.find("C114");
    assert_eq!(skipped["subject"], dear.as_str());
    assert!(
        skipped["what"].as_str().unwrap().contains("snapshots of run \"a test\" were skipped"),
        "{skipped}"
    );
    let cut = visit.find("C104");
    assert_eq!(cut["subject"], hurried.as_str());
    assert!(cut["what"].as_str().unwrap().contains("0.05 s: sharpness."), "{cut}");
    let usual = visit.find("C101");
    assert!(usual["severity"] == "note" && usual["count"].as_u64() >= Some(8), "{usual}");
}

#[tokio::test]
async fn a_daemon_that_cannot_be_asked() {
    let authority = Authority::new("ca");
    let files = AccessFiles::new();
    let read = "projects = { \"*\" = [\"read\"] }";
    let push = "projects = { \"*\" = [\"push\"] }";
    let tokens =
        files.write("tokens.toml", &format!("{}{}", entry("reader", 1, read), entry("trainer", 2, push)));
    let daemon = Daemon::start(&["--tokens", &tokens, "--http", "127.0.0.1:0"]);
    let visit = |title: &str, address: &str, code: &str, environment: &[(&str, &str)]| {
        let visit = Visit::to(title, address, environment);
        visit.find(code);
        assert_eq!((visit.code, &visit.json["reached"]), (2, &false.into()), "{title}");
        visit
    };
    visit("a token that the daemon does not know", &daemon.http, "C807", &[("CLINO_TOKEN", &token(9))]);
    visit("a token that may only push", &daemon.http, "C808", &[("CLINO_TOKEN", &token(2))]);
    let known = Visit::to("a token that may read", &daemon.http, &[("CLINO_TOKEN", &token(1))]);
    assert_eq!((&known.json["reached"], known.has("C304")), (&true.into(), true), "{:#}", known.json);
    let http = daemon.metrics.as_ref().unwrap().strip_prefix("metrics=").unwrap();
    let wrong = visit("the HTTP port by mistake", http, "C803", &[]);
    assert!(
        wrong.find("C803")["what"].as_str().unwrap().contains("HTTP port of a clino daemon"),
        "{:#}",
        wrong.json
    );

    let nothing = files.text("nothing.sock");
    visit("no socket", &format!("unix://{nothing}"), "C801", &[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    visit("no daemon", &format!("http://{port}"), "C801", &[]);

    let ca = files.write("ca.pem", authority.pem());
    let secure = daemon.http.replace("http://", "https://");
    visit("TLS where there is none", &secure, "C805", &[("CLINO_CA", &ca)]);
    visit("no authority to trust", &secure, "C810", &[]);
    let [cert, key] = authority.serve(&files);
    let secured = Daemon::start(&["--tls-cert", &cert, "--tls-key", &key]);
    visit("no TLS where it is needed", &secured.http.replace("https://", "http://"), "C804", &[]);
    let other = files.write("other.pem", Authority::new("other").pem());
    visit("an authority that is not trusted", &secured.http, "C806", &[("CLINO_CA", &other)]);
    let trusted = Visit::to("all as it should be", &secured.http, &[("CLINO_CA", &ca)]);
    assert_eq!(trusted.json["reached"], true);

    visit("an address that is none", "localhost:7411", "C810", &[]);
    let misspelled =
        visit("a variable that is none", "unix:///nowhere/clino.sock", "C811", &[("CLINO_ADRR", "x")]);
    assert_eq!(misspelled.find("C811")["subject"], "CLINO_ADRR");
}

/// Answers everybody with the same bytes, once they have said something.
fn impostor(answer: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn who_else_may_listen_there() {
    let web = impostor(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    let visit = Visit::to("a web server", &web, &[]);
    assert!(
        visit.code == 2 && visit.find("C803")["what"].as_str().unwrap().contains("web server"),
        "{:#}",
        visit.json
    );
    let shell = impostor(b"SSH-2.0-OpenSSH_9.9\r\n");
    let visit = Visit::to("another server", &shell, &[]);
    assert!(
        visit.code == 2 && visit.find("C803")["what"].as_str().unwrap().contains("something else"),
        "{:#}",
        visit.json
    );
}

/// The disks of the machine that tests run on may be nearly full.
fn is_of_the_machine(finding: &Json) -> bool {
    ["C511", "C513", "C701"].iter().any(|code| finding["code"] == *code)
}

#[tokio::test]
async fn nothing_is_wrong_with_a_daemon_that_is_well() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = Daemon::at(&directory.path().join("clino.sock"), &["--data", data.to_str().unwrap()]);
    daemon.still_serves().await;
    let visit = Visit::to("a daemon that is well", daemon.unix.as_ref().unwrap(), &[]);
    assert!(visit.findings().iter().all(is_of_the_machine), "{:#}", visit.json);
    let worse = visit.findings().iter().any(|finding| finding["severity"] != "note");
    assert_eq!(visit.code, i32::from(worse));
    let facts = &visit.json["daemon"];
    assert_eq!(
        (&facts["ready"], &facts["device"], &facts["runs_open"]),
        (&true.into(), &"cpu".into(), &1.into())
    );
    assert_eq!(facts["disks"][0]["folder"], data.to_str().unwrap());
    // Where the commands look by themselves.
    let address = daemon.unix.as_ref().unwrap();
    assert_eq!(clino(&["doctor"], &[("CLINO_ADDR", address)]).status.code(), Some(visit.code));
    assert_eq!(clino(&["doctor", "--format", "markdown"], &[("CLINO_ADDR", address)]).status.code(), Some(2));
}

#[tokio::test]
async fn nobody_hears_of_runs_that_they_may_not_read() {
    let files = AccessFiles::new();
    let one = "projects = { vision = [\"read\", \"push\"] }";
    let all = "projects = { \"*\" = [\"admin\"] }";
    let tokens = files.write("tokens.toml", &format!("{}{}", entry("one", 1, one), entry("all", 2, all)));
    let daemon = Daemon::start(&["--tokens", &tokens]);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for project in ["vision", "secret"] {
        let run = fixture::open(&mut clients, &token(2), (project, project)).await.unwrap();
        let mut upload = TestUpload::new(&run, 1);
        upload.begin.tensors.pop();
        for _ in 0..2 {
            fixture::send(&mut clients, &token(2), upload.frames()).await.unwrap_err();
        }
        runs.push(run);
    }
    let mut doctor = DoctorClient::new(daemon.channel().await);
    let mut told = Vec::new();
    for number in [1, 2] {
        let request = fixture::with(&token(number), pb::DiagnoseRequest {});
        let findings = doctor.diagnose(request).await.unwrap().into_inner().findings;
        let of_runs = findings.iter().filter(|finding| finding.concern() == pb::Concern::Run);
        told.push(of_runs.map(|finding| finding.subject.clone()).collect::<Vec<_>>());
        let noted = findings.iter().find(|finding| finding.code == "C201" && finding.count == 4).unwrap();
        assert_eq!(noted.detail.is_empty(), number == 1, "{noted:?}");
    }
    assert_eq!(told[0], runs[..1]);
    assert_eq!(told[1].len(), 2);
    assert_eq!(doctor.diagnose(pb::DiagnoseRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn what_is_noted_is_counted_and_logged_under_its_code() {
    let mut daemon = Daemon::start(&["--http", "127.0.0.1:0", "--log", "debug", "--log-format", "json"]);
    let mut clients = daemon.clients().await;
    let count = |code: &str| {
        let line = format!("clino_incidents_total{{code=\"{code}\"}} ");
        let text = daemon.http_get("/metrics").1;
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok()).unwrap()
    };
    // All of them are there from the beginning.
    for (_, info) in INCIDENTS.iter().filter(|(_, info)| info.origin == Origin::Noted) {
        assert_eq!(count(info.code), 0.0, "{}", info.code);
    }
    let run = clients.open("k", endless()).await;
    for step in 0..4 {
        clients.push(TestUpload::new(&run, step)).await.unwrap();
    }
    clients.push(TestUpload::new("nobody's", 1)).await.unwrap_err();
    let unknown =
        pb::OpenRunRequest { config_json: "{}".into(), groups: vec![group("en", 1)], ..open_request("x") };
    clients.runs.open_run(unknown).await.unwrap_err();
    close(&mut clients, &run).await;
    clients.watch_until(&run, |event| matches!(event, pb::watch_response::Event::Closed(_))).await;
    let counts = [count("C101"), count("C102"), count("C201"), count("C205")];
    // Of four snapshots one or two were begun or waited when the run was abandoned.
    assert!(counts[0] >= 2.0 && counts[0] + counts[1] == 4.0 && counts[2..] == [1.0, 1.0], "{counts:?}");
    daemon.signal("-TERM");
    let (_, _, log) = daemon.wait();
    let lines: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (code, expected) in ["C101", "C102", "C201", "C205"].iter().zip(counts) {
        let found = lines.iter().filter(|line| line.to_string().contains(&format!("\"code\":\"{code}\"")));
        assert_eq!(found.count() as f64, expected, "{code}");
    }
}

#[test]
fn the_page_of_codes_is_not_stale() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/codes.md")).unwrap();
    let now = String::from_utf8(clino(&["doctor", "--codes", "--format", "markdown"], &[]).stdout).unwrap();
    assert!(page == now, "run: clino doctor --codes --format markdown > docs/codes.md");
    let all: Json =
        serde_json::from_slice(&clino(&["doctor", "--codes", "--format", "json"], &[]).stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), INCIDENTS.len());
}
