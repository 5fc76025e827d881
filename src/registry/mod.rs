//! Runs: opened, looked up, closed; their snapshots from announcement to the engine's hand.
//!
//! Owns: identity, attempts, idempotency, references, the waiting slot of each run, whose turn it is.
//! May not touch: bytes on the wire, how anything is measured.

mod closing;
mod due;
mod examination;
mod fingerprint;
mod idempotency;
mod probes;
mod resume;
mod run;
mod run_counts;
mod snapshots;
#[cfg(test)]
mod tests;

pub use due::{DueRun, DueSnapshot};
pub use examination::Opened;
pub use probes::{ProbeStore, probe_digest};
pub use run::RegisteredRun;
pub use run_counts::RunCounts;
pub use snapshots::{Admission, RepeatedUpload, Room, Upload};

use clino_domain::counters::{Counter, Counters};
use clino_domain::graph::ModelReader;
use clino_domain::metrics::Metric;
use clino_domain::quota::{Quota, Unlimited};
use clino_domain::{
    Admitted, DecisionContext, Event, Fault, FaultKind, Journal, MeasureInfo, MeasureRequest, Memory, Policy,
    PolicyCompiler, PolicyEvaluator, RuleInfo, RunId, RunSpec, RunValidator, Vault,
};
use examination::Examined;
use fingerprint::{digests, fingerprint};
use run::RunStatus;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

/// All runs that the daemon holds.
pub struct Registry {
    validator: Arc<dyn RunValidator>,
    compiler: Arc<dyn PolicyCompiler>,
    journal: Arc<dyn Journal>,
    counters: Arc<Counters>,
    /// Where the runs of earlier processes are read back from.
    vault: Option<Arc<dyn Vault>>,
    /// How their models are read.
    models: ModelReader,
    quota: Arc<dyn Quota>,
    /// What runs take while they are open.
    memory: Memory,
    catalogue: Vec<MeasureInfo>,
    /// Most runs; beyond it the oldest closed one is forgotten.
    most_runs: usize,
    inner: Mutex<RegistryState>,
    /// Woken when a snapshot is due or should end, or when no more come.
    engine: OnceLock<Thread>,
}

fn group_names(spec: &RunSpec) -> Vec<String> {
    spec.groups.iter().map(|group| group.name.clone()).collect()
}

#[derive(Default)]
struct RegistryState {
    runs: HashMap<RunId, RunEntry>,
    /// Ids of the runs, oldest first.
    order: Vec<RunId>,
    /// By project and key: what others chose is nobody's business.
    keys: HashMap<(String, String), RunId>,
    /// Runs with a waiting snapshot, in the order of their turns.
    ready: VecDeque<RunId>,
    stopped: bool,
}

struct RunEntry {
    run: Arc<RegisteredRun>,
    state: RunStatus,
    /// Its memory, while it is open or measured.
    admitted: Option<Admitted>,
}

impl RegistryState {
    fn entry(&mut self, run: &RunId) -> Result<&mut RunEntry, Fault> {
        self.runs.get_mut(run).ok_or_else(Fault::unknown_run)
    }
}

impl Registry {
    /// An empty registry of at most `most_runs` runs.
    pub fn new(
        validator: Arc<dyn RunValidator>,
        compiler: Arc<dyn PolicyCompiler>,
        journal: Arc<dyn Journal>,
        counters: Arc<Counters>,
        most_runs: usize,
    ) -> Self {
        let catalogue = validator.catalogue();
        let inner = Mutex::default();
        Self {
            validator,
            compiler,
            journal,
            counters,
            vault: None,
            models: |_| Err(Fault::internal("nobody reads models here")),
            quota: Arc::new(Unlimited),
            memory: Memory::unlimited(),
            catalogue,
            most_runs,
            inner,
            engine: OnceLock::new(),
        }
    }

    /// Reads models of runs of an earlier process by `models`.
    pub fn reading_models(self, models: ModelReader) -> Self {
        Self { models, ..self }
    }

    /// With limits by project.
    pub fn limited(self, quota: Arc<dyn Quota>) -> Self {
        Self { quota, ..self }
    }

