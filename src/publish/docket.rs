//! Decisions on runs: series of what policies look at, STOPs that stand, and what was taken back.
//!
//! Owns: which series are kept, the latch. May not touch: rules, which decide and remember nothing.
//!
//! A series is kept for every subject of a run's own policy and of the policies of its peers that compare runs. One that
//! is asked for later is read back from what is archived, and so are old points of peers, page by page. Whatever is
//! observed here has been archived before. A STOP is archived only after it was found, and nobody hears of it until then:
//! a crash takes back nothing that anybody knows.

use clino_domain::series::{MOST_PAGES, PAGE};
use clino_domain::{
    Archive, Case, Counsel, Decision, Evidence, Fault, FaultKind, Mode, Overridden, Peer, Point, Reading,
    RunId, Series, SnapshotRef, Stretch, Subject, Want,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All cases.
#[derive(Debug, Default)]
pub(super) struct Docket {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cases: HashMap<RunId, Open>,
    experiments: HashMap<(String, String), Experiment>,
}

/// Runs that are compared, and a count of what was observed in them.
#[derive(Debug, Default)]
struct Experiment {
    runs: BTreeSet<RunId>,
    version: u64,
}

/// What is held of one run.
#[derive(Debug)]
struct Open {
    case: Case,
    closed: bool,
    series: BTreeMap<String, Kept>,
    /// Snapshots observed.
    version: u64,
    measured: Option<SnapshotRef>,
    latched: Option<Decision>,
    /// Whether the STOP is archived.
    told: bool,
    overridden: Option<Overridden>,
    /// The newest decision, and of which versions of the run and its experiment.
    last: Option<((u64, u64), Decision)>,
}

#[derive(Debug)]
struct Kept {
    subject: Subject,
    series: Series,
    /// Whether it has everything from the run's first snapshot on.
    complete: bool,
}

/// A decision, and whether it is news: another advice, reason or rule than before.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub decision: Decision,
    pub news: bool,
}

/// What is asked of a policy.
struct Question {
    counsel: Arc<dyn Counsel>,
    /// Of its subjects, in their order.
    names: Vec<String>,
    /// Runs that are compared with.
    peers: Vec<RunId>,
    as_of: Option<u64>,
    /// The run's own series as they were then, where what is held does not go back so far.
    past: Option<Vec<Series>>,
}

/// What must be read back before a decision.
struct Missing {
    run: RunId,
    subjects: Vec<Subject>,
    /// A page from this step on; `None`: all of it.
    from: Option<u64>,
}

impl Question {
    fn missing(&self, Want { peer, subject, step }: Want) -> Missing {
        let subject = self.counsel.subjects()[subject].clone();
        Missing { run: self.peers[peer].clone(), subjects: vec![subject], from: Some(step) }
    }
}

impl Open {
    fn new(case: Case, complete: bool) -> Self {
        let subjects = case.counsel.iter().flat_map(|counsel| counsel.subjects());
        let series = subjects.map(|subject| (subject.to_string(), Kept::new(subject, complete))).collect();
        Self {
            case,
            closed: false,
            series,
            version: 0,
            measured: None,
            latched: None,
            told: false,
            overridden: None,
            last: None,
        }
    }

    /// The STOP that stands and may be spoken of.
    fn stop(&self) -> Option<&Decision> {
        self.latched.as_ref().filter(|_| self.told)
    }

    fn place(&self) -> Option<(String, String)> {
        let label = &self.case.label;
        (!label.experiment.is_empty()).then(|| (label.project.clone(), label.experiment.clone()))
    }

    /// Begins the series that are asked for and not there; those that are not complete yet are added to `missing`.
    fn gather(&mut self, question: &Question, run: &RunId, missing: &mut Vec<Missing>) {
        let mut lacking = Vec::new();
        for (subject, name) in question.counsel.subjects().iter().zip(&question.names) {
            if self.series.get(name).is_some_and(|kept| kept.complete) {
                continue;
            }
            self.series.entry(name.clone()).or_insert_with(|| Kept::new(subject, false));
            lacking.push(subject.clone());
        }
        if !lacking.is_empty() {
            missing.push(Missing { run: run.clone(), subjects: lacking, from: None });
        }
    }

