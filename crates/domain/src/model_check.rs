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
    /// Cross-entropy of each of them, in nats.
    pub losses: Vec<f64>,
    /// The least precise format in which the model computed.
    pub dtype: Dtype,
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
}

impl ModelChecked {
    /// Why there is no reading of a model that is not what its configuration says.
    pub fn reason(&self) -> String {
        let Self { group, rows, trainer_loss, configured_loss, difference, tolerance, .. } = self;
        format!(
            "the trainer's model differs from config_json: on {rows} rows of {} the loss of one row differs by \
            {difference:.1e}, of which rounding explains {tolerance:.1e}; its mean loss is {trainer_loss:.6}, by the \
            configuration and the same parameters {configured_loss:.6}",
            super::text::quoted(group)
        )
    }

    /// What came of it, and what to do where the two differ.
    pub fn sentence(&self) -> String {
        let Self { group, rows, trainer_loss, .. } = self;
        if self.agrees {
            let group = super::text::quoted(group);
            return format!(
                "the trainer's model agrees with config_json: loss {trainer_loss:.6} on {rows} rows of {group}"
            );
        }
        let next = "compare hidden_act, layer_norm_eps, num_attention_heads, pooling and the head of the model with config_json, and open \
                   a new run; a model of another kind cannot be measured. To measure the configuration as it is, \
                   open the run without the check (check=False or CLINO_CHECK=0 in Python)";
        format!("{}; {next}", self.reason())
    }

    /// Why its run takes no more snapshots.
    pub fn refusal(&self) -> String {
        let Self { group, rows, trainer_loss, configured_loss, difference, tolerance, .. } = self;
        format!(
            "found a model that differs from config_json: fix config_json and open a new run, or open one with \
            CLINO_CHECK=0 to measure config_json as it is; mean loss {trainer_loss:.6} by the trainer, \
            {configured_loss:.6} by config_json on {rows} rows of {} (one row differs by {difference:.1e}, rounding \
            explains {tolerance:.1e})",
            super::text::quoted(group)
        )
    }
}
