//! The `Snapshots` service.
//!
//! Owns: the way of one upload. May not touch: what a snapshot means to its run (that is the registry's).

use super::access::{AuthContext, Scope};
use super::decisions::staleness;
use super::frames::Frames;
use super::metrics_layer::{MeteredSpan, span_of_run};
use super::refused::Refused;
use super::services::{Drain, Services};
use crate::assembly::Assembler;
use crate::registry::{Admission, RegisteredRun, RepeatedUpload, Room, Upload};
use clino_domain::counters::Counter;
use clino_domain::{Fault, Receipt, RunId};
use clino_proto::convert::{announcement_from_pb, receipt_to_pb};
use clino_proto::pb;
use std::sync::Arc;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

pub(super) struct SnapshotsService(pub Services);

#[async_trait]
impl pb::snapshots_server::Snapshots for SnapshotsService {
    async fn push_snapshot(
        &self,
        request: Request<Streaming<pb::PushSnapshotRequest>>,
    ) -> Result<Response<pb::PushSnapshotResponse>, Status> {
        let auth = self.0.authorize(&request, Scope::Push)?;
        let upload = MeteredSpan::upload(&self.0.counters, "snapshot");
        let answer = self.push(request, &auth).await;
        upload.end(answer.is_ok());
        match &answer {
            Ok(receipt) => {
                let pb::PushSnapshotResponse { snapshot_id: id, step, attempt, .. } = receipt;
                tracing::debug!(id, step, attempt, "snapshot");
            }
            Err(status) => {
                self.0.counters.count(Counter::UploadFailed);
                self.0.refused(Refused::Snapshot, status);
            }
        }
        answer.map(Response::new)
    }
}

impl SnapshotsService {
    async fn push(
        &self,
        request: Request<Streaming<pb::PushSnapshotRequest>>,
        auth: &AuthContext,
    ) -> Result<pb::PushSnapshotResponse, Status> {
        let services = &self.0;
        let _open = services.drain.enter()?;
        let mut frames = Frames::new(request, services, services.guard(auth, None));
        let begin = frames.begin().await?;
        let (run, _) = services.run_for(auth, &RunId(begin.run_id.clone()))?;
        let answer = self.take(&run, begin, frames, auth).await;
        if let Err(status) = &answer
            && is_refusal(status.code())
        {
            run.refuse(status.message());
        }
        answer
    }

    async fn take(
        &self,
        run: &RegisteredRun,
        begin: pb::BeginSnapshot,
        mut frames: Frames<'_, pb::PushSnapshotRequest>,
        auth: &AuthContext,
    ) -> Result<pb::PushSnapshotResponse, Status> {
        let services = &self.0;
        let project = &run.label.project;
        frames.watched_by(services.guard(auth, Some(project)));
        span_of_run(&begin.run_id, Some(begin.step));
        let upload = match announce(services, &run.id, begin)? {
            Admission::Welcome(upload) => upload,
            Admission::Repeated(receipt) => return Ok(self.answer(&run.id, receipt).await?),
            Admission::Compared(comparison) => {
                let _slot = auth.quota(project, services.authenticator.quotas.slot(project))?;
                let assembled = frames.fill(passing(services, &comparison)).await?;
                let receipt = comparison.settle(assembled.digest())?;
                return Ok(self.answer(&run.id, receipt).await?);
            }
        };
        let _slot = auth.quota(project, services.authenticator.quotas.upload(project))?;
        // Until there is room nothing is read: the windows of HTTP/2 fill, and the pusher waits.
        let room = room(services, &upload, &mut frames).await?;
        let assembler = auth.quota(project, assembler(services, &upload))?;
        let assembled = frames.fill(assembler).await?;
        let assembled = assembled.expect("digest", upload.announcement.digest.as_deref())?;
        let digest = assembled.digest().to_owned();
        let hold = |header, places| Arc::new(assembled.hold(header, places)) as _;
        let receipt = services.registry.commit(upload, room, &digest, hold)?;
        Ok(self.answer(&run.id, receipt).await?)
    }

    /// Whoever has a receipt finds the snapshot again, whatever becomes of this process.
    async fn answer(&self, run: &RunId, receipt: Receipt) -> Result<pb::PushSnapshotResponse, Fault> {
        self.0.kept(run, &receipt.id.0).await?;
        Ok(advised(&self.0, run, receipt))
    }
}

/// Whether an upload that ends so would end so again: a run whose uploads do has no readings, and shows why.
fn is_refusal(code: Code) -> bool {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, OutOfRange};
    matches!(code, InvalidArgument | FailedPrecondition | AlreadyExists | OutOfRange)
}

/// Takes the bytes of a repeated upload and keeps none of them.
fn passing(services: &Services, comparison: &RepeatedUpload) -> Assembler {
    Assembler::passing(comparison.manifest.clone(), services.budget.nothing())
}

/// Whoever has heard that a snapshot is measured hears what the policy says of it before the next one is taken on.
fn announce(services: &Services, run: &RunId, begin: pb::BeginSnapshot) -> Result<Admission, Fault> {
    tokio::task::block_in_place(|| {
        services.bus.evaluate(run);
        services.registry.announce(announcement_from_pb(begin)?)
    })
}

/// What the policy said last rides on the receipt, so that no trainer needs a second stream.
fn advised(services: &Services, run: &RunId, receipt: Receipt) -> pb::PushSnapshotResponse {
    let bus = &services.bus;
    // Nobody else's receipt waits for this policy.
    if bus.owes(run) {
        tokio::task::block_in_place(|| bus.evaluate(run));
    }
    // Series of peers may have to be read back from disk.
    let prospect =
        || bus.has_policy(run).then(|| tokio::task::block_in_place(|| bus.prospect(run))).flatten();
    let decision = bus.verdict(run).or_else(prospect).map(Box::new);
    let staleness = decision.as_ref().and_then(|_| staleness(bus, run));
    pb::PushSnapshotResponse { staleness, ..receipt_to_pb(&Receipt { decision, ..receipt }) }
}

async fn room(
    services: &Services,
    upload: &Upload,
    frames: &mut Frames<'_, pb::PushSnapshotRequest>,
) -> Result<Room, Fault> {
    tokio::select! {
        room = upload.room() => room,
        fault = frames.over() => Err(fault),
        () = services.drain.refusing.cancelled() => Err(Drain::over()),
    }
}

fn assembler(services: &Services, upload: &Upload) -> Result<Assembler, Fault> {
    let manifest = upload.announcement.manifest.clone();
    let held = services.hold(&upload.run.label.project, manifest.total_bytes())?;
    let claim = services.budget.nothing().with(held);
    Ok(Assembler::begin(manifest, claim, &services.spool)?
        .gauged(services.registry.statistics_builder(upload)))
}