    /// As its peers see it. Advice that nobody must follow does not end a run.
    fn peer<'a>(&self, run: &'a RunId, series: &'a [&'a Series]) -> Peer<'a> {
        let stopped = self.latched.as_ref().is_some_and(|decision| decision.mode == Mode::Enforce);
        Peer { run, series, over: self.closed || stopped, stopped }
    }

    /// Its series by the names of subjects, which have been gathered.
    fn of(&self, subjects: &[String]) -> Vec<&Series> {
        subjects.iter().filter_map(|subject| self.series.get(subject)).map(|kept| &kept.series).collect()
    }
}

impl Kept {
    fn new(subject: &Subject, complete: bool) -> Self {
        Self { subject: subject.clone(), series: Series::default(), complete }
    }
}

fn no_policy() -> Fault {
    let description = "found a run without a policy, which decides nothing: open one with a policy, in Python \
                       clino.init(policy=…), by hand `clino open --policy FILE`";
    Fault::field(FaultKind::Precondition, "run_id", description)
}

impl Docket {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins; or goes on, with what its policy said last.
    pub fn open(&self, run: &RunId, case: Case, resumed: Option<Option<Decision>>) {
        let mut open = Open::new(case, resumed.is_none());
        if let Some(decision) = resumed.flatten() {
            open.overridden = decision.overridden.clone();
            open.latched = decision.latched.then_some(decision);
            open.told = true;
        }
        let mut inner = self.lock();
        if let Some(place) = open.place() {
            inner.experiments.entry(place).or_default().runs.insert(run.clone());
        }
        inner.cases.insert(run.clone(), open);
    }

    /// A run is forgotten.
    pub fn forget(&self, run: &RunId) {
        let mut inner = self.lock();
        let place = inner.cases.remove(run).and_then(|open| open.place());
        if let Some(place) = place
            && let Some(experiment) = inner.experiments.get_mut(&place)
        {
            experiment.runs.remove(run);
            experiment.version += 1;
            if experiment.runs.is_empty() {
                inner.experiments.remove(&place);
            }
        }
    }

    /// A run takes no more snapshots.
    pub fn close(&self, run: &RunId) {
        self.lock().change(run, |open| {
            open.closed = true;
            open.latched.take_if(|_| !open.told);
        });
    }

    /// A run that was closed takes snapshots again.
    pub fn reopen(&self, run: &RunId) {
        self.lock().change(run, |open| open.closed = false);
    }

    /// A snapshot is measured, with these readings.
    pub fn observe(&self, run: &RunId, at: SnapshotRef, readings: &[&Reading]) {
        self.lock().change(run, |open| {
            open.version += 1;
            open.measured = Some(at);
            for kept in open.series.values_mut() {
                kept.series.push(kept.subject.observe(at, readings));
            }
        });
    }

    /// A decision of a run is archived.
    pub fn tell(&self, run: &RunId, decision: &Decision) {
        if let Some(open) = self.lock().cases.get_mut(run) {
            open.told |= open.latched.as_ref().is_some_and(|latched| latched.id == decision.id);
        }
    }

    /// Whether a STOP was found that is not archived. A run that is closed archives none, and keeps none.
    pub fn holds_back(&self, run: &RunId) -> bool {
        self.lock().cases.get(run).is_some_and(|open| open.latched.is_some() && !open.told)
    }

    /// Whether a run has a policy.
    pub fn judges(&self, run: &RunId) -> bool {
        self.lock().cases.get(run).is_some_and(|open| open.case.counsel.is_some())
    }

    /// What the policy said last.
    pub fn last(&self, run: &RunId) -> Option<Decision> {
        let inner = self.lock();
        let open = inner.cases.get(run)?;
        let last = open.last.as_ref().map(|(_, decision)| decision).filter(|decision| !decision.latched);
        open.stop().or(last).cloned()
    }

    /// The decision that stands, if nothing has happened since it was made.
    pub fn standing(&self, run: &RunId) -> Option<Decision> {
        let inner = self.lock();
        let open = inner.cases.get(run)?;
        inner.current(open).filter(|_| open.latched.is_none() || open.told).cloned()
    }

    /// Why a run takes no more snapshots: its policy is to be enforced, and said STOP.
    pub fn refusal(&self, run: &RunId) -> Option<String> {
        let inner = self.lock();
        let decision = inner.cases.get(run)?.stop()?;
        let enforced = decision.mode == Mode::Enforce;
        let sentence = &decision.sentence;
        enforced.then(|| {
            format!("found a run that is stopped: its policy said STOP: {sentence}; override it to go on")
        })
    }

