//! What measures will do before they do it, and what they share.
//!
//! Owns: how shared work is counted once. May not touch: what anything costs (each measure knows that of its own), time.

use crate::device::noise::Purpose;
use crate::landscape::Matrices;
use crate::scope::AscentKey;
use clino_domain::Work;
use std::collections::HashSet;

/// What is known of a run before it begins.
#[derive(Debug, Clone, Default)]
pub struct RunSize {
    /// Units of the pooled group: its examples, or tokens with a label.
    pub examples: usize,
    /// Its examples that have a unit.
    pub sequences: usize,
    /// Units of the one that has most.
    pub longest: usize,
    /// Numbers that the model puts out for a unit.
    pub classes: usize,
    /// Floating-point operations of the singular values of all matrices.
    pub spectra: f64,
    /// Floating-point operations of a forward of the pooled group.
    pub forward: f64,
    /// Number of parameters of the model.
    pub parameters: usize,
    /// Bytes of a vector over all of them.
    pub vector_bytes: usize,
    /// Whether an initialization is expected: a measure of the run asks for it.
    pub init: bool,
    /// Whether the network has a path norm.
    pub path_norm: bool,
}

/// Something that is made once for all measures of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Common {
    /// The scores at w0.
    Outputs,
    /// The gradient at w0, of this group or another.
    GradientSummary(Option<String>),
    /// Norms of a draw of noise.
    Noise(u32, Purpose),
    /// Row norms of a draw for directions.
    Filter(u32),
    /// The result of a finished ascent.
    Ascent(AscentKey),
    /// A gradient for each example under its own label.
    Examples,
    /// The singular values of all matrices of this kind.
    Spectra(Matrices),
}

/// What a measure will do on one group.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Work that no other measure shares.
    pub own: Work,
    /// Unless it was done before.
    pub shared: Vec<(Common, Work)>,
}

impl Cost {
    /// Work that nobody shares.
    pub fn own(own: Work) -> Self {
        Self { own, shared: Vec::new() }
    }

    /// Adds work that other measures can share.
    pub fn with(mut self, common: Common, work: Work) -> Self {
        self.shared.push((common, work));
        self
    }

    /// With the scores at w0.
    pub fn outputs(self) -> Self {
        self.with(Common::Outputs, Work::of(1.0, 0.0, 0.0))
    }

    /// With the gradient at w0.
    pub fn slope(self) -> Self {
        self.with(Common::GradientSummary(None), Work::of(1.0, 1.0, 1.0))
    }

    /// The total work, if nothing of it was done before.
    pub fn total(&self) -> Work {
        self.shared.iter().fold(self.own, |sum, (_, work)| sum + *work)
    }

    /// What is left of it once `done` was done; adds what is done then.
    pub fn after(&self, done: &mut HashSet<Common>) -> Work {
        let fresh = self.shared.iter().filter(|(common, _)| done.insert(common.clone()));
        fresh.fold(self.own, |sum, (_, work)| sum + *work)
    }

    /// Whether the gradient at w0 of the group itself is a good part of it, so that it had better come while that is
    /// kept. (That of another group is kept from one group to the next.)
    pub fn leans_on_slope(&self) -> bool {
        let slope = self.shared.iter().find(|(common, _)| *common == Common::GradientSummary(None));
        slope.is_some_and(|(_, slope)| self.own.forwards + 2.0 * self.own.backwards <= 4.0 * slope.forwards)
    }
}

/// Operations of a pass over the parameters, for each of them: noise takes more, a sum less.
const PASS: f64 = 60.0;

impl RunSize {
    /// Floating-point operations of some work, roughly: what the order of measures goes by, and what turns the time of
    /// one into a guess at that of another. A backward makes two products for each of a forward.
    pub fn operations(&self, work: Work) -> f64 {
        let network = self.forward * (work.forwards + 2.0 * work.backwards);
        network + PASS * self.parameters as f64 * work.passes + work.operations
    }
}
