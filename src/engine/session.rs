//! One snapshot in the engine: from its bytes to readings, one at a time.
//!
//! Owns: the device (a pool of threads), the workers, the order of readings. May not touch: time and channels; whoever
//! calls does the timing.

use super::examine::Plan;
use super::landscape::{Hints, Memo, Outputs, Scope};
use super::measure::{Findings, Shortfall};
use super::model::{Crew, Model, Snapped, Weights};
use super::network::{Network, Passes};
use super::stop::Stop;
use crate::domain::reading::POOLED;
use crate::domain::{
    Admitted, Estimate, Fault, FaultKind, MeasureRequest, Outcome, Precision, Reading, References, Snapshot,
    SnapshotRef, Statistics,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Stack of the threads of the pool: deep enough for any layer's arithmetic.
const STACK_BYTES: usize = 8 << 20;

/// Owner of the device: on the CPU, a pool of threads. One named thread of the pipeline owns it.
pub struct Engine {
    pool: rayon::ThreadPool,
}

/// A snapshot for the engine.
#[derive(Debug)]
pub struct Arrived {
    /// All of it; its bytes are freed as they are converted.
    pub snapshot: Snapshot,
    /// What it is compared with.
    pub references: References,
    /// Made while it arrived; used if they were made against the same references.
    pub statistics: Option<Arc<Statistics>>,
}

/// One reading to be made: a measure of the run, on a group or on the weights alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Which measure, defaults filled in.
    pub measure: MeasureRequest,
    /// `None` for measures of the weights alone.
    pub group: Option<String>,
    chosen: usize,
    groups: std::ops::Range<usize>,
}

/// One snapshot in the engine. Readings come out one at a time, so that the caller can time them and stop between.
pub struct Session<'e> {
    engine: &'e Engine,
    plan: Arc<Plan>,
    at: SnapshotRef,
    holder: Box<dyn Holder>,
    memos: HashMap<(usize, usize), Memo>,
}

impl Engine {
    /// An engine on the CPU; the numbers do not depend on `threads`.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when the system gives no threads.
    pub fn new(threads: usize) -> Result<Self, Fault> {
        let name = |i| format!("clino-cpu-{i}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(name);
        let pool = pool.stack_size(STACK_BYTES).build();
        Ok(Self { pool: pool.map_err(|error| Fault::internal(format!("no threads: {error}")))? })
    }

    /// Threads, and the vectors in which they compute.
    pub fn description(&self) -> String {
        format!("{} threads, {} vectors", self.pool.current_num_threads(), super::device::widest::name())
    }

    /// Runs `work` on the threads of the engine.
    pub(super) fn install<A: Send>(&self, work: impl FnOnce() -> A + Send) -> A {
        self.pool.install(work)
    }

    /// A tiny computation with a known answer, on the threads that will do the work.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when the answer is wrong.
    pub fn self_check(&self) -> Result<(), Fault> {
        let words = self.pool.install(|| super::noise::philox([0; 4], [0; 2]));
        let rows = [1.0f64, 2.0, 3.0];
        let loss = self.pool.install(|| super::landscape::cross_entropy(&rows, 2));
        if words[0] == 0x6627_E8D5 && (loss - 0.407_605_964_444_380_1).abs() < 1e-12 {
            return Ok(());
        }
        Err(Fault::internal(format!("the engine computes {words:?} and {loss}")))
    }

    /// Takes up a snapshot of an admitted run.
    ///
    /// # Errors
    /// Those of [`crate::domain::Layout::arrange`].
    pub fn take(&self, run: &Admitted, seed: u64, arrived: Arrived) -> Result<Session<'_>, Fault> {
        let plan = Plan::of(run)?;
        let (at, threads) = (arrived.snapshot.header().at, self.pool.current_num_threads());
        let network = plan.network.clone();
        let hold = || -> Result<Box<dyn Holder>, Fault> {
            Ok(match plan.precision {
                Precision::F32 => Box::new(Held::<f32>::new(&*network, arrived, seed, threads)?),
                _ => Box::new(Held::<f64>::new(&*network, arrived, seed, threads)?),
            })
        };
        let holder = self.pool.install(hold)?;
        Ok(Session { engine: self, plan, at, holder, memos: HashMap::new() })
    }
}

/// A snapshot in one of the two precisions.
trait Holder: Send {
    fn non_finite(&self) -> Option<(usize, &str)>;
    fn measure(&mut self, work: Work<'_>) -> Result<Findings, Shortfall>;
}

/// One measure on one landscape.
struct Work<'a> {
    plan: &'a Plan,
    task: &'a Task,
    memo: &'a mut Memo,
    hints: &'a mut Hints,
    stop: &'a Stop,
}

struct Held<T> {
    snapped: Snapped<T>,
    crew: Crew<T>,
}

impl<T: Passes> Held<T> {
    fn new(network: &dyn Network, arrived: Arrived, seed: u64, threads: usize) -> Result<Self, Fault> {
        let Arrived { snapshot, references, statistics } = arrived;
        let weights = Weights::new(network.layout(), snapshot, &references, statistics)?;
        let (classes, noise) = (network.classes(), Default::default());
        let snapped = Snapped { weights, classes, seed, noise };
        Ok(Self { snapped, crew: Crew::new(network, threads) })
    }
}

