//! How a daemon bears a fleet: many live runs, each with a snapshot a second and a question for its decision.
//!
//! `cargo bench --bench fleet -- --runs 1000 --seconds 30`. Prints one table: latencies of `Decide` on the idle daemon and
//! under load, both in one go on the same connections, what `/metrics` takes and how long it is, and the memory of the
//! daemon before and after. `--replay N` then sends N more snapshots a run as fast as they are taken.

mod common;

use clino_client::{Client, Label, Plan, Run};
use clino_domain::{Dtype, MeasureRequest, Policy, RuleRequest, RunLabel, Tensor, Value};
use common::{BenchDaemon, Outcome, tensor};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::interval;

/// The smallest model that there is.
const CONFIG: &str = r#"{"model_type":"mlp","sizes":[2,2],"hidden_act":"relu"}"#;
/// Trainers share so many connections.
const CONNECTIONS: usize = 16;

struct FleetOptions {
    runs: usize,
    seconds: u64,
    replay: u64,
    data: bool,
    across: bool,
}

impl FleetOptions {
    fn of_arguments() -> Self {
        let words: Vec<String> = std::env::args().collect();
        let number = |name: &str, standard: u64| {
            let place = words.iter().position(|word| word == name);
            place.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(standard)
        };
        let has = |name: &str| words.iter().any(|word| word == name);
        Self {
            runs: number("--runs", 1_000) as usize,
            seconds: number("--seconds", 20),
            replay: number("--replay", 0),
            data: has("--data"),
            across: has("--across"),
        }
    }
}

struct FleetDaemon {
    daemon: BenchDaemon,
    metrics: String,
}

impl FleetDaemon {
    fn start(asked: &FleetOptions) -> Outcome<Self> {
        let daemon = BenchDaemon::start(&["--http", "127.0.0.1:0", "--runs", "20000"], asked.data)?;
        let metrics = daemon.address("metrics=http://")?;
        Ok(Self { daemon, metrics })
    }

    /// Resident bytes.
    /// Milliseconds, bytes and series of `/metrics`.
    fn scrape(&self) -> Outcome<(f64, usize, usize)> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(&self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let millis = began.elapsed().as_secs_f64() * 1e3;
        let series = text.lines().filter(|line| line.starts_with("clino_") || line.starts_with("process_"));
        Ok((millis, text.len(), series.count()))
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn plan(index: usize, asked: &FleetOptions) -> Outcome<Plan> {
    let inputs = tensor("inputs", Dtype::F32, &[4, 2], floats(&[0.0, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 1.0]))?;
    let labels = [0i64, 1, 0, 1].iter().flat_map(|label| label.to_le_bytes()).collect();
    let labels = tensor("labels", Dtype::I64, &[4], labels)?;
    let mut plan = Plan::new(format!("run {index}"), CONFIG).group("en", vec![inputs, labels]);
    plan.spec.measures = vec![MeasureRequest { name: "loss".into(), parameters: Default::default() }];
    plan.spec.label = RunLabel {
        project: "load".into(),
        experiment: format!("experiment {}", index % 10),
        tags: Default::default(),
    };
    let rule = |name: &str, parameters: &[(&str, f64)]| RuleRequest {
        name: name.into(),
        on: "loss".into(),
        parameters: parameters.iter().map(|(name, value)| ((*name).into(), Value::Number(*value))).collect(),
    };
    let mut rules = vec![rule("patience", &[("patience", 800.0)]), rule("divergence", &[])];
    if asked.across {
        rules.push(rule("median", &[]));
    }
    Ok(plan.policy(Policy { rules, ..Policy::default() }))
}

fn parameters(step: u64) -> Outcome<Vec<Tensor>> {
    let value = (step as f32 * 0.37).sin();
    Ok(vec![
        tensor("layers.0.bias", Dtype::F32, &[2], floats(&[0.1, -0.1]))?,
        tensor("layers.0.weight", Dtype::F32, &[2, 2], floats(&[value, 0.2, -0.3, value * 0.5]))?,
    ])
}

/// With a key of its own, as the SDK for Python sends it.
fn label(run: &Run, step: u64) -> Label {
    Label { key: Some(format!("{}/{step}", run.id())), ..Label::step(step) }
}

async fn open(asked: &FleetOptions, daemon: &FleetDaemon) -> Outcome<Vec<Run>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(&daemon.daemon.socket).await?);
    }
    let mut runs = Vec::new();
    for index in 0..asked.runs {
        runs.push(clients[index % CONNECTIONS].open_run(&plan(index, asked)?).await?);
    }
    Ok(runs)
}

