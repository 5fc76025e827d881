//! How runs share the engine: a cheap run alone and beside dear ones, and how soon a run ends that is abandoned.
//!
//! `cargo bench --bench turns -- --dear 1,3,7 --repeat 5`. Both sides in one go on one daemon. `own` is what the cheap run's
//! snapshot takes alone, from its first byte to its last reading; `beside` the same while so many dear runs are measured;
//! fair is `own` times the number of busy runs. Then each measure of the catalogue is abandoned while it is made.

mod common;

use clino_client::{Client, Label, Plan, Run};
use clino_domain::{Dtype, Event, MeasureInfo, MeasureRequest, Sequenced, Tensor, Value};
use clino_engine::Validator;
use common::{BenchDaemon, Outcome, tensor};
use std::time::{Duration, Instant};

/// Features, units and classes of the model of all runs.
const SIZES: [u64; 4] = [64, 500, 500, 3];
const EXAMPLES: u64 = 2_000;

/// The value behind a flag.
fn argument(name: &str, standard: &str) -> String {
    let words: Vec<String> = std::env::args().collect();
    let place = words.iter().position(|word| word == name);
    place.and_then(|at| words.get(at + 1)).cloned().unwrap_or_else(|| standard.to_owned())
}

fn numbers(count: u64, scale: f32) -> Vec<u8> {
    (0..count).flat_map(|i| ((i as f32 * 1.7).sin() * scale).to_le_bytes()).collect()
}

fn plan(name: &str, measures: Vec<MeasureRequest>) -> Outcome<Plan> {
    let inputs = tensor("inputs", Dtype::F32, &[EXAMPLES, SIZES[0]], numbers(EXAMPLES * SIZES[0], 1.0))?;
    let labels = (0..EXAMPLES as i64).flat_map(|i| (i % 3).to_le_bytes()).collect();
    let labels = tensor("labels", Dtype::I64, &[EXAMPLES], labels)?;
    let config = format!(r#"{{"model_type":"mlp","sizes":{SIZES:?},"hidden_act":"relu"}}"#);
    let mut plan = Plan::new(name, config).group("en", vec![inputs, labels]);
    plan.spec.measures = measures;
    Ok(plan)
}

fn parameters() -> Outcome<Vec<Tensor>> {
    let mut tensors = Vec::new();
    for (i, pair) in SIZES.windows(2).enumerate() {
        let [inputs, outputs] = [pair[0], pair[1]];
        let weight = numbers(inputs * outputs, 0.05);
        tensors.push(tensor(&format!("layers.{i}.weight"), Dtype::F32, &[outputs, inputs], weight)?);
        tensors.push(tensor(&format!("layers.{i}.bias"), Dtype::F32, &[outputs], numbers(outputs, 0.05))?);
    }
    Ok(tensors)
}

fn measure(name: &str, parameters: &[(&str, f64)]) -> MeasureRequest {
    let value = |(name, x): &(&str, f64)| ((*name).to_owned(), Value::Number(*x));
    MeasureRequest { name: name.into(), parameters: parameters.iter().map(value).collect() }
}

/// Much longer than this takes.
fn dear() -> Vec<MeasureRequest> {
    vec![measure("loss", &[]), measure("hessian_trace", &[("draws", 4096.0)])]
}

/// Waits for an event of a run from `from` on; the place behind it.
async fn wait(run: &Run, from: u64, last: impl Fn(&Event) -> bool) -> Outcome<u64> {
    let mut events = run.follow(Some(from));
    while let Some(Sequenced { sequence, event, .. }) = events.next().await? {
        if last(&event) {
            return Ok(sequence + 1);
        }
    }
    Err("the run ended before".into())
}

fn is_reading(event: &Event) -> bool {
    matches!(event, Event::Reading(_))
}

/// A run whose snapshot is being measured.
async fn busy(client: &Client, name: &str, measures: Vec<MeasureRequest>) -> Outcome<Run> {
    let run = client.open_run(&plan(name, measures)?).await?;
    run.push(Label::step(1), parameters()?).await?;
    Ok(run)
}

/// Seconds from the first byte of some snapshots to the last reading of each, rising.
async fn times(run: &Run, steps: std::ops::Range<u64>) -> Outcome<Vec<f64>> {
    let mut found = Vec::new();
    let mut from = 0;
    for step in steps {
        let began = Instant::now();
        run.push(Label::step(step), parameters()?).await?;
        let done = |event: &Event| matches!(event, Event::Finished { snapshot, .. } if snapshot.step == step);
        from = wait(run, from, done).await?;
        found.push(began.elapsed().as_secs_f64());
    }
    found.sort_by(f64::total_cmp);
    Ok(found)
}

async fn shares(client: &Client, most: &[usize], repeat: u64) -> Outcome<()> {
    let measures = vec![measure("loss", &[]), measure("sharpness", &[("draws", 16.0)])];
    let cheap = client.open_run(&plan("cheap", measures)?).await?;
    let middle = |times: &[f64]| times[times.len() / 2];
    times(&cheap, 1..2).await?;
    let mut step = 2;
    println!("| busy runs | own, s | beside, s: median | greatest | median / fair |");
    println!("|---|---|---|---|---|");
    for dear_runs in most {
        let own = times(&cheap, step..step + repeat).await?;
        step += repeat;
        let mut others = Vec::new();
        for i in 0..*dear_runs {
            let run = busy(client, &format!("dear {i}"), dear()).await?;
            wait(&run, 0, is_reading).await?;
            others.push(run);
        }
        let beside = times(&cheap, step..step + repeat).await?;
        step += repeat;
        let fair = middle(&own) * (dear_runs + 1) as f64;
        println!(
            "| {} | {:.3} | {:.3} | {:.3} | {:.2} |",
            dear_runs + 1,
            middle(&own),
            middle(&beside),
            beside.last().unwrap_or(&f64::NAN),
            middle(&beside) / fair
        );
        for run in others {
            run.abandon().await?;
        }
    }
    Ok(())
}

/// How long after `CloseRun{abandon}` the last event of a run comes, by measure.
async fn ends(client: &Client) -> Outcome<()> {
    println!("\n| abandoned during | ended after, s |");
    println!("|---|---|");
    let needs_nothing_else = |info: &&MeasureInfo| !info.needs.init && !info.needs.previous;
    for info in clino_domain::RunValidator::catalogue(&Validator).iter().filter(needs_nothing_else) {
        let run = busy(client, info.name, vec![measure(info.name, &[])]).await?;
        wait(&run, 0, |event| matches!(event, Event::Started { .. })).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        run.abandon().await?;
        wait(&run, 0, |event| matches!(event, Event::Closed)).await?;
        println!("| {} | {:.3} |", info.name, began.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn contest() -> Outcome<()> {
    let daemon = BenchDaemon::start(&["--budget", "0s"], false)?;
    let client = Client::connect(&daemon.socket).await?;
    let dear_runs: Vec<usize> =
        argument("--dear", "1,3,7").split(',').map(str::parse).collect::<Result<_, _>>()?;
    shares(&client, &dear_runs, argument("--repeat", "5").parse()?).await?;
    ends(&client).await
}

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(contest())
}