impl<T: Passes> Holder for Held<T> {
    fn non_finite(&self) -> Option<(usize, &str)> {
        self.snapped.weights.non_finite()
    }

    fn measure(&mut self, work: Work<'_>) -> Result<Findings, Shortfall> {
        let groups = &work.plan.groups[work.task.groups.clone()];
        let batches = groups.iter().flat_map(|group| &group.batches).collect();
        let mut model = Model { snapped: &self.snapped, batches, crew: &mut self.crew, stop: work.stop };
        let group = work.task.group.clone().unwrap_or_default();
        let mut scope = Scope { landscape: &mut model, memo: work.memo, hints: work.hints, group };
        work.plan.measures[work.task.chosen].measure(&mut scope)
    }
}

impl Session<'_> {
    /// All readings to be made, cheapest measure first; each on the weights alone, or on every group and pooled.
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let all = 0..self.plan.groups.len();
        for (chosen, measure) in self.plan.measures.iter().enumerate() {
            let task = |group: Option<&str>, groups: std::ops::Range<usize>| Task {
                measure: measure.request(),
                group: group.map(str::to_owned),
                chosen,
                groups,
            };
            if !measure.needs().probe {
                tasks.push(task(None, 0..0));
                continue;
            }
            tasks.extend(self.plan.groups.iter().enumerate().map(|(i, g)| task(Some(&g.name), i..i + 1)));
            tasks.push(task(Some(POOLED), all.clone()));
        }
        tasks
    }

    /// Makes one reading (its `seconds` are left at zero). What cannot be computed is told in the reading; a fault is
    /// only for a stop.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when `stop` was raised.
    pub fn measure(&mut self, task: &Task, hints: &mut Hints, stop: &Stop) -> Result<Reading, Fault> {
        stop.check()?;
        let known = self.joined_outputs(&task.groups);
        // Keyed by the groups themselves: with a single group, it and the pooled one share everything.
        let memo = self.memos.entry((task.groups.start, task.groups.end)).or_default();
        memo.outputs = memo.outputs.take().or(known);
        let found = match self.holder.non_finite() {
            Some((count, first)) => {
                let total = self.plan.network.layout().total();
                let reason =
                    format!("{count} of {total} parameters not finite, the first of them in {first}");
                Err(Shortfall::Undefined(reason))
            }
            None => {
                let work = Work { plan: &self.plan, task, memo, hints, stop };
                self.engine.pool.install(|| self.holder.measure(work))
            }
        };
        let blank = blank(task, self.at, self.plan.precision);
        match found.and_then(Findings::settled) {
            Ok(findings) => Ok(filled(blank, findings)),
            Err(Shortfall::Undefined(reason)) => {
                Ok(Reading { outcome: Outcome::Undefined, reason: Some(reason), ..blank })
            }
            Err(Shortfall::Unavailable(reason)) => {
                Ok(Reading { outcome: Outcome::Unavailable, reason: Some(reason), ..blank })
            }
            Err(Shortfall::Fault(fault)) if fault.kind == FaultKind::Cancelled => Err(fault),
            Err(Shortfall::Fault(fault)) => {
                Ok(Reading { outcome: Outcome::Failed, reason: Some(fault.message), ..blank })
            }
        }
    }

    /// The base forward of several groups together, when each of them has had its own.
    fn joined_outputs(&self, groups: &std::ops::Range<usize>) -> Option<Arc<Outputs>> {
        let parts = groups.clone().map(|i| self.memos.get(&(i, i + 1))?.outputs.as_deref());
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let mut joined = Outputs { classes: parts.first()?.classes, ..Outputs::default() };
        for part in parts {
            joined.logits.extend(&part.logits);
            joined.labels.extend(&part.labels);
        }
        Some(Arc::new(joined))
    }

    /// A reading that says why nothing could be said: for the caller that caught a panic or a fault.
    pub fn failed(&self, task: &Task, reason: String) -> Reading {
        let blank = blank(task, self.at, self.plan.precision);
        Reading { outcome: Outcome::Failed, reason: Some(reason), ..blank }
    }
}

fn blank(task: &Task, snapshot: SnapshotRef, precision: Precision) -> Reading {
    Reading {
        measure: task.measure.name.clone(),
        parameters: task.measure.parameters.clone(),
        group: task.group.clone(),
        snapshot,
        outcome: Outcome::Measured,
        value: None,
        draws: Vec::new(),
        estimate: None,
        parts: Vec::new(),
        tensors: Vec::new(),
        rungs: Vec::new(),
        reason: None,
        seconds: 0.0,
        precision,
    }
}

fn filled(blank: Reading, findings: Findings) -> Reading {
    let Findings { value, draws, parts, tensors, rungs } = findings;
    Reading { value, estimate: Estimate::of(&draws), draws, parts, tensors, rungs, ..blank }
}
