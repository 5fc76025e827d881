//! Norms of parameters by tensor.
//!
//! Owns: how they are kept. May not touch: how they are computed from parameters.

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
