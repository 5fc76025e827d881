//! Whether the trainer's model computes what its configuration says: what a client tells of it, and what came of that.
//!
//! Owns: these two, and how a difference is put into words. May not touch: how losses are computed and compared.

use super::{Dtype, SnapshotRef};
use serde::{Deserialize, Serialize};

/// Losses of a few rows of a probe, as the trainer's own model computes them.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCheck {
    /// Name of a probe group.
    pub group: String,
    /// Which of its examples, rising.
    pub rows: Vec<u32>,
    /// Mean loss of each of them.
    pub losses: Vec<f64>,
    /// The least precise format in which the model computed.
    pub dtype: Dtype,
    /// l2 norm of the gradient of the mean loss of these rows by tensor of the snapshot; empty where none was computed.
    pub gradient_norms: Vec<(String, f64)>,
}

/// A tensor along which the two gradients differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorMismatch {
    /// Its name in the snapshot.
    pub tensor: String,
    /// l2 norm of the gradient along it, as the trainer's model computed it.
    pub trainer_norm: f64,
    /// The same by the run's model and the same parameters.
    pub own_norm: f64,
}

/// What came of the comparison on one snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelChecked {
    /// The snapshot that was compared.
    pub snapshot: SnapshotRef,
    /// Name of the probe group.
    pub group: String,
    /// How many of its examples were compared.
    pub rows: u32,
    /// Mean cross-entropy of these, as the trainer's model computed it.
    pub trainer_loss: f64,
    /// The same by the configuration and the same parameters.
    pub configured_loss: f64,
    /// Between the losses of the row that differs most for what rounding can make there.
    pub difference: f64,
    /// What rounding can make there.
    pub tolerance: f64,
    /// Whether they are the same but for rounding.
    pub agrees: bool,
    /// Tensors whose gradients differ by more than rounding can make, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorMismatch>,
    /// Whether the run's model is a graph, and not a configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub graph: bool,
}

impl ModelChecked {
    /// The field of the request that the run's model came in.
    fn source(&self) -> &'static str {
        if self.graph { "model" } else { "config_json" }
    }

    fn configuration(&self) -> &'static str {
        if self.graph { "graph" } else { "configuration" }
    }

    /// The tensors whose gradients differ, as a clause; empty where none does.
    fn of_tensors(&self) -> String {
        let one = |wrong: &TensorMismatch| {
            let TensorMismatch { tensor, trainer_norm, own_norm } = wrong;
            format!("{} {trainer_norm:.4e} by the trainer, {own_norm:.4e} here", super::text::quoted(tensor))
        };
        let all: Vec<String> = self.tensors.iter().map(one).collect();
        if all.is_empty() { String::new() } else { format!("; norms of gradients: {}", all.join(", ")) }
    }

    /// Why there is no reading of a model that is not what its configuration says.
    pub fn reason(&self) -> String {
        let Self { group, rows, trainer_loss, configured_loss, difference, tolerance, .. } = self;
        format!(
            "the trainer's model differs from {}: on {rows} rows of {} the loss of one row differs by \
            {difference:.1e}, of which rounding explains {tolerance:.1e}; its mean loss is {trainer_loss:.6}, by the \
            {} and the same parameters {configured_loss:.6}{}",
            self.source(),
            super::text::quoted(group),
            self.configuration(),
            self.of_tensors()
        )
    }

    /// What came of it, and what to do where the two differ.
    pub fn sentence(&self) -> String {
        let Self { group, rows, trainer_loss, .. } = self;
        if self.agrees {
            let source = self.source();
            let group = super::text::quoted(group);
            return format!(
                "the trainer's model agrees with {source}: loss {trainer_loss:.6} on {rows} rows of {group}"
            );
        }
        format!("{}; {}", self.reason(), self.next())
    }

    /// What to do where the two differ.
    fn next(&self) -> &'static str {
        match self.graph {
            false => {
                "compare hidden_act, layer_norm_eps, num_attention_heads, pooling and the head of the model with config_json, and open \
                a new run; a model of another kind cannot be measured. To measure the configuration as it is, \
                open the run without the check (check=False or CLINO_CHECK=0 in Python)"
            }
            true => {
                "export the model as it is trained now, with the loss that the trainer has (labels shifted once, the same \
                ignore_index, evaluation mode), and open a new run. To measure the graph as it is, open the run without the \
                check (check=False or CLINO_CHECK=0 in Python)"
            }
        }
    }

    /// Why its run takes no more snapshots.
    pub fn refusal(&self) -> String {
        let Self { group, rows, trainer_loss, configured_loss, difference, tolerance, .. } = self;
        let source = self.source();
        format!(
            "found a model that differs from {source}: fix {source} and open a new run, or open one with \
            CLINO_CHECK=0 to measure {source} as it is; mean loss {trainer_loss:.6} by the trainer, \
            {configured_loss:.6} by {source} on {rows} rows of {} (one row differs by {difference:.1e}, rounding \
            explains {tolerance:.1e}){}",
            super::text::quoted(group),
            self.of_tensors()
        )
    }
}
