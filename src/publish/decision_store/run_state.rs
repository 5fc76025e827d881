//! What is held of one run: its series, the STOP that stands, what its policy has not been asked yet.
//!
//! Owns: these. May not touch: other runs; the archive.

use super::policy_input::{PeerState, PolicyInput, Versions};
use clino_domain::{
    Decision, DecisionContext, Mode, Overridden, PolicyEvaluator, Reading, RunId, Series, SeriesPoint,
    SnapshotRef, Subject,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What the decision store keeps for one run.
#[derive(Debug)]
pub(super) struct RunState {
    pub context: DecisionContext,
    pub closed: bool,
    pub series: BTreeMap<String, SubjectSeries>,
    /// Number of snapshots observed so far.
    pub version: u64,
    pub measured: Option<SnapshotRef>,
    pub latched: Option<Decision>,
    /// Whether the STOP is archived.
    pub told: bool,
    pub overridden: Option<Overridden>,
    /// The newest decision, and of which versions.
    pub last: Option<(Versions, Decision)>,
    /// Snapshots of which the policy has not been asked, oldest first, each with what there was when it was measured; `None`
    /// where something of that has to be read back.
    pub due: VecDeque<Option<Arc<PolicyInput>>>,
    /// Whether the policy thread has been told and has not turned to it.
    pub enqueued: bool,
    /// Held while asking the policy, so that answers keep the order of the questions.
    pub turn: Arc<Mutex<()>>,
}

/// The series of one subject. Whoever asks a policy holds it as it was then, and it is copied if it grows meanwhile.
#[derive(Debug)]
pub(super) struct SubjectSeries {
    pub subject: Subject,
    pub series: Arc<Series>,
    /// Whether it has everything from the run's first snapshot on.
    pub complete: bool,
}

impl SubjectSeries {
    pub fn new(subject: &Subject, complete: bool) -> Self {
        Self { subject: subject.clone(), series: Arc::default(), complete }
    }

    fn push(&mut self, point: SeriesPoint) {
        Arc::make_mut(&mut self.series).push(point);
    }
}

impl RunState {
    pub fn new(context: DecisionContext, complete: bool) -> Self {
        let subjects = context.evaluator.iter().flat_map(|evaluator| evaluator.subjects());
        let series =
            subjects.map(|subject| (subject.to_string(), SubjectSeries::new(subject, complete))).collect();
        Self {
            context,
            closed: false,
            series,
            version: 0,
            measured: None,
            latched: None,
            told: false,
            overridden: None,
            last: None,
            due: VecDeque::new(),
            enqueued: false,
            turn: Arc::default(),
        }
    }

    /// The STOP that stands and may be spoken of.
    pub fn stop(&self) -> Option<&Decision> {
        self.latched.as_ref().filter(|_| self.told)
    }

    pub fn place(&self) -> Option<(String, String)> {
        let label = &self.context.label;
        (!label.experiment.is_empty()).then(|| (label.project.clone(), label.experiment.clone()))
    }

    pub fn observe(&mut self, at: SnapshotRef, readings: &[&Reading]) {
        self.version += 1;
        self.measured = Some(at);
        for kept in self.series.values_mut() {
            kept.push(kept.subject.observe(at, readings));
        }
    }

    /// Begins the series that a policy asks for and that are not there; tells those that are not complete yet.
    pub fn gather(&mut self, evaluator: &Arc<dyn PolicyEvaluator>, names: &[String]) -> Vec<Subject> {
        let mut lacking = Vec::new();
        for (subject, name) in evaluator.subjects().iter().zip(names) {
            if self.series.get(name).is_some_and(|kept| kept.complete) {
                continue;
            }
            self.series.entry(name.clone()).or_insert_with(|| SubjectSeries::new(subject, false));
            lacking.push(subject.clone());
        }
        lacking
    }

    /// Takes in what was read back: a page from a step on, or all of it.
    pub fn complete(&mut self, page: Option<u64>, found: Vec<(Subject, Vec<SeriesPoint>)>) {
        for (subject, points) in found {
            let Some(kept) = self.series.get_mut(&subject.to_string()) else { continue };
            if let Some(from) = page {
                Arc::make_mut(&mut kept.series).turn(from, points);
            } else if !kept.complete {
                points.into_iter().for_each(|point| kept.push(point));
                kept.complete = true;
            }
        }
        self.measured = self.measured.or_else(|| {
            self.series.values().filter_map(|kept| kept.series.points().last()).map(|point| point.at).max()
        });
    }

    /// As its peers see it. Advice that nobody must follow does not end a run.
    pub fn as_peer(&self, run: &RunId, names: &[String]) -> PeerState {
        let stopped = self.latched.as_ref().is_some_and(|decision| decision.mode == Mode::Enforce);
        PeerState { run: run.clone(), series: self.of(names), over: self.closed || stopped, stopped }
    }

    /// Its series by the names of subjects, which have been gathered.
    pub fn of(&self, names: &[String]) -> Vec<Arc<Series>> {
        names.iter().filter_map(|name| self.series.get(name)).map(|kept| kept.series.clone()).collect()
    }

    /// Whether nothing new can come of asking this: a STOP stands, one was taken back since, or it has been asked.
    pub fn is_settled(&self, input: &PolicyInput) -> bool {
        let asked = || self.last.as_ref().is_some_and(|(versions, _)| *versions == input.versions);
        self.latched.is_some() || self.overridden != input.overridden || asked()
    }
}
