//! All readings of one snapshot, each timed, none able to take the thread down.
//!
//! Owns: the clock of readings and what a panic becomes. May not touch: runs, events.

use crate::domain::tally::{Happening, Tally};
use crate::domain::{Fault, FaultKind, Outcome, Precision, Reading, SnapshotRef};
use crate::engine::{Hints, Session, Stop, Task};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What an evaluation needs beside the session.
#[derive(Debug)]
pub struct Context<'a> {
    /// Which snapshot this is, for readings that the engine could not make.
    pub at: SnapshotRef,
    /// Arithmetic of the engine, for the same.
    pub precision: Precision,
    /// Ends the evaluation when raised.
    pub stop: &'a Stop,
    /// Gets the counts.
    pub tally: &'a Tally,
}

/// Makes every reading of a session in its order, hands each to `emit` with the time that it took, and goes on after
/// one that panics or fails: that one has [`Outcome::Failed`] and the reason.
///
/// # Errors
/// [`FaultKind::Cancelled`] when `stop` was raised; the readings made before have been emitted.
pub fn evaluate(
    session: &mut Session<'_>,
    context: &Context<'_>,
    hints: &mut Hints,
    emit: &mut dyn FnMut(Reading),
) -> Result<(), Fault> {
    for task in session.tasks() {
        let began = Instant::now();
        let mut reading = match guarded(|| session.measure(&task, hints, context.stop)) {
            Ok(Ok(reading)) => reading,
            Ok(Err(fault)) if fault.kind == FaultKind::Cancelled => return Err(fault),
            Ok(Err(fault)) => failed(&task, context, fault.message),
            Err(panic) => {
                context.tally.count(Happening::MeasurePanicked);
                tracing::error!(measure = task.measure.name, panic, "a measure panicked");
                failed(&task, context, format!("the measure panicked: {panic}"))
            }
        };
        reading.seconds = began.elapsed().as_secs_f64();
        context.tally.count(Happening::ReadingMade);
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

fn failed(task: &Task, context: &Context<'_>, reason: String) -> Reading {
    Reading {
        measure: task.measure.name.clone(),
        parameters: task.measure.parameters.clone(),
        group: task.group.clone(),
        snapshot: context.at,
        outcome: Outcome::Failed,
        value: None,
        draws: Vec::new(),
        estimate: None,
        parts: Vec::new(),
        tensors: Vec::new(),
        rungs: Vec::new(),
        reason: Some(reason),
        seconds: 0.0,
        precision: context.precision,
    }
}
