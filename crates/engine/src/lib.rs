//! Computes measures of a snapshot: synchronous and pure.
//!
//! ```text
//! validate: a run's specification → ValidatedRun (network, batches, measures with defaults)
//! session: a snapshot of a validated run → readings, one at a time
//! measure: sees a scope: a landscape ← model (network + device) around one snapshot, or a quadratic with known answers
//! ```
//!
//! A snapshot is measured in ten lines:
//!
//! ```
//! use clino_domain::{Dtype, ProbeGroup, RunSpec, Snapshot, SnapshotHeader, Tensor};
//! # fn main() -> Result<(), clino_domain::Fault> {
//! let floats = |name: &str, shape: &[u64]| {
//!     let count = shape.iter().product::<u64>() as usize;
//!     let values = (0..count).flat_map(|i| ((i % 7) as f32 / 8.0 - 0.375).to_le_bytes());
//!     Tensor::named(name, Dtype::F32, shape, values.collect::<Vec<u8>>())
//! };
//! let weights = vec![floats("layers.0.weight", &[3, 4])?, floats("layers.0.bias", &[3])?];
//! let labels = Tensor::named("labels", Dtype::U8, &[2], vec![0, 2])?;
//! let probe = ProbeGroup::new("val", vec![floats("inputs", &[2, 4])?, labels]);
//! let spec = RunSpec::new(r#"{"model_type":"mlp","sizes":[4,3]}"#, vec![probe]);
//! let snapshot = Snapshot::of(SnapshotHeader::live(0), weights)?;
//! let readings = clino_engine::readings(&spec, snapshot, Default::default(), 2)?;
//! let loss = readings.iter().find(|reading| reading.measure == "loss");
//! assert!(loss.and_then(|reading| reading.value).is_some_and(|nats| nats > 0.0));
//! # Ok(())
//! # }
//! ```
//!
//! Owns: models, noise, arithmetic, the measures. May not touch: tokio, tonic, clocks, the environment, logging.

mod backend;
mod bench;
mod criterion;
mod device;
mod engine;
mod footprint;
mod gradients;
mod landscape;
mod measure;
mod model;
mod model_check;
mod network;
mod outputs;
mod perturbation;
mod placement;
mod plan;
mod probes;
mod readings;
mod remarks;
mod resident;
mod scope;
mod scores;
mod session;
mod spectrum;
mod streaming;
mod task;
mod tridiagonal;
mod validate;
mod weights;
mod work_counter;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod hessian_tests;
#[cfg(test)]
mod quadratic;
#[cfg(test)]
mod tests;

pub use bench::{Bench, Done, Implementation};
pub use device::check::{Check, Speed};
pub use engine::{Arrived, Engine};
pub use gradients::Gradients;
pub use probes::PreparedProbes;
pub use readings::readings;
pub use scope::Hints;
pub use session::Session;
pub use task::{Limits, Task};
pub use validate::{GpuDevices, GpuValidator, Validator};
