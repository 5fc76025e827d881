//! The `Runs` service.
//!
//! Owns: the way of these requests. May not touch: what a run means (that is the registry's and the validator's).

use super::access::{AuthContext, Scope};
use super::doors::Making;
use super::frames::Frames;
use super::metrics_layer::{MeteredSpan, span_of_run};
use super::refused::Refused;
use super::services::Services;
use super::{compare, listing, watch_runs};
use crate::assembly::Assembler;
use crate::registry::Opened;
use clino_domain::counters::Counter;
use clino_domain::incident::Incident;
use clino_domain::run::COLUMNS;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{Fault, Manifest, OpenedRun, RunId, Tensor};
use clino_proto::convert::{
    info_to_pb, manifest_from_pb, open_run_from_pb, opened_to_pb, project_from_pb, summary_to_pb,
};
use clino_proto::pb;
use tokio::task::block_in_place;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(super) struct RunsService(pub Services);

/// Most warnings about a probe.
const MOST_WARNINGS: usize = 16;

/// An answer of the services.
type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl pb::runs_server::Runs for RunsService {
    type WatchRunsStream = watch_runs::Answers;

    async fn watch_runs(&self, request: Request<pb::WatchRunsRequest>) -> Answer<Self::WatchRunsStream> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        Ok(Response::new(watch_runs::watch(&self.0, auth, request.into_inner())?))
    }

    async fn compare_runs(
        &self,
        request: Request<pb::CompareRunsRequest>,
    ) -> Answer<pb::CompareRunsResponse> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        let making = Making::of(&request).await?;
        let compared = block_in_place(|| compare::compare(&self.0, &auth, request.into_inner()))?;
        Ok(making.answer(compared))
    }

    async fn open_run(&self, request: Request<pb::OpenRunRequest>) -> Answer<pb::OpenRunResponse> {
        let _open = self.0.drain.enter()?;
        let auth = self.0.authorize(&request, Scope::Push)?;
        let services = self.0.clone();
        let request = request.into_inner();
        // The examination may prepare megabytes of probes.
        let opened = tokio::task::spawn_blocking(move || open(&services, &auth, request)).await;
        let defect = |error: tokio::task::JoinError| {
            // It counts when the run is refused for it.
            let code = Incident::ExaminationFailed.code();
            tracing::error!(code, %error, "the examination of a run failed");
            Fault::internal("the examination of the run failed")
        };
        let opened = opened.map_err(defect).flatten().map_err(Status::from);
        let opened = opened.inspect_err(|status| self.0.refused(Refused::Run, status))?;
        span_of_run(&opened.run.0, None);
        self.0.kept(&opened.run, &opened.run.0).await?;
        Ok(Response::new(opened_to_pb(&opened)))
    }

    async fn put_probe(
        &self,
        request: Request<Streaming<pb::PutProbeRequest>>,
    ) -> Answer<pb::PutProbeResponse> {
        let auth = self.0.authorize(&request, Scope::Push)?;
        let upload = MeteredSpan::upload(&self.0.counters, "probe");
        let put = self.put(request, &auth).await;
        upload.end(put.is_ok());
        if let Err(status) = &put {
            self.0.counters.count(Counter::UploadFailed);
            self.0.refused(Refused::Probe, status);
        }
        put.map(Response::new)
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Answer<pb::GetRunResponse> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        let id = RunId(request.into_inner().run_id);
        let (run, closed) = self.0.run_for(&auth, &id)?;
        let run = self.0.summary(&run, closed)?;
        Ok(Response::new(pb::GetRunResponse { run: Some(summary_to_pb(&run)) }))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Answer<pb::ListRunsResponse> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        let making = Making::of(&request).await?;
        let page = block_in_place(|| listing::page(&self.0, &auth, request.into_inner()))?;
        Ok(making.answer(page))
    }

    async fn close_run(&self, request: Request<pb::CloseRunRequest>) -> Answer<pb::CloseRunResponse> {
        let auth = self.0.authorize(&request, Scope::Push)?;
        let pb::CloseRunRequest { run_id, resumable, abandon } = request.into_inner();
        let (run, _) = self.0.run_for(&auth, &RunId(run_id))?;
        let run = self.0.registry.close(&run.id, resumable)?;
        if abandon {
            self.0.registry.abandon(&run.id, "the run was closed, and its readings are not wanted any more");
        }
        self.0.settled().await?;
        auth.audit("closed", Some(&run.label.project), Some(&run.id), "ok");
        let summary = self.0.summary(&run, true)?;
        Ok(Response::new(pb::CloseRunResponse { run: Some(summary_to_pb(&summary)) }))
    }

    async fn list_measures(
        &self,
        request: Request<pb::ListMeasuresRequest>,
    ) -> Answer<pb::ListMeasuresResponse> {
        self.0.authorize(&request, Scope::Read)?;
        let making = Making::of(&request).await?;
        let measures = self.0.registry.catalogue().iter().map(info_to_pb).collect();
        Ok(making.answer(pb::ListMeasuresResponse { measures }))
    }
}

