//! Computes measures of a snapshot: synchronous and pure.
//!
//! ```text
//! examine: a run's specification → Admitted (network, batches, measures with defaults)
//! session: a snapshot of an admitted run → readings, one at a time
//! measure: sees a scope: a landscape ← model (network + device) around one snapshot, or a quadratic with known answers
//! ```
//!
//! Owns: models, noise, arithmetic, the measures. May not touch: tokio, tonic, clocks, the environment, logging.

mod ascent;
mod backend;
mod bench;
mod carrying;
mod check;
mod device;
mod examine;
mod footprint;
mod gauge;
mod holder;
mod landscape;
mod measure;
mod meter;
mod metric;
mod model;
mod model_check;
mod network;
mod noise;
mod norms;
mod outputs;
mod plan;
mod remarks;
mod scope;
mod session;
mod slot;
mod spectrum;
mod stop;
mod walker;
mod weights;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod hessian_tests;
#[cfg(test)]
mod quadratic;
#[cfg(test)]
mod tests;

pub use bench::{Bench, Done, Implementation};
pub use check::{Check, Speed};
pub use examine::{Bounded, Device, Examination};
pub use scope::Hints;
pub use session::{Arrived, Engine, Limits, Session, Task};
pub use stop::Stop;
