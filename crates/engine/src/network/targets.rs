//! What the outputs of units are held against: classes or numbers.
//!
//! Owns: cutting and joining them by units. May not touch: inputs, losses.

use crate::criterion::Target;
use std::ops::Range;

/// The targets of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// The class of each unit.
    Classes(Vec<usize>),
    /// `width` numbers for each of the units, unit after unit; a width of 0 where outputs are losses.
    Values {
        /// [units, width].
        values: Vec<f64>,
        /// Numbers of a unit.
        width: usize,
        /// How many units there are.
        units: usize,
    },
}

impl Default for Targets {
    fn default() -> Self {
        Self::Classes(Vec::new())
    }
}

impl Targets {
    /// How many units there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Values { units, .. } => *units,
        }
    }

    /// Numbers of each unit; 0 where they are classes.
    pub fn width(&self) -> usize {
        match self {
            Self::Classes(_) => 0,
            Self::Values { width, .. } => *width,
        }
    }

    /// That of one unit.
    pub fn get(&self, unit: usize) -> Target<'_> {
        match self {
            Self::Classes(classes) => Target::Class(classes[unit]),
            Self::Values { values, width, .. } => Target::Values(&values[unit * width..(unit + 1) * width]),
        }
    }

    /// Those of all units, in order.
    pub fn iter(&self) -> impl Iterator<Item = Target<'_>> + '_ {
        (0..self.len()).map(|unit| self.get(unit))
    }

    /// The class of each unit; none where they are numbers.
    pub fn classes(&self) -> &[usize] {
        match self {
            Self::Classes(classes) => classes,
            Self::Values { .. } => &[],
        }
    }

    /// Gives every unit this class.
    pub fn fill(&mut self, class: usize) {
        *self = Self::Classes(vec![class; self.len()]);
    }

    /// Those of a few units.
    pub fn slice(&self, some: Range<usize>) -> Self {
        match self {
            Self::Classes(classes) => Self::Classes(classes[some].to_vec()),
            Self::Values { values, width, .. } => Self::Values {
                values: values[some.start * width..some.end * width].to_vec(),
                width: *width,
                units: some.len(),
            },
        }
    }

    /// Lays others of the same kind behind these.
    pub fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::Classes(own), Self::Classes(more)) => own.extend_from_slice(more),
            (own, more) if own.len() == 0 => *own = more.clone(),
            (Self::Values { values, units, .. }, Self::Values { values: more, units: added, .. }) => {
                values.extend_from_slice(more);
                *units += added;
            }
            _ => {}
        }
    }

    /// Calls `with` for the bytes of what one unit is held against: its class (u64), or its numbers (f64), little-endian.
    pub fn each_byte(&self, unit: usize, mut with: impl FnMut(&[u8])) {
        match self.get(unit) {
            Target::Class(class) => with(&(class as u64).to_le_bytes()),
            Target::Values(values) => values.iter().for_each(|value| with(&value.to_le_bytes())),
        }
    }

    /// Bytes that they hold on the heap.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.capacity() * size_of::<usize>(),
            Self::Values { values, .. } => values.capacity() * size_of::<f64>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_joined_are_the_whole() {
        let values = Targets::Values { values: (0..6).map(f64::from).collect(), width: 2, units: 3 };
        for whole in [Targets::Classes(vec![3, 1, 2]), values] {
            let mut joined = Targets::default();
            joined.append(&whole.slice(0..1));
            joined.append(&whole.slice(1..3));
            assert_eq!(joined, whole);
            assert_eq!(whole.iter().count(), 3);
        }
    }

    #[test]
    fn units_without_numbers_are_counted() {
        let none = Targets::Values { values: Vec::new(), width: 0, units: 4 };
        assert_eq!((none.len(), none.slice(1..3).len(), none.get(2)), (4, 2, Target::Values(&[])));
    }
}