/// Milliseconds of `Decide`, one question after another over all runs.
async fn questions(runs: &[Run], count: usize) -> Outcome<Vec<f64>> {
    let mut took = Vec::with_capacity(count);
    for index in 0..count {
        let began = Instant::now();
        runs[(index * 7) % runs.len()].decide(None).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        // About what a fleet of trainers asks.
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn quantiles(name: &str, took: &[f64]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<28} p50 {:>8.2} ms   p99 {:>8.2} ms   max {:>8.2} ms   ({} calls)",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    );
}

/// A snapshot a second from every run, spread over the second.
async fn train(runs: &[Run], seconds: u64, sent: Arc<AtomicU64>) -> JoinSet<Outcome<()>> {
    let mut trainers = JoinSet::new();
    for (index, run) in runs.iter().enumerate() {
        let (run, sent, count) = (run.clone(), sent.clone(), runs.len());
        trainers.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(index as f64 / count as f64)).await;
            let mut second = interval(Duration::from_secs(1));
            for step in 2..2 + seconds {
                second.tick().await;
                run.push(label(&run, step), parameters(step)?).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    trainers
}

async fn finished(mut tasks: JoinSet<Outcome<()>>) -> Outcome<()> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// As many more snapshots a run, as fast as they are taken.
async fn replay(runs: &[Run], from: u64, count: u64) -> Outcome<()> {
    let mut lanes = JoinSet::new();
    for lane in 0..CONNECTIONS {
        let runs: Vec<_> = runs.iter().skip(lane).step_by(CONNECTIONS).cloned().collect();
        lanes.spawn(async move {
            for step in from..from + count {
                for run in &runs {
                    run.push(label(run, step), parameters(step)?).await?;
                }
            }
            Ok(())
        });
    }
    finished(lanes).await
}

async fn contest(asked: &FleetOptions) -> Outcome<()> {
    let daemon = FleetDaemon::start(asked)?;
    let began = Instant::now();
    let runs = open(asked, &daemon).await?;
    println!("{} runs opened in {:.1} s, history {}", runs.len(), began.elapsed().as_secs_f64(), asked.data);
    replay(&runs, 1, 1).await?;
    let questioned = 4_000.min(runs.len() * 4);
    questions(&runs, runs.len()).await?;
    quantiles("Decide, idle", &questions(&runs, questioned).await?);
    let before = daemon.daemon.memory("VmRSS:")?;
    let (sent, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let trainers = train(&runs, asked.seconds, sent.clone()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked_at = Instant::now();
    let mut loaded = Vec::new();
    let mut scrapes = Vec::new();
    while asked_at.elapsed() < Duration::from_secs(asked.seconds.saturating_sub(4).max(1)) {
        loaded.extend(questions(&runs, 500).await?);
        scrapes.push(daemon.scrape()?);
    }
    finished(trainers).await?;
    loaded.sort_by(f64::total_cmp);
    quantiles("Decide, under load", &loaded);
    let rate = sent.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    println!("{:<28} {rate:.0} a second", "snapshots received");
    let worst = scrapes.iter().map(|(millis, ..)| *millis).fold(0.0, f64::max);
    let (_, bytes, series) = scrapes.last().copied().unwrap_or_default();
    println!("{:<28} {worst:.1} ms at most, {series} series, {bytes} bytes", "/metrics under load");
    println!("{:<28} {before:.0} MiB before, {:.0} MiB after", "resident", daemon.daemon.memory("VmRSS:")?);
    let mut from = 2 + asked.seconds;
    for part in 1..=4 {
        if asked.replay == 0 {
            break;
        }
        let began = Instant::now();
        replay(&runs, from, asked.replay / 4).await?;
        from += asked.replay / 4;
        let (megabytes, seconds) = (daemon.daemon.memory("VmRSS:")?, began.elapsed().as_secs_f64());
        println!(
            "replayed {} snapshots a run in {seconds:.0} s: {megabytes:.0} MiB",
            asked.replay / 4 * part
        );
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(contest(&FleetOptions::of_arguments()))
}
