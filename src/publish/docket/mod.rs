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

mod brief;
mod held;
mod inner;

use brief::Brief;
use clino_domain::series::{MOST_PAGES, PAGE};
use clino_domain::{
    Archive, Case, Decision, Fault, FaultKind, Mode, Overridden, Point, Reading, RunId, Series, SnapshotRef,
    Stretch, Subject,
};
use held::Open;
use inner::{Found, Inner, Missing, Summoned};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// All cases.
#[derive(Debug, Default)]
pub(super) struct Docket {
    inner: Mutex<Inner>,
    summons: Mutex<Summons>,
    /// Rung when somebody is summoned, or nobody will be any more.
    bell: Condvar,
}

/// Runs whose policies are to be asked.
#[derive(Debug, Default)]
struct Summons {
    runs: VecDeque<RunId>,
    closed: bool,
}

/// A decision, and whether it is news: another advice, reason or rule than before.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub decision: Decision,
    pub news: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Docket {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// A run begins; or goes on, with what its policy said last.
    pub fn open(&self, run: &RunId, case: Case, resumed: Option<Option<Decision>>) {
        let mut open = Open::new(case, resumed.is_none());
        if let Some(decision) = resumed.flatten() {
            open.overridden = decision.overridden.clone();
            open.latched = decision.latched.then_some(decision);
            open.told = true;
        }
        self.lock().open(run, open);
    }

    /// A run is forgotten.
    pub fn forget(&self, run: &RunId) {
        self.lock().forget(run);
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
        self.lock().change(run, |open| open.observe(at, readings));
    }

    /// The policy of a run is to be asked of what there is now. False where there is nothing to ask.
    pub fn summon(&self, run: &RunId) -> bool {
        let summoned = self.lock().summon(run);
        if summoned == Summoned::First {
            locked(&self.summons).runs.push_back(run.clone());
            self.bell.notify_one();
        }
        summoned != Summoned::Not
    }

    /// Waits for a run that was summoned; `None` once nobody will be any more.
    pub fn next(&self) -> Option<RunId> {
        let waits = |summons: &mut Summons| summons.runs.is_empty() && !summons.closed;
        let summons = self.bell.wait_while(locked(&self.summons), waits);
        let run = summons.unwrap_or_else(PoisonError::into_inner).runs.pop_front()?;
        self.lock().turn_to(&run);
        Some(run)
    }

    /// Nobody will be summoned any more; those who were are still answered.
    pub fn end(&self) {
        locked(&self.summons).closed = true;
        self.bell.notify_all();
    }

    /// Of all runs, snapshots of which policies have not been asked.
    pub fn waiting(&self) -> usize {
        self.lock().due
    }

    /// Whether the policy of a run has not been asked of all that is measured.
    pub fn owes(&self, run: &RunId) -> bool {
        self.lock().cases.get(run).is_some_and(|open| !open.due.is_empty())
    }

    /// Asks the policy of a run of everything that it was summoned for, in that order. `tell` hears of each what is news.
    pub fn judge(&self, run: &RunId, archive: &dyn Archive, tell: &mut dyn FnMut(Option<Decision>)) {
        if !self.owes(run) {
            return;
        }
        let Ok(turn) = self.turn(run) else { return };
        let _turn = locked(&turn);
        while let Some(brief) = self.first_due(run) {
            let news = match self.answer(run, brief, archive) {
                Ok(decided) => decided.filter(|decided| decided.news).map(|decided| decided.decision),
                Err(fault) => {
                    tracing::warn!(%run, %fault, "no decision");
                    None
                }
            };
            self.lock().done(run);
            tell(news);
        }
    }

    fn turn(&self, run: &RunId) -> Result<Arc<Mutex<()>>, Fault> {
        self.lock().cases.get(run).map(|open| open.turn.clone()).ok_or_else(Fault::unknown_run)
    }

    fn first_due(&self, run: &RunId) -> Option<Option<Arc<Brief>>> {
        self.lock().cases.get(run)?.due.front().cloned()
    }

    /// What the policy says of a snapshot, if it has not said so.
    fn answer(
        &self,
        run: &RunId,
        brief: Option<Arc<Brief>>,
        archive: &dyn Archive,
    ) -> Result<Option<Decided>, Fault> {
        let Some(brief) = brief else { return self.conclude(run, archive).map(Some) };
        if self.lock().cases.get(run).is_none_or(|open| open.is_settled(&brief)) {
            return Ok(None);
        }
        let versions = brief.versions;
        let decision = self.consider(brief, archive)?;
        Ok(Some(self.lock().keep(run, decision, versions)))
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
    pub fn decide(&self, run: &RunId, as_of: Option<u64>, archive: &dyn Archive) -> Result<Decided, Fault> {
        let Some(step) = as_of else { return self.decide_now(run, archive, &mut |_| ()) };
        let past = self.past(run, step, archive)?;
        let brief = match self.gather(run, as_of, archive)? {
            Found::Stands(decision) => return Ok(Decided { decision: *decision, news: false }),
            Found::Brief(brief) => brief,
        };
        let own = past.map_or(brief.own, |past| past.into_iter().map(Arc::new).collect());
        let decision = self.consider(Arc::new(Brief { own, ..*brief }), archive)?;
        Ok(Decided { decision, news: false })
    }

    /// What the policy says now. `tell` hears of it in the turn of the run if it is news, so that news have their order.
    ///
    /// # Errors
    /// Those of [`Docket::decide`].
    pub fn decide_now(
        &self,
        run: &RunId,
        archive: &dyn Archive,
        tell: &mut dyn FnMut(&Decision),
    ) -> Result<Decided, Fault> {
        let turn = self.turn(run)?;
        let _turn = locked(&turn);
        let decided = self.conclude(run, archive)?;
        if decided.news {
            tell(&decided.decision);
        }
        Ok(decided)
    }

    /// What the policy says of all that there is; in the turn of the run.
    fn conclude(&self, run: &RunId, archive: &dyn Archive) -> Result<Decided, Fault> {
        let brief = match self.gather(run, None, archive)? {
            Found::Stands(decision) => return Ok(Decided { decision: *decision, news: false }),
            Found::Brief(brief) => brief,
        };
        let versions = brief.versions;
        let decision = self.consider(Arc::new(*brief), archive)?;
        Ok(self.lock().keep(run, decision, versions))
    }

    /// What there is to ask, with all that had to be read back for it.
    fn gather(&self, run: &RunId, as_of: Option<u64>, archive: &dyn Archive) -> Result<Found, Fault> {
        loop {
            let missing = match self.lock().brief(run, as_of)? {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            for Missing { run, subjects } in missing {
                let found = recall(&run, &subjects, None, archive)?;
                self.lock().complete(&run, None, found);
            }
        }
    }

    /// Asks, and asks again with the old points of peers that were looked for, a few times.
    fn consider(&self, mut brief: Arc<Brief>, archive: &dyn Archive) -> Result<Decision, Fault> {
        for _ in 0..MOST_PAGES {
            let (decision, wants) = brief.ask()?;
            if wants.is_empty() {
                return Ok(decision);
            }
            for want in wants {
                let (peer, subject) = brief.wanted(&want);
                let peer = peer.clone();
                let stretch = Stretch { from: want.step, most: PAGE };
                let found = recall(&peer, std::slice::from_ref(subject), Some(stretch), archive)?;
                let points = found.iter().flat_map(|(_, points)| points).copied().collect();
                Arc::make_mut(&mut brief).turn(&want, points);
                self.lock().complete(&peer, Some(want.step), found);
            }
        }
        Ok(brief.ask()?.0)
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

    /// Takes back a STOP; `tell` hears what the policy says then, in the turn of the run.
    ///
    /// # Errors
    /// Those of [`Docket::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(
        &self,
        run: &RunId,
        because: Overridden,
        archive: &dyn Archive,
        tell: &mut dyn FnMut(&Decision),
    ) -> Result<Decision, Fault> {
        let turn = self.turn(run)?;
        let _turn = locked(&turn);
        // The series behind the last measured snapshot are what the rules begin with.
        self.conclude(run, archive)?;
        self.lift(run, because)?;
        let decision = self.conclude(run, archive)?.decision;
        tell(&decision);
        Ok(decision)
    }

    fn lift(&self, run: &RunId, because: Overridden) -> Result<(), Fault> {
        let mut inner = self.lock();
        let open = inner.cases.get_mut(run).ok_or_else(Fault::unknown_run)?;
        let Some(latched) = open.latched.take() else {
            let description = "found a run whose policy has not said STOP: there is nothing to override";
            return Err(Fault::field(FaultKind::Precondition, "run_id", description));
        };
        open.overridden = Some(Overridden { at: open.measured.or(latched.evaluated), ..because });
        open.last = None;
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
