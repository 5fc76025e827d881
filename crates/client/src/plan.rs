//! What a run is to be, built up piece by piece.
//!
//! Owns: defaults of a run. May not touch: whether it makes sense (the daemon says so).

use clino_domain::run::DEFAULT_PROJECT;
use clino_domain::{
    Delivery, MeasureRequest, Policy, Precision, ProbeGroup, RunLabel, RunSpec, Tensor, Value,
};
use std::sync::Arc;
use uuid::Uuid;

/// A run before it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Opening twice with the same key gives the same run.
    pub key: String,
    /// Everything that defines the run, apart from its key.
    pub spec: RunSpec,
}

impl Plan {
    /// A run of the model that `config_json` describes: no groups yet, the default measures, seed 0, only the latest
    /// snapshot measured, precision by the size of the model, a fresh key.
    pub fn new(name: impl Into<String>, config_json: impl Into<String>) -> Self {
        let spec = RunSpec {
            name: name.into(),
            config_json: config_json.into(),
            model: None,
            groups: Vec::new(),
            measures: Vec::new(),
            seed: 0,
            delivery: Delivery::Latest,
            precision: Precision::Auto,
            budget: None,
            gpu_only: false,
            label: RunLabel { project: DEFAULT_PROJECT.into(), ..RunLabel::default() },
            policy: None,
        };
        Self { key: Uuid::now_v7().to_string(), spec }
    }

    /// Adds a probe group: for text `input_ids`, `attention_mask`, optional `token_type_ids` and `labels`, for an mlp
    /// `inputs` and `labels`.
    pub fn group(mut self, name: impl Into<String>, tensors: Vec<Tensor>) -> Self {
        self.spec.groups.push(ProbeGroup { name: name.into(), tensors: Arc::new(tensors) });
        self
    }

    /// Adds a measure; parameters that are not named take their defaults.
    pub fn measure<const N: usize>(mut self, name: &str, parameters: [(&str, Value); N]) -> Self {
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).into();
        self.spec.measures.push(MeasureRequest { name: name.to_owned(), parameters });
        self
    }

    /// The seed of all noise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.spec.seed = seed;
        self
    }

    /// What happens to snapshots that arrive faster than they are measured.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.spec.delivery = delivery;
        self
    }

    /// Seconds that a snapshot may take; what does not fit is skipped and reported so.
    pub fn budget(mut self, seconds: f64) -> Self {
        self.spec.budget = Some(seconds);
        self
    }

    /// Measured on GPUs or not at all: never on the CPU in their place.
    pub fn gpu_only(mut self, gpu_only: bool) -> Self {
        self.spec.gpu_only = gpu_only;
        self
    }

    /// Whose run it is, and what it belongs to.
    pub fn label(mut self, label: RunLabel) -> Self {
        self.spec.label = label;
        self
    }

    /// When it should stop.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.spec.policy = Some(policy);
        self
    }

    /// Sets the precision of the measures.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.spec.precision = precision;
        self
    }

    /// A key of one's own, so that a trainer that starts again finds its run.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }
}
