//! What an operator finds wrong, before its node has a number and a name.
//!
//! Owns: paths of fields below a node. May not touch: kinds of faults.

/// A wrong field of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    /// Which one.
    pub field: Field,
    /// What was found, what was expected, what to do next.
    pub description: String,
}

/// The fields of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An attribute of the operator, or the operator itself where it is empty.
    Attribute(&'static str),
    /// The operand with this place.
    Operand(usize),
}

/// What operators return.
pub type Result<T> = std::result::Result<T, Wrong>;

/// An attribute is wrong.
pub fn attribute<T>(name: &'static str, description: impl Into<String>) -> Result<T> {
    Err(Wrong { field: Field::Attribute(name), description: description.into() })
}

/// An operand is wrong.
pub fn operand<T>(place: usize, description: impl Into<String>) -> Result<T> {
    Err(Wrong { field: Field::Operand(place), description: description.into() })
}
