//! What a policy is asked: everything that it looks at, as it was at one moment.
//!
//! Owns: the way to the policy. May not touch: what is held of runs; no lock is held while a policy thinks.

use clino_domain::{
    Decision, Evidence, Fault, Overridden, PeerRun, PolicyEvaluator, RunId, Series, SeriesPoint, Subject,
    Want,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Of what a decision depends on: the run itself, and its experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub run: u64,
    pub experiment: u64,
}

/// A question to a policy.
#[derive(Debug, Clone)]
pub(super) struct PolicyInput {
    pub run: RunId,
    pub evaluator: Arc<dyn PolicyEvaluator>,
    pub own: Vec<Arc<Series>>,
    /// Runs that are compared with.
    pub peers: Vec<PeerState>,
    pub overridden: Option<Overridden>,
    pub as_of: Option<u64>,
    pub versions: Versions,
}

/// Another run, as it was then.
#[derive(Debug, Clone)]
pub(super) struct PeerState {
    pub run: RunId,
    pub series: Vec<Arc<Series>>,
    pub over: bool,
    pub stopped: bool,
}

impl PeerState {
    fn shown<'a>(&'a self, series: &'a [&'a Series]) -> PeerRun<'a> {
        PeerRun { run: &self.run, series, over: self.over, stopped: self.stopped }
    }
}

fn seen(series: &[Arc<Series>]) -> Vec<&Series> {
    series.iter().map(|series| &**series).collect()
}

impl PolicyInput {
    /// The decision, and what was looked for in vain.
    ///
    /// # Errors
    /// [`Internal`](clino_domain::FaultKind::Internal) when the policy panics.
    pub fn ask(&self) -> Result<(Decision, Vec<Want>), Fault> {
        let own = seen(&self.own);
        let series: Vec<_> = self.peers.iter().map(|peer| seen(&peer.series)).collect();
        let peers = self.peers.iter().zip(&series).map(|(peer, series)| peer.shown(series));
        let peers: Vec<_> = peers.collect();
        let overridden = self.overridden.as_ref().filter(|_| self.as_of.is_none());
        let evidence = Evidence { run: &self.run, own: &own, peers: &peers, overridden, as_of: self.as_of };
        // It is pure: there is nothing that a panic leaves half-done.
        let answer = catch_unwind(AssertUnwindSafe(|| self.evaluator.consider(&evidence)));
        answer.map_err(|_| Fault::internal("the policy panicked"))
    }

    /// Whose points are wanted, and which.
    pub fn wanted(&self, want: &Want) -> (&RunId, &Subject) {
        (&self.peers[want.peer].run, &self.evaluator.subjects()[want.subject])
    }

    /// Takes in a page of old points.
    pub fn turn(&mut self, want: &Want, points: Vec<SeriesPoint>) {
        Arc::make_mut(&mut self.peers[want.peer].series[want.subject]).turn(want.step, points);
    }
}
