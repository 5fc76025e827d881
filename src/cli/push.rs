//! `clino push`: a safetensors file as a snapshot of a run, for whatever language has no client.
//!
//! Owns: nothing beside its arguments. May not touch: more of the file than one chunk at a time.

use super::connect::ConnectArguments;
use super::files::TensorFiles;
use super::out::say;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use clino_client::{Blocks, CHUNK, Label};
use clino_domain::text::{harmless, shown};
use clino_domain::{Fault, WeightKind};
use std::path::PathBuf;
use std::sync::Arc;

/// Which of a trainer's copies of the weights a file holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileKind {
    /// The weights of the forward pass
    Live,
    /// The high-precision copy of a mixed-precision optimizer
    Master,
    /// An exponential moving average
    Ema,
    /// A stochastic weight average
    Swa,
}

/// Sends a safetensors file to a run, as the parameters at one step.
#[derive(Debug, Clone, Args)]
pub struct Push {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// The run: its id as `clino open` printed it, the start of its id, its name, or latest.
    #[arg(long)]
    run: String,
    /// Optimizer step of the snapshot.
    #[arg(long)]
    step: u64,
    /// Attempt at this step, from 1. [default: the next free one]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Which copy of the weights the file holds.
    #[arg(long, value_enum, default_value = "live")]
    kind: FileKind,
    /// The file holds the parameters before training, from which distances are measured.
    #[arg(long)]
    init: bool,
    /// The safetensors file.
    file: PathBuf,
}

impl Push {
    /// Sends the file and prints on standard error what will be measured.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the file when its header is not sound, or what the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let weights = TensorFiles::model(&self.file)?;
        weights.check_parameters()?;
        let manifest = weights.manifest().clone();
        let kind = match self.kind {
            FileKind::Live => WeightKind::Live,
            FileKind::Master => WeightKind::Master,
            FileKind::Ema => WeightKind::Ema,
            FileKind::Swa => WeightKind::Swa,
        };
        let initialization = self.init;
        let label = Label { attempt: self.attempt, kind, initialization, ..Label::step(self.step) };
        let run = self.daemon.run(&self.run).await?;
        let receipt = run.push_blocks(label, manifest, blocks(weights)).await?;
        let at = super::view::place(receipt.at);
        say(&format!("step {at}: received, {} will be measured", harmless(&receipt.measures.join(" "))));
        for line in &receipt.unmeasured {
            say(&format!("{} will not be measured: {}", shown(&line.measure), harmless(&line.reason)));
        }
        receipt.warnings.iter().for_each(|warning| super::warn(warning));
        if let Some(replaced) = receipt.replaced {
            say(&format!("it took the place of step {}, which was waiting", super::view::place(replaced)));
        }
        Ok(())
    }
}

/// The bytes of a file in pieces of at most one chunk, each read when it is asked for.
fn blocks(file: TensorFiles) -> Blocks {
    let file = Arc::new(file);
    let lengths: Vec<u64> =
        file.manifest().tensors().iter().map(|tensor| tensor.byte_length().unwrap_or(0)).collect();
    let pieces = lengths.into_iter().enumerate().flat_map(|(index, length)| {
        (0..length).step_by(CHUNK).map(move |start| (index, start, (length - start).min(CHUNK as u64)))
    });
    Box::new(pieces.map(move |(index, start, length)| {
        let mut block = vec![0; length as usize];
        file.read_at(index, start, &mut block)?;
        Ok(Bytes::from(block))
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_read_in_the_order_of_its_manifest_in_pieces_of_a_chunk() {
        let long = CHUNK + 8;
        let short = 4;
        let header = format!(
            r#"{{"b":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{long}]}},"a":{{"dtype":"F32","shape":[1],"data_offsets":[{long},{}]}}}}"#,
            long / 4,
            long + short,
        );
        let data: Vec<u8> = (0..long + short).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&data).unwrap();
        let pieces: Vec<Bytes> =
            blocks(TensorFiles::open(file.path()).unwrap()).map(Result::unwrap).collect();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK, 8, 4]);
        assert_eq!(pieces.concat(), data);
    }
}
