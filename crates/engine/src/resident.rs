//! A snapshot on a device, whatever its precision and device.
//!
//! Owns: what a session holds between readings. May not touch: which readings are made.

use crate::backend::Backend;
use crate::landscape::Landscape;
use crate::measure::{Findings, Shortfall};
use crate::model::{Crew, Kept, Model};
use crate::outputs::Outputs;
use crate::plan::Plan;
use crate::scope::{Hints, Memo, Scope};
use crate::stop::Stop;
use crate::task::{Limits, Task};
use crate::weights::{AnyPrecision, Snapped};
use clino_domain::{Fault, Work};

/// A snapshot in one of the two precisions, on some device.
pub trait Resident: Send {
    /// Count of non-finite parameters and the first tensor that has one.
    fn non_finite(&self) -> Option<(usize, &str)>;

    /// Makes one reading.
    ///
    /// # Errors
    /// Those of the measure.
    fn measure(&mut self, order: Order<'_>) -> Result<Findings, Shortfall>;

    /// Scores of a few examples of a group at w0, which rise; it counts for no reading.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    fn rows(&mut self, plan: &Plan, group: usize, rows: &[usize], stop: &Stop) -> Result<Outputs, Fault>;

    /// Work done since the last call, on a number of examples.
    fn work(&self, examples: usize) -> Work;

    /// Gives the snapshot back, when the memory of the device has been freed.
    fn into_snapshot(self: Box<Self>) -> AnyPrecision;
}

/// One measure on one landscape.
pub struct Order<'a> {
    /// Of the run.
    pub plan: &'a Plan,
    /// What is to be made.
    pub task: &'a Task,
    /// Of its groups.
    pub memo: &'a mut Memo,
    /// Of the run.
    pub hints: &'a mut Hints,
    /// What it must keep to.
    pub limits: Limits<'a>,
}

/// See [`Resident`].
pub struct OnDevice<B: Backend> {
    snapped: Snapped<B::Element>,
    crew: Crew<B>,
    kept: Kept<B>,
}

impl<B: Backend> OnDevice<B> {
    /// A snapshot with workers that measure it.
    pub fn new(snapped: Snapped<B::Element>, crew: Crew<B>) -> Self {
        Self { snapped, crew, kept: None }
    }
}

impl<B: Backend + 'static> Resident for OnDevice<B>
where
    AnyPrecision: From<Snapped<B::Element>>,
{
    fn non_finite(&self) -> Option<(usize, &str)> {
        self.snapped.weights.non_finite()
    }

    fn measure(&mut self, order: Order<'_>) -> Result<Findings, Shortfall> {
        let Order { plan, task, memo, hints, limits } = order;
        let mut model = Model {
            snapped: &self.snapped,
            groups: &plan.groups,
            own: task.groups(),
            crew: &mut self.crew,
            kept: &mut self.kept,
            stop: limits.stop,
        };
        let group = task.group.clone().unwrap_or_default();
        let mut scope = Scope { landscape: &mut model, memo, hints, group, clock: limits.clock };
        plan.measures[task.chosen].measure(&mut scope)
    }

    fn rows(&mut self, plan: &Plan, group: usize, rows: &[usize], stop: &Stop) -> Result<Outputs, Fault> {
        let mut model = Model {
            snapped: &self.snapped,
            groups: &plan.groups,
            own: group..group + 1,
            crew: &mut self.crew,
            kept: &mut self.kept,
            stop,
        };
        model.rows(rows)
    }

    fn work(&self, examples: usize) -> Work {
        self.snapped.meter.take(examples)
    }

    fn into_snapshot(self: Box<Self>) -> AnyPrecision {
        let Self { snapped, crew, kept } = *self;
        drop(kept);
        drop(crew);
        snapped.into()
    }
}
