//! Fine-tunes the nano BERT with candle and pushes its snapshots to a daemon that runs.
//!
//! `clino serve & cargo run --release -p clino-example-candle -- --addr http://127.0.0.1:7411`
//!
//! Nothing but `plan`, `host_copy` and the calls of the sender knows of clino: the rest is any training with candle.

use candle_core::Var;
use clap::Parser;
use clino_client::background::Sender;
use clino_client::{Label, Plan};
use clino_domain::{Dtype, Tensor};
use clino_example_candle::network::Network;
use clino_example_candle::text::{Text, TextBatch};
use clino_example_candle::train::Training;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// Rows of a step, and of the probe.
const BATCH: usize = 32;
const PROBE: usize = 64;

/// Fine-tunes on English, beside a daemon.
#[derive(Debug, Parser)]
struct Options {
    /// The daemon.
    #[arg(long)]
    addr: String,
    /// Passes over the 966 English texts.
    #[arg(long, default_value_t = 2)]
    epochs: u64,
    /// Steps between snapshots.
    #[arg(long, default_value_t = 20)]
    interval: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    let text = Text::open(&data.join("nano"))?;
    let dev = text.rows(&data.join("emoji8/dev.tsv"))?;
    let train = text.rows(&data.join("emoji8/train.tsv"))?;
    let config = std::fs::read_to_string(data.join("nano/config.json"))?;

    let plan = Plan::new("candle", config).group("en", TextBatch::of(&dev[..PROBE]).tensors()?);
    let sender = Sender::start(&options.addr, plan.measure("loss", []).measure("sharpness", []));
    let mut training = Training::new(Network::open(&data.join("nano/init.safetensors"), 2, 2)?)?;
    sender.snapshot(Label::initialization(), host_copy(training.network())?);
    for _ in 0..options.epochs {
        for rows in train.chunks(BATCH) {
            let loss = training.step(&TextBatch::of(rows))?;
            if training.steps().is_multiple_of(options.interval) {
                println!("step {}: loss {loss:.4}", training.steps());
                sender.snapshot(Label::step(training.steps()), host_copy(training.network())?);
            }
        }
    }
    println!("{:?}", sender.finish(Duration::from_secs(30)));
    Ok(())
}

/// The parameters as bytes that no longer change when the training goes on.
fn host_copy(network: &Network) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let copy = |(name, variable): (&String, &Var)| {
        let shape: Vec<u64> = variable.dims().iter().map(|axis| *axis as u64).collect();
        let values = variable.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Tensor::named(name, Dtype::F32, &shape, bytes)?)
    };
    network.parameters().iter().map(copy).collect()
}
