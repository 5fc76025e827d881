//! All readings of one snapshot, each timed, none able to take the thread down.
//!
//! Owns: the clock of readings and what a panic becomes. May not touch: runs, events.

use crate::domain::{Fault, FaultKind, Reading};
use crate::engine::{Hints, Session, Stop};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Makes every reading of a session in its order, hands each to `emit` with the time that it took, and goes on after
/// one that panics or fails: that one is a failed reading with the reason.
///
/// # Errors
/// [`FaultKind::Cancelled`] when `stop` was raised; the readings made before have been emitted.
pub fn evaluate(
    session: &mut Session<'_>,
    hints: &mut Hints,
    stop: &Stop,
    emit: &mut dyn FnMut(Reading),
) -> Result<(), Fault> {
    for task in session.tasks() {
        let began = Instant::now();
        let mut reading = match guarded(|| session.measure(&task, hints, stop)) {
            Ok(Ok(reading)) => reading,
            Ok(Err(fault)) if fault.kind == FaultKind::Cancelled => return Err(fault),
            Ok(Err(fault)) => session.failed(&task, fault.message),
            Err(panic) => {
                tracing::error!(measure = task.measure.name, panic, "a measure panicked");
                session.failed(&task, format!("the measure panicked: {panic}"))
            }
        };
        reading.seconds = began.elapsed().as_secs_f64();
        emit(reading);
    }
    Ok(())
}

/// The answer of `work`, or what it said as it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // What a panic leaves half-done is the engine's scratch space, which every task writes before it reads.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
    })
}
