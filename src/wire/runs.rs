//! The `Runs` service.
//!
//! Owns: the way of these requests. May not touch: what a run means (that is the registry's and the examiner's).

use super::access::{Pass, Scope};
use super::desk::Desk;
use super::frames::Frames;
use super::observe::{Ongoing, span_of_run};
use super::{compare, listing, roster};
use crate::assembly::Assembler;
use crate::registry::Run;
use clino_domain::run::COLUMNS;
use clino_domain::tally::Happening;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{Fault, Manifest, OpenedRun, RunId, Tensor};
use clino_proto::convert::{
    info_to_pb, manifest_from_pb, open_run_from_pb, opened_to_pb, project_from_pb, summary_to_pb,
};
use clino_proto::pb;
use tokio::task::block_in_place;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(super) struct RunsService(pub Desk);

/// Most warnings about a probe.
const MOST_WARNINGS: usize = 16;

/// An answer of the services.
type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::runs_server::Runs for RunsService {
    type WatchRunsStream = roster::Answers;

    async fn watch_runs(&self, request: Request<pb::WatchRunsRequest>) -> Answer<Self::WatchRunsStream> {
        let pass = self.0.admit(&request, Scope::Read)?;
        Ok(Response::new(roster::watch(&self.0, pass, request.into_inner())?))
    }

    async fn compare_runs(
        &self,
        request: Request<pb::CompareRunsRequest>,
    ) -> Answer<pb::CompareRunsResponse> {
        let pass = self.0.admit(&request, Scope::Read)?;
        let compared = block_in_place(|| compare::compare(&self.0, &pass, request.into_inner()))?;
        Ok(Response::new(compared))
    }

    async fn open_run(&self, request: Request<pb::OpenRunRequest>) -> Answer<pb::OpenRunResponse> {
        let _open = self.0.drain.enter()?;
        let pass = self.0.admit(&request, Scope::Push)?;
        let desk = self.0.clone();
        let request = request.into_inner();
        // The examination may prepare megabytes of probes.
        let opened = tokio::task::spawn_blocking(move || open(&desk, &pass, request)).await;
        let defect = |error: tokio::task::JoinError| {
            tracing::error!(%error, "the examination of a run failed");
            Fault::internal("the examination of the run failed")
        };
        let opened = opened.map_err(defect).flatten()?;
        span_of_run(&opened.run.0, None);
        self.0.kept(&opened.run, &opened.run.0).await?;
        Ok(Response::new(opened_to_pb(&opened)))
    }

    async fn put_probe(
        &self,
        request: Request<Streaming<pb::PutProbeRequest>>,
    ) -> Answer<pb::PutProbeResponse> {
        let pass = self.0.admit(&request, Scope::Push)?;
        let upload = Ongoing::upload(&self.0.tally, "probe");
        let put = self.put(request.into_inner(), &pass).await;
        upload.end(put.is_ok());
        if let Err(status) = &put {
            self.0.tally.count(Happening::UploadFailed);
            tracing::info!(code = %status.code(), message = status.message(), "a probe was not put");
        }
        put.map(Response::new)
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::GetRunResponse> {
        let pass = self.0.admit(&request, Scope::Read)?;
        let id = RunId(request.into_inner().run_id);
        let (run, closed) = self.0.run_for(&pass, &id)?;
        let run = self.0.summary(&run, closed)?;
        Ok(Response::new(pb::GetRunResponse { run: Some(summary_to_pb(&run)) }))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let pass = self.0.admit(&request, Scope::Read)?;
        let page = block_in_place(|| listing::page(&self.0, &pass, request.into_inner()))?;
        Ok(Response::new(page))
    }

    async fn close_run(&self, request: Request<pb::CloseRunRequest>) -> Answer<pb::CloseRunResponse> {
        let pass = self.0.admit(&request, Scope::Push)?;
        let pb::CloseRunRequest { run_id, resumable } = request.into_inner();
        let (run, _) = self.0.run_for(&pass, &RunId(run_id))?;
        let run = self.0.registry.close(&run.id, resumable)?;
        self.0.settled().await?;
        pass.audit("closed", Some(&run.label.project), Some(&run.id), "ok");
        let summary = self.0.summary(&run, true)?;
        Ok(Response::new(pb::CloseRunResponse { run: Some(summary_to_pb(&summary)) }))
    }

    async fn list_measures(
        &self,
        request: Request<pb::ListMeasuresRequest>,
    ) -> Answer<pb::ListMeasuresResponse> {
        self.0.admit(&request, Scope::Read)?;
        let measures = self.0.registry.catalogue().iter().map(info_to_pb).collect();
        Ok(Response::new(pb::ListMeasuresResponse { measures }))
    }
}

fn open(desk: &Desk, pass: &Pass, request: pb::OpenRunRequest) -> Result<OpenedRun, Fault> {
    let resume = request.resume;
    let (key, spec) = open_run_from_pb(request, &|digest| desk.probes.get(digest))?;
    let project = spec.label.project.clone();
    pass.check(&project)?;
    let found = if resume { desk.registry.go_on(&key, spec) } else { desk.registry.open(&key, spec) };
    let (run, created) = pass.quota(&project, found)?;
    if created {
        pass.audit("opened", Some(&project), Some(&run.id), "ok");
        tracing::info!(run = %run.id, name = run.name, model = run.model_type, "a run is open");
    } else if resume {
        pass.audit("resumed", Some(&project), Some(&run.id), "ok");
        tracing::info!(run = %run.id, name = run.name, "a run goes on");
    }
    let mut opened = opened(&run, created)?;
    let of_resume = match created {
        true => desk.registry.namesake(&run),
        false => desk.registry.busy(&run),
    };
    opened.warnings.extend(of_resume.filter(|_| resume));
    for warning in opened.warnings.iter().filter(|_| created || resume) {
        tracing::warn!(run = %run.id, warning, "a run was opened with warnings");
    }
    Ok(opened)
}

fn opened(run: &Run, created: bool) -> Result<OpenedRun, Fault> {
    let admitted = run.admitted()?;
    Ok(OpenedRun {
        run: run.id.clone(),
        measures: run.measures.clone(),
        plan: run.plan(),
        precision: run.precision,
        parameters: admitted.layout.parameters().to_vec(),
        created,
        warnings: admitted.warnings.clone(),
    })
}

impl RunsService {
    async fn put(
        &self,
        stream: Streaming<pb::PutProbeRequest>,
        pass: &Pass,
    ) -> Result<pb::PutProbeResponse, Status> {
        let desk = &self.0;
        let _open = desk.drain.enter()?;
        let mut frames = Frames::new(stream, desk, desk.watchman(pass, None));
        let begin = frames.begin().await?;
        let project = project_from_pb(begin.project)?;
        pass.check(&project)?;
        frames.watched_by(desk.watchman(pass, Some(&project)));
        let _slot = pass.quota(&project, desk.gate.quotas.slot(&project))?;
        desk.room()?;
        let assembler = pass.quota(&project, probe_assembler(desk, &project, begin.tensors))?;
        let assembled = frames.fill(assembler).await?;
        let (tensors, claim) = assembled.into_tensors()?;
        let warnings = unread(&tensors);
        let digest = block_in_place(|| desk.probes.put(&project, tensors, claim));
        Ok(pb::PutProbeResponse { digest, warnings })
    }
}

/// A sentence for each of the first columns that no model reads.
fn unread(tensors: &[Tensor]) -> Vec<String> {
    let names = tensors.iter().map(|tensor| tensor.spec.name.as_str());
    let sentence = |name: &str| {
        let found = quoted(name);
        let near = suggestion(name, COLUMNS);
        format!("column {found}{near} will be left out: models read {}", COLUMNS.join(", "))
    };
    names.filter(|name| !COLUMNS.contains(name)).take(MOST_WARNINGS).map(sentence).collect()
}

fn probe_assembler(desk: &Desk, project: &str, tensors: Vec<pb::TensorSpec>) -> Result<Assembler, Fault> {
    let manifest: Manifest = manifest_from_pb(tensors, Vec::new())?;
    let held = desk.hold(project, manifest.total_bytes())?;
    let claim = desk.probes.claim(manifest.total_bytes())?.with(held);
    Ok(Assembler::in_memory(manifest, claim))
}
