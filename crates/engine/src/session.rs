//! One snapshot in the engine: from its bytes to readings, one at a time.
//!
//! Owns: the order of readings, what they share. May not touch: time and channels; the caller does the timing.

use crate::engine::{Arrived, Engine};
use crate::measure::{Findings, MeasureError};
use crate::model_check::compare;
use crate::outputs::Outputs;
use crate::placement::Placement;
use crate::plan::PreparedRun;
use crate::resident::{MeasureJob, Resident};
use crate::scope::{Hints, SharedCache};
use crate::task::{Limits, Task};
use clino_domain::reading::POOLED;
use clino_domain::{
    Checkpoint, Fault, FaultKind, ModelCheck, ModelChecked, Outcome, Reading, SnapshotRef, ValidatedRun, Work,
};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// One snapshot in the engine. Readings come out one at a time, so that the caller can time them and stop between.
pub struct Session<'e> {
    engine: &'e Engine,
    plan: Arc<PreparedRun>,
    at: SnapshotRef,
    /// `None` while it moves, and where no device may hold it.
    resident: Option<Box<dyn Resident>>,
    /// Why it is not on a GPU though there are some, or should be.
    instead: Option<String>,
    /// Whether its parameters were on the GPUs before it was taken up.
    pub carried: bool,
    memos: HashMap<(usize, usize), SharedCache>,
    /// By measure and groups: with a single group, the pooled one is the same.
    found: HashMap<(usize, usize, usize), Result<Findings, MeasureError>>,
}

