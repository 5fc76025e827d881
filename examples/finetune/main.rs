//! Fine-tunes a small multilingual BERT on English and watches, per language, how well it generalizes while it trains.
//!
//! `cargo run --release --example finetune` starts a clino daemon, trains beside it, pushes a snapshot every few steps,
//! and prints loss, accuracy, margin, distance and sharpness with error bars as they come back.

mod daemon;
mod report;
mod text;
mod train;
mod unigram;
mod watch;

use clap::Parser;
use clino_client::background::{Sender, Summary};
use clino_client::{Label, Plan};
use clino_domain::{Delivery, Tensor, Value};
use daemon::ChildDaemon;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use text::{LabelledText, Text, TextBatch};
use train::Training;

/// Languages that are probed beside English; the model is never trained on any of them.
const LANGUAGES: [&str; 8] = ["de", "es", "fr", "ru", "ar", "hi", "zh", "sw"];
/// Examples of a probe group.
const PROBE: usize = 64;
/// How long the end of the program waits for what is still to be sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fine-tunes on English, measures in nine languages.
#[derive(Debug, Parser)]
struct Options {
    /// A daemon that runs already; otherwise one is started.
    #[arg(long)]
    addr: Option<String>,
    /// Passes over the 966 English texts.
    #[arg(long, default_value_t = 14)]
    epochs: u64,
    /// Steps between snapshots.
    #[arg(long, default_value_t = 20)]
    interval: u64,
    /// Every snapshot is measured and the training waits for it; otherwise the newest one is.
    #[arg(long)]
    every: bool,
    /// Of the shuffling and of all noise of the measures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == daemon::AS_DAEMON).is_some() {
        return clino::cli::main(std::iter::once("clino".into()).chain(arguments));
    }
    match example(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("finetune: {error}");
            ExitCode::FAILURE
        }
    }
}

fn example(options: &Options) -> Result<(), Box<dyn Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let text = Text::open(&data.join("nano"))?;
    let rows = text.rows(&data.join("emoji8/train.tsv"))?;
    let daemon = if options.addr.is_none() { Some(ChildDaemon::start()?) } else { None };
    let address =
        daemon.as_ref().map_or_else(|| options.addr.clone().unwrap_or_default(), |d| d.address().into());
    println!("{} English texts; daemon at {address}{}", rows.len(), {
        daemon.as_ref().map(|daemon| format!(", process {}", daemon.id())).unwrap_or_default()
    });

    let sender = Sender::start(&address, plan(options, &text, &data)?);
    let watcher = sender.opened(Duration::from_secs(10)).map(|run| watch::start(&address, run));
    let config = std::fs::read_to_string(data.join("nano/config.json"))?;
    let training = Training::new(&config, &data.join("nano/init.safetensors"))?;
    let begun = Instant::now();
    let held = train(options, training, &rows, &sender)?;
    println!("trained for {:.1} s; waiting for what is still to be measured", begun.elapsed().as_secs_f64());

    let sent = sender.finish(PATIENCE);
    let seen = watcher.map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
    conclude(&seen, &sent, &held);
    Ok(())
}

/// What the daemon is told: the model, the probes, the measures.
fn plan(options: &Options, text: &Text, data: &Path) -> Result<Plan, Box<dyn Error>> {
    let config = std::fs::read_to_string(data.join("nano/config.json"))?;
    let delivery = if options.every { Delivery::Every } else { Delivery::Latest };
    let mut plan = Plan::new("finetune nano on emoji8", config).seed(options.seed).delivery(delivery);
    let english = text.rows(&data.join("emoji8/dev.tsv"))?;
    plan = plan.group("en", probe(&english.iter().collect::<Vec<_>>())?);
    let test = text.rows(&data.join("emoji8/test.tsv"))?;
    for language in LANGUAGES {
        let rows: Vec<&LabelledText> = test.iter().filter(|row| row.language == language).collect();
        plan = plan.group(language, probe(&rows)?);
    }
    for measure in ["loss", "accuracy", "margin", "param_norm", "param_variance", "distance", "update"] {
        plan = plan.measure(measure, []);
    }
    Ok(plan.measure("sharpness", [("draws", Value::Number(8.0))]))
}

/// Rows spread evenly over a file, as the tensors of a probe group.
fn probe(rows: &[&LabelledText]) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let stride = (rows.len() / PROBE).max(1);
    TextBatch::of(rows.iter().copied().step_by(stride).take(PROBE)).tensors()
}

/// How long clino held the trainer.
#[derive(Debug, Default)]
struct HeldTime {
    snapshots: u32,
    total: Duration,
    longest: Duration,
}

fn train(
    options: &Options,
    mut training: Training,
    rows: &[LabelledText],
    sender: &Sender,
) -> Result<HeldTime, Box<dyn Error>> {
    let mut held = HeldTime::default();
    let mut snapshot = |label: Label, training: &Training| -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        sender.snapshot(label, training.host_copy()?);
        held.snapshots += 1;
        held.total += start.elapsed();
        held.longest = held.longest.max(start.elapsed());
        Ok(())
    };
    snapshot(Label::initialization(), &training)?;
    for epoch in 0..options.epochs {
        for batch in train::epoch(rows, options.seed + epoch) {
            training.step(&batch)?;
            if training.steps().is_multiple_of(options.interval) {
                snapshot(Label::step(training.steps()), &training)?;
            }
        }
    }
    Ok(held)
}

fn conclude(seen: &watch::RunSeen, sent: &Summary, held: &HeldTime) {
    if let [first, .., last] = &seen.sheets[..] {
        println!("\nfrom step {} to step {}:\n{}", first.at.step, last.at.step, report::summary(first, last));
    }
    let total = 1e3 * held.total.as_secs_f64();
    println!(
        "{} snapshots, {} sent, {} measured, {} skipped for a newer one; clino held the trainer for {total:.1} ms in all, \
         {:.1} ms at most",
        held.snapshots,
        sent.sent,
        seen.sheets.len(),
        sent.replaced + seen.skipped,
        1e3 * held.longest.as_secs_f64(),
    );
}
