//! One run of a daemon.
//!
//! Owns: pushing, following, reporting, closing. May not touch: the connection.

use super::Client;
use super::follow::Follow;
use super::upload::{self, Blocks};
use clino_domain::{
    Announcement, Fault, Manifest, OpenedRun, Receipt, Report, RunId, RunSummary, Sequenced, SnapshotRef,
    Tensor, WeightKind,
};
use clino_proto::{convert, pb};
use tokio_stream::{Stream, StreamExt};

/// What is said of a snapshot beside its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Optimizer step of the snapshot.
    pub step: u64,
    /// `None`: the next free attempt of this step.
    pub attempt: Option<u32>,
    /// Which copy of the weights.
    pub kind: WeightKind,
    /// Whether these are the parameters before training, the reference of distances.
    pub initialization: bool,
    /// A retry with the same key and the same bytes gets the first receipt; with `digest`, without sending them again.
    pub key: Option<String>,
    /// SHA-256 of all bytes in the order of the tensors, lower-case hexadecimal, if the caller has it anyway.
    pub digest: Option<String>,
}

impl Label {
    /// The live weights after `step`.
    pub fn step(step: u64) -> Self {
        Self { step, attempt: None, kind: WeightKind::Live, initialization: false, key: None, digest: None }
    }

    /// The weights before training, as step 0.
    pub fn initialization() -> Self {
        Self { initialization: true, ..Self::step(0) }
    }
}

/// A run. Clones are the same run.
#[derive(Debug, Clone)]
pub struct Run {
    client: Client,
    id: RunId,
    opened: Option<OpenedRun>,
}

impl Run {
    pub(super) fn new(client: Client, opened: OpenedRun) -> Self {
        Self { client, id: opened.run.clone(), opened: Some(opened) }
    }

    pub(super) fn known(client: Client, id: RunId) -> Self {
        Self { client, id, opened: None }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Made by the daemon.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// What the daemon answered when this run was opened here.
    pub fn opened(&self) -> Option<&OpenedRun> {
        self.opened.as_ref()
    }

    /// Sends a snapshot and waits until the daemon has it whole. Large tensors are not copied.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for tensors that make no manifest, and what the daemon answers.
    pub async fn push(&self, label: Label, tensors: Vec<Tensor>) -> Result<Receipt, Fault> {
        let (specs, data): (Vec<_>, Vec<_>) = tensors.into_iter().map(|t| (t.spec, Ok(t.data))).unzip();
        self.push_blocks(label, Manifest::new(specs, Vec::new())?, Box::new(data.into_iter())).await
    }

    /// Sends a snapshot whose bytes come piece by piece, in the order of `manifest`: aliases are possible, and at most
    /// four chunks are in memory.
    ///
    /// # Errors
    /// The first fault of `blocks`, or what the daemon answers.
    pub async fn push_blocks(
        &self,
        label: Label,
        manifest: Manifest,
        blocks: Blocks,
    ) -> Result<Receipt, Fault> {
        let Label { step, attempt, kind, initialization, key, digest } = label;
        let run = self.id.clone();
        // Here is no model, only its parameters: there is nothing to check.
        let check = None;
        let announcement =
            Announcement { run, key, step, attempt, kind, initialization, manifest, digest, check };
        let (frames, source) = upload::snapshot(&announcement, blocks);
        let answer = self.client.snapshots_service().push_snapshot(frames).await;
        source.outcome()?;
        convert::receipt_from_pb(answer.map_err(|s| self.client.fault(&s))?.into_inner())
    }

    /// The events of the run from a sequence number, or from now on; ends when the connection does. [`Run::follow`]
    /// is the one that comes back.
    ///
    /// # Errors
    /// The fault that the daemon answers, at once or as the last item.
    pub async fn watch(
        &self,
        from: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Sequenced, Fault>> + use<>, Fault> {
        let request = pb::WatchRequest { run_id: self.id.0.clone(), from_sequence: from };
        let client = self.client.clone();
        let stream = client.reports_service().watch(request).await.map_err(|s| client.fault(&s))?;
        Ok(stream.into_inner().map(move |item| {
            let response = item.map_err(|s| client.fault(&s))?;
            convert::event_from_pb(response)
        }))
    }

    /// The events of the run from a sequence number, or from when the first one is asked for, across lost connections.
    pub fn follow(&self, from: Option<u64>) -> Follow {
        Follow::new(self.clone(), from)
    }

    /// All readings of one snapshot, or of the one that was measured last.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn report(&self, snapshot: Option<SnapshotRef>) -> Result<Report, Fault> {
        let request =
            pb::GetReportRequest { run_id: self.id.0.clone(), snapshot: snapshot.map(convert::at_to_pb) };
        let answer = self.client.reports_service().get_report(request).await;
        convert::report_from_pb(answer.map_err(|s| self.client.fault(&s))?.into_inner())
    }

    /// What the run is and how far it is.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn summary(&self) -> Result<RunSummary, Fault> {
        let request = pb::GetRunRequest { run_id: self.id.0.clone() };
        let answer = self.client.runs_service().get_run(request).await;
        summary(answer.map_err(|s| self.client.fault(&s))?.into_inner().run)
    }

    /// No more snapshots; what waits is still measured.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn close(&self) -> Result<RunSummary, Fault> {
        self.end(false).await
    }

    /// No more snapshots, and no more readings: what is being measured ends within a second.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn abandon(&self) -> Result<RunSummary, Fault> {
        self.end(true).await
    }

    async fn end(&self, abandon: bool) -> Result<RunSummary, Fault> {
        let request = pb::CloseRunRequest { run_id: self.id.0.clone(), resumable: false, abandon };
        let answer = self.client.runs_service().close_run(request).await;
        summary(answer.map_err(|s| self.client.fault(&s))?.into_inner().run)
    }
}

fn summary(run: Option<pb::RunSummary>) -> Result<RunSummary, Fault> {
    convert::summary_from_pb(run.ok_or_else(|| Fault::internal("the daemon answered without a run"))?)
}
