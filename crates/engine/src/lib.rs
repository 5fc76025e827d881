//! Computes measures of a snapshot: synchronous and pure.
//!
//! ```text
//! examine: a run's specification → Admitted (network, batches, measures with defaults)
//! session: a snapshot of an admitted run → readings, one at a time
//! measure: sees a scope: a landscape ← model (network + device) around one snapshot, or a quadratic with known answers
//! ```
//!
//! Owns: models, noise, arithmetic, the measures. May not touch: tokio, tonic, clocks, the environment, logging.

mod backend;
mod bench;
mod device;
mod engine;
mod examine;
mod gauge;
mod gradients;
mod landscape;
mod measure;
mod meter;
mod model;
mod model_check;
mod network;
mod outputs;
mod placement;
mod plan;
mod remarks;
mod resident;
mod scope;
mod session;
mod spectrum;
mod stop;
mod task;
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
pub use device::check::{Check, Speed};
pub use engine::{Arrived, Engine};
pub use examine::{Bounded, Device, Examination};
pub use gradients::Gradients;
pub use scope::Hints;
pub use session::Session;
pub use stop::Stop;
pub use task::{Limits, Task};
