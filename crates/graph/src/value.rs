//! Values: elements of one of three types.
//!
//! Owns: their storage and conversion between types. May not touch: shapes, operators.

use crate::real::Real;
use clino_domain::graph::ValueType;
use std::borrow::Cow;

/// Elements of a value, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data<T> {
    /// In the precision of the run.
    Work(Vec<T>),
    /// Integers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// Borrowed elements of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View<'a, T> {
    /// In the precision of the run.
    Work(&'a [T]),
    /// Integers.
    I64(&'a [i64]),
    /// Truth values.
    Bool(&'a [bool]),
}

/// A scalar that is known before anything is computed, since it depends on sizes alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// In f64, whatever the precision of the run.
    Work(f64),
    /// An integer.
    I64(i64),
    /// A truth value.
    Bool(bool),
}

impl Known {
    /// As f64.
    pub fn wide(self) -> f64 {
        match self {
            Self::Work(x) => x,
            Self::I64(x) => x as f64,
            Self::Bool(x) => f64::from(u8::from(x)),
        }
    }

    /// As an integer; `None` for WORK.
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Work(_) => None,
            Self::I64(x) => Some(x),
            Self::Bool(x) => Some(x.into()),
        }
    }

    /// The type of the scalar.
    pub fn kind(self) -> ValueType {
        match self {
            Self::Work(_) => ValueType::Work,
            Self::I64(_) => ValueType::I64,
            Self::Bool(_) => ValueType::Bool,
        }
    }

    /// Its one element.
    pub fn data<T: Real>(self) -> Data<T> {
        match self {
            Self::Work(x) => Data::Work(vec![T::of(x)]),
            Self::I64(x) => Data::I64(vec![x]),
            Self::Bool(x) => Data::Bool(vec![x]),
        }
    }
}

/// Bytes of an element, where one of WORK has `work` of them.
pub fn element_size(kind: ValueType, work: usize) -> usize {
    match kind {
        ValueType::Work => work,
        ValueType::I64 => size_of::<i64>(),
        ValueType::Bool => size_of::<bool>(),
    }
}

impl<T> Data<T> {
    /// All elements, borrowed.
    pub fn view(&self) -> View<'_, T> {
        match self {
            Self::Work(x) => View::Work(x),
            Self::I64(x) => View::I64(x),
            Self::Bool(x) => View::Bool(x),
        }
    }
}

impl Data<f64> {
    /// The same in another precision.
    pub fn narrowed<T: Real>(&self) -> Data<T> {
        match self {
            Self::Work(x) => Data::Work(x.iter().map(|x| T::of(*x)).collect()),
            Self::I64(x) => Data::I64(x.clone()),
            Self::Bool(x) => Data::Bool(x.clone()),
        }
    }
}

impl<'a, T> View<'a, T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Work(x) => x.len(),
            Self::I64(x) => x.len(),
            Self::Bool(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub fn kind(&self) -> ValueType {
        match self {
            Self::Work(_) => ValueType::Work,
            Self::I64(_) => ValueType::I64,
            Self::Bool(_) => ValueType::Bool,
        }
    }
}

impl<'a, T: Real> View<'a, T> {
    /// As WORK.
    pub fn to_work(self) -> Cow<'a, [T]> {
        match self {
            Self::Work(x) => Cow::Borrowed(x),
            Self::I64(x) => x.iter().map(|x| T::of(*x as f64)).collect(),
            Self::Bool(x) => x.iter().map(|x| T::of_unsigned(u32::from(*x))).collect(),
        }
    }

    /// As integers, WORK towards zero.
    pub fn to_i64(self) -> Cow<'a, [i64]> {
        match self {
            Self::Work(x) => x.iter().map(|x| x.wide() as i64).collect(),
            Self::I64(x) => Cow::Borrowed(x),
            Self::Bool(x) => x.iter().map(|x| i64::from(*x)).collect(),
        }
    }

    /// As truth values: whether each is not 0.
    pub fn to_bool(self) -> Cow<'a, [bool]> {
        match self {
            Self::Work(x) => x.iter().map(|x| *x != T::ZERO).collect(),
            Self::I64(x) => x.iter().map(|x| *x != 0).collect(),
            Self::Bool(x) => Cow::Borrowed(x),
        }
    }
}
