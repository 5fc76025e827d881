//! Computes measures of a snapshot: synchronous and pure.
//!
//! ```text
//! examine: a run's specification → Admitted (network, batches, measures with defaults)
//! session: a snapshot of an admitted run → readings, one at a time
//! measure sees landscape ← model (network + device) around one snapshot; or a quadratic with known answers
//! ```
//!
//! Owns: models, noise, arithmetic, the measures. May not touch: tokio, tonic, clocks, the environment, logging.

mod bench;
mod device;
mod examine;
mod gauge;
mod landscape;
mod measure;
mod model;
mod network;
mod noise;
mod norms;
mod session;
mod stop;
mod walker;

#[cfg(test)]
mod quadratic;
#[cfg(test)]
mod tests;

pub use bench::{Bench, Implementation, Work};
pub use examine::Examination;
pub use landscape::Hints;
pub use session::{Arrived, Engine, Session, Task};
pub use stop::Stop;
