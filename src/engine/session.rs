//! One snapshot in the engine: from its bytes to readings, one at a time.
//!
//! Owns: the device (a pool of threads), the workers, the order of readings. May not touch: time and channels; whoever
//! calls does the timing.

use super::backend::host::Host;
use super::check::{Check, Speed};
use super::device::cuda::{Accelerated, Gpus, MISSING};
use super::examine::Device;
use super::holder::{Held, Holder, Order, Refused, Taken};
use super::measure::{Findings, Shortfall};
use super::model::Crew;
use super::model_check::compare;
use super::outputs::Outputs;
use super::plan::Plan;
use super::scope::{Hints, Memo};
use super::stop::Stop;
use super::weights::{Snapped, Weights};
use crate::domain::reading::POOLED;
use crate::domain::{
    Admitted, Devices, Fault, FaultKind, MeasureRequest, ModelCheck, ModelChecked, Outcome, Place, Precision,
    Reading, References, Snapshot, SnapshotRef, Statistics, Work,
};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Stack of the threads of the pool: deep enough for any layer's arithmetic.
const STACK_BYTES: usize = 8 << 20;

/// Owner of the device: on the CPU, a pool of threads. One named thread of the pipeline owns it.
pub struct Engine {
    pool: rayon::ThreadPool,
    gpus: Arc<Gpus>,
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
    /// Which of the run's measures it is.
    pub chosen: usize,
    /// Work that is planned, on one group.
    pub work: Work,
    /// Work that will be done on its groups, less what these have done before for themselves; in forwards and backwards
    /// over all examples of the probe.
    pub expected: Work,
    /// Floating-point operations that are planned, roughly: for a guess at its time.
    pub operations: f64,
    groups: Range<usize>,
}

impl Task {
    /// Indices of its groups.
    pub(super) fn groups(&self) -> Range<usize> {
        self.groups.clone()
    }
}

/// What a reading must keep to.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Ends it early.
    pub stop: &'a Stop,
    /// Seconds since it began, for draws that end by time.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
}

/// A snapshot on a device.
pub(super) struct Placed {
    /// Itself; `None` where no device may hold it.
    pub holder: Option<Box<dyn Holder>>,
    /// Why it is not on a GPU though there are some, or should be.
    pub instead: Option<String>,
    /// Whether its parameters were on the GPUs before it was taken up.
    pub carried: bool,
}

