//! Decisions on runs: series of what policies look at, STOPs that stand, and what was taken back.
//!
//! Owns: which series are kept, the latch, in which order policies are asked. May not touch: rules, which decide and
//! remember nothing.
//!
//! A series is kept for every subject of a run's own policy and of the policies of its peers that compare runs. One that
//! is asked for later is read back from what is archived, and so are old points of peers, page by page. Whatever is
//! observed here has been archived before. A STOP is archived only after it was found, and nobody hears of it until then:
//! a crash takes back nothing that anybody knows.
//!
//! A policy is asked of every snapshot with what there was when it was measured, however late that is: which STOPs are
//! found does not depend on how busy the machine is. It is asked in its run's turn and under no other lock, so that one
//! that is slow holds up its own run alone.

mod policy_input;
mod run_state;
mod run_states;

use super::lock::lock;
use clino_domain::series::{MOST_PAGES, PAGE};
use clino_domain::{
    Archive, Decision, DecisionContext, Fault, FaultKind, Mode, Overridden, Reading, RunId, Series,
    SeriesPoint, SnapshotRef, Stretch, Subject,
};
use policy_input::PolicyInput;
use run_state::RunState;
use run_states::{Enqueued, MissingSeries, Question, RunStates};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The decision state of all runs, and the queue of evaluations.
#[derive(Debug, Default)]
pub(super) struct DecisionStore {
    states: Mutex<RunStates>,
    queue: Mutex<EvaluationQueue>,
    /// Rung when somebody is enqueued, or nobody will be any more.
    ready: Condvar,
}

/// Runs whose policies are to be asked.
#[derive(Debug, Default)]
struct EvaluationQueue {
    runs: VecDeque<RunId>,
    closed: bool,
}

/// A decision, and whether it is news: another advice, reason or rule than before.
#[derive(Debug, Clone)]
pub(super) struct PolicyAnswer {
    pub decision: Decision,
    pub news: bool,
}

/// What is new of a policy, or why it could not be asked.
pub(super) type PolicyNews = Result<Option<Decision>, Fault>;

