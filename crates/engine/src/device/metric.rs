//! Coordinates of a perturbation: w = w0 + T∘u, where T says how long a unit is at each parameter.
//!
//! In u every constraint is a plain ball or box, and a parameter of zero is harmless.
//!
//! Owns: the forms of T. May not touch: what moves in these coordinates.

use crate::device::real::Real;
use std::sync::Arc;

/// T as a function of w0.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterMetric {
    /// T = 1: no scaling.
    Plain,
    /// T = a |w| + b, with \[a, b\] for each tensor.
    Linear(Arc<[[f64; 2]]>),
    /// T = √(slope² w² + floor²).
    Root {
        /// The factor of |w| in T.
        slope: f64,
        /// The smallest value of T, reached at w = 0.
        floor: f64,
    },
}

impl ParameterMetric {
    /// T = a |w| + b for all of `tensors` tensors.
    pub fn linear(a: f64, b: f64, tensors: usize) -> Self {
        Self::Linear(vec![[a, b]; tensors].into())
    }

    /// Its form within one tensor.
    pub fn unit<T: Real>(&self, tensor: usize) -> Unit<T> {
        match self {
            Self::Plain => Unit::One,
            Self::Linear(terms) => Unit::Linear(T::of(terms[tensor][0]), T::of(terms[tensor][1])),
            Self::Root { slope, floor } => Unit::Root(T::of(slope * slope), T::of(floor * floor)),
        }
    }
}

/// T within one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit<T> {
    /// T = 1: no scaling.
    One,
    /// a |w| + b.
    Linear(T, T),
    /// √(a w² + b).
    Root(T, T),
}

impl<T: Real> Unit<T> {
    /// Its length at the parameter `w`.
    #[inline(always)]
    pub fn at(self, w: T) -> T {
        match self {
            Self::One => T::ONE,
            Self::Linear(a, b) => a * w.abs() + b,
            Self::Root(a, b) => (a * w * w + b).sqrt(),
        }
    }
}
