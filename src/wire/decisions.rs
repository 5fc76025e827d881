//! The `Decisions` service.
//!
//! Owns: the way of these requests. May not touch: what a policy says.

use super::access::Scope;
use super::services::Services;
use super::stream_sender::{OutgoingStream, StreamSender};
use crate::publish::{EventBus, Watcher};
use clino_domain::text::sentence;
use clino_domain::{Decision, Event, Fault, RunId, SnapshotRef};
use clino_proto::convert::{decision_to_pb, rule_info_to_pb};
use clino_proto::pb;
use std::sync::Arc;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct DecisionsService(pub Services);

/// Longest reason of an override, in bytes.
const MAX_REASON: usize = 1_000;

type Decisions = OutgoingStream<pb::WatchDecisionsResponse>;

#[async_trait]
impl pb::decisions_server::Decisions for DecisionsService {
    type WatchDecisionsStream = Decisions;

    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        let auth = self.0.authorize(&request, Scope::Decide)?;
        let pb::DecideRequest { run_id, as_of_step } = request.into_inner();
        let run = RunId(run_id);
        self.0.run_for(&auth, &run)?;
        let decision = self.decision(&run, as_of_step).await?;
        let staleness = staleness(&self.0.bus, &run);
        Ok(Response::new(pb::DecideResponse { decision: Some(decision_to_pb(&decision)), staleness }))
    }

    async fn watch_decisions(
        &self,
        request: Request<pb::WatchDecisionsRequest>,
    ) -> Result<Response<Decisions>, Status> {
        let auth = self.0.authorize(&request, Scope::Decide)?;
        let pb::WatchDecisionsRequest { run_id, from_sequence } = request.into_inner();
        let run = RunId(run_id);
        let (held, _) = self.0.run_for(&auth, &run)?;
        let guard = self.0.guard(&auth, Some(&held.label.project));
        let standing = self.decision(&run, None).await?;
        let watcher = self.0.bus.watch(&run, from_sequence)?;
        let (sender, outgoing) = StreamSender::new(guard, self.0.patience);
        let first = from_sequence.is_none().then(|| (watcher.place().saturating_sub(1), standing));
        tokio::spawn(pump(self.0.bus.clone(), run, watcher, first, sender));
        Ok(Response::new(outgoing))
    }

    async fn r#override(
        &self,
        request: Request<pb::OverrideRequest>,
    ) -> Result<Response<pb::OverrideResponse>, Status> {
        let auth = self.0.authorize(&request, Scope::Admin)?;
        let pb::OverrideRequest { run_id, reason } = request.into_inner();
        let run = RunId(run_id);
        let (held, _) = self.0.run_for(&auth, &run)?;
        let reason = sentence("reason", &reason, MAX_REASON)?;
        let bus = self.0.bus.clone();
        let by = auth.name.clone();
        let subject = run.clone();
        let why = reason.clone();
        let taken_back = blocking(move || bus.take_back(&subject, &why, &by)).await?;
        self.0.settled().await?;
        auth.audit("override", Some(&held.label.project), Some(&run), &format!("ok: {reason}"));
        tracing::warn!(%run, by = auth.name, reason, "a STOP was overridden");
        Ok(Response::new(pb::OverrideResponse { decision: Some(decision_to_pb(&taken_back)) }))
    }

    async fn list_rules(
        &self,
        request: Request<pb::ListRulesRequest>,
    ) -> Result<Response<pb::ListRulesResponse>, Status> {
        self.0.authorize(&request, Scope::Decide)?;
        let rules = self.0.registry.rules().iter().map(rule_info_to_pb).collect();
        Ok(Response::new(pb::ListRulesResponse { rules }))
    }
}

impl DecisionsService {
    /// What the policy says; a STOP is on disk before it is said.
    async fn decision(&self, run: &RunId, as_of: Option<u64>) -> Result<Decision, Status> {
        if let (None, Some(decision)) = (as_of, self.0.bus.decided(run)) {
            return Ok(decision);
        }
        let bus = self.0.bus.clone();
        let subject = run.clone();
        // Series may have to be read back from disk.
        let decision = blocking(move || bus.decide(&subject, as_of)).await?;
        if as_of.is_none() && decision.latched {
            self.0.bus.spoken(run).await?;
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
pub(super) fn staleness(bus: &EventBus, run: &RunId) -> Option<pb::Staleness> {
    let progress = bus.progress(run).ok()?;
    let step = |at: Option<SnapshotRef>| at.map_or(0, |at| at.step);
    Some(pb::Staleness {
        snapshots: progress.pending(),
        steps: step(progress.last_accepted).saturating_sub(step(progress.last_measured)),
    })
}

/// Ends with the run, with the daemon, or with its reader.
async fn pump(
    bus: Arc<EventBus>,
    run: RunId,
    mut watcher: Watcher,
    first: Option<(u64, Decision)>,
    mut sender: StreamSender<pb::WatchDecisionsResponse>,
) {
    let answer = |sequence, decision: &Decision| pb::WatchDecisionsResponse {
        sequence,
        decision: Some(decision_to_pb(decision)),
        staleness: staleness(&bus, &run),
    };
    if let Some((sequence, decision)) = first
        && !sender.send(answer(sequence, &decision), watcher.place()).await
    {
        return;
    }
    while let Some(event) = sender.next(&mut watcher).await {
        if let Event::Decided(decision) = &event.event
            && !sender.send(answer(event.sequence, decision), watcher.place()).await
        {
            return;
        }
    }
}