/// One snapshot in the engine. Readings come out one at a time, so that the caller can time them and stop between.
pub struct Session<'e> {
    engine: &'e Engine,
    plan: Arc<Plan>,
    at: SnapshotRef,
    /// `None` while it moves, and where no device may hold it.
    holder: Option<Box<dyn Holder>>,
    /// Why it is not on a GPU though there are some, or should be.
    instead: Option<String>,
    /// Whether its parameters were on the GPUs before it was taken up.
    pub carried: bool,
    memos: HashMap<(usize, usize), Memo>,
    /// By measure and groups: with a single group, the pooled one is the same.
    found: HashMap<(usize, usize, usize), Result<Findings, Shortfall>>,
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
        let pool = pool.map_err(|error| Fault::internal(format!("no threads: {error}")))?;
        Ok(Self { pool, gpus: Arc::default() })
    }

    /// Whether this build can compute at a place at all; whether the machine can is told when the engine opens there.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming `device` for a GPU in a build without GPUs.
    pub fn check(place: &Place) -> Result<(), Fault> {
        match (&place.devices, MISSING) {
            (Devices::Cuda(_), Some(missing)) => {
                Err(Fault::invalid("device", format!("found {}, but {missing}", place.devices)))
            }
            _ => Ok(()),
        }
    }

    /// An engine at a place; the second value says why it is on the CPU after all, when that was left to it.
    ///
    /// # Errors
    /// Those of [`Engine::check`] and [`Engine::new`], and [`FaultKind::Unavailable`] when a GPU that was named cannot be used.
    pub fn open(place: &Place) -> Result<(Self, Option<String>), Fault> {
        Self::check(place)?;
        let mut engine = Self::new(place.threads)?;
        match &place.devices {
            Devices::Cpu => {}
            Devices::Cuda(ordinals) => engine.gpus = Arc::new(Gpus::open(ordinals, &place.libraries)?),
            Devices::Auto => match Gpus::open(&[0], &place.libraries) {
                Ok(gpus) => engine.gpus = Arc::new(gpus),
                Err(fault) => return Ok((engine, Some(fault.message))),
            },
        }
        Ok((engine, None))
    }

    /// GPUs if there are any, threads, and the vectors in which they compute.
    pub fn description(&self) -> String {
        let threads = self.pool.current_num_threads();
        let cpu = format!("{threads} threads, {} vectors", super::device::widest::name());
        self.gpus.description().map_or(cpu.clone(), |gpus| format!("{gpus}; {cpu}"))
    }

    /// Holds every kernel of the GPUs against the CPU.
    ///
    /// # Errors
    /// A GPU that fails.
    pub fn check_kernels(&self) -> Result<Vec<Check>, Fault> {
        self.pool.install(|| self.gpus.check())
    }

    /// Times the kernels of the first GPU on so many elements; `clock` tells seconds.
    ///
    /// # Errors
    /// A GPU that fails.
    pub fn kernel_speeds(
        &self,
        elements: usize,
        clock: &(dyn Fn() -> f64 + Sync),
    ) -> Result<Vec<Speed>, Fault> {
        self.pool.install(|| self.gpus.speeds(elements, &|| clock()))
    }

    /// What a report of an error should name of each GPU.
    pub fn gpu_details(&self) -> Vec<String> {
        self.gpus.details()
    }

    /// GPUs that failed for good.
    pub fn lost(&self) -> Vec<String> {
        self.gpus.lost()
    }

    /// Its GPUs; `None` on the CPU.
    pub fn device(&self) -> Option<Device> {
        Some(Device { gpus: self.gpus.clone(), room: self.gpus.room()? })
    }

    /// Brings a snapshot to the GPUs, or to the CPU where there are none or it does not fit; then with the reason.
    /// `carried` is the number under which its parameters are there already.
    pub(super) fn hold<T: Accelerated>(
        &self,
        plan: &Plan,
        snapped: Snapped<T>,
        carried: Option<u64>,
    ) -> Placed {
        if self.gpus.description().is_none() && !plan.gpu_only {
            return self.hold_on_cpu(plan, snapped, None);
        }
        match self.gpus.hold(plan, snapped, carried) {
            Ok(Taken { holder, carried }) => Placed { holder: Some(holder), instead: None, carried },
            Err(refused) => {
                let Refused { fault, snapped } = *refused;
                self.hold_on_cpu(plan, snapped, Some(fault.message))
            }
        }
    }

    /// Holds a snapshot on the CPU, though there are GPUs if `instead` says why.
    pub(super) fn hold_on_cpu<T: Accelerated>(
        &self,
        plan: &Plan,
        snapped: Snapped<T>,
        instead: Option<String>,
    ) -> Placed {
        if plan.gpu_only {
            let reason = instead.unwrap_or_else(|| "there is no GPU".into());
            return Placed {
                holder: None,
                instead: Some(format!("{reason}; the run is for GPUs only")),
                carried: false,
            };
        }
        let crew = Crew::<Host<T>>::new(plan.network.clone(), self.pool.current_num_threads());
        Placed { holder: Some(Box::new(Held::new(snapped, crew))), instead, carried: false }
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
        let loss = self.pool.install(|| super::outputs::cross_entropy(&rows, 2));
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
        let at = arrived.snapshot.header().at;
        let Placed { holder, instead, carried } = self.pool.install(|| match plan.precision {
            Precision::F32 => self.convert::<f32>(&plan, arrived, seed),
            _ => self.convert::<f64>(&plan, arrived, seed),
        })?;
        let (memos, found) = Default::default();
        Ok(Session { engine: self, plan, at, holder, instead, carried, memos, found })
    }

    fn convert<T: Accelerated>(&self, plan: &Plan, arrived: Arrived, seed: u64) -> Result<Placed, Fault> {
        let Arrived { snapshot, references, statistics } = arrived;
        let carried = statistics.as_ref().and_then(|statistics| statistics.carried);
        let weights = Weights::<T>::new(plan.network.layout(), snapshot, &references, statistics)?;
        // What no measure looks into is given back.
        let references = if plan.elements { references } else { References::default() };
        let snapped = Snapped::<T>::new(weights, plan.network.classes(), seed, references);
        Ok(self.hold(plan, snapped, carried))
    }
}