fn open(services: &Services, auth: &AuthContext, request: pb::OpenRunRequest) -> Result<OpenedRun, Fault> {
    let resume = request.resume;
    let (key, spec) = open_run_from_pb(request, &|digest| services.probes.get(digest))?;
    let project = spec.label.project.clone();
    auth.check(&project)?;
    let found = if resume { services.registry.go_on(&key, spec) } else { services.registry.open(&key, spec) };
    let found = auth.quota(&project, found)?;
    let Opened { run, created, .. } = &found;
    let created = *created;
    if created {
        auth.audit("opened", Some(&project), Some(&run.id), "ok");
        tracing::info!(run = %run.id, name = run.name, model = run.model_type, "a run is open");
    } else if resume {
        auth.audit("resumed", Some(&project), Some(&run.id), "ok");
        tracing::info!(run = %run.id, name = run.name, "a run goes on");
    }
    let mut opened = opened(&found);
    if resume {
        let registry = &services.registry;
        opened.warnings.extend(if created { registry.namesake(run) } else { registry.busy(run) });
    }
    for warning in opened.warnings.iter().filter(|_| created || resume) {
        let code = services.counters.note(Incident::RunWarned, &format!("run {}: {warning}", run.id));
        tracing::warn!(code, run = %run.id, warning, "a run was opened with warnings");
    }
    Ok(opened)
}

fn opened(found: &Opened) -> OpenedRun {
    let Opened { run, validated, created, .. } = found;
    OpenedRun {
        run: run.id.clone(),
        measures: run.measures.clone(),
        plan: run.plan(),
        precision: run.precision,
        parameters: validated.layout.parameters().to_vec(),
        created: *created,
        warnings: validated.warnings.clone(),
    }
}

impl RunsService {
    async fn put(
        &self,
        request: Request<Streaming<pb::PutProbeRequest>>,
        auth: &AuthContext,
    ) -> Result<pb::PutProbeResponse, Status> {
        let services = &self.0;
        let _open = services.drain.enter()?;
        let mut frames = Frames::new(request, services, services.guard(auth, None));
        let begin = frames.begin().await?;
        let project = project_from_pb(begin.project)?;
        auth.check(&project)?;
        frames.watched_by(services.guard(auth, Some(&project)));
        let _slot = auth.quota(&project, services.authenticator.quotas.slot(&project))?;
        services.room()?;
        let assembler = auth.quota(&project, probe_assembler(services, &project, begin.tensors))?;
        let assembled = frames.fill(assembler).await?;
        let (tensors, claim) = assembled.into_tensors()?;
        let warnings = unread(&tensors);
        let digest = block_in_place(|| services.probes.put(&project, tensors, claim));
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

fn probe_assembler(
    services: &Services,
    project: &str,
    tensors: Vec<pb::TensorSpec>,
) -> Result<Assembler, Fault> {
    let manifest: Manifest = manifest_from_pb(tensors, Vec::new())?;
    let held = services.hold(project, manifest.total_bytes())?;
    Assembler::in_memory(manifest, services.probes.claim().with(held))
}
