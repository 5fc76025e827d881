//! The `Decisions` service.
//!
//! Owns: the way of these requests. May not touch: what a policy says.

use super::access::Scope;
use super::desk::Desk;
use super::outlet::{Outflow, Outlet};
use crate::publish::{Hub, Watcher};
use clino_domain::text::sentence;
use clino_domain::{Decision, Event, Fault, RunId, SnapshotRef};
use clino_proto::convert::{decision_to_pb, rule_info_to_pb};
use clino_proto::pb;
use std::sync::Arc;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct DecisionsService(pub Desk);

/// Longest reason of an override, in bytes.
const MAX_REASON: usize = 1_000;

type Decisions = Outflow<pb::WatchDecisionsResponse>;

#[async_trait]
impl pb::decisions_server::Decisions for DecisionsService {
    type WatchDecisionsStream = Decisions;

    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        let pass = self.0.admit(&request, Scope::Decide)?;
        let pb::DecideRequest { run_id, as_of_step } = request.into_inner();
        let run = RunId(run_id);
        self.0.run_for(&pass, &run)?;
        let decision = self.decision(&run, as_of_step).await?;
        let staleness = staleness(&self.0.hub, &run);
        Ok(Response::new(pb::DecideResponse { decision: Some(decision_to_pb(&decision)), staleness }))
    }

    async fn watch_decisions(
        &self,
        request: Request<pb::WatchDecisionsRequest>,
    ) -> Result<Response<Decisions>, Status> {
        let pass = self.0.admit(&request, Scope::Decide)?;
        let pb::WatchDecisionsRequest { run_id, from_sequence } = request.into_inner();
        let run = RunId(run_id);
        let (held, _) = self.0.run_for(&pass, &run)?;
        let watchman = self.0.watchman(&pass, Some(&held.label.project));
        let standing = self.decision(&run, None).await?;
        let watcher = self.0.hub.watch(&run, from_sequence)?;
        let (outlet, outflow) = Outlet::new(watchman, self.0.patience);
        let first = from_sequence.is_none().then(|| (watcher.place().saturating_sub(1), standing));
        tokio::spawn(pump(self.0.hub.clone(), run, watcher, first, outlet));
        Ok(Response::new(outflow))
    }

    async fn r#override(
        &self,
        request: Request<pb::OverrideRequest>,
    ) -> Result<Response<pb::OverrideResponse>, Status> {
        let pass = self.0.admit(&request, Scope::Admin)?;
        let pb::OverrideRequest { run_id, reason } = request.into_inner();
        let run = RunId(run_id);
        let (held, _) = self.0.run_for(&pass, &run)?;
        let reason = sentence("reason", &reason, MAX_REASON)?;
        let hub = self.0.hub.clone();
        let by = pass.name.clone();
        let subject = run.clone();
        let why = reason.clone();
        let taken_back = blocking(move || hub.take_back(&subject, &why, &by)).await?;
        self.0.settled().await?;
        pass.audit("override", Some(&held.label.project), Some(&run), &format!("ok: {reason}"));
        tracing::warn!(%run, by = pass.name, reason, "a STOP was overridden");
        Ok(Response::new(pb::OverrideResponse { decision: Some(decision_to_pb(&taken_back)) }))
    }

    async fn list_rules(
        &self,
        request: Request<pb::ListRulesRequest>,
    ) -> Result<Response<pb::ListRulesResponse>, Status> {
        self.0.admit(&request, Scope::Decide)?;
        let rules = self.0.registry.rules().iter().map(rule_info_to_pb).collect();
        Ok(Response::new(pb::ListRulesResponse { rules }))
    }
}

impl DecisionsService {
    /// What the policy says; a STOP is on disk before it is said.
    async fn decision(&self, run: &RunId, as_of: Option<u64>) -> Result<Decision, Status> {
        if let (None, Some(decision)) = (as_of, self.0.hub.decided(run)) {
            return Ok(decision);
        }
        let hub = self.0.hub.clone();
        let subject = run.clone();
        // Series may have to be read back from disk.
        let decision = blocking(move || hub.decide(&subject, as_of)).await?;
        if as_of.is_none() && decision.latched {
            self.0.hub.spoken(run).await?;
        }
        Ok(decision)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Status> {
    let defect = |error: tokio::task::JoinError| Fault::internal(error.to_string());
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(defect).flatten()?)
}

/// How far what is measured of a run is behind what was received; `None` of a run that is gone.
pub(super) fn staleness(hub: &Hub, run: &RunId) -> Option<pb::Staleness> {
    let progress = hub.progress(run).ok()?;
    let step = |at: Option<SnapshotRef>| at.map_or(0, |at| at.step);
    Some(pb::Staleness {
        snapshots: progress.pending(),
        steps: step(progress.last_accepted).saturating_sub(step(progress.last_measured)),
    })
}

/// Ends with the run, with the daemon, or with its reader.
async fn pump(
    hub: Arc<Hub>,
    run: RunId,
    mut watcher: Watcher,
    first: Option<(u64, Decision)>,
    mut outlet: Outlet<pb::WatchDecisionsResponse>,
) {
    let answer = |sequence, decision: &Decision| pb::WatchDecisionsResponse {
        sequence,
        decision: Some(decision_to_pb(decision)),
        staleness: staleness(&hub, &run),
    };
    if let Some((sequence, decision)) = first
        && !outlet.send(answer(sequence, &decision), watcher.place()).await
    {
        return;
    }
    while let Some(event) = outlet.next(&mut watcher).await {
        if let Event::Decided(decision) = &event.event
            && !outlet.send(answer(event.sequence, decision), watcher.place()).await
        {
            return;
        }
    }
}
