//! How long `Decide` takes beside trainers that push as fast as they can.
//!
//! `cargo bench --bench lanes -- --trainers 64 --watchers 20 --seconds 120`. Each trainer pushes snapshots of 1 MB, one after the
//! other, over a connection of its own; one client asks for decisions, on a thread and a connection of its own. Prints the
//! times of `Decide` on the idle daemon and under load, what was acknowledged, and the memory of the daemon. Fails when a
//! snapshot that was acknowledged is not among those that were received.

mod common;

use clino_client::{Client, Label, Plan, Run};
use clino_domain::{Dtype, MeasureRequest, Policy, RuleRequest, Tensor};
use common::{BenchDaemon, Outcome, tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A quarter of a million parameters: 1 MB.
const CONFIG: &str = r#"{"model_type":"mlp","sizes":[64,2000,60],"hidden_act":"relu"}"#;

fn floats(count: usize, seed: u64) -> Vec<u8> {
    (0..count).flat_map(|i| ((i as f32 * 0.37 + seed as f32).sin() * 0.1).to_le_bytes()).collect()
}

fn plan(index: usize) -> Outcome<Plan> {
    let inputs = tensor("inputs", Dtype::F32, &[4, 64], floats(256, 1))?;
    let labels = (0..4_i64).flat_map(i64::to_le_bytes).collect();
    let labels = tensor("labels", Dtype::I64, &[4], labels)?;
    let mut plan = Plan::new(format!("run {index}"), CONFIG).group("en", vec![inputs, labels]);
    plan.spec.measures = vec![MeasureRequest { name: "loss".into(), parameters: Default::default() }];
    let rule = RuleRequest { name: "divergence".into(), on: "loss".into(), parameters: Default::default() };
    Ok(plan.policy(Policy { rules: vec![rule], ..Policy::default() }))
}

fn parameters(seed: u64) -> Outcome<Vec<Tensor>> {
    let f32 = |name: &str, shape: &[u64]| {
        tensor(name, Dtype::F32, shape, floats(shape.iter().product::<u64>() as usize, seed))
    };
    Ok(vec![
        f32("layers.0.bias", &[2000])?,
        f32("layers.0.weight", &[2000, 64])?,
        f32("layers.1.bias", &[60])?,
        f32("layers.1.weight", &[60, 2000])?,
    ])
}

/// Milliseconds of `Decide`, asked until `over`.
fn ask(socket: &str, run: &Run, over: impl Fn() -> bool) -> Outcome<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut took = runtime.block_on(async {
        let run = Client::connect(socket).await?.run(run.id().clone());
        let mut took = Vec::new();
        while !over() {
            let began = Instant::now();
            run.decide(None).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Outcome::Ok(took)
    })?;
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn print(name: &str, took: &[f64]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let [middle, late, last] = [at(0.5), at(0.99), at(1.0)];
    println!(
        "{name:<20} p50 {middle:>8.2} ms   p99 {late:>8.2} ms   max {last:>8.2} ms   ({} calls)",
        took.len()
    );
}

/// Pushes until `over`; tells how many were acknowledged.
async fn train(run: Run, over: Arc<AtomicBool>, shed: Arc<AtomicU64>) -> Outcome<(Run, u64)> {
    let tensors = parameters(1)?;
    let mut acknowledged = 0;
    for step in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        match run.push(Label::step(step), tensors.clone()).await {
            Ok(_) => acknowledged += 1,
            Err(_) => {
                shed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok((run, acknowledged))
}

async fn contest(trainers: usize, watchers: usize, seconds: u64, memory: &str) -> Outcome<()> {
    let daemon = BenchDaemon::start(&["--memory", memory], true)?;
    let mut runs = Vec::new();
    for index in 0..trainers {
        runs.push(Client::connect(&daemon.socket).await?.open_run(&plan(index)?).await?);
    }
    runs[0].push(Label::step(1 << 40), parameters(1)?).await?;
    let asking = |over: Arc<dyn Fn() -> bool + Send + Sync>| {
        let run = runs[0].clone();
        let socket = daemon.socket.clone();
        tokio::task::spawn_blocking(move || ask(&socket, &run, &*over))
    };
    let began = Instant::now();
    print("Decide, idle", &asking(Arc::new(move || began.elapsed().as_secs() >= 5)).await??);
    let over = Arc::new(AtomicBool::new(false));
    let shed = Arc::new(AtomicU64::new(0));
    let mut watching = JoinSet::new();
    for index in 0..watchers {
        let mut follow = runs[index % trainers].follow(None);
        watching.spawn(async move { while let Ok(Some(_)) = follow.next().await {} });
    }
    let mut training = JoinSet::new();
    for run in &runs {
        training.spawn(train(run.clone(), over.clone(), shed.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let loaded = asking(Arc::new(move || began.elapsed().as_secs() >= seconds)).await??;
    over.store(true, Ordering::Relaxed);
    print("Decide, under load", &loaded);
    let mut acknowledged = 0;
    while let Some(trained) = training.join_next().await {
        let (run, count) = trained??;
        let received = run.summary().await?.accepted;
        let lost = if run.id() == runs[0].id() { received != count + 1 } else { received != count };
        if lost {
            return Err(format!("{count} snapshots were acknowledged, {received} received").into());
        }
        acknowledged += count;
    }
    let rate = acknowledged as f64 / (seconds + 1) as f64;
    println!(
        "snapshots            {acknowledged} acknowledged ({rate:.0} a second), {} refused",
        shed.load(Ordering::Relaxed)
    );
    println!("resident             {:.0} MiB at most", daemon.memory("VmHWM")?);
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().collect();
    let given = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let number =
        |name: &str, standard: u64| given(name).and_then(|word| word.parse().ok()).unwrap_or(standard);
    let memory = given("--memory").map_or("8GiB", String::as_str);
    let trainers = number("--trainers", 64) as usize;
    let watchers = number("--watchers", 20) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(contest(trainers, watchers, number("--seconds", 120), memory))
}
