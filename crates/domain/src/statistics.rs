//! Statistics of parameters, in a form that joins without loss: of a piece, of a tensor, of a snapshot.
//!
//! Owns: how such numbers are kept and joined. May not touch: how they are computed from parameters.

use super::ports::{ParameterSource, References};
use std::sync::{Arc, Weak};

/// Count, mean and spread of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// Number of elements, a whole number.
    pub count: f64,
    /// Mean of the elements.
    pub mean: f64,
    /// Sum of squared differences to the mean.
    pub spread: f64,
    /// Sum of the squared elements.
    pub square: f64,
}

impl Moments {
    /// Population variance (ddof 0); 0 for no numbers.
    pub fn variance(&self) -> f64 {
        if self.count > 0.0 { self.spread / self.count } else { 0.0 }
    }

    /// Moments of both sets together (Chan et al. 1983).
    pub fn join(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let gap = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + gap * (other.count / count),
            spread: self.spread + other.spread + gap * gap * (self.count * other.count / count),
            square: self.square + other.square,
        }
    }
}

/// Parameters against those at initialization.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Against {
    /// Of the difference w - init.
    pub delta: Moments,
    /// Greatest |w - init|.
    pub farthest: f64,
    /// ‖init‖², the squared l2 norm of the initialization.
    pub init_square: f64,
    /// w · init, the scalar product with the initialization.
    pub dot: f64,
}

/// The move since the previous snapshot. Squares and scalar products.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Move {
    /// ‖w - previous‖², the squared length of the move.
    pub step_square: f64,
    /// ‖previous‖², the squared l2 norm of the previous snapshot.
    pub previous_square: f64,
    /// ‖previous - init‖² and (w - previous) · (previous - init), when there is an initialization.
    pub before: Option<[f64; 2]>,
}

impl Move {
    /// Of both sets of parameters together.
    pub fn join(self, other: Self) -> Self {
        let before = |(a, b): ([f64; 2], [f64; 2])| [a[0] + b[0], a[1] + b[1]];
        Self {
            step_square: self.step_square + other.step_square,
            previous_square: self.previous_square + other.previous_square,
            before: self.before.zip(other.before).map(before),
        }
    }
}

/// Statistics of one tensor, or of a piece of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TensorStatistics {
    /// Name of the tensor; empty for a piece.
    pub name: String,
    /// Moments of the parameters.
    pub w: Moments,
    /// Largest magnitude of a parameter, max |w|.
    pub largest: f64,
    /// How many are not finite.
    pub non_finite: f64,
    /// When there is an initialization.
    pub init: Option<Against>,
    /// When there is a previous snapshot.
    pub since: Option<Move>,
}

impl TensorStatistics {
    /// Adds the next piece; what is told of `self` and `piece` must have the same references.
    pub fn join(self, piece: Self) -> Self {
        let against = |(a, b): (Against, Against)| Against {
            delta: a.delta.join(b.delta),
            farthest: a.farthest.max(b.farthest),
            init_square: a.init_square + b.init_square,
            dot: a.dot + b.dot,
        };
        Self {
            name: self.name,
            w: self.w.join(piece.w),
            largest: self.largest.max(piece.largest),
            non_finite: self.non_finite + piece.non_finite,
            init: self.init.zip(piece.init).map(against),
            since: self.since.zip(piece.since).map(|(a, b)| a.join(b)),
        }
    }
}

/// Statistics of a snapshot, and what it was compared with.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Of every parameter that is not tied to another, in the order of the names' bytes.
    pub tensors: Vec<TensorStatistics>,
    /// Under which number the engine has the parameters on a device already.
    pub carried: Option<u64>,
    init: Option<Weak<dyn ParameterSource>>,
    previous: Option<Weak<dyn ParameterSource>>,
}

impl Statistics {
    /// Statistics against `references`, which are remembered but not kept alive: otherwise each snapshot would keep the
    /// one before it.
    pub fn new(tensors: Vec<TensorStatistics>, references: &References) -> Self {
        let weak = |source: &Option<Arc<dyn ParameterSource>>| source.as_ref().map(Arc::downgrade);
        Self { tensors, carried: None, init: weak(&references.init), previous: weak(&references.previous) }
    }

    /// Whether they were made against these references, and no others.
    pub fn fit(&self, references: &References) -> bool {
        let same =
            |mine: &Option<Weak<dyn ParameterSource>>, theirs: &Option<Arc<dyn ParameterSource>>| match (
                mine, theirs,
            ) {
                (None, None) => true,
                (Some(mine), Some(theirs)) => std::ptr::addr_eq(mine.as_ptr(), Arc::as_ptr(theirs)),
                _ => false,
            };
        same(&self.init, &references.init) && same(&self.previous, &references.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(xs: &[f64]) -> Moments {
        xs.iter().fold(Moments::default(), |m, x| {
            m.join(Moments { count: 1.0, mean: *x, spread: 0.0, square: x * x })
        })
    }

    #[test]
    fn moments_join_without_loss() {
        let xs = [1e8, 1e8 + 1.0, 1e8 + 2.0, 1e8 + 3.0];
        assert!((moments(&xs).variance() - 1.25).abs() < 1e-6);
        let joined = moments(&xs[..1]).join(moments(&xs[1..]));
        assert!((joined.variance() - 1.25).abs() < 1e-6);
        assert_eq!(Moments::default().join(Moments::default()).variance(), 0.0);
    }
}
