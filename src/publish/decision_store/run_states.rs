//! The state of every run and its experiment, under the store's lock: nothing here waits, reads from disk or asks a policy.
//!
//! Owns: which runs are compared, what is news. May not touch: the archive, policies.

use super::PolicyAnswer;
use super::policy_input::{PolicyInput, Versions};
use super::run_state::RunState;
use clino_domain::{Decision, Fault, FaultKind, PolicyEvaluator, RunId, SeriesPoint, Subject};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct RunStates {
    pub runs: HashMap<RunId, RunState>,
    experiments: HashMap<(String, String), Experiment>,
    /// Of all runs, snapshots of which policies have not been asked.
    pub due: usize,
}

/// What came of enqueueing a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enqueued {
    /// There is nothing to ask.
    Not,
    /// Somebody will ask, who was told before.
    Again,
    /// Somebody must be told.
    First,
}

/// Runs that are compared, and a count of what was observed in them.
#[derive(Debug, Default)]
struct Experiment {
    runs: BTreeSet<RunId>,
    version: u64,
}

/// What there is to ask.
#[derive(Debug)]
pub(super) enum Question {
    /// Nothing to evaluate: this decision stands.
    Stands(Box<Decision>),
    Input(Box<PolicyInput>),
}

/// What must be read back before a decision.
#[derive(Debug)]
pub(super) struct MissingSeries {
    pub run: RunId,
    pub subjects: Vec<Subject>,
}

fn no_policy() -> Fault {
    let description = "found a run without a policy, so there is no decision: open one with a policy, in Python \
                      clino.init(policy=…), on the command line `clino open --policy FILE`";
    Fault::field(FaultKind::Precondition, "run_id", description)
}

impl RunStates {
    pub fn open(&mut self, run: &RunId, state: RunState) {
        if let Some(place) = state.place() {
            self.experiments.entry(place).or_default().runs.insert(run.clone());
        }
        let before = self.runs.insert(run.clone(), state);
        self.due -= before.map_or(0, |before| before.due.len());
    }

    pub fn forget(&mut self, run: &RunId) {
        let Some(state) = self.runs.remove(run) else { return };
        self.due -= state.due.len();
        if let Some(place) = state.place()
            && let Some(experiment) = self.experiments.get_mut(&place)
        {
            experiment.runs.remove(run);
            experiment.version += 1;
            if experiment.runs.is_empty() {
                self.experiments.remove(&place);
            }
        }
    }

    /// Changes a run, and tells its experiment.
    pub fn change(&mut self, run: &RunId, change: impl FnOnce(&mut RunState)) {
        let Some(state) = self.runs.get_mut(run) else { return };
        change(state);
        if let Some(experiment) = state.place().and_then(|place| self.experiments.get_mut(&place)) {
            experiment.version += 1;
        }
    }

    /// Notes what the policy of a run is to be asked.
    pub fn enqueue(&mut self, run: &RunId) -> Enqueued {
        let input = match self.input(run, None) {
            Ok(Ok(Question::Input(input))) => Some(Arc::new(*input)),
            Ok(Err(_)) => None,
            Ok(Ok(Question::Stands(_))) | Err(_) => return Enqueued::Not,
        };
        let Some(state) = self.runs.get_mut(run) else { return Enqueued::Not };
        state.due.push_back(input);
        self.due += 1;
        if std::mem::replace(&mut state.enqueued, true) { Enqueued::Again } else { Enqueued::First }
    }

    /// Somebody turns to a run, and asks until nothing is due.
    pub fn turn_to(&mut self, run: &RunId) {
        if let Some(state) = self.runs.get_mut(run) {
            state.enqueued = false;
        }
    }

    /// The first of what is due has been asked.
    pub fn done(&mut self, run: &RunId) {
        let asked = self.runs.get_mut(run).and_then(|state| state.due.pop_front());
        self.due -= usize::from(asked.is_some());
    }

    fn experiment(&self, state: &RunState) -> Option<&Experiment> {
        self.experiments.get(&state.place()?)
    }

    fn peers(&self, state: &RunState, run: &RunId) -> Vec<RunId> {
        let runs = self.experiment(state).map(|experiment| &experiment.runs);
        runs.into_iter().flatten().filter(|other| *other != run).cloned().collect()
    }

