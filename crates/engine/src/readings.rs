//! All readings of one snapshot at once, for programs that need no daemon.
//!
//! Owns: that order of calls. May not touch: anything else.

use crate::engine::{Arrived, Engine};
use crate::scope::Hints;
use crate::task::Limits;
use crate::validate::Validator;
use clino_domain::{Fault, Reading, References, RunSpec, RunValidator, Snapshot, Stop};

/// Every reading of a snapshot, in the order of their cost, made by `threads` of the CPU; the numbers do not depend on how many.
/// `max_seconds` of a measure does not end it: there is no clock here.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming a field of the specification, [`clino_domain::FaultKind::Precondition`] for a
/// snapshot of another model, and what a measure fails with.
pub fn readings(
    spec: &RunSpec,
    snapshot: Snapshot,
    references: References,
    threads: usize,
) -> Result<Vec<Reading>, Fault> {
    let validated = Validator.validate(spec)?;
    let engine = Engine::new(threads)?;
    let mut session =
        engine.take(&validated, spec.seed, Arrived { snapshot, references, statistics: None })?;
    let mut hints = Hints::default();
    let stop = Stop::default();
    let limits = || Limits { stop: &stop, clock: &|| 0.0 };
    session.tasks().iter().map(|task| session.measure(task, &mut hints, limits())).collect()
}