    /// What the policy says.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy; those of the archive.
    pub fn decide(&self, run: &RunId, as_of: Option<u64>, archive: &dyn Archive) -> Result<Decided, Fault> {
        let past = as_of.map(|step| self.past(run, step, archive)).transpose()?.flatten();
        let mut pass = 0;
        loop {
            let missing = match self.lock().decide(run, as_of, &past, pass < MOST_PAGES)? {
                Ok(decided) => return Ok(decided),
                Err(missing) => missing,
            };
            pass += 1;
            for Missing { run, subjects, from } in missing {
                let stretch = from.map(|from| Stretch { from, most: PAGE });
                let found = recall(&run, &subjects, stretch, archive)?;
                self.lock().complete(&run, from, found);
            }
        }
    }

    /// The run's own series up to a step, read back if that is before the newest of a series that has let go of points.
    fn past(&self, run: &RunId, step: u64, archive: &dyn Archive) -> Result<Option<Vec<Series>>, Fault> {
        let Some((subjects, held)) = self.lock().short_of(run, step) else { return Ok(None) };
        let seen = |(_, points): (Subject, Vec<Point>)| {
            Series::of(points.into_iter().filter(|point| point.at.step <= step))
        };
        let past: Vec<_> = recall(run, &subjects, None, archive)?.into_iter().map(seen).collect();
        // Without a history less may be archived than is held.
        let found: usize = past.iter().map(|series| series.points().len()).sum();
        Ok((found >= held).then_some(past))
    }

    /// Takes back a STOP.
    ///
    /// # Errors
    /// Those of [`Docket::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(
        &self,
        run: &RunId,
        reason: &str,
        by: &str,
        archive: &dyn Archive,
    ) -> Result<Decision, Fault> {
        // The series behind the last measured snapshot are what the rules begin with.
        self.decide(run, None, archive)?;
        let mut inner = self.lock();
        let open = inner.cases.get_mut(run).ok_or_else(Fault::unknown_run)?;
        let Some(latched) = open.latched.take() else {
            let description = "found a run whose policy has not said STOP, expected one that it has stopped";
            return Err(Fault::field(FaultKind::Precondition, "run_id", description));
        };
        let at = open.measured.or(latched.evaluated);
        open.overridden = Some(Overridden { at, reason: reason.to_owned(), by: by.to_owned() });
        open.last = None;
        drop(inner);
        Ok(self.decide(run, None, archive)?.decision)
    }
}

impl Inner {
    /// Changes a run, and tells its experiment.
    fn change(&mut self, run: &RunId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.cases.get_mut(run) else { return };
        change(open);
        if let Some(experiment) = open.place().and_then(|place| self.experiments.get_mut(&place)) {
            experiment.version += 1;
        }
    }

    fn experiment(&self, open: &Open) -> Option<&Experiment> {
        self.experiments.get(&open.place()?)
    }

    fn peers(&self, open: &Open, run: &RunId) -> Vec<RunId> {
        let runs = self.experiment(open).map(|experiment| &experiment.runs);
        runs.into_iter().flatten().filter(|other| *other != run).cloned().collect()
    }

    /// Of what a decision depends on: the run itself, and its experiment where its policy compares runs.
    fn versions(&self, open: &Open) -> (u64, u64) {
        let across = open.case.counsel.as_ref().is_some_and(|counsel| counsel.across());
        let experiment = self.experiment(open).filter(|_| across);
        (open.version, experiment.map_or(0, |experiment| experiment.version))
    }

    /// The subjects of a run's policy, if what is held of them would not show all that was held at a step; and how many
    /// points it would show.
    fn short_of(&self, run: &RunId, step: u64) -> Option<(Vec<Subject>, usize)> {
        let open = self.cases.get(run)?;
        let subjects = open.case.counsel.as_ref()?.subjects();
        let held = subjects.iter().filter_map(|subject| open.series.get(&subject.to_string()));
        let mut short = false;
        let mut shown = 0;
        for Kept { series, .. } in held {
            short |= series.short_of(step);
            shown += series.until(step).len();
        }
        short.then(|| (subjects.to_vec(), shown))
    }

