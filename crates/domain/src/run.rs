//! What a client says when it opens a run.
//!
//! Owns: the specification of a run. May not touch: whether it makes sense to a model (that is [`super::RunValidator`]).

use super::graph::ModelSource;
use super::{MeasureRequest, Policy, Tensor};
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens to a snapshot that arrives while another one waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The newer one replaces it.
    #[default]
    Latest,
    /// It is not read from the wire until there is room.
    Every,
}

/// Arithmetic of the engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// [`Precision::F64`] for models of at most [`AUTO_F64_PARAMETERS`] parameters, [`Precision::F32`] above.
    #[default]
    Auto,
    /// Parameters, activations and gradients in f32; losses and reductions in f64.
    F32,
    /// All computation in f64.
    F64,
}

/// Largest model for which [`Precision::Auto`] is [`Precision::F64`]: there it costs less than it clears up.
pub const AUTO_F64_PARAMETERS: u64 = 1 << 20;

/// Every tensor of a probe that some model reads.
pub const COLUMNS: [&str; 5] = ["input_ids", "attention_mask", "token_type_ids", "labels", "inputs"];

/// A named set of labelled examples. The tensors are shared between runs that name the same probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeGroup {
    /// Such as `en`; unique in its run and never `pooled`.
    pub name: String,
    /// input_ids, attention_mask, optional token_type_ids, labels; or inputs and labels. What the model does not read is
    /// left out.
    pub tensors: Arc<Vec<Tensor>>,
}

impl ProbeGroup {
    /// A group of this name.
    pub fn new(name: impl Into<String>, tensors: Vec<Tensor>) -> Self {
        Self { name: name.into(), tensors: Arc::new(tensors) }
    }
}

/// Whose run it is and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunLabel {
    /// Access and quotas go by it.
    pub project: String,
    /// Runs of one experiment are compared by rules across runs; empty: of none.
    pub experiment: String,
    /// For people and filters.
    pub tags: BTreeMap<String, String>,
}

/// The project of runs that name none.
pub const DEFAULT_PROJECT: &str = "default";

/// What no project may be called: in a tokens file it means something of its own.
pub const RESERVED_PROJECTS: [(&str, &str); 1] = [("*", "every project")];

/// A run as its client asked for it, before anything is checked against the catalogue or the model.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// Name of the run, for people; it need not be unique.
    pub name: String,
    /// Text of a config.json; empty beside a model.
    pub config_json: String,
    /// The model as its trainer describes it, in the place of a config.json.
    pub model: Option<Arc<ModelSource>>,
    /// Probe groups; at least one.
    pub groups: Vec<ProbeGroup>,
    /// Empty: the default set.
    pub measures: Vec<MeasureRequest>,
    /// Seed of all noise.
    pub seed: u64,
    /// Policy for snapshots that arrive faster than they are measured.
    pub delivery: Delivery,
    /// Precision of the measures.
    pub precision: Precision,
    /// Seconds that a snapshot may take; what does not fit is skipped. `None`: no limit.
    pub budget: Option<f64>,
    /// Whether it is measured on GPUs or not at all.
    pub gpu_only: bool,
    /// Project, experiment and tags of the run.
    pub label: RunLabel,
    /// When it should stop.
    pub policy: Option<Policy>,
}

impl RunSpec {
    /// The default set of measures on some groups, with seed 0 and without a budget, a label or a policy.
    pub fn new(config_json: impl Into<String>, groups: Vec<ProbeGroup>) -> Self {
        Self {
            name: String::new(),
            config_json: config_json.into(),
            model: None,
            groups,
            measures: Vec::new(),
            seed: 0,
            delivery: Delivery::default(),
            precision: Precision::default(),
            budget: None,
            gpu_only: false,
            label: RunLabel::default(),
            policy: None,
        }
    }
}
