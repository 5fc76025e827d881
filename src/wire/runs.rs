//! The `Runs` service.
//!
//! Owns: the way of these requests. May not touch: what a run means (that is the registry's and the examiner's).

use super::convert::{info_to_pb, manifest_from_pb, open_run_from_pb, opened_to_pb, summary_to_pb};
use super::desk::Desk;
use super::frames::Frames;
use super::pb;
use super::status::to_status;
use crate::assembly::Assembler;
use crate::domain::tally::Happening;
use crate::domain::{Fault, Manifest, OpenedRun, RunId};
use crate::registry::Run;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(super) struct RunsService(pub Desk);

/// An answer of the services.
type Answer<T> = Result<Response<T>, Status>;

fn answer<T, P>(result: Result<T, Fault>, convert: impl FnOnce(T) -> P) -> Answer<P> {
    result.map(|value| Response::new(convert(value))).map_err(|fault| to_status(&fault))
}

#[async_trait]
impl pb::runs_server::Runs for RunsService {
    type WatchRunsStream = ReceiverStream<Result<pb::WatchRunsResponse, Status>>;

    async fn watch_runs(
        &self,
        _: Request<pb::WatchRunsRequest>,
    ) -> Result<Response<Self::WatchRunsStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn compare_runs(&self, _: Request<pb::CompareRunsRequest>) -> Answer<pb::CompareRunsResponse> {
        Err(Status::unimplemented("not yet"))
    }

    async fn open_run(&self, request: Request<pb::OpenRunRequest>) -> Answer<pb::OpenRunResponse> {
        let _open = self.0.drain.enter().map_err(|fault| to_status(&fault))?;
        let (desk, request) = (self.0.clone(), request.into_inner());
        // The examination may prepare megabytes of probes.
        let opened = tokio::task::spawn_blocking(move || open(&desk, request)).await;
        let defect = |error: tokio::task::JoinError| {
            tracing::error!(%error, "the examination of a run failed");
            Fault::internal("the examination of the run failed")
        };
        let opened = opened.map_err(defect).flatten()?;
        self.0.settled().await?;
        Ok(Response::new(opened_to_pb(&opened)))
    }

    async fn put_probe(
        &self,
        request: Request<Streaming<pb::PutProbeRequest>>,
    ) -> Answer<pb::PutProbeResponse> {
        let put = self.put(request.into_inner()).await;
        if let Err(status) = &put {
            self.0.tally.count(Happening::UploadFailed);
            tracing::info!(code = %status.code(), message = status.message(), "a probe was not put");
        }
        put.map(|digest| Response::new(pb::PutProbeResponse { digest }))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::GetRunResponse> {
        let id = RunId(request.into_inner().run_id);
        let found = self.0.registry.get(&id).and_then(|(run, closed)| self.0.summary(&run, closed));
        answer(found, |run| pb::GetRunResponse { run: Some(summary_to_pb(&run)) })
    }

    async fn list_runs(&self, _: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let all = self.0.registry.list();
        // A run that is forgotten between the two looks is left out.
        let runs = all.iter().filter_map(|(run, closed)| self.0.summary(run, *closed).ok());
        let runs = runs.map(|run| summary_to_pb(&run)).collect();
        Ok(Response::new(pb::ListRunsResponse { runs, next_page_token: String::new() }))
    }

    async fn close_run(&self, request: Request<pb::CloseRunRequest>) -> Answer<pb::CloseRunResponse> {
        let id = RunId(request.into_inner().run_id);
        let run = self.0.registry.close(&id)?;
        self.0.settled().await?;
        let summary = self.0.summary(&run, true)?;
        Ok(Response::new(pb::CloseRunResponse { run: Some(summary_to_pb(&summary)) }))
    }

    async fn list_measures(&self, _: Request<pb::ListMeasuresRequest>) -> Answer<pb::ListMeasuresResponse> {
        let measures = self.0.registry.catalogue().iter().map(info_to_pb).collect();
        Ok(Response::new(pb::ListMeasuresResponse { measures }))
    }
}

fn open(desk: &Desk, request: pb::OpenRunRequest) -> Result<OpenedRun, Fault> {
    let (key, spec) = open_run_from_pb(request, &|digest| desk.probes.get(digest))?;
    let (run, created) = desk.registry.open(&key, spec)?;
    if created {
        tracing::info!(run = %run.id, name = run.name, model = run.model_type, "a run is open");
    }
    opened(&run, created)
}

fn opened(run: &Run, created: bool) -> Result<OpenedRun, Fault> {
    Ok(OpenedRun {
        run: run.id.clone(),
        measures: run.measures.clone(),
        plan: run.plan(),
        precision: run.precision,
        parameters: run.admitted()?.layout.parameters().to_vec(),
        created,
    })
}

impl RunsService {
    async fn put(&self, stream: Streaming<pb::PutProbeRequest>) -> Result<String, Status> {
        let desk = &self.0;
        let _open = desk.drain.enter().map_err(|fault| to_status(&fault))?;
        let mut frames = Frames::new(stream, desk);
        let begin = frames.begin().await?;
        desk.room()?;
        let assembler = probe_assembler(desk, begin).map_err(|fault| to_status(&fault))?;
        let assembled = frames.fill(assembler).await?;
        let (tensors, claim) = assembled.into_tensors().map_err(|fault| to_status(&fault))?;
        Ok(tokio::task::block_in_place(|| desk.probes.put(tensors, claim)))
    }
}

fn probe_assembler(desk: &Desk, begin: pb::ProbeManifest) -> Result<Assembler, Fault> {
    let manifest: Manifest = manifest_from_pb(begin.tensors, Vec::new())?;
    let claim = desk.probes.claim(manifest.total_bytes())?;
    Ok(Assembler::in_memory(manifest, claim))
}
