//! What policies say of runs: found when a snapshot is measured and when somebody asks, told to watchers
//! where it is news.
//!
//! Owns: when the decision store is asked. May not touch: the decision store's series and latches.

use super::decision_store::{PolicyAnswer, PolicyNews};
use super::event_bus::EventBus;
use super::lock::lock;
use clino_domain::incident::Incident;
use clino_domain::{
    Archive, Decision, Event, Fault, FaultKind, Journal, Overridden, Reading, RunId, SnapshotRef, Stretch,
};

impl EventBus {
    /// Whether a snapshot of a run is measured of which its policy has not been asked.
    pub fn owes(&self, run: &RunId) -> bool {
        self.decisions.owes(run)
    }

    /// Asks the policy of a run of what is measured, as far as nobody has; waits for whoever does. News are told to its
    /// watchers. Whoever needs the word of one run need not wait for the policies of others. May read from disk.
    pub fn evaluate(&self, run: &RunId) {
        let Ok(stream) = self.stream(run) else { return };
        let mut tell = |news: PolicyNews| {
            let news = news.unwrap_or_else(|fault| {
                let code = self.counters.note(Incident::PolicyFailed, &format!("run {run}: {fault}"));
                tracing::warn!(code, %run, %fault, "no decision");
                None
            });
            stream.evaluated(news.map(|decision| Event::Decided(Box::new(decision))));
            if self.store().is_none() {
                self.changed();
            }
        };
        self.decisions.evaluate(run, self, &mut tell);
        self.tell_stop(run);
    }

    /// What the policy of a run said last, in this process or before.
    pub fn verdict(&self, run: &RunId) -> Option<Decision> {
        let before = || lock(&self.stream(run).ok()?.state).projection.standing().decision.clone();
        self.decisions.last(run).or_else(before)
    }

    /// Whether a run has a policy.
    pub fn has_policy(&self, run: &RunId) -> bool {
        self.decisions.has_policy(run)
    }

    /// What the policy of a run would say, which is not kept and told to nobody. May read from disk.
    pub fn prospect(&self, run: &RunId) -> Option<Decision> {
        self.decisions.decide(run, Some(u64::MAX), self).ok().map(|PolicyAnswer { decision, .. }| decision)
    }

    /// Waits until a STOP that was found may be spoken of: until it is durable.
    ///
    /// # Errors
    /// Those of [`EventBus::settled`]; [`FaultKind::Unavailable`] when the daemon drains and it will not be kept.
    pub async fn spoken(&self, run: &RunId) -> Result<(), Fault> {
        let stream = self.stream(run)?;
        let waits = || self.decisions.holds_back(run) && !lock(&stream.state).ended;
        match self.store() {
            Some(store) => store.until(|_| !waits()).await?,
            // Of a channel whose sender is the bus's own.
            None => drop(self.changes.subscribe().wait_for(|_| !waits()).await),
        }
        match self.decisions.holds_back(run) {
            true => Err(Fault::new(
                FaultKind::Unavailable,
                "the daemon shuts down before the STOP is stored: try \
                                                           again",
            )),
            false => Ok(()),
        }
    }

    /// The decision of a run that stands, if nothing has happened since it was made.
    pub fn decided(&self, run: &RunId) -> Option<Decision> {
        self.decisions.standing(run)
    }

    /// What the policy of a run says now, or said of its history up to a step. News are told to its watchers.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy.
    pub fn decide(&self, run: &RunId, as_of: Option<u64>) -> Result<Decision, Fault> {
        let decided = match as_of {
            Some(_) => self.decisions.decide(run, as_of, self)?,
            None => {
                self.evaluate(run);
                self.decisions.decide_now(run, self, &mut |decision| self.decision(run, decision))?
            }
        };
        Ok(decided.decision)
    }

    fn decision(&self, run: &RunId, decision: &Decision) {
        self.append(run, Event::Decided(Box::new(decision.clone())));
    }

    /// Takes back a STOP; rules begin anew behind what is measured.
    ///
    /// # Errors
    /// Those of [`EventBus::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(&self, run: &RunId, reason: &str, by: &str) -> Result<Decision, Fault> {
        self.evaluate(run);
        let because = Overridden { at: None, reason: reason.to_owned(), by: by.to_owned() };
        self.decisions.take_back(run, because, self, &mut |decision| self.decision(run, decision))
    }
}

impl Archive for EventBus {
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        stretch: Option<Stretch>,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        let stream = self.stream(run)?;
        match (self.store(), stretch) {
            (Some(store), stretch) => store.recall(run, measures, stretch, with),
            (None, None) => {
                lock(&stream.state).projection.recall(measures, with);
                Ok(())
            }
            // In memory nothing is older than what a series holds.
            (None, Some(_)) => Ok(()),
        }
    }
}
