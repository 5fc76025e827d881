//! A model, a snapshot and a probe in files: what the commands without a daemon work on.
//!
//! Owns: their arguments and how they are read. May not touch: what is done with them.

use super::arguments;
use super::files::TensorFiles;
use super::kinds;
use clap::Args;
use clino_domain::{Devices, Fault, MeasureRequest, Precision, RunSpec, Snapshot, SnapshotHeader};
use clino_engine::Engine;
use std::path::PathBuf;
use std::sync::Arc;

/// Of a snapshot that belongs to no run.
pub const HEADER: SnapshotHeader = SnapshotHeader::live(0);

/// Arguments of commands without a daemon.
#[derive(Debug, Args)]
pub struct ModelArguments {
    /// config.json of the model, or its folder: bert, roberta, xlm-roberta sequence classifier, or an mlp as
    /// {"model_type":"mlp","sizes":[8,32,3],"hidden_act":"relu"}
    #[arg(long, value_name = "FILE", required_unless_present = "graph")]
    config: Option<PathBuf>,
    /// The model as a graph, as clino.graph saves it, instead of a config.json: any torch module that can be exported
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    graph: Option<PathBuf>,
    /// Parameters to measure: a safetensors file, an index of shards, or a model's folder. Tensor names are those of Hugging
    /// Face's state_dict; for an mlp layers.0.weight, layers.0.bias, layers.1.weight … or those of an nn.Sequential
    #[arg(long, value_name = "FILE")]
    pub snapshot: PathBuf,
    /// Labelled examples: a group name and a safetensors file [default group: probe]
    #[arg(long, value_name = "[GROUP=]FILE", required = true, num_args = 1.., value_parser = arguments::probe)]
    probe: Vec<(String, PathBuf)>,
    /// Threads [default: all processors]; the numbers do not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Where to compute: cpu, cuda:0, several GPUs as cuda:0,cuda:1, or auto: the first GPU if it can be used, else the
    /// CPU
    #[arg(long, default_value_t = Devices::Cpu)]
    pub device: Devices,
}

impl ModelArguments {
    /// What a run over these files would be.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn specification(
        &self,
        measures: Vec<MeasureRequest>,
        seed: u64,
        precision: Precision,
    ) -> Result<RunSpec, Fault> {
        let config_json = self.config.as_deref().map(kinds::config).transpose()?.unwrap_or_default();
        let model = self.graph.as_deref().map(kinds::graph).transpose()?.map(Arc::new);
        let group = |(name, path): &(String, PathBuf)| match &model {
            None => TensorFiles::open(path)?.probe(name),
            Some(_) => TensorFiles::open(path)?.inputs(name),
        };
        let groups = self.probe.iter().map(group).collect::<Result<_, _>>()?;
        Ok(RunSpec { model, measures, seed, precision, ..RunSpec::new(config_json, groups) })
    }

    /// The parameters to measure, as a snapshot.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, Fault> {
        TensorFiles::model(&self.snapshot)?.snapshot(HEADER)
    }

    /// An engine on the chosen devices; warns if it falls back to the CPU because no GPU can be used.
    ///
    /// # Errors
    /// If a GPU that was named cannot be used.
    pub fn engine(&self) -> Result<Engine, Fault> {
        super::engine_at(self.threads(), &self.device)
    }

    /// Number of threads to use.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(super::all_processors)
    }
}
