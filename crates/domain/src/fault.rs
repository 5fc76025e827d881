//! What can go wrong, as data: a kind that the edges map once to a status code, a sentence for the caller,
//! and the fields that were wrong.
//!
//! Owns: the closed list of kinds. May not touch: status codes of any transport.

use std::fmt;
use std::time::Duration;

/// Closed list of reasons for which clino refuses or fails; `wire` maps each to one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request can never succeed as it is.
    Invalid,
    /// Nothing has that id.
    NotFound,
    /// The key is taken by something else.
    Exists,
    /// Well-formed, but it does not fit the state of the run.
    Precondition,
    /// A budget or limit is used up; trying later may help.
    Exhausted,
    /// A quota of a project is used up; the violations name it.
    Quota,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Whoever asks may not do this.
    Denied,
    /// Bytes came at another offset than the one that was due.
    OutOfRange,
    /// Bytes arrived damaged: a checksum does not match.
    DataLoss,
    /// The daemon drains or is not ready.
    Unavailable,
    /// Nothing came for too long.
    Deadline,
    /// Stopped by the caller or by a shutdown.
    Cancelled,
    /// A defect of clino.
    Internal,
}

/// A field that was wrong, by its path in the request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path such as `groups[1].labels` or `measures[0].parameters.alpha`.
    pub field: String,
    /// What was found and what was expected.
    pub description: String,
}

/// The error of every stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What sort of failure it is.
    pub kind: FaultKind,
    /// One sentence for the caller.
    pub message: String,
    /// The fields at fault; may be empty.
    pub violations: Vec<Violation>,
    /// For [`FaultKind::OutOfRange`] and [`FaultKind::DataLoss`]: bytes received in order so far.
    pub committed: Option<u64>,
    /// When trying again may help, where the fault knows better than its kind.
    pub retry: Option<Duration>,
}

impl Fault {
    /// A failure without a particular field.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), violations: Vec::new(), committed: None, retry: None }
    }

    /// Bad input in one field; the message repeats field and description.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::field(FaultKind::Invalid, field, description)
    }

    /// A failure of `kind` that one field causes.
    pub fn field(kind: FaultKind, field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::of(kind, vec![Violation { field: field.into(), description: description.into() }])
    }

    /// Several wrong fields at once; `violations` must not be empty.
    pub fn of(kind: FaultKind, violations: Vec<Violation>) -> Self {
        let first = violations.first().map(|v| format!("{}: {}", v.field, v.description)).unwrap_or_default();
        let message = match violations.len() {
            0 | 1 => first,
            n => format!("{first} (and {} more)", n - 1),
        };
        Self { kind, message, violations, committed: None, retry: None }
    }

    /// The answer for the id of a run that is not held, and of one that may not be seen: nobody can tell them apart.
    pub fn unknown_run() -> Self {
        Self::field(FaultKind::NotFound, "run_id", "run not found: no run with this id on this daemon")
    }

    /// A defect of clino itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, message)
    }

    /// The same fault with `prefix` put before every field path (and before a message that names one).
    pub fn within(mut self, prefix: &str) -> Self {
        for violation in &mut self.violations {
            violation.field = format!("{prefix}{}", violation.field);
        }
        if !self.violations.is_empty() {
            self.message = format!("{prefix}{}", self.message);
        }
        self
    }

    /// The same fault, telling how many bytes had been received in order.
    pub fn committed(mut self, bytes: u64) -> Self {
        self.committed = Some(bytes);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_first_field_and_counts_the_rest() {
        let violation =
            |field: &str| Violation { field: field.into(), description: "found 1, expected 2".into() };
        let one = Fault::of(FaultKind::Invalid, vec![violation("a")]);
        let two = Fault::of(FaultKind::Invalid, vec![violation("a"), violation("b")]);
        assert_eq!(one.to_string(), "a: found 1, expected 2");
        assert_eq!(two.to_string(), "a: found 1, expected 2 (and 1 more)");
    }

    #[test]
    fn within_prefixes_every_path() {
        let fault = Fault::invalid("labels", "missing").within("groups[0].");
        assert_eq!(fault.violations[0].field, "groups[0].labels");
        assert_eq!(fault.message, "groups[0].labels: missing");
    }
}
