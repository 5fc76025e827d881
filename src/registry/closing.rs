//! Runs that end, and runs whose trainers start again.
//!
//! Owns: who may open a closed run again. May not touch: its snapshots.

use super::fingerprint::{digests, fingerprint};
use super::run::Run;
use super::{Inner, Registry};
use clino_domain::{Fault, FaultKind, RunId, RunSpec};
use std::sync::Arc;

impl Registry {
    /// No more snapshots; what waits is still measured. Closing twice is harmless. A run that is `resumable` may be opened
    /// again by [`Registry::go_on`], unless it is also closed as one that is not.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn close(&self, run: &RunId, resumable: bool) -> Result<Arc<Run>, Fault> {
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
    /// The flag tells whether it is new. Name and tags of a run stay. Not for an asynchronous thread.
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] for a run that was closed for good; [`FaultKind::Exists`] where something else of the
    /// specification is not that of the run; those of [`Registry::open`].
    pub fn go_on(&self, key: &str, spec: RunSpec) -> Result<(Arc<Run>, bool), Fault> {
        let Some(run) = self.known(key, &spec.label.project) else { return self.open(key, spec) };
        let spec = as_before(&run, spec);
        if fingerprint(&spec, &digests(&spec)) != run.fingerprint {
            return Err(Fault::field(FaultKind::Exists, "idempotency_key", another(&run, &spec)));
        }
        if run.admitted().is_err() {
            run.admit(self.examiner.examine(&spec)?);
        }
        self.journal.room()?;
        self.reopen(&mut self.lock(), &run)?;
        Ok((run, false))
    }

    /// The run that a key opened in a project, or whose id it is.
    fn known(&self, key: &str, project: &str) -> Option<Arc<Run>> {
        let inner = self.lock();
        let keyed = inner.keys.get(&(project.to_owned(), key.to_owned()));
        let id = keyed.cloned().unwrap_or_else(|| RunId(key.to_owned()));
        let entry = inner.runs.get(&id)?;
        (entry.run.label.project == project).then(|| entry.run.clone())
    }

    fn reopen(&self, inner: &mut Inner, run: &Run) -> Result<(), Fault> {
        let state = &inner.entry(&run.id)?.state;
        if !state.closed {
            return Ok(());
        }
        if !state.resumable {
            let description = format!(
                "found run {}, which was closed for good, expected one that is open or that its trainer closed; \
                 begin a new run with another key",
                run.id
            );
            return Err(Fault::field(FaultKind::Precondition, "idempotency_key", description));
        }
        if inner.stopped {
            return Err(Fault::new(FaultKind::Unavailable, "the daemon shuts down"));
        }
        self.check_quota(inner, &run.label.project)?;
        let state = &mut inner.entry(&run.id)?.state;
        (state.closed, state.resumable, state.reopened) = (false, false, true);
        // References were given up when it ended.
        state.unread.initialization |= std::mem::take(&mut state.ended);
        run.closed.send_replace(false);
        self.journal.reopen(&run.id);
        Ok(())
    }
}

/// What may differ without making it another run is taken from the run.
fn as_before(run: &Run, mut spec: RunSpec) -> RunSpec {
    spec.name.clone_from(&run.name);
    spec.label.tags.clone_from(&run.label.tags);
    spec
}

/// What is known of the difference.
fn another(run: &Run, spec: &RunSpec) -> String {
    let mut other = Vec::new();
    let groups: Vec<_> = spec.groups.iter().map(|group| &group.name).collect();
    let known = [
        ("groups", groups != run.groups.iter().collect::<Vec<_>>()),
        ("seed", spec.seed != run.seed),
        ("delivery", spec.delivery != run.delivery),
        ("budget_seconds", spec.budget != run.budget),
        ("experiment", spec.label.experiment != run.label.experiment),
    ];
    other.extend(known.into_iter().filter_map(|(field, differs)| differs.then_some(field)));
    let what = match other.is_empty() {
        true => "its config, probes, measures, precision or policy".to_owned(),
        false => other.join(", "),
    };
    format!(
        "found run {}, which was opened with other content ({what}), expected the same content; \
         repeat it, or begin a new run with another key",
        run.id
    )
}
