//! What a measure takes of memory beside what all measures of a snapshot share.
//!
//! Owns: how that is said. May not touch: sums (see `crate::footprint`), what a measure computes.

use super::MeasureParameters;
use super::cost::{Common, Cost};
use super::shared::draws;

/// How points move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walks {
    /// How many move side by side at most, as far as there are workers.
    pub points: u32,
    /// Whether one moves alone, with the whole machine.
    pub alone: bool,
    /// Whether gradients are taken on the way.
    pub gradients: bool,
    /// Vectors that each holds at once, beside its perturbed copy: gradient and direction, and what it keeps.
    pub vectors: u32,
    /// How many of these stay with the worker: those of a gradient and a direction.
    pub left: u32,
    /// Vectors besides, for a moment.
    pub brief: u32,
    /// Whether the one with the whole machine makes two directions first, and looks nowhere.
    pub directions: bool,
}

impl Walks {
    /// To places made of noise, to look there.
    pub const LOOK: Self =
        Self { points: 1, alone: true, gradients: false, vectors: 0, left: 0, brief: 0, directions: false };
    /// The same, for the gradient there.
    pub const SLOPE: Self = Self { gradients: true, vectors: 1, left: 1, ..Self::LOOK };
    /// One step along a gradient, which becomes the direction.
    pub const STEP: Self = Self::SLOPE;
    /// Several: a gradient beside the direction.
    pub const STEPS: Self = Self { vectors: 2, left: 2, ..Self::SLOPE };
    /// To places on a plane.
    pub const PLANE: Self = Self { alone: false, gradients: false, directions: true, ..Self::STEPS };

    /// The same with a number of vectors kept at once, of which the room of a gradient stays.
    pub const fn keeping(vectors: u32) -> Self {
        Self { vectors, ..Self::SLOPE }
    }

    /// One for each of so many draws.
    pub fn draws(self, draws: u32) -> Self {
        Self { points: draws, alone: draws == 1, ..self }
    }

    /// One for each of the draws that come together.
    pub fn blocks(self, p: &MeasureParameters) -> Self {
        let (points, alone) = draws::together(p);
        Self { points, alone, ..self }
    }
}

/// Gradients of parts of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Most examples of a part.
    pub examples: usize,
    /// Whether each is multiplied with that of all examples.
    pub with_whole: bool,
}

/// What a measure takes beside scores, the gradient at w0 and what else is in its [`Cost`] as shared.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeasureMemory {
    /// How its points move, if it has any.
    pub walks: Option<Walks>,
    /// Of which parts of the examples it takes gradients.
    pub parts: Option<Parts>,
    /// Whether it squares all parameters, for the path norm.
    pub squared: bool,
    /// Bytes of lists over examples, classes or points.
    pub lists: f64,
}

impl From<Walks> for MeasureMemory {
    fn from(walks: Walks) -> Self {
        Self { walks: Some(walks), ..Self::default() }
    }
}

/// Everything that a measure takes of memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// As users write it.
    pub name: &'static str,
    /// What it takes for itself.
    pub own: MeasureMemory,
    /// Whether it reads the scores at w0.
    pub outputs: bool,
    /// Whether it has the gradient at w0 kept.
    pub slope: bool,
    /// Finished ascents that it remembers.
    pub ascents: usize,
    /// Draws whose norms it remembers by tensor.
    pub noises: usize,
    /// Draws whose norms it remembers by row.
    pub filters: usize,
    /// Of how many kinds of matrices it has the singular values.
    pub spectra: usize,
}

impl Demand {
    /// Of a measure with this cost.
    pub fn new(name: &'static str, cost: &Cost, own: MeasureMemory) -> Self {
        let count = |is: fn(&Common) -> bool| cost.shared.iter().filter(|(common, _)| is(common)).count();
        Self {
            name,
            own,
            outputs: count(|common| matches!(common, Common::Outputs)) > 0,
            slope: count(|common| matches!(common, Common::GradientSummary(_))) > 0,
            ascents: count(|common| matches!(common, Common::Ascent(_))),
            noises: count(|common| matches!(common, Common::Noise(..))),
            filters: count(|common| matches!(common, Common::Filter(_))),
            spectra: count(|common| matches!(common, Common::Spectra(_))),
        }
    }
}
