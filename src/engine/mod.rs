//! Computes measures of a snapshot: synchronous and pure.
//!
//! Owns: models, noise, arithmetic, the measures. May not touch: tokio, tonic, clocks, the environment, logging.

use crate::domain::{
    Admitted, Examiner, Fault, FaultKind, MeasureInfo, MeasureRequest, ParameterSource, Reading, RunSpec,
    Snapshot,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Owner of the device: on the CPU, a pool of threads. One named thread of the pipeline owns it.
pub struct Engine {
    _threads: usize,
}

/// Raised to end a computation early; checked between draws and between micro-batches.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks whoever computes to end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`FaultKind::Cancelled`] once raised.
    pub fn check(&self) -> Result<(), Fault> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Fault::new(FaultKind::Cancelled, "stopped before it was finished")),
            false => Ok(()),
        }
    }
}

/// What a snapshot is compared with.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// At initialization.
    pub init: Option<Arc<dyn ParameterSource>>,
    /// The snapshot that was received before this one.
    pub previous: Option<Arc<dyn ParameterSource>>,
}

/// Numbers that one snapshot leaves for the next one of its run, such as where a search may begin.
#[derive(Debug, Clone, Default)]
pub struct Hints(pub BTreeMap<String, f64>);

/// One reading to be made: a measure of the run, on a group or on the weights alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Which measure, defaults filled in.
    pub measure: MeasureRequest,
    /// `None` for measures of the weights alone.
    pub group: Option<String>,
}

/// One snapshot in the engine. Readings come out one at a time, so that the caller can time them and stop between.
pub struct Session<'e> {
    _engine: &'e mut Engine,
}

impl Engine {
    /// An engine on the CPU; the numbers do not depend on `threads`.
    pub fn new(threads: usize) -> Self {
        Self { _threads: threads }
    }

    /// A tiny computation with a known answer on this thread.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when the answer is wrong.
    pub fn self_check(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Takes up a snapshot of an admitted run; its bytes are freed as they are converted.
    ///
    /// # Errors
    /// Those of [`crate::domain::Layout::arrange`].
    pub fn take(
        &mut self,
        _run: &Admitted,
        _seed: u64,
        _snapshot: Snapshot,
        _references: References,
    ) -> Result<Session<'_>, Fault> {
        Ok(Session { _engine: self })
    }
}

impl Session<'_> {
    /// All readings to be made, cheapest first.
    pub fn tasks(&self) -> Vec<Task> {
        Vec::new()
    }

    /// Makes one reading (its `seconds` are left at zero). What cannot be computed is told in the reading; a fault is
    /// only for a stop.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when `stop` was raised.
    pub fn measure(&mut self, _task: &Task, _hints: &mut Hints, _stop: &Stop) -> Result<Reading, Fault> {
        Err(Fault::internal("not built yet"))
    }
}

/// The engine's knowledge of models and measures, without a device.
pub struct Examination;

impl Examiner for Examination {
    fn examine(&self, _spec: &RunSpec) -> Result<Admitted, Fault> {
        Err(Fault::internal("not built yet"))
    }

    fn catalogue(&self) -> Vec<MeasureInfo> {
        Vec::new()
    }
}