impl Engine {
    /// Takes up a snapshot of a validated run.
    ///
    /// # Errors
    /// Those of [`clino_domain::Layout::arrange`].
    pub fn take(&self, run: &ValidatedRun, seed: u64, arrived: Arrived) -> Result<Session<'_>, Fault> {
        let plan = PreparedRun::of(run)?;
        let at = arrived.snapshot.header().at;
        let Placement { resident, instead, carried } = self.place(&plan, arrived, seed)?;
        Ok(Session {
            engine: self,
            plan,
            at,
            resident,
            instead,
            carried,
            memos: HashMap::new(),
            found: HashMap::new(),
        })
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
        let work = self.plan.works[chosen];
        let operations = self.plan.operations(chosen, &groups);
        let measure = self.plan.measures[chosen].request();
        let expected = self.plan.expected(chosen, &groups, group == Some(POOLED));
        Task { measure, group: group.map(str::to_owned), chosen, work, expected, operations, groups }
    }

    /// Holds what the trainer's own model says of a few rows against the configuration; `None` where there is nothing to
    /// compare, such as losses that are not finite. Readings cost what they cost without it.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when a stop was raised; a device that fails.
    pub fn check(
        &mut self,
        check: &ModelCheck,
        stop: &dyn Checkpoint,
    ) -> Result<Option<ModelChecked>, Fault> {
        let group = self.plan.groups.iter().position(|group| group.name == check.group);
        let (Some(group), Some(resident)) = (group, &mut self.resident) else { return Ok(None) };
        if resident.non_finite().is_some() {
            return Ok(None);
        }
        let rows: Vec<usize> = check.rows.iter().map(|row| *row as usize).collect();
        let plan = &self.plan;
        match self.engine.install(|| resident.rows(plan, group, &rows, stop)) {
            Ok(found) => Ok(compare(check, &found, plan, self.at)),
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
        let work = self.resident.as_ref().map_or(Work::default(), |resident| resident.work(examples));
        if let Err(MeasureError::Fault(fault)) = &found {
            self.move_on(fault.kind);
        }
        let blank = Reading { work, ..self.blank(task) };
        if let Err(MeasureError::Fault(fault)) = &found
            && fault.kind == FaultKind::Cancelled
        {
            return Err(fault.clone());
        }
        // What failed is tried again, as it may be on another device then.
        let settled = !matches!(found, Err(MeasureError::Fault(_)));
        if settled && self.plan.groups.len() == 1 && task.group.is_some() {
            self.found.entry(key).or_insert_with(|| found.clone());
        }
        Ok(match found {
            Ok(findings) => filled(blank, findings),
            Err(MeasureError::Undefined(reason)) => {
                Reading { outcome: Outcome::Undefined, reason: Some(reason), ..blank }
            }
            Err(MeasureError::Unavailable(reason)) => {
                Reading { outcome: Outcome::Unavailable, reason: Some(reason), ..blank }
            }
            Err(MeasureError::Fault(fault)) => {
                Reading { outcome: Outcome::Failed, reason: Some(fault.message), ..blank }
            }
        })
    }

    fn find(&mut self, task: &Task, hints: &mut Hints, limits: Limits<'_>) -> Result<Findings, MeasureError> {
        if let Some(reason) = &self.plan.left_out[task.chosen] {
            return Err(MeasureError::Unavailable(reason.clone()));
        }
        let Some(resident) = &mut self.resident else {
            let reason = self.instead.clone().unwrap_or_else(|| "no device holds the snapshot".into());
            return Err(MeasureError::Unavailable(reason));
        };
        if let Some((count, first)) = resident.non_finite() {
            let total = self.plan.network.layout().total();
            let reason = format!("{count} of {total} parameters are not finite, the first in {first}");
            return Err(MeasureError::Undefined(reason));
        }
        // Keyed by the groups themselves: with a single group, it and the pooled one share everything.
        let key = (task.groups.start, task.groups.end);
        if task.groups.len() > 1 {
            let missing = self.memos.get(&key).is_none_or(|cache| cache.outputs.is_none());
            let joined = joined(&self.memos, &task.groups, missing).unwrap_or_default();
            let cache = self.memos.entry(key).or_default();
            cache.outputs = cache.outputs.take().or(joined.outputs);
            cache.squares.extend(joined.squares);
        }
        let cache = self.memos.entry(key).or_default();
        let order = MeasureJob { plan: &self.plan, task, cache, hints, limits };
        self.engine.install(|| resident.measure(order))
    }

    /// Leaves a device that failed: for the next one, or where there is no memory, for the CPU.
    fn move_on(&mut self, failure: FaultKind) {
        let to_cpu = match failure {
            FaultKind::Unavailable => false,
            FaultKind::Exhausted => true,
            _ => return,
        };
        if let Some(resident) = self.resident.take() {
            let placement = self.engine.place_again(&self.plan, resident.into_snapshot(), to_cpu);
            self.resident = placement.resident;
            self.instead = placement.instead;
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

/// What the groups of a pooled one have found by themselves, when each of them has had its forward; their scores if they
/// are missing there.
fn joined(
    memos: &HashMap<(usize, usize), SharedCache>,
    groups: &Range<usize>,
    missing: bool,
) -> Option<SharedCache> {
    let parts = groups.clone().map(|i| memos.get(&(i, i + 1)));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let outputs = parts.iter().map(|cache| cache.outputs.as_deref()).collect::<Option<Vec<_>>>()?;
    let units = outputs.iter().map(|part| part.units.len()).sum();
    let mut joined = Outputs::with_room(if missing { units } else { 0 }, outputs.first()?.scores.is_some());
    let mut squares = HashMap::new();
    let mut first = 0;
    for (part, cache) in outputs.into_iter().zip(parts) {
        let moved =
            cache.squares.iter().map(|((example, label), square)| ((first + example, *label), *square));
        squares.extend(moved);
        first += part.units.len();
        if missing {
            joined.append(part);
        }
    }
    let outputs = missing.then(|| Arc::new(joined));
    Some(SharedCache { outputs, squares, ..SharedCache::default() })
}

fn filled(blank: Reading, findings: Findings) -> Reading {
    let estimate = findings.estimate();
    let interval = findings.interval();
    let Findings { value, draws, ended, parts, tensors, rungs, runs, surface, remark, undetermined, .. } =
        findings;
    let outcome = if undetermined.is_some() { Outcome::Undefined } else { blank.outcome };
    let found = Reading { value, draws, estimate, interval, ended, parts, tensors, rungs, ..blank };
    Reading { runs, surface, remark, outcome, reason: undetermined, ..found }
}
