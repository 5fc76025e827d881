//! All readings of one snapshot, each timed, none able to take the thread down.
//!
//! Owns: the clock of readings, what a panic becomes, and what a budget leaves out. May not touch: runs, events.

use super::forecast::{Costs, Forecast};
use clino_domain::incident::Incident;
use clino_domain::metrics::SPANS;
use clino_domain::{Checkpoint, Fault, FaultKind, Outcome, Planned, Reading, Work};
use clino_engine::{Hints, Limits, Session, Task};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::info_span;

/// What one snapshot of a run leaves for the next.
#[derive(Debug, Default)]
pub struct RunMemory {
    /// Where searches begin.
    pub hints: Hints,
    /// How long readings take.
    pub forecast: Forecast,
    /// Why the run has no readings any more: its model is not what its configuration says.
    pub mismatch: Option<String>,
}

/// Whoever hears of the readings of a session.
pub trait ReadingListener {
    /// A reading begins. `left` guesses the seconds that it and those behind it will take, where all of them can be guessed.
    fn begins(&mut self, _task: &Task, _left: &dyn Fn() -> Option<f64>) {}

    /// The snapshot was moved to the CPU, for this reason.
    fn falls_back(&mut self, _reason: &str) {}

    /// A reading was made, or says why there is none.
    fn made(&mut self, reading: Reading);
}

impl<F: FnMut(Reading)> ReadingListener for F {
    fn made(&mut self, reading: Reading) {
        self(reading);
    }
}

/// Makes every reading of a session in its order, hands each to `listener` with the time that it took, and goes on after
/// one that panics or fails: that one is a failed reading with the reason. One that is not likely to end within the
/// seconds that are left of `budget` is skipped, as is one that has not ended when they are over, and those behind it are
/// still looked at. Seconds are those of the clock of `limits`. Returns what each measure of the run cost.
///
/// # Errors
/// [`FaultKind::Cancelled`] when the snapshot should end; the readings made before have been emitted.
pub fn evaluate(
    session: &mut Session<'_>,
    memory: &mut RunMemory,
    budget: Option<f64>,
    limits: Limits<'_>,
    listener: &mut dyn ReadingListener,
) -> Result<Vec<Option<Planned>>, Fault> {
    let began = (limits.clock)();
    let tasks = session.tasks();
    let mut costs = Costs::new(tasks.iter().map(|task| task.chosen + 1).max().unwrap_or(0));
    let mut told: Option<String> = None;
    for (place, task) in tasks.iter().enumerate() {
        let left = budget.map(|budget| budget - ((limits.clock)() - began));
        if let Some(reason) = too_long(&memory.forecast, task, budget.zip(left)) {
            memory.forecast.skip(task);
            listener.made(session.without(task, Outcome::Skipped, reason));
            continue;
        }
        listener.begins(task, &|| remaining(&memory.forecast, &tasks[place..], left));
        let end = Deadline::new(limits, left);
        let Some(reading) = timed(session, task, &mut memory.hints, &end)? else {
            memory.forecast.give_up(task, left.unwrap_or_default());
            listener.made(session.without(task, Outcome::Skipped, not_ended(budget.unwrap_or_default())));
            continue;
        };
        if let Some(reason) = session.instead().filter(|reason| told.as_deref() != Some(*reason)) {
            listener.falls_back(reason);
            told = Some(reason.to_owned());
        }
        memory.forecast.learn(task, &reading);
        costs.add(task, &reading);
        listener.made(reading);
    }
    Ok(costs.lines().to_vec())
}

/// Ends a reading with its snapshot, or when the seconds that are left of a budget are over.
struct Deadline<'a> {
    limits: Limits<'a>,
    /// On the clock of the limits.
    at: f64,
    /// Whether it ended the reading.
    passed: AtomicBool,
}

impl<'a> Deadline<'a> {
    fn new(limits: Limits<'a>, left: Option<f64>) -> Self {
        let at = left.map_or(f64::INFINITY, |left| (limits.clock)() + left);
        Self { limits, at, passed: AtomicBool::new(false) }
    }
}

impl Checkpoint for Deadline<'_> {
    fn check(&self) -> Result<(), Fault> {
        self.limits.stop.check()?;
        if self.at == f64::INFINITY || (self.limits.clock)() < self.at {
            return Ok(());
        }
        self.passed.store(true, Ordering::Relaxed);
        Err(Fault::new(FaultKind::Cancelled, "its budget is used up"))
    }
}

/// Seconds that some readings will take, no more than what is left of a budget. Those that take over what others have
/// found take none.
fn remaining(forecast: &Forecast, tasks: &[Task], left: Option<f64>) -> Option<f64> {
    let work = tasks.iter().filter(|task| task.expected != Work::NONE);
    let sum: Option<f64> = work.map(|task| forecast.seconds(task)).sum();
    sum.map(|seconds| seconds.min(left.unwrap_or(f64::INFINITY)))
}

/// In the place of all readings: there are none, for this reason.
pub(super) fn refuse(session: &Session<'_>, reason: &str, emit: &mut dyn FnMut(Reading)) {
    for task in session.tasks() {
        emit(session.without(&task, Outcome::Unavailable, reason.to_owned()));
    }
}

/// Why a reading was left.
fn not_ended(budget: f64) -> String {
    format!("did not end within its budget of {budget} s: raise the budget or lower its cost")
}

/// Why a reading does not fit into what is left of a budget.
fn too_long(forecast: &Forecast, task: &Task, budget: Option<(f64, f64)>) -> Option<String> {
    let (budget, left) = budget?;
    let seconds = forecast.seconds(task).unwrap_or(0.0);
    let reason = || {
        let left = left.max(0.0);
        format!("predicted to take {seconds:.3} s, with {left:.3} s left of a budget of {budget} s")
    };
    (seconds > left || left <= 0.0).then(reason)
}

/// One reading with its seconds; `None` when it did not end before its deadline.
fn timed(
    session: &mut Session<'_>,
    task: &Task,
    hints: &mut Hints,
    end: &Deadline<'_>,
) -> Result<Option<Reading>, Fault> {
    let group = task.group.as_deref().unwrap_or_default();
    let span = info_span!(
        target: SPANS,
        "measure",
        otel.name = %task.measure.name,
        clino.measure = %task.measure.name,
        clino.group = group,
        clino.outcome = tracing::field::Empty,
    )
    .entered();
    let began = (end.limits.clock)();
    let clock = || (end.limits.clock)() - began;
    let mut reading = match guarded(|| session.measure(task, hints, Limits { stop: end, clock: &clock })) {
        Ok(Ok(reading)) => reading,
        Ok(Err(fault)) if fault.kind == FaultKind::Cancelled => {
            return if end.passed.load(Ordering::Relaxed) { Ok(None) } else { Err(fault) };
        }
        Ok(Err(fault)) => session.without(task, Outcome::Failed, fault.message),
        Err(panic) => {
            // It is counted with the reading that says so.
            let measure = task.measure.name.as_str();
            tracing::error!(code = Incident::ReadingFailed.code(), measure, panic, "a measure panicked");
            session.without(task, Outcome::Failed, format!("the measure panicked: {panic}"))
        }
    };
    reading.seconds = clock();
    span.record("clino.outcome", tracing::field::debug(reading.outcome));
    Ok(Some(reading))
}

/// The answer of `work`, or what it said as it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // What a panic leaves half-done is the engine's scratch space, which every task writes before it reads.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
    })
}
