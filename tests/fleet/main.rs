//! What whoever operates many daemons sees of one: metrics, probes, traces, messages to the service manager.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod openmetrics;
mod sink;

use clino_proto::pb;
use common::{Daemon, PATIENCE, TestUpload, endless, open_request, quick};
use openmetrics::ParsedExposition;
use pb::watch_response::Event;
use sink::{Sink, attribute};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

impl Daemon {
    fn scrape(&self) -> (ParsedExposition, String) {
        let (status, text) = self.http_get("/metrics");
        assert_eq!(status, 200, "{text}");
        (ParsedExposition::parse(&text), text)
    }

    /// The first scrape in which runs are in these states: that follows a little after the events that a watcher gets.
    fn scrape_when(&self, state: &str, runs: f64) -> (ParsedExposition, String) {
        let began = Instant::now();
        loop {
            let (found, text) = self.scrape();
            if found.get("clino_runs", &[("state", state)]) == runs {
                return (found, text);
            }
            assert!(began.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a probe answers so.
    fn until(&self, path: &str, status: u16) -> String {
        let began = Instant::now();
        loop {
            let (found, body) = self.http_get(path);
            if found == status {
                return body;
            }
            assert!(began.elapsed() < PATIENCE, "{path} answers {found}: {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

#[tokio::test]
async fn metrics_tell_what_happened() {
    let daemon = Daemon::start(&HTTP);
    assert_eq!(daemon.until("/readyz", 200), "ready\n");
    let mut clients = daemon.clients().await;
    let run = clients.open("metrics", quick()).await;
    let upload = TestUpload::new(&run, 1);
    let bytes = upload.data.len() as f64;
    clients.push(upload).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
    clients.push(TestUpload::new("nobody", 1)).await.unwrap_err();

    let (found, text) = daemon.scrape_when("idle", 1.0);
    assert_eq!(found.get("clino_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(found.get("clino_ready", &[]), 1.0);
    assert_eq!(found.get("clino_device_info", &[("device", "cpu")]), 1.0);
    let project = [("project", "default")];
    assert_eq!(found.get("clino_project_runs", &project), 1.0);
    assert_eq!(found.get("clino_runs_opened_total", &project), 1.0);
    assert_eq!(found.get("clino_snapshots_accepted_total", &project), 1.0);
    assert_eq!(found.get("clino_snapshot_seconds_count", &[]), 1.0);
    assert_eq!(found.get("clino_upload_bytes_total", &[]), bytes);
    let ended = |outcome| [("what", "snapshot"), ("outcome", outcome)];
    assert_eq!(found.get("clino_uploads_started_total", &[("what", "snapshot")]), 2.0);
    assert_eq!(found.get("clino_uploads_finished_total", &ended("done")), 1.0);
    assert_eq!(found.get("clino_uploads_finished_total", &ended("failed")), 1.0);
    // Two groups and the pooled one.
    assert_eq!(found.get("clino_readings_total", &[("measure", "loss"), ("outcome", "measured")]), 3.0);
    assert_eq!(found.get("clino_reading_seconds_count", &[("measure", "loss")]), 3.0);
    assert!(found.get("clino_engine_busy_seconds_total", &[]) > 0.0);
    let push = [("service", "clino.v1.Snapshots"), ("method", "PushSnapshot")];
    let handled = |code| [push[0], push[1], ("code", code)];
    assert_eq!(found.get("clino_rpc_started_total", &push), 2.0);
    assert_eq!(found.get("clino_rpc_handled_total", &handled("OK")), 1.0);
    assert_eq!(found.get("clino_rpc_handled_total", &handled("NOT_FOUND")), 1.0);
    assert_eq!(found.get("clino_rpc_server_duration_seconds_count", &push), 2.0);
    assert!(found.get("clino_watch_events_total", &[]) >= 3.0);
    assert!(found.get("process_resident_memory_bytes", &[]) > 1e6);
    assert!(found.get("process_open_fds", &[]) > 3.0);
    assert!(!text.contains(&run), "a run id is a label");
}

#[tokio::test]
async fn a_path_that_a_client_makes_up_is_no_label() {
    let daemon = Daemon::start(&HTTP);
    for path in ["/made.Up/One", "/made.Up/Two"] {
        common::raw::call(daemon.channel().await, path, b"", &[]).await.unwrap_err();
    }
    let (found, text) = daemon.scrape();
    let other = [("service", "_other"), ("method", "_other")];
    assert_eq!(found.get("clino_rpc_started_total", &other), 2.0);
    assert_eq!(found.get("clino_rpc_handled_total", &[other[0], other[1], ("code", "UNIMPLEMENTED")]), 2.0);
    assert!(!text.contains("made"));
}

#[tokio::test]
async fn many_runs_and_projects_make_few_series() {
    // Nobody reads the log here: a line a run would fill its pipe.
    let daemon = Daemon::start(&["--http", "127.0.0.1:0", "--log", "warn"]);
    let mut clients = daemon.clients().await;
    let mut ids = Vec::new();
    let runs = std::env::var("CLINO_TEST_RUNS").map_or(200, |text| text.parse().unwrap());
    for n in 0..runs {
        let request = pb::OpenRunRequest {
            project: format!("p{n}"),
            measures: quick(),
            ..open_request(&format!("many {n}"))
        };
        ids.push(clients.runs.open_run(request).await.unwrap().into_inner().run_id);
    }
    let began = Instant::now();
    let (_, text) = daemon.http_get("/metrics");
    let took = began.elapsed();
    let found = ParsedExposition::parse(&text);
    println!("{} series with {} runs, in {took:?}", found.0.len(), ids.len());
    assert!(found.0.len() < 400, "{} series", found.0.len());
    assert!(ids.iter().all(|id| !text.contains(id)));
    assert_eq!(found.get("clino_runs", &[("state", "idle")]), f64::from(runs));
    // Projects beyond a cap are together.
    assert_eq!(found.all("clino_project_runs").len(), 21);
    assert_eq!(found.get("clino_project_runs", &[("project", "_other")]), f64::from(runs - 20));
    assert_eq!(found.get("clino_runs_opened_total", &[("project", "_other")]), f64::from(runs - 20));
}

#[tokio::test]
async fn row_47_probes_and_metrics_answer_while_the_engine_is_busy_and_while_it_drains() {
    let mut daemon = Daemon::start(&["--http", "127.0.0.1:0", "--grace", "4s"]);
    daemon.until("/readyz", 200);
    let mut clients = daemon.clients().await;
    let run = clients.open("busy", endless()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Reading(_))).await;
    assert_eq!(daemon.http_get("/livez"), (200, "alive\n".into()));
    assert_eq!(daemon.scrape().0.get("clino_runs", &[("state", "measuring")]), 1.0);
    daemon.signal("-TERM");
    // The endless measure is stopped late in the grace; until then it is seen.
    let body = daemon.until("/readyz", 503);
    assert!(body.contains("draining: "), "{body}");
    assert_eq!(daemon.http_get("/livez").0, 200);
    assert_eq!((healthy(&daemon, "").await, healthy(&daemon, "liveness").await), (false, true));
    let found = daemon.scrape().0;
    assert_eq!(found.get("clino_ready", &[]), 0.0);
    assert_eq!(found.get("clino_not_ready", &[("reason", "draining")]), 1.0);
    let (status, _, log) = daemon.wait();
    assert!(status.success(), "{log}");
}

/// What the health service says of a service.
async fn healthy(daemon: &Daemon, service: &str) -> bool {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(daemon.channel().await).check(request).await.unwrap();
    answer.into_inner().status() == ServingStatus::Serving
}

#[tokio::test]
async fn not_ready_while_the_spool_cannot_be_written() {
    let spool = tempfile::tempdir().unwrap();
    let (path, away) = (spool.path().join("spool"), spool.path().join("away"));
    std::fs::create_dir(&path).unwrap();
    let daemon = Daemon::start(&["--http", "127.0.0.1:0", "--spool", path.to_str().unwrap()]);
    daemon.until("/readyz", 200);
    std::fs::rename(&path, &away).unwrap();
    let body = daemon.until("/readyz", 503);
    assert!(body.starts_with("spool: "), "{body}");
    std::fs::rename(&away, &path).unwrap();
    daemon.until("/readyz", 200);
}

#[tokio::test]
async fn metrics_of_runs_are_few_and_only_where_they_are_wanted() {
    let daemon = Daemon::start(&["--http", "127.0.0.1:0", "--run-metrics", "2"]);
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for n in 0..4_u64 {
        let request = pb::OpenRunRequest {
            name: format!("run {n}"),
            experiment: "e".into(),
            measures: quick(),
            ..open_request(&n.to_string())
        };
        let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
        clients.push(TestUpload::new(&run, 10 + n)).await.unwrap();
        clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
        runs.push(run);
    }
    let scrape = || ParsedExposition::parse(&daemon.http_get("/metrics/runs").1);
    let found = scrape();
    assert_eq!(found.all("clino_run_step").len(), 2);
    let last = [("run", runs[3].as_str()), ("name", "run 3"), ("project", "default"), ("experiment", "e")];
    assert_eq!(found.get("clino_run_step", &last), 13.0);
    let loss = [&last[..], &[("measure", "loss"), ("group", "pooled")]].concat();
    assert!(found.get("clino_run_reading", &loss) > 0.0);
    assert_eq!(found.all("clino_run_reading").iter().filter(|s| s.labels["run"] == runs[1]).count(), 0);
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: runs[3].clone(), resumable: false, abandon: false })
        .await
        .unwrap();
    let steps = scrape();
    let of = |sample: &&openmetrics::ParsedSample| sample.labels["run"].clone();
    let mut shown: Vec<_> = steps.all("clino_run_step").iter().map(of).collect();
    shown.sort();
    assert_eq!(shown, [runs[1].clone(), runs[2].clone()]);

    let off = Daemon::start(&HTTP);
    assert_eq!(off.http_get("/metrics/runs").0, 404);
}

#[tokio::test]
async fn metrics_of_quiet_runs_expire() {
    let flags = ["--http", "127.0.0.1:0", "--run-metrics", "9", "--run-metrics-expiry", "0s"];
    let daemon = Daemon::start(&flags);
    let mut clients = daemon.clients().await;
    let run = clients.open("quiet", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
    assert_eq!(daemon.http_get("/metrics/runs"), (200, "# EOF\n".into()));

    let flags = ["--http", "127.0.0.1:0", "--run-metrics", "9", "--run-metrics-expiry", "1s"];
    let daemon = Daemon::start(&flags);
    let mut clients = daemon.clients().await;
    let run = clients.open("quiet", quick()).await;
    let gauge = |step: u64| {
        let found = daemon.http_get("/metrics/runs").1;
        if found == "# EOF\n" {
            return false;
        }
        let found = ParsedExposition::parse(&found);
        found.all("clino_run_step").iter().any(|s| s.labels["run"] == run && s.value == step as f64)
    };
    // A busy machine may take longer than a second from the one to the other: then once more.
    for step in [1, 100] {
        let mut shown = step;
        loop {
            clients.push(TestUpload::new(&run, shown)).await.unwrap();
            clients.watch_until(&run, |event| matches!(event, Event::Finished(end) if end.snapshot.as_ref().unwrap().step == shown)).await;
            if gauge(shown) {
                break;
            }
            shown += 1;
        }
        let began = Instant::now();
        while gauge(shown) {
            assert!(began.elapsed() < PATIENCE, "it does not expire");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(daemon.http_get("/metrics/runs"), (200, "# EOF\n".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_metrics_reach_a_collector() {
    let sink = Sink::default();
    let address = sink.serve().await;
    let mut daemon = Daemon::start(&["--otlp", &address]);
    let mut clients = daemon.clients().await;
    let run = clients.open("traced", quick()).await;
    clients.push(TestUpload::new(&run, 7)).await.unwrap();
    clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
    // What has not been sent is sent at the end.
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success() && !log.contains("WARN"), "{log}");
    assert!(!log.contains("clino.run_id"), "spans are not for log lines: {log}");

    let open = &sink.named("clino.v1.Runs/OpenRun")[0];
    assert_eq!(attribute(&open.attributes, "clino.run_id"), run);
    let push = &sink.named("clino.v1.Snapshots/PushSnapshot")[0];
    assert_eq!(attribute(&push.attributes, "clino.run_id"), run);
    assert_eq!(attribute(&push.attributes, "clino.step"), "7");
    assert_eq!(attribute(&push.attributes, "rpc.grpc.status_code"), "0");
    let snapshot = &sink.named("measure snapshot")[0];
    assert_eq!(attribute(&snapshot.attributes, "clino.run_id"), run);
    let children: Vec<_> = sink.named("loss").into_iter().chain(sink.named("param_norm")).collect();
    // The loss of two groups and pooled, one norm.
    assert_eq!(children.len(), 4);
    assert!(children.iter().all(|child| child.parent_span_id == snapshot.span_id));
    assert_eq!(attribute(&children[3].attributes, "clino.outcome"), "Measured");

    assert_eq!(sink.number("clino_snapshots_accepted"), 1.0);
    assert_eq!(sink.number("clino_readings"), 4.0);
    assert_eq!(sink.number("clino_snapshot_seconds_count"), 1.0);
    assert!(sink.number("process_resident_memory_bytes") > 1e6);
    let senders = sink.senders.lock().unwrap();
    let instance = attribute(&senders[0], "service.instance.id");
    assert!(!instance.is_empty());
    for sender in &*senders {
        assert_eq!(attribute(sender, "service.name"), "clino");
        assert_eq!(attribute(sender, "service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(attribute(sender, "service.instance.id"), instance);
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_one_warning() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let environment = [("OTEL_BSP_SCHEDULE_DELAY", "20"), ("OTEL_METRIC_EXPORT_INTERVAL", "20")];
    let flags = ["--http", "127.0.0.1:0", "--otlp", &format!("http://{address}")];
    let mut daemon = Daemon::start_with(&flags, &environment);
    daemon.still_serves().await;
    let failures = || daemon.scrape().0.get("clino_otlp_failures_total", &[]);
    let began = Instant::now();
    while failures() < 2.0 {
        assert!(began.elapsed() < PATIENCE, "two exports fail");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.still_serves().await;
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert_eq!(log.matches("cannot be sent").count(), 1, "{log}");
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |wanted: &str| {
        let mut message = [0; 256];
        loop {
            let length = manager.recv(&mut message).unwrap();
            let text = std::str::from_utf8(&message[..length]).unwrap();
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut daemon = Daemon::start_with(&[], &environment);
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    daemon.signal("-TERM");
    hear("STOPPING=1");
    assert!(daemon.wait().0.success());
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    let refused = |flags: &[&str]| {
        let output = common::command().args(["--listen", "127.0.0.1:0"]).args(flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = refused(&["--http", "0.0.0.0:0"]);
    assert!(code == Some(64) && text.contains("http: found 0.0.0.0:0"), "{text}");
    let open = Daemon::start(&["--http", "0.0.0.0:0", "--insecure"]);
    assert!(open.metrics.as_ref().unwrap().starts_with("metrics=http://0.0.0.0:"));
    let (code, text) = refused(&["--otlp", "ftp://here"]);
    assert!(code == Some(64) && text.contains("otlp: found"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, text) = refused(&["--http", &taken.local_addr().unwrap().to_string()]);
    assert!(code == Some(75) && text.contains("http: "), "{text}");
}
