//! Evaluates a model given as a graph of operators, and differentiates it by reverse rules of its own.
//!
//! ```text
//! Graph → GraphModel → shapes of a batch → ShapePlan → Prepared batch → Evaluator: forward, backward
//! ```
//!
//! Owns: operators, shapes, the order in which values live and die, arithmetic. May not touch: measures, losses, snapshots,
//! messages of the protocol.

mod cell;
mod classes;
mod evaluator;
mod faults;
mod functions;
pub mod gemm;
mod lane;
mod lives;
mod memory;
mod model;
mod normal;
mod operation;
mod operators;
mod parallel;
mod plan;
mod prepared;
mod product;
pub mod real;
mod shape;
mod sums;
mod unfold;
mod value;
mod walk;
mod wrong;

pub use evaluator::{Evaluator, EvaluatorInput, Output, Parameters};
pub use model::{GraphModel, TensorPlace, TensorSlot};
pub use plan::{Limits, ShapePlan};
pub use prepared::{BatchTensors, Prepared};
pub use real::Real;
pub use value::{Data, View};
