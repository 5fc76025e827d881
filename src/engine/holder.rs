//! A snapshot on a device, whatever its precision and device.
//!
//! Owns: what a session holds between readings. May not touch: which readings are made.

use super::backend::Backend;
use super::device::cuda::Accelerated;
use super::landscape::Landscape;
use super::measure::{Findings, Shortfall};
use super::model::{Crew, Kept, Model};
use super::outputs::Outputs;
use super::plan::Plan;
use super::scope::{Hints, Memo, Scope};
use super::session::{Engine, Limits, Placed, Task};
use super::stop::Stop;
use super::weights::Snapped;
use crate::domain::{Fault, Work};

/// A snapshot in one of the two precisions, on some device.
pub trait Holder: Send {
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
    /// A stop, or a lost device.
    fn rows(&mut self, plan: &Plan, group: usize, rows: &[usize], stop: &Stop) -> Result<Outputs, Fault>;

    /// What was done since the last call, on so many examples.
    fn work(&self, examples: usize) -> Work;

    /// The same snapshot on the next best device: on what is left of the GPUs, or on the CPU.
    fn move_on(self: Box<Self>, engine: &Engine, plan: &Plan, to_cpu: bool) -> Placed;
}

/// A snapshot that GPUs have taken.
pub struct Taken {
    /// Itself.
    pub holder: Box<dyn Holder>,
    /// Whether its parameters were there before.
    pub carried: bool,
}

/// A snapshot that they have not taken.
pub struct Refused<T> {
    /// Why.
    pub fault: Fault,
    /// Itself.
    pub snapped: Snapped<T>,
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

/// See [`Holder`].
pub struct Held<B: Backend> {
    snapped: Snapped<B::Element>,
    crew: Crew<B>,
    kept: Kept<B>,
}

impl<B: Backend> Held<B> {
    /// A snapshot with workers that measure it.
    pub fn new(snapped: Snapped<B::Element>, crew: Crew<B>) -> Self {
        Self { snapped, crew, kept: None }
    }
}

impl<B: Backend + 'static> Holder for Held<B>
where
    B::Element: Accelerated,
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

    fn move_on(self: Box<Self>, engine: &Engine, plan: &Plan, to_cpu: bool) -> Placed {
        let Self { snapped, crew, kept } = *self;
        // Their memory goes first.
        drop((crew, kept));
        match to_cpu {
            true => engine.hold_on_cpu(plan, snapped, Some("a reading had no memory on the GPU".into())),
            false => engine.hold(plan, snapped, None),
        }
    }
}
