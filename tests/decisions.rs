//! Decisions, asked of the real daemon.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Clients, Daemon, TestUpload, blamed, endless, measure, open_request, quick};
use pb::decisions_client::DecisionsClient;
use pb::watch_response::Event;
use prost::Message;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

use clino_proto::pb;

fn rule(name: &str, on: &str, parameters: &[(&str, f64)]) -> pb::Rule {
    pb::Rule { name: name.into(), on: on.into(), parameters: measure(name, parameters).parameters }
}

fn policy(mode: pb::PolicyMode, rules: Vec<pb::Rule>) -> Option<pb::Policy> {
    Some(pb::Policy { mode: mode.into(), rules })
}

/// Stops at the first snapshot: no model has a norm below zero.
fn at_once() -> Vec<pb::Rule> {
    vec![rule("threshold", "param_norm", &[("upper", 0.0)])]
}

struct DecisionBench {
    clients: Clients,
    decisions: DecisionsClient<Channel>,
    run: String,
}

impl DecisionBench {
    async fn open(daemon: &Daemon, key: &str, policy: Option<pb::Policy>) -> Self {
        let mut clients = daemon.clients().await;
        let request = pb::OpenRunRequest {
            policy,
            experiment: "e".into(),
            measures: quick(),
            delivery: pb::Delivery::Every.into(),
            ..open_request(key)
        };
        let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
        Self { clients, decisions: DecisionsClient::new(daemon.channel().await), run }
    }

    /// A run that is open.
    async fn again(daemon: &Daemon, run: String) -> Self {
        let (clients, decisions) = (daemon.clients().await, DecisionsClient::new(daemon.channel().await));
        Self { clients, decisions, run }
    }

    /// Pushes a snapshot and waits until it is measured.
    async fn measure(&mut self, upload: TestUpload) -> pb::PushSnapshotResponse {
        let receipt = self.clients.push(upload).await.unwrap();
        self.measured(receipt.step).await;
        receipt
    }

    async fn measured(&mut self, step: u64) {
        let done = |event: &Event| {
            let at = |at: &Option<pb::SnapshotRef>| at.as_ref().is_some_and(|at| at.step == step);
            matches!(event, Event::Finished(finished) if at(&finished.snapshot))
        };
        self.clients.watch_until(&self.run, done).await;
    }

    async fn close(&mut self) {
        let close = pb::CloseRunRequest { run_id: self.run.clone(), resumable: false, abandon: false };
        self.clients.runs.close_run(close).await.unwrap();
    }

    async fn step(&mut self, step: u64) -> pb::PushSnapshotResponse {
        self.measure(TestUpload::new(&self.run, step)).await
    }

    async fn decide(&mut self) -> pb::Decision {
        self.decide_as_of(None).await.unwrap().decision.unwrap()
    }

    async fn decide_as_of(&mut self, as_of_step: Option<u64>) -> Result<pb::DecideResponse, Status> {
        let request = pb::DecideRequest { run_id: self.run.clone(), as_of_step };
        self.decisions.decide(request).await.map(tonic::Response::into_inner)
    }

    async fn take_back(&mut self, reason: &str) -> Result<pb::Decision, Status> {
        let request = pb::OverrideRequest { run_id: self.run.clone(), reason: reason.into() };
        let answer = self.decisions.r#override(request).await?;
        Ok(answer.into_inner().decision.unwrap())
    }
}

fn nan(run: &str, step: u64) -> TestUpload {
    let mut upload = TestUpload::new(run, step);
    upload.data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    upload
}

