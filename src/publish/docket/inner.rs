//! All cases and their experiments, under the docket's lock: nothing here waits, reads from disk or asks a policy.
//!
//! Owns: which runs are compared, what is news. May not touch: the archive, policies.

use super::Decided;
use super::brief::Brief;
use super::held::{Open, Versions};
use clino_domain::{Counsel, Decision, Fault, FaultKind, Point, RunId, Subject};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub cases: HashMap<RunId, Open>,
    experiments: HashMap<(String, String), Experiment>,
    /// Of all runs, snapshots of which policies have not been asked.
    pub due: usize,
}

/// What came of a summons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Summoned {
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
pub(super) enum Found {
    /// Nothing: this stands.
    Stands(Box<Decision>),
    Brief(Box<Brief>),
}

/// What must be read back before a decision.
#[derive(Debug)]
pub(super) struct Missing {
    pub run: RunId,
    pub subjects: Vec<Subject>,
}

fn no_policy() -> Fault {
    let description = "found a run without a policy, so there is no decision: open one with a policy, in Python \
                      clino.init(policy=…), on the command line `clino open --policy FILE`";
    Fault::field(FaultKind::Precondition, "run_id", description)
}

impl Inner {
    pub fn open(&mut self, run: &RunId, open: Open) {
        if let Some(place) = open.place() {
            self.experiments.entry(place).or_default().runs.insert(run.clone());
        }
        let before = self.cases.insert(run.clone(), open);
        self.due -= before.map_or(0, |before| before.due.len());
    }