    /// Of the run itself, and of its experiment where its policy compares runs.
    fn versions(&self, state: &RunState) -> Versions {
        let across = state.context.evaluator.as_ref().is_some_and(|evaluator| evaluator.across());
        let experiment = self.experiment(state).filter(|_| across);
        Versions { run: state.version, experiment: experiment.map_or(0, |experiment| experiment.version) }
    }

    /// The subjects of a run's policy, if what is held of them would not show all that was held at a step; and how many
    /// points it would show.
    pub fn short_of(&self, run: &RunId, step: u64) -> Option<(Vec<Subject>, usize)> {
        let state = self.runs.get(run)?;
        let subjects = state.context.evaluator.as_ref()?.subjects();
        let held = subjects.iter().filter_map(|subject| state.series.get(&subject.to_string()));
        let mut short = false;
        let mut shown = 0;
        for kept in held {
            short |= kept.series.short_of(step);
            shown += kept.series.until(step).len();
        }
        short.then(|| (subjects.to_vec(), shown))
    }

    /// The STOP that stands, else the decision that was made last if nothing has happened since.
    pub fn current<'a>(&self, state: &'a RunState) -> Option<&'a Decision> {
        let last = || state.last.as_ref().filter(|(versions, _)| *versions == self.versions(state));
        state.latched.as_ref().or_else(|| last().map(|(_, decision)| decision))
    }

    /// What there is to ask the policy of a run, or what must be read back for it.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy.
    pub fn input(
        &mut self,
        run: &RunId,
        as_of: Option<u64>,
    ) -> Result<Result<Question, Vec<MissingSeries>>, Fault> {
        let state = self.runs.get(run).ok_or_else(Fault::unknown_run)?;
        let evaluator = state.context.evaluator.clone().ok_or_else(no_policy)?;
        if let (None, Some(decision)) = (as_of, self.current(state)) {
            return Ok(Ok(Question::Stands(Box::new(decision.clone()))));
        }
        let versions = self.versions(state);
        let peers = if evaluator.across() { self.peers(state, run) } else { Vec::new() };
        let names: Vec<_> = evaluator.subjects().iter().map(Subject::to_string).collect();
        let missing = self.gather(peers.iter().chain([run]), &evaluator, &names);
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let state = self.runs.get(run).ok_or_else(Fault::unknown_run)?;
        // All of them are there: whoever is forgotten has left its experiment.
        let as_peer = |peer: &RunId| Some(self.runs.get(peer)?.as_peer(peer, &names));
        Ok(Ok(Question::Input(Box::new(PolicyInput {
            run: run.clone(),
            own: state.of(&names),
            peers: peers.iter().filter_map(as_peer).collect(),
            overridden: state.overridden.clone(),
            evaluator,
            as_of,
            versions,
        }))))
    }

    fn gather<'a>(
        &mut self,
        runs: impl Iterator<Item = &'a RunId>,
        evaluator: &Arc<dyn PolicyEvaluator>,
        names: &[String],
    ) -> Vec<MissingSeries> {
        let mut missing = Vec::new();
        for run in runs {
            let subjects = self.runs.get_mut(run).map(|state| state.gather(evaluator, names));
            if let Some(subjects) = subjects.filter(|subjects| !subjects.is_empty()) {
                missing.push(MissingSeries { run: run.clone(), subjects });
            }
        }
        missing
    }

    /// Keeps what a policy said of these versions. What was said of later ones stays, but a STOP counts whenever it is found.
    pub fn keep(&mut self, run: &RunId, decision: Decision, versions: Versions) -> PolicyAnswer {
        let Some(state) = self.runs.get_mut(run) else { return PolicyAnswer { decision, news: false } };
        let late = state.last.as_ref().is_some_and(|(later, _)| later.run > versions.run);
        if late && !decision.latched {
            return PolicyAnswer { decision, news: false };
        }
        let told = |d: &Decision| (d.advice, d.reason, d.rule.clone(), d.overridden.clone());
        let news = state.last.as_ref().is_none_or(|(_, before)| told(before) != told(&decision));
        state.last = Some((versions, decision.clone()));
        if decision.latched && !state.closed {
            state.latched = Some(decision.clone());
            state.told = false;
            self.change(run, |_| {});
        }
        PolicyAnswer { decision, news }
    }

    pub fn complete(&mut self, run: &RunId, page: Option<u64>, found: Vec<(Subject, Vec<SeriesPoint>)>) {
        if let Some(state) = self.runs.get_mut(run) {
            state.complete(page, found);
        }
    }
}