impl Session<'_> {
    /// Why the snapshot is not on a GPU though there are some, or should be.
    pub fn instead(&self) -> Option<&str> {
        self.instead.as_deref()
    }

    /// All readings to be made, cheapest measure first; each on the weights alone, or on every group and pooled. Cheap
    /// measures that lean on the gradient at w0 go together, group by group, while it is kept.
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let together: Vec<usize> = (0..self.plan.measures.len()).filter(|i| self.plan.leaning[*i]).collect();
        for chosen in 0..self.plan.measures.len() {
            if !self.plan.measures[chosen].needs().probe {
                tasks.push(self.task(chosen, None, 0..0));
            } else if !self.plan.leaning[chosen] {
                tasks.extend(self.groups().map(|(name, groups)| self.task(chosen, Some(name), groups)));
            } else if together.first() == Some(&chosen) {
                let all = self.groups().flat_map(|group| together.iter().map(move |i| (*i, group.clone())));
                tasks.extend(all.map(|(i, (name, groups))| self.task(i, Some(name), groups)));
            }
        }
        tasks
    }

    /// Every group, and all of them.
    fn groups(&self) -> impl Iterator<Item = (&str, Range<usize>)> + '_ {
        let own = self.plan.groups.iter().enumerate().map(|(i, group)| (group.name.as_str(), i..i + 1));
        own.chain([(POOLED, 0..self.plan.groups.len())])
    }

    fn task(&self, chosen: usize, group: Option<&str>, groups: Range<usize>) -> Task {
        let (work, operations) = (self.plan.works[chosen], self.plan.operations(chosen, &groups));
        let measure = self.plan.measures[chosen].request();
        let expected = self.plan.expected(chosen, &groups, group == Some(POOLED));
        Task { measure, group: group.map(str::to_owned), chosen, work, expected, operations, groups }
    }

    /// Holds what the trainer's own model says of a few rows against the configuration; `None` where there is nothing to
    /// compare, such as losses that are not finite. Readings cost what they cost without it.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when a stop was raised; a device that fails.
    pub fn check(&mut self, check: &ModelCheck, stop: &Stop) -> Result<Option<ModelChecked>, Fault> {
        let group = self.plan.groups.iter().position(|group| group.name == check.group);
        let (Some(group), Some(holder)) = (group, &mut self.holder) else { return Ok(None) };
        if holder.non_finite().is_some() {
            return Ok(None);
        }
        let rows: Vec<usize> = check.rows.iter().map(|row| *row as usize).collect();
        let (pool, plan) = (&self.engine.pool, &self.plan);
        match pool.install(|| holder.rows(plan, group, &rows, stop)) {
            Ok(outputs) => Ok(compare(check, &outputs, plan.precision, self.at)),
            Err(fault) => {
                self.move_on(fault.kind);
                Err(fault)
            }
        }
    }

    /// Makes one reading (its `seconds` are left at zero). What cannot be computed is told in the reading; a fault is
    /// only for a stop.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when a stop was raised.
    pub fn measure(&mut self, task: &Task, hints: &mut Hints, limits: Limits<'_>) -> Result<Reading, Fault> {
        limits.stop.check()?;
        let key = (task.chosen, task.groups.start, task.groups.end);
        let known = self.found.get(&key).cloned();
        let found = match known {
            Some(found) => found,
            None => self.find(task, hints, limits).and_then(Findings::settled),
        };
        let examples = self.plan.examples(&task.groups);
        let work = self.holder.as_ref().map_or(Work::default(), |holder| holder.work(examples));
        if let Err(Shortfall::Fault(fault)) = &found {
            self.move_on(fault.kind);
        }
        let blank = Reading { work, ..self.blank(task) };
        if let Err(Shortfall::Fault(fault)) = &found
            && fault.kind == FaultKind::Cancelled
        {
            return Err(fault.clone());
        }
        // What failed is tried again, as it may be on another device then.
        let settled = !matches!(found, Err(Shortfall::Fault(_)));
        if settled && self.plan.groups.len() == 1 && task.group.is_some() {
            self.found.entry(key).or_insert_with(|| found.clone());
        }
        Ok(match found {
            Ok(findings) => filled(blank, findings),
            Err(Shortfall::Undefined(reason)) => {
                Reading { outcome: Outcome::Undefined, reason: Some(reason), ..blank }
            }
            Err(Shortfall::Unavailable(reason)) => {
                Reading { outcome: Outcome::Unavailable, reason: Some(reason), ..blank }
            }
            Err(Shortfall::Fault(fault)) => {
                Reading { outcome: Outcome::Failed, reason: Some(fault.message), ..blank }
            }
        })
    }

    fn find(&mut self, task: &Task, hints: &mut Hints, limits: Limits<'_>) -> Result<Findings, Shortfall> {
        let Some(holder) = &mut self.holder else {
            let reason = self.instead.clone().unwrap_or_else(|| "no device holds the snapshot".into());
            return Err(Shortfall::Unavailable(reason));
        };
        if let Some((count, first)) = holder.non_finite() {
            let total = self.plan.network.layout().total();
            let reason = format!("{count} of {total} parameters not finite, the first of them in {first}");
            return Err(Shortfall::Undefined(reason));
        }
        // Keyed by the groups themselves: with a single group, it and the pooled one share everything.
        let key = (task.groups.start, task.groups.end);
        if task.groups.len() > 1 {
            let joined = joined(&self.memos, &task.groups).unwrap_or_default();
            let memo = self.memos.entry(key).or_default();
            memo.outputs = memo.outputs.take().or(joined.outputs);
            memo.squares.extend(joined.squares);
        }
        let memo = self.memos.entry(key).or_default();
        let order = Order { plan: &self.plan, task, memo, hints, limits };
        self.engine.pool.install(|| holder.measure(order))
    }

    /// Leaves a device that failed: for the next one, or where there is no memory, for the CPU.
    fn move_on(&mut self, failure: FaultKind) {
        let to_cpu = match failure {
            FaultKind::Unavailable => false,
            FaultKind::Exhausted => true,
            _ => return,
        };
        if let Some(holder) = self.holder.take() {
            let (engine, plan) = (self.engine, &self.plan);
            let Placed { holder, instead, .. } = engine.pool.install(|| holder.move_on(engine, plan, to_cpu));
            (self.holder, self.instead) = (holder, instead);
        }
    }

    /// A reading that says why there is none: for the caller that caught a panic or a fault, or skips it.
    pub fn without(&self, task: &Task, outcome: Outcome, reason: String) -> Reading {
        Reading { outcome, reason: Some(reason), ..self.blank(task) }
    }

    fn blank(&self, task: &Task) -> Reading {
        Reading::blank(task.measure.clone(), task.group.as_deref(), self.at, self.plan.precision)
    }
}