    /// With memory that runs are admitted to.
    pub fn within(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// The memory that runs are admitted to, of which measuring takes some.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every measure that a run can ask for.
    pub fn catalogue(&self) -> &[MeasureInfo] {
        &self.catalogue
    }

    /// Every rule that a policy can have.
    pub fn rules(&self) -> Vec<RuleInfo> {
        self.compiler.rules()
    }

    /// Opens a run, or finds the one that the same key opened with the same content. Examines the specification, which may
    /// take a while: not for an asynchronous thread.
    ///
    /// # Errors
    /// Those of the validator; [`FaultKind::Exists`] when the key opened a run with other content;
    /// [`FaultKind::Exhausted`] when all runs that fit are open, or its memory does not fit beside that of others;
    /// [`FaultKind::Quota`] when the project has as many as it may; those of [`Journal::room`].
    pub fn open(&self, key: &str, spec: RunSpec) -> Result<Opened, Fault> {
        let digests = digests(&spec);
        let print = fingerprint(&spec, &digests);
        let keyed = (spec.label.project.clone(), key.to_owned());
        if let Some(run) = self.find_or_check(&keyed, &print)? {
            return self.found(run, &spec);
        }
        self.journal.room()?;
        let Examined { validated, admitted } = self.examine(&spec)?;
        let evaluator = self.evaluator(spec.policy.as_ref(), &validated.measures, &group_names(&spec))?;
        let record = run::record((key.to_owned(), print), &spec, digests, &validated, evaluator.as_deref());
        let run = Arc::new(RegisteredRun::of(&record, evaluator));
        run.set_validated(Some(validated.clone()));
        let mut inner = self.lock();
        // The same request may have come twice at once.
        if let Some(run) = self.find(&inner, &keyed, &run.fingerprint)? {
            drop(inner);
            return self.found(run, &spec);
        }
        self.check_quota(&inner, &keyed.0)?;
        self.make_room(&mut inner)?;
        inner.keys.insert(keyed, run.id.clone());
        inner.order.push(run.id.clone());
        let entry = RunEntry { run: run.clone(), state: RunStatus::default(), admitted: Some(admitted) };
        inner.runs.insert(run.id.clone(), entry);
        let context = DecisionContext { label: run.label.clone(), evaluator: run.evaluator.clone() };
        self.journal.open(record, context);
        self.counters.count(Counter::RunOpened);
        self.counters.metrics.one(Metric::RunsOpened, &[&run.label.project]);
        Ok(Opened::new(run, validated))
    }

    /// The run that a key opened before; or whether the project may open another.
    fn find_or_check(
        &self,
        keyed: &(String, String),
        print: &str,
    ) -> Result<Option<Arc<RegisteredRun>>, Fault> {
        let inner = self.lock();
        let found = self.find(&inner, keyed, print)?;
        if found.is_none() {
            self.check_quota(&inner, &keyed.0)?;
        }
        Ok(found)
    }

    /// What decides on a run that measures these on these groups.
    fn evaluator(
        &self,
        policy: Option<&Policy>,
        measures: &[MeasureRequest],
        groups: &[String],
    ) -> Result<Option<Arc<dyn PolicyEvaluator>>, Fault> {
        policy.map(|policy| self.compiler.compile(policy, measures, groups)).transpose()
    }

    fn find(
        &self,
        inner: &RegistryState,
        key: &(String, String),
        print: &str,
    ) -> Result<Option<Arc<RegisteredRun>>, Fault> {
        let Some(entry) = inner.keys.get(key).and_then(|id| inner.runs.get(id)) else { return Ok(None) };
        if entry.run.fingerprint != print {
            let short = |print: &str| print.chars().take(12).collect::<String>();
            let description = format!(
                "found the key of run {}, which was opened with other content (fingerprint {}…, now {}…): use a new \
                key for another run, or repeat this request as before",
                entry.run.id,
                short(&entry.run.fingerprint),
                short(print)
            );
            return Err(Fault::field(FaultKind::Exists, "idempotency_key", description));
        }
        Ok(Some(entry.run.clone()))
    }

    fn check_quota(&self, inner: &RegistryState, project: &str) -> Result<(), Fault> {
        let open = |entry: &&RunEntry| !entry.state.closed && entry.run.label.project == project;
        self.quota.may_open(project, inner.runs.values().filter(open).count())
    }

    /// Forgets the oldest run that is closed and measured, if the registry is full.
    fn make_room(&self, inner: &mut RegistryState) -> Result<(), Fault> {
        if inner.stopped {
            return Err(Fault::new(FaultKind::Unavailable, "the daemon shuts down"));
        }
        if inner.order.len() < self.most_runs {
            return Ok(());
        }
        let over = |id: &RunId| inner.runs.get(id).is_some_and(|entry| entry.state.is_over());
        let Some(place) = inner.order.iter().position(over) else {
            let message = format!("{} runs are open, which is the limit: close one", self.most_runs);
            return Err(Fault::new(FaultKind::Exhausted, message));
        };
        let id = inner.order.remove(place);
        self.drop_run(inner, &id);
        Ok(())
    }

    fn drop_run(&self, inner: &mut RegistryState, id: &RunId) {
        if let Some(entry) = inner.runs.remove(id)
            // A later run may have taken the key.
            && inner.keys.get(&entry.run.keyed()) == Some(id)
        {
            inner.keys.remove(&entry.run.keyed());
        }
        self.journal.forget(id);
    }

    /// A run, and whether it is closed.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn get(&self, run: &RunId) -> Result<(Arc<RegisteredRun>, bool), Fault> {
        let mut inner = self.lock();
        let entry = inner.entry(run)?;
        Ok((entry.run.clone(), entry.state.closed))
    }

    /// All runs, oldest first.
    pub fn list(&self) -> Vec<(Arc<RegisteredRun>, bool)> {
        let inner = self.lock();
        let entries = inner.order.iter().filter_map(|id| inner.runs.get(id));
        entries.map(|entry| (entry.run.clone(), entry.state.closed)).collect()
    }

    /// The last event of a run that is closed and measured.
    fn end_if_over(&self, entry: &mut RunEntry) -> bool {
        if !entry.state.is_over() {
            return false;
        }
        if !std::mem::replace(&mut entry.state.ended, true) {
            entry.release();
            self.journal.append(&entry.run.id, Event::Closed);
        }
        true
    }
}
