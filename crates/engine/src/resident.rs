//! A snapshot on a device, whatever its precision and device.
//!
//! Owns: what a session holds between readings. May not touch: which readings are made.

use crate::backend::Backend;
use crate::landscape::Landscape;
use crate::measure::{Findings, MeasureError};
use crate::model::{GroupLandscape, KeptGradient, WorkerPool};
use crate::outputs::CheckedRows;
use crate::plan::PreparedRun;
use crate::scope::{Hints, MeasureScope, SharedCache};
use crate::task::{Limits, Task};
use crate::weights::{AnyPrecision, PreparedSnapshot};
use clino_domain::{Checkpoint, Fault, Work};

/// A snapshot in one of the two precisions, on some device.
pub trait Resident: Send {
    /// Count of non-finite parameters and the first tensor that has one.
    fn non_finite(&self) -> Option<(usize, &str)>;

    /// Makes one reading.
    ///
    /// # Errors
    /// Those of the measure.
    fn measure(&mut self, order: MeasureJob<'_>) -> Result<Findings, MeasureError>;

    /// Losses of a few examples of a group at w0, which rise, and how large their gradient is where a measure of the run
    /// computes gradients; it counts for no reading.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    fn rows(
        &mut self,
        plan: &PreparedRun,
        group: usize,
        rows: &[usize],
        stop: &dyn Checkpoint,
    ) -> Result<CheckedRows, Fault>;

    /// Work done since the last call, on a number of examples.
    fn work(&self, examples: usize) -> Work;

    /// Gives the snapshot back, when the memory of the device has been freed.
    fn into_snapshot(self: Box<Self>) -> AnyPrecision;
}

/// One measure on one landscape.
pub struct MeasureJob<'a> {
    /// The prepared run that the measure belongs to.
    pub plan: &'a PreparedRun,
    /// What is to be made.
    pub task: &'a Task,
    /// Results that measures of the same groups share.
    pub cache: &'a mut SharedCache,
    /// Hints that the run keeps from one snapshot to the next.
    pub hints: &'a mut Hints,
    /// What it must keep to.
    pub limits: Limits<'a>,
}

/// A snapshot on a device, with the workers that measure it; see [`Resident`].
pub struct OnDevice<B: Backend> {
    prepared: PreparedSnapshot<B::Element>,
    worker_pool: WorkerPool<B>,
    kept: KeptGradient<B>,
}

impl<B: Backend> OnDevice<B> {
    /// A snapshot with workers that measure it.
    pub fn new(prepared: PreparedSnapshot<B::Element>, worker_pool: WorkerPool<B>) -> Self {
        Self { prepared, worker_pool, kept: None }
    }
}

impl<B: Backend + 'static> Resident for OnDevice<B>
where
    AnyPrecision: From<PreparedSnapshot<B::Element>>,
{
    fn non_finite(&self) -> Option<(usize, &str)> {
        self.prepared.weights.non_finite()
    }

    fn measure(&mut self, order: MeasureJob<'_>) -> Result<Findings, MeasureError> {
        let MeasureJob { plan, task, cache, hints, limits } = order;
        let mut model = GroupLandscape {
            prepared: &self.prepared,
            groups: &plan.groups,
            scores: plan.scores(),
            own: task.groups(),
            worker_pool: &mut self.worker_pool,
            kept: &mut self.kept,
            stop: limits.stop,
        };
        let group = task.group.clone().unwrap_or_default();
        let mut scope = MeasureScope { landscape: &mut model, cache, hints, group, clock: limits.clock };
        plan.measures[task.chosen].measure(&mut scope)
    }

    fn rows(
        &mut self,
        plan: &PreparedRun,
        group: usize,
        rows: &[usize],
        stop: &dyn Checkpoint,
    ) -> Result<CheckedRows, Fault> {
        let mut model = GroupLandscape {
            prepared: &self.prepared,
            groups: &plan.groups,
            scores: plan.scores(),
            own: group..group + 1,
            worker_pool: &mut self.worker_pool,
            kept: &mut self.kept,
            stop,
        };
        model.rows(rows, plan.measures.iter().any(|measure| measure.needs().gradient))
    }

    fn work(&self, examples: usize) -> Work {
        self.prepared.counter.take(examples)
    }

    fn into_snapshot(self: Box<Self>) -> AnyPrecision {
        let Self { prepared, worker_pool, kept } = *self;
        drop(kept);
        drop(worker_pool);
        prepared.into()
    }
}
