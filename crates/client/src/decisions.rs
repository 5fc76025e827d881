//! What the policy of a run says.
//!
//! Owns: asking, following, taking back. May not touch: what follows from it.

use super::Run;
use clino_domain::{Decision, Fault};
use clino_proto::{convert, pb};
use tokio_stream::{Stream, StreamExt};

/// A decision, and how far it is behind the trainer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Advised {
    /// What the policy says.
    pub decision: Decision,
    /// Snapshots that were received and are not measured yet.
    pub snapshots_behind: u64,
    /// Steps between the newest snapshot received and the newest one measured.
    pub steps_behind: u64,
}

fn decision(decision: Option<pb::Decision>) -> Result<Decision, Fault> {
    let missing = || Fault::internal("the daemon answered without a decision");
    convert::decision_from_pb(decision.ok_or_else(missing)?)
}

impl Run {
    /// What the policy says now, or said of the history up to a step.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Precondition`] for a run without a policy, and what else the daemon answers.
    pub async fn decide(&self, as_of: Option<u64>) -> Result<Advised, Fault> {
        let request = pb::DecideRequest { run_id: self.id().0.clone(), as_of_step: as_of };
        let client = self.client();
        let answer = client.decisions_service().decide(request).await.map_err(|s| client.fault(&s))?;
        let pb::DecideResponse { decision: decided, staleness } = answer.into_inner();
        let pb::Staleness { snapshots, steps } = staleness.unwrap_or_default();
        Ok(Advised { decision: decision(decided)?, snapshots_behind: snapshots, steps_behind: steps })
    }

    /// The decision that stands, then those to come, each with its sequence number; ends when the connection does.
    ///
    /// # Errors
    /// Those of [`Run::decide`], at once or as the last item.
    pub async fn decisions(
        &self,
        from: Option<u64>,
    ) -> Result<impl Stream<Item = Result<(u64, Decision), Fault>> + use<>, Fault> {
        let request = pb::WatchDecisionsRequest { run_id: self.id().0.clone(), from_sequence: from };
        let client = self.client().clone();
        let stream = client.decisions_service().watch_decisions(request).await;
        Ok(stream.map_err(|s| client.fault(&s))?.into_inner().map(move |item| {
            let response = item.map_err(|s| client.fault(&s))?;
            Ok((response.sequence, decision(response.decision)?))
        }))
    }

    /// Takes back a STOP, for a reason that is kept; rules begin anew behind what is measured.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Precondition`] where no STOP stands, and what else the daemon answers.
    pub async fn take_back(&self, reason: &str) -> Result<Decision, Fault> {
        let request = pb::OverrideRequest { run_id: self.id().0.clone(), reason: reason.to_owned() };
        let client = self.client();
        let answer = client.decisions_service().r#override(request).await.map_err(|s| client.fault(&s))?;
        decision(answer.into_inner().decision)
    }
}
