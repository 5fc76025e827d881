//! The catalogue as data: what a measure is called, what it takes, what it needs.
//!
//! Owns: names and values of parameters. May not touch: how anything is computed.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Value of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A switch, on or off.
    Flag(bool),
    /// Counts and real numbers alike.
    Number(f64),
    /// One of several words.
    Text(String),
    /// A list of numbers, such as the radii of a profile.
    Numbers(Vec<f64>),
}

/// A measure by name with parameters; absent ones take their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureRequest {
    /// Name in the catalogue.
    pub name: String,
    /// By name of the parameter.
    pub parameters: BTreeMap<String, Value>,
}

/// What must be at hand before a measure can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Needs {
    /// Labelled examples: the measure is taken on each group and pooled.
    pub probe: bool,
    /// Scores of classes.
    pub classes: bool,
    /// A loss that is the negative logarithm of the label's probability.
    pub likelihood: bool,
    /// The scores of every unit at once.
    pub scores: bool,
    /// Losses of examples that do not depend on each other.
    pub examples: bool,
    /// Gradients of the loss.
    pub gradient: bool,
    /// The snapshot at initialization.
    pub init: bool,
    /// Not needed, but compared with where it is given: the snapshot at initialization.
    pub init_if_given: bool,
    /// The snapshot before this one.
    pub previous: bool,
    /// Not needed, but used where it is given: the snapshot before this one.
    pub previous_if_given: bool,
    /// Looks into the initialization or the previous snapshot while it measures: they are kept until then.
    pub elements: bool,
}

impl Needs {
    /// Nothing but the parameters themselves.
    pub const NONE: Self = Self {
        probe: false,
        classes: false,
        likelihood: false,
        scores: false,
        examples: false,
        gradient: false,
        init: false,
        init_if_given: false,
        previous: false,
        previous_if_given: false,
        elements: false,
    };

    /// Names of the needs.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.probe, "probe"),
            (self.gradient, "gradient"),
            (self.init, "init"),
            (self.previous, "previous"),
            (self.init_if_given, "init_if_given"),
            (self.previous_if_given, "previous_if_given"),
        ];
        all.iter().filter(|(needed, _)| *needed).map(|(_, name)| *name).collect()
    }
}

/// A line of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureInfo {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// What it computes, in the notation of the reference page.
    pub formula: &'static str,
    /// Paper and section, or reference code.
    pub source: &'static str,
    /// Names of the numbers beside the value, and what they are; the first is the value.
    pub parts: &'static [(&'static str, &'static str)],
    /// In forwards (F), backwards (B), passes (P).
    pub cost: &'static str,
    /// Whether its value stays when a layer of a ReLU network is multiplied and the next one divided.
    pub rescaling: bool,
    /// What leaves it as it is, and what does not.
    pub invariance: &'static str,
    /// What must be at hand.
    pub needs: Needs,
    /// Each with its default.
    pub parameters: Vec<ParameterInfo>,
    /// Whether it belongs to the default set.
    pub standard: bool,
}

/// A parameter of a measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterInfo {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Value that is used when none is given.
    pub default: Value,
    /// What is accepted, in words.
    pub range: String,
}