/// What the groups of a pooled one have found by themselves, when each of them has had its forward.
fn joined(memos: &HashMap<(usize, usize), Memo>, groups: &Range<usize>) -> Option<Memo> {
    let parts = groups.clone().map(|i| memos.get(&(i, i + 1)));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let outputs = parts.iter().map(|memo| memo.outputs.as_deref()).collect::<Option<Vec<_>>>()?;
    let mut joined = Outputs { classes: outputs.first()?.classes, ..Outputs::default() };
    let mut squares = HashMap::new();
    for (part, memo) in outputs.into_iter().zip(parts) {
        let first = joined.labels.len();
        let moved =
            memo.squares.iter().map(|((example, label), square)| ((first + example, *label), *square));
        squares.extend(moved);
        joined.logits.extend(&part.logits);
        joined.labels.extend(&part.labels);
    }
    Some(Memo { outputs: Some(Arc::new(joined)), squares, ..Memo::default() })
}

fn filled(blank: Reading, findings: Findings) -> Reading {
    let (estimate, interval) = (findings.estimate(), findings.interval());
    let Findings { value, draws, ended, parts, tensors, rungs, runs, surface, remark, undetermined, .. } =
        findings;
    let outcome = if undetermined.is_some() { Outcome::Undefined } else { blank.outcome };
    let found = Reading { value, draws, estimate, interval, ended, parts, tensors, rungs, ..blank };
    Reading { runs, surface, remark, outcome, reason: undetermined, ..found }
}
