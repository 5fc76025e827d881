//! What policies say of runs: found when a snapshot is measured and when somebody asks, told to watchers where it is news.
//!
//! Owns: when the docket is asked. May not touch: the docket's series and latches.

use super::docket::Decided;
use super::feed::{Feed, Hub, lock};
use clino_domain::{
    Archive, Decision, Event, Fault, FaultKind, Journal, Reading, RunId, SnapshotRef, Stretch,
};

impl Hub {
    /// Something has been told: what a run's policy says of it, if that is news.
    pub(super) fn told(&self, feed: &Feed, event: &Event) -> Option<Event> {
        match event {
            Event::Closed => self.docket.close(feed.run()),
            Event::Finished { .. } => return self.measured(feed.run()),
            Event::Decided(decision) => self.docket.tell(feed.run(), decision),
            _ => {}
        }
        None
    }

    /// A run takes snapshots again.
    pub(super) fn reopened(&self, feed: &Feed) {
        feed.go_on();
        self.docket.reopen(feed.run());
    }

    /// A snapshot is measured: what the run's policy says of it, if that is news.
    fn measured(&self, run: &RunId) -> Option<Event> {
        match self.docket.decide(run, None, self) {
            Ok(Decided { decision, news }) => news.then(|| Event::Decided(Box::new(decision))),
            Err(fault) if fault.kind == FaultKind::Precondition => None,
            Err(fault) => {
                tracing::warn!(%run, %fault, "no decision");
                None
            }
        }
    }

    /// What the policy of a run said last, in this process or before.
    pub fn verdict(&self, run: &RunId) -> Option<Decision> {
        let before = || lock(&self.feed(run).ok()?.state).board.standing().decision.clone();
        self.docket.last(run).or_else(before)
    }

    /// Whether a run has a policy.
    pub fn judged(&self, run: &RunId) -> bool {
        self.docket.judges(run)
    }

    /// What the policy of a run would say, which is not kept and told to nobody. May read from disk.
    pub fn prospect(&self, run: &RunId) -> Option<Decision> {
        self.docket.decide(run, Some(u64::MAX), self).ok().map(|Decided { decision, .. }| decision)
    }

    /// Waits until a STOP that was found may be spoken of: until it is durable.
    ///
    /// # Errors
    /// Those of [`Hub::settled`]; [`FaultKind::Unavailable`] when the daemon drains and it will not be kept.
    pub async fn spoken(&self, run: &RunId) -> Result<(), Fault> {
        let feed = self.feed(run)?;
        let waits = || self.docket.holds_back(run) && !lock(&feed.state).ended;
        match self.store() {
            Some(store) => store.until(|_| !waits()).await?,
            // Of a channel whose sender is the hub's own.
            None => drop(self.changes.subscribe().wait_for(|_| !waits()).await),
        }
        match self.docket.holds_back(run) {
            true => Err(Fault::new(FaultKind::Unavailable, "the daemon drains before the STOP is kept")),
            false => Ok(()),
        }
    }

    /// The decision of a run that stands, if nothing has happened since it was made.
    pub fn decided(&self, run: &RunId) -> Option<Decision> {
        self.docket.standing(run)
    }

    /// What the policy of a run says now, or said of its history up to a step. News are told to its watchers.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy.
    pub fn decide(&self, run: &RunId, as_of: Option<u64>) -> Result<Decision, Fault> {
        let Decided { decision, news } = self.docket.decide(run, as_of, self)?;
        if news {
            self.append(run, Event::Decided(Box::new(decision.clone())));
        }
        Ok(decision)
    }

    /// Takes back a STOP; rules begin anew behind what is measured.
    ///
    /// # Errors
    /// Those of [`Hub::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(&self, run: &RunId, reason: &str, by: &str) -> Result<Decision, Fault> {
        let decision = self.docket.take_back(run, reason, by, self)?;
        self.append(run, Event::Decided(Box::new(decision.clone())));
        Ok(decision)
    }
}

impl Archive for Hub {
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        stretch: Option<Stretch>,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        let feed = self.feed(run)?;
        match (self.store(), feed.kept(), stretch) {
            (Some(store), Some(kept), None) => store.recall(kept, measures, with),
            (Some(store), Some(kept), Some(stretch)) => store.stretch(kept, measures, stretch, with),
            (_, _, None) => {
                lock(&feed.state).board.recall(measures, with);
                Ok(())
            }
            // In memory nothing is older than what a series holds.
            (_, _, Some(_)) => Ok(()),
        }
    }
}