    /// The STOP that stands, else the decision that was made last if nothing has happened since.
    fn current<'a>(&self, open: &'a Open) -> Option<&'a Decision> {
        let last = || open.last.as_ref().filter(|(versions, _)| *versions == self.versions(open));
        open.latched.as_ref().or_else(|| last().map(|(_, decision)| decision))
    }

    /// The decision, or what must be read back for it; old points of peers only if that may be `thorough`.
    fn decide(
        &mut self,
        run: &RunId,
        as_of: Option<u64>,
        past: &Option<Vec<Series>>,
        thorough: bool,
    ) -> Result<Result<Decided, Vec<Missing>>, Fault> {
        let open = self.cases.get(run).ok_or_else(Fault::unknown_run)?;
        let counsel = open.case.counsel.clone().ok_or_else(no_policy)?;
        if let (None, Some(decision)) = (as_of, self.current(open)) {
            return Ok(Ok(Decided { decision: decision.clone(), news: false }));
        }
        let versions = self.versions(open);
        let peers = if counsel.across() { self.peers(open, run) } else { Vec::new() };
        let names = counsel.subjects().iter().map(Subject::to_string).collect();
        let question = Question { counsel, names, peers, as_of, past: past.clone() };
        let mut missing = Vec::new();
        for one in question.peers.iter().chain([run]) {
            if let Some(open) = self.cases.get_mut(one) {
                open.gather(&question, one, &mut missing);
            }
        }
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let (decision, wants) = self.ask(run, &question);
        if thorough && !wants.is_empty() {
            return Ok(Err(wants.into_iter().map(|want| question.missing(want)).collect()));
        }
        Ok(Ok(match as_of {
            Some(_) => Decided { decision, news: false },
            None => self.keep(run, decision, versions),
        }))
    }

    fn ask(&self, run: &RunId, question: &Question) -> (Decision, Vec<Want>) {
        let Question { counsel, names, peers, as_of, past } = question;
        // All of them are there: whoever is forgotten has left its experiment.
        let others: Vec<_> = peers.iter().filter_map(|peer| Some((peer, self.cases.get(peer)?))).collect();
        let series: Vec<Vec<&Series>> = others.iter().map(|(_, open)| open.of(names)).collect();
        let peers: Vec<_> =
            others.iter().zip(&series).map(|((run, open), series)| open.peer(run, series)).collect();
        let open = self.cases.get(run);
        let held = || open.map(|open| open.of(names)).unwrap_or_default();
        let own = past.as_ref().map_or_else(held, |past| past.iter().collect());
        let overridden = open.and_then(|open| open.overridden.as_ref()).filter(|_| as_of.is_none());
        counsel.consider(&Evidence { run, own: &own, peers: &peers, overridden, as_of: *as_of })
    }

    fn keep(&mut self, run: &RunId, decision: Decision, versions: (u64, u64)) -> Decided {
        let Some(open) = self.cases.get_mut(run) else { return Decided { decision, news: false } };
        let told = |d: &Decision| (d.advice, d.reason, d.rule.clone(), d.overridden.clone());
        let news = open.last.as_ref().is_none_or(|(_, before)| told(before) != told(&decision));
        open.last = Some((versions, decision.clone()));
        if decision.latched && !open.closed {
            (open.latched, open.told) = (Some(decision.clone()), false);
            self.change(run, |_| {});
        }
        Decided { decision, news }
    }

    fn complete(&mut self, run: &RunId, page: Option<u64>, found: Vec<(Subject, Vec<Point>)>) {
        let Some(open) = self.cases.get_mut(run) else { return };
        for (subject, points) in found {
            let Some(kept) = open.series.get_mut(&subject.to_string()) else { continue };
            if let Some(from) = page {
                kept.series.turn(from, points);
            } else if !kept.complete {
                points.into_iter().for_each(|point| kept.series.push(point));
                kept.complete = true;
            }
        }
        open.measured = open.measured.or_else(|| {
            open.series.values().filter_map(|kept| kept.series.points().last()).map(|point| point.at).max()
        });
    }
}

/// Subjects on every snapshot of a run that can be read back, in the order of measurement; or on those of a stretch.
///
/// # Errors
/// Those of the archive.
pub(super) fn recall(
    run: &RunId,
    subjects: &[Subject],
    stretch: Option<Stretch>,
    archive: &dyn Archive,
) -> Result<Vec<(Subject, Vec<Point>)>, Fault> {
    let names: BTreeSet<_> =
        subjects.iter().flat_map(|subject| &subject.terms).map(|term| term.measure.clone()).collect();
    let mut found: Vec<_> = subjects.iter().map(|subject| (subject.clone(), Vec::new())).collect();
    archive.recall(run, &names.into_iter().collect::<Vec<_>>(), stretch, &mut |at, readings| {
        for (subject, points) in &mut found {
            points.push(subject.observe(at, readings));
        }
    })?;
    Ok(found)
}
