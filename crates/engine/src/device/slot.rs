//! Where one parameter lies in the flat arena of all of them.
//!
//! Owns: places and what is tied to what. May not touch: names' meaning, values' meaning.

use std::ops::Range;

/// One parameter in the arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The parameter's canonical name.
    pub name: String,
    /// First element in the arena.
    pub offset: usize,
    /// Number of elements of the parameter.
    pub len: usize,
    /// Place of the name among the names of all untied parameters, sorted as bytes: the tensor word of the noise.
    pub rank: u32,
    /// Length of the first axis of a tensor with two or more axes; 0 for vectors and numbers.
    pub rows: usize,
}

impl Slot {
    /// Elements of a row, when it is a matrix with elements.
    pub fn columns(&self) -> Option<usize> {
        (self.rows > 0 && self.len > 0).then(|| self.len / self.rows)
    }

    /// Its elements in the arena.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len
    }
}

/// A parameter that repeats another one: tied weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// First element of the repetition.
    pub mirror: usize,
    /// First element of the original.
    pub original: usize,
    /// Number of elements that are repeated.
    pub len: usize,
}

/// Repeats the originals of ties.
pub fn mirror<T: Copy>(ties: &[Tie], data: &mut [T]) {
    for tie in ties {
        data.copy_within(tie.original..tie.original + tie.len, tie.mirror);
    }
}
