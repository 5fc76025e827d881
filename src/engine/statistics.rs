//! Statistics of parameters: norms by tensor, moments that join without loss, the move since a snapshot.
//!
//! Owns: how such numbers are kept and joined. May not touch: how they are computed from parameters.

/// l2 norms by tensor, kept as squares.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Norms {
    /// Square of each tensor's norm, in the order of the names' bytes.
    pub squares: Vec<f64>,
}

impl Norms {
    /// Norm of all tensors as one vector.
    pub fn global(&self) -> f64 {
        self.squares.iter().sum::<f64>().sqrt()
    }

    /// Sum of the tensors' norms.
    pub fn sum(&self) -> f64 {
        self.squares.iter().map(|square| square.sqrt()).sum()
    }
}

/// Statistics of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorStatistics {
    /// Name of the tensor.
    pub name: String,
    /// Of the parameters.
    pub w: Moments,
    /// Of the parameters less those at initialization.
    pub delta: Option<Moments>,
    /// Of the parameters at initialization.
    pub init_square: Option<f64>,
    /// Scalar product of the parameters with those at initialization.
    pub dot_init: Option<f64>,
}

/// Count, mean and spread of numbers, in a form that can be joined without loss.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// How many.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Sum of squared differences to the mean.
    pub spread: f64,
    /// Sum of squares.
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

/// The move since the previous snapshot. Squares and scalar products over all parameters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Move {
    /// ‖w - previous‖².
    pub step_square: f64,
    /// ‖previous‖².
    pub previous_square: f64,
    /// ‖previous - init‖², when there is an initialization.
    pub before_square: Option<f64>,
    /// (w - previous) · (previous - init), when there is an initialization.
    pub dot: Option<f64>,
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