impl DecisionStore {
    fn lock(&self) -> MutexGuard<'_, RunStates> {
        lock(&self.states)
    }

    /// A run begins; or goes on, with what its policy said last.
    pub fn open(&self, run: &RunId, context: DecisionContext, resumed: Option<Option<Decision>>) {
        let mut state = RunState::new(context, resumed.is_none());
        if let Some(decision) = resumed.flatten() {
            state.overridden = decision.overridden.clone();
            state.latched = decision.latched.then_some(decision);
            state.told = true;
        }
        self.lock().open(run, state);
    }

    /// A run is forgotten.
    pub fn forget(&self, run: &RunId) {
        self.lock().forget(run);
    }

    /// A run takes no more snapshots.
    pub fn close(&self, run: &RunId) {
        self.lock().change(run, |state| {
            state.closed = true;
            state.latched.take_if(|_| !state.told);
        });
    }

    /// A run that was closed takes snapshots again.
    pub fn reopen(&self, run: &RunId) {
        self.lock().change(run, |state| state.closed = false);
    }

    /// A snapshot is measured, with these readings.
    pub fn observe(&self, run: &RunId, at: SnapshotRef, readings: &[&Reading]) {
        self.lock().change(run, |state| state.observe(at, readings));
    }

    /// The policy of a run is to be asked of what there is now. False where there is nothing to ask.
    pub fn enqueue(&self, run: &RunId) -> bool {
        let enqueued = self.lock().enqueue(run);
        if enqueued == Enqueued::First {
            lock(&self.queue).runs.push_back(run.clone());
            self.ready.notify_one();
        }
        enqueued != Enqueued::Not
    }

    /// Waits for a run that was enqueued; `None` once nobody will be any more.
    pub fn next(&self) -> Option<RunId> {
        let waits = |queue: &mut EvaluationQueue| queue.runs.is_empty() && !queue.closed;
        let queue = self.ready.wait_while(lock(&self.queue), waits);
        let run = queue.unwrap_or_else(PoisonError::into_inner).runs.pop_front()?;
        self.lock().turn_to(&run);
        Some(run)
    }

    /// Nobody will be enqueued any more; those who were are still answered.
    pub fn end(&self) {
        lock(&self.queue).closed = true;
        self.ready.notify_all();
    }

    /// Of all runs, snapshots of which policies have not been asked.
    pub fn waiting(&self) -> usize {
        self.lock().due
    }

    /// Whether the policy of a run has not been asked of all that is measured.
    pub fn owes(&self, run: &RunId) -> bool {
        self.lock().runs.get(run).is_some_and(|state| !state.due.is_empty())
    }

    /// Asks the policy of a run of everything that it was enqueued for, in that order. `tell` hears of each what is news, or
    /// why there is no decision.
    pub fn evaluate(&self, run: &RunId, archive: &dyn Archive, tell: &mut dyn FnMut(PolicyNews)) {
        if !self.owes(run) {
            return;
        }
        let Ok(turn) = self.turn(run) else { return };
        let _turn = lock(&turn);
        while let Some(input) = self.first_due(run) {
            let news = |decided: Option<PolicyAnswer>| {
                decided.filter(|decided| decided.news).map(|decided| decided.decision)
            };
            let news = self.answer(run, input, archive).map(news);
            self.lock().done(run);
            tell(news);
        }
    }

    fn turn(&self, run: &RunId) -> Result<Arc<Mutex<()>>, Fault> {
        self.lock().runs.get(run).map(|state| state.turn.clone()).ok_or_else(Fault::unknown_run)
    }

    fn first_due(&self, run: &RunId) -> Option<Option<Arc<PolicyInput>>> {
        self.lock().runs.get(run)?.due.front().cloned()
    }

    /// What the policy says of a snapshot, if it has not said so.
    fn answer(
        &self,
        run: &RunId,
        input: Option<Arc<PolicyInput>>,
        archive: &dyn Archive,
    ) -> Result<Option<PolicyAnswer>, Fault> {
        let Some(input) = input else { return self.conclude(run, archive).map(Some) };
        if self.lock().runs.get(run).is_none_or(|state| state.is_settled(&input)) {
            return Ok(None);
        }
        let versions = input.versions;
        let decision = self.consider(input, archive)?;
        Ok(Some(self.lock().keep(run, decision, versions)))
    }

    /// A decision of a run is archived.
    pub fn tell(&self, run: &RunId, decision: &Decision) {
        if let Some(state) = self.lock().runs.get_mut(run) {
            state.told |= state.latched.as_ref().is_some_and(|latched| latched.id == decision.id);
        }
    }

    /// Whether a STOP was found that is not archived. A run that is closed archives none, and keeps none.
    pub fn holds_back(&self, run: &RunId) -> bool {
        self.lock().runs.get(run).is_some_and(|state| state.latched.is_some() && !state.told)
    }

    /// Whether a run has a policy.
    pub fn has_policy(&self, run: &RunId) -> bool {
        self.lock().runs.get(run).is_some_and(|state| state.context.evaluator.is_some())
    }

    /// What the policy said last.
    pub fn last(&self, run: &RunId) -> Option<Decision> {
        let states = self.lock();
        let state = states.runs.get(run)?;
        let last = state.last.as_ref().map(|(_, decision)| decision).filter(|decision| !decision.latched);
        state.stop().or(last).cloned()
    }

    /// The decision that stands, if nothing has happened since it was made.
    pub fn standing(&self, run: &RunId) -> Option<Decision> {
        let states = self.lock();
        let state = states.runs.get(run)?;
        states.current(state).filter(|_| state.latched.is_none() || state.told).cloned()
    }

    /// Why a run takes no more snapshots: its policy is to be enforced, and said STOP.
    pub fn refusal(&self, run: &RunId) -> Option<String> {
        let states = self.lock();
        let decision = states.runs.get(run)?.stop()?;
        let enforced = decision.mode == Mode::Enforce;
        let sentence = &decision.sentence;
        enforced.then(|| {
            format!(
                "found a stopped run: its policy said STOP: {sentence}; to go on, override the decision: `clino override {} \
                --reason TEXT`, in Python run.override(reason)",
                run.0
            )
        })
    }

    /// What the policy says.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy; those of the archive.
    pub fn decide(
        &self,
        run: &RunId,
        as_of: Option<u64>,
        archive: &dyn Archive,
    ) -> Result<PolicyAnswer, Fault> {
        let Some(step) = as_of else { return self.decide_now(run, archive, &mut |_| ()) };
        let past = self.past(run, step, archive)?;
        let input = match self.gather(run, as_of, archive)? {
            Question::Stands(decision) => return Ok(PolicyAnswer { decision: *decision, news: false }),
            Question::Input(input) => input,
        };
        let own = past.map_or(input.own, |past| past.into_iter().map(Arc::new).collect());
        let decision = self.consider(Arc::new(PolicyInput { own, ..*input }), archive)?;
        Ok(PolicyAnswer { decision, news: false })
    }

    /// What the policy says now. `tell` hears of it in the turn of the run if it is news, so that news have their order.
    ///
    /// # Errors
    /// Those of [`DecisionStore::decide`].
    pub fn decide_now(
        &self,
        run: &RunId,
        archive: &dyn Archive,
        tell: &mut dyn FnMut(&Decision),
    ) -> Result<PolicyAnswer, Fault> {
        let turn = self.turn(run)?;
        let _turn = lock(&turn);
        let decided = self.conclude(run, archive)?;
        if decided.news {
            tell(&decided.decision);
        }
        Ok(decided)
    }

    /// What the policy says of all that there is; in the turn of the run.
    fn conclude(&self, run: &RunId, archive: &dyn Archive) -> Result<PolicyAnswer, Fault> {
        let input = match self.gather(run, None, archive)? {
            Question::Stands(decision) => return Ok(PolicyAnswer { decision: *decision, news: false }),
            Question::Input(input) => input,
        };
        let versions = input.versions;
        let decision = self.consider(Arc::new(*input), archive)?;
        Ok(self.lock().keep(run, decision, versions))
    }

    /// What there is to ask, with all that had to be read back for it.
    fn gather(&self, run: &RunId, as_of: Option<u64>, archive: &dyn Archive) -> Result<Question, Fault> {
        loop {
            let missing = match self.lock().input(run, as_of)? {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            for MissingSeries { run, subjects } in missing {
                let found = recall(&run, &subjects, None, archive)?;
                self.lock().complete(&run, None, found);
            }
        }
    }

    /// Asks, and asks again with the old points of peers that were looked for, a few times.
    fn consider(&self, mut input: Arc<PolicyInput>, archive: &dyn Archive) -> Result<Decision, Fault> {
        for _ in 0..MOST_PAGES {
            let (decision, wants) = input.ask()?;
            if wants.is_empty() {
                return Ok(decision);
            }
            for want in wants {
                let (peer, subject) = input.wanted(&want);
                let peer = peer.clone();
                let stretch = Stretch { from: want.step, most: PAGE };
                let found = recall(&peer, std::slice::from_ref(subject), Some(stretch), archive)?;
                let points = found.iter().flat_map(|(_, points)| points).copied().collect();
                Arc::make_mut(&mut input).turn(&want, points);
                self.lock().complete(&peer, Some(want.step), found);
            }
        }
        Ok(input.ask()?.0)
    }

    /// The run's own series up to a step, read back if that is before the newest of a series that has let go of points.
    fn past(&self, run: &RunId, step: u64, archive: &dyn Archive) -> Result<Option<Vec<Series>>, Fault> {
        let Some((subjects, held)) = self.lock().short_of(run, step) else { return Ok(None) };
        let seen = |(_, points): (Subject, Vec<SeriesPoint>)| {
            Series::of(points.into_iter().filter(|point| point.at.step <= step))
        };
        let past: Vec<_> = recall(run, &subjects, None, archive)?.into_iter().map(seen).collect();
        // Without a history less may be archived than is held.
        let found: usize = past.iter().map(|series| series.points().len()).sum();
        Ok((found >= held).then_some(past))
    }

    /// Takes back a STOP; `tell` hears what the policy says then, in the turn of the run.
    ///
    /// # Errors
    /// Those of [`DecisionStore::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(
        &self,
        run: &RunId,
        because: Overridden,
        archive: &dyn Archive,
        tell: &mut dyn FnMut(&Decision),
    ) -> Result<Decision, Fault> {
        let turn = self.turn(run)?;
        let _turn = lock(&turn);
        // The series behind the last measured snapshot are what the rules begin with.
        self.conclude(run, archive)?;
        self.lift(run, because)?;
        let decision = self.conclude(run, archive)?.decision;
        tell(&decision);
        Ok(decision)
    }

    fn lift(&self, run: &RunId, because: Overridden) -> Result<(), Fault> {
        let mut states = self.lock();
        let state = states.runs.get_mut(run).ok_or_else(Fault::unknown_run)?;
        let Some(latched) = state.latched.take() else {
            let description = "found a run whose policy has not said STOP: there is nothing to override";
            return Err(Fault::field(FaultKind::Precondition, "run_id", description));
        };
        state.overridden = Some(Overridden { at: state.measured.or(latched.evaluated), ..because });
        state.last = None;
        Ok(())
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
) -> Result<Vec<(Subject, Vec<SeriesPoint>)>, Fault> {
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