    pub fn forget(&mut self, run: &RunId) {
        let Some(open) = self.cases.remove(run) else { return };
        self.due -= open.due.len();
        if let Some(place) = open.place()
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
    pub fn change(&mut self, run: &RunId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.cases.get_mut(run) else { return };
        change(open);
        if let Some(experiment) = open.place().and_then(|place| self.experiments.get_mut(&place)) {
            experiment.version += 1;
        }
    }

    /// Notes what the policy of a run is to be asked.
    pub fn summon(&mut self, run: &RunId) -> Summoned {
        let brief = match self.brief(run, None) {
            Ok(Ok(Found::Brief(brief))) => Some(Arc::new(*brief)),
            Ok(Err(_)) => None,
            Ok(Ok(Found::Stands(_))) | Err(_) => return Summoned::Not,
        };
        let Some(open) = self.cases.get_mut(run) else { return Summoned::Not };
        open.due.push_back(brief);
        self.due += 1;
        if std::mem::replace(&mut open.summoned, true) { Summoned::Again } else { Summoned::First }
    }

    /// Somebody turns to a run, and asks until nothing is due.
    pub fn turn_to(&mut self, run: &RunId) {
        if let Some(open) = self.cases.get_mut(run) {
            open.summoned = false;
        }
    }

    /// The first of what is due has been asked.
    pub fn done(&mut self, run: &RunId) {
        let asked = self.cases.get_mut(run).and_then(|open| open.due.pop_front());
        self.due -= usize::from(asked.is_some());
    }

    fn experiment(&self, open: &Open) -> Option<&Experiment> {
        self.experiments.get(&open.place()?)
    }

    fn peers(&self, open: &Open, run: &RunId) -> Vec<RunId> {
        let runs = self.experiment(open).map(|experiment| &experiment.runs);
        runs.into_iter().flatten().filter(|other| *other != run).cloned().collect()
    }

    /// Of the run itself, and of its experiment where its policy compares runs.
    fn versions(&self, open: &Open) -> Versions {
        let across = open.case.counsel.as_ref().is_some_and(|counsel| counsel.across());
        let experiment = self.experiment(open).filter(|_| across);
        Versions { run: open.version, experiment: experiment.map_or(0, |experiment| experiment.version) }
    }

    /// The subjects of a run's policy, if what is held of them would not show all that was held at a step; and how many
    /// points it would show.
    pub fn short_of(&self, run: &RunId, step: u64) -> Option<(Vec<Subject>, usize)> {
        let open = self.cases.get(run)?;
        let subjects = open.case.counsel.as_ref()?.subjects();
        let held = subjects.iter().filter_map(|subject| open.series.get(&subject.to_string()));
        let mut short = false;
        let mut shown = 0;
        for kept in held {
            short |= kept.series.short_of(step);
            shown += kept.series.until(step).len();
        }
        short.then(|| (subjects.to_vec(), shown))
    }

    /// The STOP that stands, else the decision that was made last if nothing has happened since.
    pub fn current<'a>(&self, open: &'a Open) -> Option<&'a Decision> {
        let last = || open.last.as_ref().filter(|(versions, _)| *versions == self.versions(open));
        open.latched.as_ref().or_else(|| last().map(|(_, decision)| decision))
    }

    /// What there is to ask the policy of a run, or what must be read back for it.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy.
    pub fn brief(&mut self, run: &RunId, as_of: Option<u64>) -> Result<Result<Found, Vec<Missing>>, Fault> {
        let open = self.cases.get(run).ok_or_else(Fault::unknown_run)?;
        let counsel = open.case.counsel.clone().ok_or_else(no_policy)?;
        if let (None, Some(decision)) = (as_of, self.current(open)) {
            return Ok(Ok(Found::Stands(Box::new(decision.clone()))));
        }
        let versions = self.versions(open);
        let peers = if counsel.across() { self.peers(open, run) } else { Vec::new() };
        let names: Vec<_> = counsel.subjects().iter().map(Subject::to_string).collect();
        let missing = self.gather(peers.iter().chain([run]), &counsel, &names);
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let open = self.cases.get(run).ok_or_else(Fault::unknown_run)?;
        // All of them are there: whoever is forgotten has left its experiment.
        let beside = |peer: &RunId| Some(self.cases.get(peer)?.beside(peer, &names));
        Ok(Ok(Found::Brief(Box::new(Brief {
            run: run.clone(),
            own: open.of(&names),
            peers: peers.iter().filter_map(beside).collect(),
            overridden: open.overridden.clone(),
            counsel,
            as_of,
            versions,
        }))))
    }

    fn gather<'a>(
        &mut self,
        runs: impl Iterator<Item = &'a RunId>,
        counsel: &Arc<dyn Counsel>,
        names: &[String],
    ) -> Vec<Missing> {
        let mut missing = Vec::new();
        for run in runs {
            let subjects = self.cases.get_mut(run).map(|open| open.gather(counsel, names));
            if let Some(subjects) = subjects.filter(|subjects| !subjects.is_empty()) {
                missing.push(Missing { run: run.clone(), subjects });
            }
        }
        missing
    }

    /// Keeps what a policy said of these versions. What was said of later ones stays, but a STOP counts whenever it is found.
    pub fn keep(&mut self, run: &RunId, decision: Decision, versions: Versions) -> Decided {
        let Some(open) = self.cases.get_mut(run) else { return Decided { decision, news: false } };
        let late = open.last.as_ref().is_some_and(|(later, _)| later.run > versions.run);
        if late && !decision.latched {
            return Decided { decision, news: false };
        }
        let told = |d: &Decision| (d.advice, d.reason, d.rule.clone(), d.overridden.clone());
        let news = open.last.as_ref().is_none_or(|(_, before)| told(before) != told(&decision));
        open.last = Some((versions, decision.clone()));
        if decision.latched && !open.closed {
            open.latched = Some(decision.clone());
            open.told = false;
            self.change(run, |_| {});
        }
        Decided { decision, news }
    }

    pub fn complete(&mut self, run: &RunId, page: Option<u64>, found: Vec<(Subject, Vec<Point>)>) {
        if let Some(open) = self.cases.get_mut(run) {
            open.complete(page, found);
        }
    }
}