/// Parameters so many times as large as others.
fn scaled(run: &str, step: u64, factor: f32) -> TestUpload {
    let mut upload = TestUpload::new(run, step);
    let numbers = common::numbers(upload.data.len() / 4, 3);
    upload.data = common::bytes_of(&numbers.iter().map(|x| factor * x).collect::<Vec<_>>());
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_stands_until_it_is_overridden() {
    let daemon = Daemon::start(&[]);
    let mut bench = DecisionBench::open(&daemon, "k", policy(pb::PolicyMode::Advise, at_once())).await;
    let before = bench.decide().await;
    assert_eq!(before.advice(), pb::Advice::NotEnoughData);
    assert!(bench.step(1).await.decision.is_some());
    let stop = bench.decide().await;
    assert_eq!((stop.advice(), stop.reason()), (pb::Advice::Stop, pb::Reason::ThresholdCrossed));
    assert!(stop.latched && !stop.sentence.is_empty() && stop.compared.iter().any(|line| line.value > 0.0));
    assert_eq!(stop.evaluated, Some(pb::SnapshotRef { step: 1, attempt: 1 }));
    assert_eq!(stop.encode_to_vec(), bench.decide().await.encode_to_vec(), "a retry gets the same bytes");

    // Advice is advice: snapshots are still taken, each with the verdict; the first STOP stands.
    let receipt = bench.step(2).await;
    assert_eq!(receipt.decision.unwrap().decision_id, stop.decision_id);
    assert_eq!(bench.decide().await.encode_to_vec(), stop.encode_to_vec());

    assert_eq!(blamed(&bench.take_back("").await.unwrap_err()), ["reason"]);
    let free = bench.take_back("the norm does not matter").await.unwrap();
    assert_eq!(free.advice(), pb::Advice::NotEnoughData);
    assert_eq!(free.overridden.clone().unwrap().reason, "the norm does not matter");
    assert_eq!(bench.take_back("again").await.unwrap_err().code(), Code::FailedPrecondition);
    bench.step(3).await;
    let again = bench.decide().await;
    assert_eq!((again.advice(), again.evaluated.unwrap().step), (pb::Advice::Stop, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn enforce_takes_no_more_snapshots() {
    let daemon = Daemon::start(&[]);
    let mut bench = DecisionBench::open(&daemon, "k", policy(pb::PolicyMode::Enforce, at_once())).await;
    bench.step(1).await;
    let refused = bench.clients.push(TestUpload::new(&bench.run, 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("STOP"), "{}", refused.message());
    bench.take_back("go on").await.unwrap();
    bench.step(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_what_is_not_finite_stops_only_whom_it_should() {
    let daemon = Daemon::start(&[]);
    let careless = vec![
        rule("threshold", "param_norm", &[("upper", 1e9)]),
        rule("patience", "loss", &[("patience", 1.0)]),
        rule("divergence", "loss", &[]),
    ];
    let mut bench =
        DecisionBench::open(&daemon, "careless", policy(pb::PolicyMode::Enforce, careless.clone())).await;
    for step in 1..6 {
        bench.measure(nan(&bench.run, step)).await;
    }
    assert_ne!(bench.decide().await.advice(), pb::Advice::Stop);
    let careful = [careless, vec![rule("non_finite", "param_norm", &[])]].concat();
    let mut bench = DecisionBench::open(&daemon, "careful", policy(pb::PolicyMode::Advise, careful)).await;
    bench.step(1).await;
    assert_ne!(bench.decide().await.advice(), pb::Advice::Stop);
    bench.measure(nan(&bench.run, 2)).await;
    let stop = bench.decide().await;
    assert_eq!((stop.advice(), stop.reason()), (pb::Advice::Stop, pb::Reason::NonFinite));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_asked_without_the_latch() {
    let daemon = Daemon::start(&[]);
    let rules = vec![rule("patience", "param_norm", &[("patience", 2.0), ("min_delta", 1e9)])];
    let mut bench = DecisionBench::open(&daemon, "k", policy(pb::PolicyMode::Advise, rules)).await;
    for step in 1..=6 {
        bench.step(step).await;
    }
    let stop = bench.decide().await;
    assert_eq!((stop.advice(), stop.reason()), (pb::Advice::Stop, pb::Reason::PatienceExhausted));
    let past = bench.decide_as_of(Some(2)).await.unwrap().decision.unwrap();
    assert_ne!(past.advice(), pb::Advice::Stop);
    assert_eq!(past.evaluated.unwrap().step, 2);
    assert_eq!(bench.decide().await.encode_to_vec(), stop.encode_to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_watched() {
    let daemon = Daemon::start(&[]);
    let mut bench = DecisionBench::open(&daemon, "k", policy(pb::PolicyMode::Advise, at_once())).await;
    let request = pb::WatchDecisionsRequest { run_id: bench.run.clone(), from_sequence: None };
    let mut stream = bench.decisions.watch_decisions(request.clone()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.decision.unwrap().advice(), pb::Advice::NotEnoughData);
    bench.step(1).await;
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!(second.staleness, Some(pb::Staleness::default()));
    assert_eq!(second.decision.as_ref().unwrap().advice(), pb::Advice::Stop);
    bench.close().await;
    let end = tokio::time::timeout(common::PATIENCE, stream.message()).await.unwrap();
    assert!(end.unwrap().is_none());
    let again = pb::WatchDecisionsRequest { from_sequence: Some(second.sequence), ..request };
    let mut stream = bench.decisions.watch_decisions(again).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().sequence, second.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_checked_before_the_run_opens() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let rules = vec![
        rule("patients", "loss", &[]),
        rule("patience", "los", &[]),
        rule("patience", "loss@fr", &[("patience", -1.0), ("patients", 1.0)]),
    ];
    let request = pb::OpenRunRequest {
        policy: policy(pb::PolicyMode::Advise, rules),
        measures: quick(),
        ..open_request("k")
    };
    let refused = clients.runs.open_run(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let blamed = blamed(&refused);
    for field in ["rules[0].name", "rules[1].on", "rules[2].on", "rules[2].parameters"] {
        let field = format!("policy.{field}");
        assert!(blamed.iter().any(|path| path.starts_with(&field)), "{field} among {blamed:?}");
    }
    let mut bench = DecisionBench::open(&daemon, "none", None).await;
    assert_eq!(bench.decide_as_of(None).await.unwrap_err().code(), Code::FailedPrecondition);
    bench.run = "nobody's".into();
    assert_eq!(bench.decide_as_of(None).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_an_experiment_are_compared() {
    let daemon = Daemon::start(&[]);
    let policy = || policy(pb::PolicyMode::Advise, vec![rule("median", "param_norm", &[])]);
    // Six runs that are over: a trial counts when it has ended.
    for n in 0..6 {
        let mut peer = DecisionBench::open(&daemon, &format!("peer {n}"), policy()).await;
        peer.step(1).await;
        peer.close().await;
    }
    let mut bad = DecisionBench::open(&daemon, "bad", policy()).await;
    bad.measure(scaled(&bad.run, 1, 100.0)).await;
    let stop = bad.decide().await;
    assert_eq!((stop.advice(), stop.reason()), (pb::Advice::Stop, pb::Reason::WorseThanMedian));
    assert_eq!((stop.peer_count, stop.peers.len()), (6, 6));
    let mut good = DecisionBench::open(&daemon, "good", policy()).await;
    good.measure(scaled(&good.run, 1, 0.01)).await;
    assert_eq!(good.decide().await.advice(), pb::Advice::Continue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_compared_with_what_is_held_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let flags = ["--data", data.to_str().unwrap()];
    let daemon = Daemon::start(&flags);
    let policy =
        policy(pb::PolicyMode::Advise, vec![rule("median", "param_norm", &[("n_startup_trials", 1.0)])]);
    let mut long = DecisionBench::open(&daemon, "long", policy.clone()).await;
    let last = clino_domain::series::MOST_POINTS as u64 * 5 / 4;
    for step in 1..=last {
        long.clients.push(TestUpload::new(&long.run, step)).await.unwrap();
    }
    long.measured(last).await;
    long.close().await;
    let mut late = DecisionBench::open(&daemon, "late", policy).await;
    late.measure(scaled(&late.run, 20, 100.0)).await;
    let stop = late.decide().await;
    assert_eq!((stop.advice(), stop.reason()), (pb::Advice::Stop, pb::Reason::WorseThanMedian));
    assert_eq!((stop.peers.as_slice(), stop.peer_count), ([long.run.clone()].as_slice(), 1));
    let past = late.decide_as_of(Some(20)).await.unwrap();
    let run = late.run.clone();
    drop((late, long, daemon)); // kill -9
    let daemon = Daemon::start(&flags);
    let mut late = DecisionBench::again(&daemon, run).await;
    assert_eq!(late.decide_as_of(Some(20)).await.unwrap().encode_to_vec(), past.encode_to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_latch_and_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let flags = ["--data", data.to_str().unwrap()];
    let daemon = Daemon::start(&flags);
    let mut bench = DecisionBench::open(&daemon, "k", policy(pb::PolicyMode::Enforce, at_once())).await;
    bench.step(1).await;
    let stop = bench.decide().await;
    let run = bench.run.clone();
    drop(bench);
    drop(daemon); // kill -9
    let daemon = Daemon::start(&flags);
    let mut bench = DecisionBench::again(&daemon, run).await;
    assert_eq!(bench.decide().await.encode_to_vec(), stop.encode_to_vec());
    let refused = bench.clients.push(TestUpload::new(&bench.run, 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let free = bench.take_back("go on").await.unwrap();
    assert_eq!(free.advice(), pb::Advice::NotEnoughData);
    bench.step(2).await;
    // And whoever reads the history finds them.
    let sql = "SELECT advice, step, rule, decision_id, override_by FROM decisions ORDER BY sequence LIMIT 2";
    let mut query = std::process::Command::new(env!("CARGO_BIN_EXE_clino"));
    query.args(["query", "--data", data.to_str().unwrap(), "--format", "jsonl", "--sql", sql]);
    let found = String::from_utf8(query.output().unwrap().stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        found.lines().map(serde_json::from_str).collect::<Result<_, _>>().unwrap();
    let of = |advice: &str, step: Option<u64>, decision: &pb::Decision, by: Option<&str>| {
        let (rule, id) = (&decision.rule, &decision.decision_id);
        serde_json::json!({"advice": advice, "step": step, "rule": rule, "decision_id": id, "override_by": by})
    };
    let by = free.overridden.as_ref().map(|overridden| overridden.by.as_str());
    assert_eq!(lines, [of("stop", Some(1), &stop, None), of("not_enough_data", None, &free, by)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_has_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let flags = ["--data", data.to_str().unwrap()];
    let daemon = Daemon::start(&flags);
    // Nobody has asked, and the first snapshot is being measured as long as this takes.
    let request = pb::OpenRunRequest {
        policy: policy(pb::PolicyMode::Advise, at_once()),
        measures: [quick(), endless()].concat(),
        ..open_request("k")
    };
    let mut clients = daemon.clients().await;
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    let receipt = clients.push(TestUpload::new(&run, 1)).await.unwrap();
    assert_eq!(receipt.staleness, Some(pb::Staleness { snapshots: 1, steps: 1 }));
    let first = receipt.decision.unwrap();
    assert_eq!((first.advice(), first.evaluated), (pb::Advice::NotEnoughData, None));
    drop(daemon); // kill -9
    let daemon = Daemon::start(&flags);
    let calm = vec![rule("threshold", "param_norm", &[("upper", 1e9)])];
    let mut other = DecisionBench::open(&daemon, "calm", policy(pb::PolicyMode::Advise, calm)).await;
    other.step(1).await;
    let run = other.run.clone();
    drop((other, daemon)); // kill -9
    let daemon = Daemon::start(&flags);
    let mut other = DecisionBench::again(&daemon, run).await;
    // Of the first snapshot, or already of this one.
    let again = other.step(2).await.decision.unwrap();
    assert_eq!(again.advice(), pb::Advice::Continue);
    let none = DecisionBench::open(&daemon, "none", None).await.step(1).await;
    assert_eq!((none.decision, none.staleness), (None, None));
}

/// What the outside knows for sure of one run.
#[derive(Debug, Default)]
struct KnownRun {
    /// The STOP, as bytes.
    stop: Option<Vec<u8>>,
    /// It was asked to take that back, and whether this was acknowledged.
    asked: bool,
    overridden: bool,
    closed: bool,
}

type AllKnown = std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<String, KnownRun>>>;

/// Opens runs that stop at once, takes the STOPs of some back and closes some, until the daemon has gone.
async fn stop_and_go_on(daemon_clients: (Clients, DecisionsClient<Channel>), prefix: String, all: AllKnown) {
    let (mut clients, mut decisions) = daemon_clients;
    for n in 0.. {
        let request = pb::OpenRunRequest {
            policy: policy(pb::PolicyMode::Enforce, at_once()),
            measures: quick(),
            ..open_request(&format!("{prefix} {n}"))
        };
        let Ok(opened) = clients.runs.open_run(request).await else { return };
        let run = opened.into_inner().run_id;
        let note =
            |change: &dyn Fn(&mut KnownRun)| change(all.lock().unwrap().entry(run.clone()).or_default());
        note(&|_| {});
        let Ok(_) = clients.push(TestUpload::new(&run, 1)).await else { return };
        let stop = loop {
            // As soon as anybody may know.
            let request = pb::DecideRequest { run_id: run.clone(), as_of_step: None };
            let Ok(answer) = decisions.decide(request).await else { return };
            let decision = answer.into_inner().decision.unwrap();
            if decision.advice() == pb::Advice::Stop {
                break decision;
            }
        };
        note(&|known| known.stop = Some(stop.encode_to_vec()));
        if n % 3 != 0 {
            note(&|known| known.asked = true);
            let request = pb::OverrideRequest { run_id: run.clone(), reason: format!("go on, {run}") };
            let Ok(_) = decisions.r#override(request).await else { return };
            note(&|known| known.overridden = true);
        }
        if n % 3 != 1 {
            let close = pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false };
            let Ok(_) = clients.runs.close_run(close).await else { return };
            note(&|known| known.closed = true);
        }
    }
}

async fn still_so(daemon: &Daemon, all: &AllKnown) -> (usize, usize, usize) {
    let (mut clients, mut decisions) = (daemon.clients().await, DecisionsClient::new(daemon.channel().await));
    let runs: Vec<_> = all.lock().unwrap().keys().cloned().collect();
    let (mut stops, mut overrides, mut closed) = (0, 0, 0);
    for run in runs {
        let summary = clients.run(&run).await;
        let request = pb::DecideRequest { run_id: run.clone(), as_of_step: None };
        let decision = decisions.decide(request).await.unwrap().into_inner().decision.unwrap();
        let all = all.lock().unwrap();
        let KnownRun { stop, asked, overridden, closed: ended } = &all[&run];
        let taken_back = decision.overridden.as_ref().is_some_and(|o| o.reason == format!("go on, {run}"));
        assert!(!overridden || taken_back, "{run}: an override was lost: {decision:?}");
        assert!(taken_back <= *asked, "{run}");
        if let (Some(stop), false) = (stop, taken_back) {
            assert_eq!(&decision.encode_to_vec(), stop, "{run}: a STOP was lost");
        }
        assert!(!ended || summary.closed, "{run}: it was closed");
        stops += usize::from(stop.is_some());
        overrides += usize::from(*overridden);
        closed += usize::from(*ended);
    }
    (stops, overrides, closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_kill_at_any_moment_takes_back_no_stop_override_or_end() {
    const ROUNDS: u64 = 12;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let all = AllKnown::default();
    for round in 0..=ROUNDS {
        // Of more runs than it may hold a daemon forgets those that ended first.
        let flags = ["--data", data.to_str().unwrap(), "--log", "warn", "--runs", "65536"];
        let daemon = Daemon::start(&flags);
        let (stops, overrides, closed) = still_so(&daemon, &all).await;
        if round == ROUNDS {
            println!("{stops} STOPs, {overrides} overrides, {closed} ends");
            assert!(stops >= 12 && overrides >= 6 && closed >= 6, "{stops} {overrides} {closed}");
            break;
        }
        let mut running = Vec::new();
        for task in 0..3 {
            let clients = (daemon.clients().await, DecisionsClient::new(daemon.channel().await));
            running.push(tokio::spawn(stop_and_go_on(clients, format!("{round} {task}"), all.clone())));
        }
        // However busy the machine is, each of these has happened.
        let before = [stops, overrides, closed];
        let happened = || {
            let count = |what: &dyn Fn(&KnownRun) -> bool| {
                all.lock().unwrap().values().filter(|known| what(known)).count()
            };
            let now = [
                count(&|known| known.stop.is_some()),
                count(&|known| known.overridden),
                count(&|known| known.closed),
            ];
            now.iter().zip(before).all(|(now, before)| *now > before)
        };
        while !happened() && running.iter().any(|task| !task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Moments spread over some periods of what happens, another each time.
        tokio::time::sleep(Duration::from_millis(150 + round * 37 % 100)).await;
        drop(daemon); // SIGKILL
        for task in running {
            task.await.unwrap();
        }
    }
}
