//! What is lost on the outputs of a graph.
//!
//! Owns: the kinds of losses and their numbers. May not touch: how they are computed.

/// The mean loss over units.
#[derive(Debug, Clone, PartialEq)]
pub struct LossSpec {
    /// What is lost on a unit.
    pub kind: LossKind,
    /// The output that the loss reads.
    pub output: String,
    /// The tensor of the probe that holds the labels.
    pub labels: String,
    /// Scalars that are added.
    pub auxiliary: Vec<AuxiliaryLoss>,
    /// Whether the loss of an example depends on others of its batch.
    pub batch_coupled: bool,
}

/// The kinds of losses.
#[derive(Debug, Clone, PartialEq)]
pub enum LossKind {
    /// -log softmax(scores), of the label.
    CrossEntropy(CrossEntropy),
    /// (output - label)².
    SquaredError,
    /// Quadratic within delta, linear beyond.
    Huber {
        /// Where it becomes linear: greater than 0.
        delta: f64,
        /// Whether it is divided by delta.
        smooth: bool,
    },
    /// Of scores before the sigmoid.
    BinaryCrossEntropy {
        /// Weights of the positive label: none, one, or one a class.
        positive_weights: Vec<f64>,
    },
    /// Made by the graph.
    Given {
        /// The output with the weights of units.
        weights: Option<String>,
    },
}

/// Of classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropy {
    /// Labels that do not count.
    pub ignore_index: Option<i64>,
    /// Position t is scored against label t + shift.
    pub shift: u32,
    /// Share of the label's weight that is spread over all classes, 0 to 1.
    pub smoothing: f64,
    /// Of each class; none: 1 each.
    pub class_weights: Vec<f64>,
    /// Whether classes are axis 1.
    pub classes_first: bool,
}

/// A scalar that is added to the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct AuxiliaryLoss {
    /// The output of the graph.
    pub output: String,
    /// What it is multiplied by.
    pub weight: f64,
}
