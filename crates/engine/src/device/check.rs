//! What a check of a device's kernels tells.
//!
//! Owns: the form of the answer. May not touch: devices.

/// One kernel against the CPU, or against the copy bandwidth.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// Its name, with what it was given where there are several.
    pub kernel: String,
    /// Greatest difference to the CPU, relative to the largest number beside it; 0 when all bits are equal.
    pub difference: f64,
    /// The most that is allowed; 0: every bit must be equal.
    pub allowed: f64,
}

impl Check {
    /// Whether the difference is allowed; one that is not a number is not.
    pub fn passes(&self) -> bool {
        self.difference <= self.allowed
    }
}

/// How fast a kernel is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Speed {
    /// Its name, or `copy`.
    pub kernel: &'static str,
    /// Number type of the elements: `f32` or `f64`.
    pub element: &'static str,
    /// Least bytes that it has to read and write, of one launch.
    pub bytes: u64,
    /// Time of one launch, in seconds.
    pub seconds: f64,
}
