//! Runs that end, and runs whose trainers start again.
//!
//! Owns: who may open a closed run again. May not touch: its snapshots.

use super::fingerprint::{digests, fingerprint};
use super::run::RegisteredRun;
use super::{Opened, Registry, group_names};
use clino_domain::{Fault, FaultKind, MeasureRequest, PolicyEvaluator, RunId, RunSpec};
use std::fmt::Debug;
use std::sync::Arc;

/// Seconds in which a run that received a snapshot may have a trainer still.
const RECENT: u64 = 120;

impl Registry {
    /// No more snapshots; what waits is still measured. Closing twice is harmless. A run that is `resumable` may be opened
    /// again by [`Registry::go_on`], unless it is also closed as one that is not.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn close(&self, run: &RunId, resumable: bool) -> Result<Arc<RegisteredRun>, Fault> {
        let mut inner = self.lock();
        let entry = inner.entry(run)?;
        let state = &mut entry.state;
        let stays = resumable && (state.resumable || !state.closed);
        if !state.closed || state.resumable != stays {
            (state.closed, state.resumable) = (true, stays);
            self.journal.close(run, stays);
        }
        entry.run.closed.send_replace(true);
        let run = entry.run.clone();
        self.end_if_over(entry);
        Ok(run)
    }

    /// Goes on with the run that `key` opened or whose id it is, opening it again if its trainer closed it; or opens one.
    /// Name and tags of a run stay. Not for an asynchronous thread.
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] for a run that was closed for good; [`FaultKind::Exists`] where something else of the
    /// specification is not that of the run, naming `resume`; those of [`Registry::open`].
    pub fn go_on(&self, key: &str, spec: RunSpec) -> Result<Opened, Fault> {
        let Some(run) = self.known(key, &spec.label.project) else { return self.open(key, spec) };
        let spec = as_before(&run, spec);
        if fingerprint(&spec, &digests(&spec)) != run.fingerprint {
            return Err(Fault::field(FaultKind::Exists, "resume", self.another(&run, &spec)?));
        }
        self.journal.room()?;
        let opened = self.found(run, &spec)?;
        self.reopen(opened)
    }

    /// What to say to a trainer that goes on with a run which another one may still send to.
    pub fn busy(&self, run: &RegisteredRun) -> Option<String> {
        let mut inner = self.lock();
        let seconds = inner.entry(&run.id).ok()?.state.received?.elapsed().as_secs();
        (seconds < RECENT).then(|| {
            format!(
                "resume: run {} received a snapshot {seconds} s ago; if the trainer that sent it is still running, both \
                write into this run: end one of them, or open another run with another key",
                run.id
            )
        })
    }

    /// What to say of a new run that was meant to go on with an earlier one: another run of its name, which was not opened
    /// by its key, is probably the one that was meant.
    pub fn namesake(&self, run: &RegisteredRun) -> Option<String> {
        let inner = self.lock();
        let same = |other: &&RegisteredRun| {
            other.id != run.id && other.name == run.name && other.label.project == run.label.project
        };
        let runs = inner.order.iter().rev().filter_map(|id| inner.runs.get(id));
        let other = runs.map(|entry| &*entry.run).find(same)?;
        Some(format!(
            "resume: no run was started with this key, but run {} of the same name was started without it: a new run \
            has begun; to continue the other one, resume it by its id, and pass the key from the first start on",
            other.id
        ))
    }

    /// The run that a key opened in a project, or whose id it is.
    fn known(&self, key: &str, project: &str) -> Option<Arc<RegisteredRun>> {
        let inner = self.lock();
        let keyed = inner.keys.get(&(project.to_owned(), key.to_owned()));
        let id = keyed.cloned().unwrap_or_else(|| RunId(key.to_owned()));
        let entry = inner.runs.get(&id)?;
        (entry.run.label.project == project).then(|| entry.run.clone())
    }

    /// Why a run is not the one that a specification asks for; or what is wrong with the specification.
    fn another(&self, run: &RegisteredRun, spec: &RunSpec) -> Result<String, Fault> {
        let now = self.validate(spec)?;
        let evaluator = self.evaluator(spec.policy.as_ref(), &now.measures, &group_names(spec))?;
        let policy = |evaluator: &Option<Arc<dyn PolicyEvaluator>>| {
            evaluator.as_ref().map(|evaluator| evaluator.policy().clone())
        };
        let names = |measures: &[MeasureRequest]| {
            measures.iter().map(|measure| measure.name.clone()).collect::<Vec<_>>()
        };
        let same_names = names(&now.measures) == names(&run.measures);
        let fields = [
            changed("model_type", &run.model_type, &now.model_type),
            changed("parameters", &run.parameter_count, &now.parameter_count()),
            changed("groups", &run.groups, &group_names(spec)),
            changed("measures", &names(&run.measures), &names(&now.measures)),
            (same_names && now.measures != run.measures).then(|| "parameters of its measures".to_owned()),
            changed("precision", &run.precision, &now.precision),
            (policy(&evaluator) != policy(&run.evaluator)).then(|| "policy".to_owned()),
            changed("seed", &run.seed, &spec.seed),
            changed("delivery", &run.delivery, &spec.delivery),
            changed("budget_seconds", &run.budget, &spec.budget),
            changed("experiment", &run.label.experiment, &spec.label.experiment),
        ];
        let mut other: Vec<String> = fields.into_iter().flatten().collect();
        if other.is_empty() {
            other.push("its config or its probes".to_owned());
        }
        Ok(format!(
            "found run {}, which was opened with other content ({}), expected the same content: repeat the \
            first request, or start a new run, without resume or with another key",
            run.id,
            other.join(", ")
        ))
    }

    /// Opens a run again if it is closed; it keeps what was made of it from now on.
    fn reopen(&self, mut opened: Opened) -> Result<Opened, Fault> {
        let mut inner = self.lock();
        let run = opened.run.clone();
        let state = &inner.entry(&run.id)?.state;
        if !state.closed {
            return Ok(opened);
        }
        if !state.resumable {
            let description = format!(
                "found run {}, which is closed for good, expected an open run or one that its trainer closed; start \
                a new run, without resume or with another key",
                run.id
            );
            return Err(Fault::field(FaultKind::Precondition, "resume", description));
        }
        if inner.stopped {
            return Err(Fault::new(FaultKind::Unavailable, "the daemon shuts down"));
        }
        self.check_quota(&inner, &run.label.project)?;
        let entry = inner.entry(&run.id)?;
        entry.take_back(&mut opened)?;
        let state = &mut entry.state;
        (state.closed, state.resumable, state.reopened) = (false, false, true);
        // The trainer that closed it sends no more.
        state.received = None;
        // References were given up when it ended.
        state.unread.initialization |= std::mem::take(&mut state.ended);
        run.closed.send_replace(false);
        self.journal.reopen(&run.id);
        Ok(opened)
    }
}

/// What may differ without making it another run is taken from the run.
fn as_before(run: &RegisteredRun, mut spec: RunSpec) -> RunSpec {
    spec.name.clone_from(&run.name);
    spec.label.tags.clone_from(&run.label.tags);
    spec
}

/// What a field was when the run was opened, and is now.
fn changed<T: PartialEq + Debug>(field: &str, before: &T, now: &T) -> Option<String> {
    (before != now).then(|| format!("{field} {before:?} then, {now:?} now"))
}
