//! Requests as they are checked: opening a run, announcing a snapshot, its receipt.
//!
//! Owns: limits on keys. May not touch: the registry.

use super::graph::model_source_from_pb;
use super::runs::measures_from_pb;
use super::tensors::check_tensor_name;
use super::{
    Coded, Complaints, check_from_pb, check_to_pb, decision_from_pb, decision_to_pb, manifest_from_pb,
    measure_to_pb, policy_from_pb, policy_to_pb, present, spec_from_pb, spec_to_pb,
};
use crate::pb;
use clino_domain::id::is_digest;
use clino_domain::run::{DEFAULT_PROJECT, RESERVED_PROJECTS};
use clino_domain::subject::RESERVED_GROUPS;
use clino_domain::text::{check_free_name, check_name, check_text, quoted, shown};
use clino_domain::{
    Announcement, Delivery, Fault, Precision, ProbeGroup, Receipt, RunId, RunLabel, RunSpec, SnapshotId,
    SnapshotRef, Tensor, Unmeasured, WeightKind,
};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 128;
/// Most probe groups of a run.
const MAX_GROUPS: usize = 1_024;
/// Most measures of a run: all of them are told with every list of runs.
const MAX_MEASURES: usize = 256;

/// Tensors of a stored probe by digest.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Arc<Vec<Tensor>>, Fault>;

/// Checks an idempotency key of 1 to 128 bytes.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `idempotency_key`.
pub fn check_key(key: &str) -> Result<(), Fault> {
    match key.len() {
        1..=MAX_KEY => Ok(()),
        found => {
            Err(Fault::invalid("idempotency_key", format!("found {found} bytes, expected 1 to {MAX_KEY}")))
        }
    }
}

/// The key and the specification of a run; `resolve` finds stored probes.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every wrong field, or what `resolve` answers.
pub fn open_run_from_pb(
    request: pb::OpenRunRequest,
    resolve: Resolve<'_>,
) -> Result<(String, RunSpec), Fault> {
    let mut complaints = Complaints::default();
    complaints.keep("", check_key(&request.idempotency_key));
    let name = name_of(&request);
    complaints.keep("", check_name("name", &name));
    complaints.keep("", at_most("measures", request.measures.len(), MAX_MEASURES));
    let measures = complaints.keep("", measures_from_pb(request.measures));
    let delivery = complaints.keep("", Delivery::or_default("delivery", request.delivery));
    let precision = complaints.keep("", Precision::or_default("precision", request.precision));
    let groups = complaints.keep("", groups_from_pb(request.groups, resolve));
    let label = complaints.keep("", label_from_pb(request.project, request.experiment, request.tags));
    let policy = complaints.keep("", request.policy.map(policy_from_pb).transpose());
    let model = complaints.keep("", request.model.map(model_source_from_pb).transpose());
    complaints.settle()?;
    let missing =
        || Fault::internal("a required field is missing after validation, which is a defect of clino");
    let spec = RunSpec {
        name,
        config_json: request.config_json,
        model: model.ok_or_else(missing)?.map(Arc::new),
        groups: groups.ok_or_else(missing)?,
        measures: measures.ok_or_else(missing)?,
        seed: request.seed,
        delivery: delivery.ok_or_else(missing)?,
        precision: precision.ok_or_else(missing)?,
        budget: request.budget_seconds,
        gpu_only: request.gpu_only,
        label: label.ok_or_else(missing)?,
        policy: policy.ok_or_else(missing)?,
    };
    Ok((request.idempotency_key, spec))
}

/// Who goes on with a run need not know its name. Where there is no such run, it is called by the key if that is a name.
fn name_of(request: &pb::OpenRunRequest) -> String {
    let pb::OpenRunRequest { name, idempotency_key: key, .. } = request;
    match (name.is_empty() && request.resume, check_name("name", key)) {
        (false, _) => name.clone(),
        (true, Ok(())) => key.clone(),
        (true, Err(_)) => "resumed".to_owned(),
    }
}

fn at_most(field: &str, found: usize, most: usize) -> Result<(), Fault> {
    match found <= most {
        true => Ok(()),
        false => Err(Fault::invalid(field, format!("found {found}, expected at most {most}"))),
    }
}

/// Most tags of a run.
const MAX_TAGS: usize = 32;

/// A project, which has a name where it is not told.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `project`.
pub fn project_from_pb(project: String) -> Result<String, Fault> {
    let project = if project.is_empty() { DEFAULT_PROJECT.to_owned() } else { project };
    check_free_name("project", &project, &RESERVED_PROJECTS)?;
    Ok(project)
}

fn label_from_pb(
    project: String,
    experiment: String,
    tags: impl IntoIterator<Item = (String, String)>,
) -> Result<RunLabel, Fault> {
    let mut complaints = Complaints::default();
    let project = complaints.keep("", project_from_pb(project)).unwrap_or_default();
    if !experiment.is_empty() {
        complaints.keep("", check_name("experiment", &experiment));
    }
    let tags: BTreeMap<_, _> = tags.into_iter().collect();
    complaints.keep("", at_most("tags", tags.len(), MAX_TAGS));
    for (name, text) in &tags {
        complaints.keep("", check_name("tags", name));
        complaints.keep("", check_text(&format!("tags.{}", shown(name)), text));
    }
    complaints.settle()?;
    Ok(RunLabel { project, experiment, tags })
}

/// A request for `spec` whose groups are sent as `groups`: each whole or by digest.
pub fn open_run_to_pb(key: String, spec: &RunSpec, groups: Vec<pb::ProbeGroup>) -> pb::OpenRunRequest {
    pb::OpenRunRequest {
        idempotency_key: key,
        name: spec.name.clone(),
        config_json: spec.config_json.clone(),
        model: spec.model.as_ref().and_then(|model| pb::Model::decode(model.bytes.clone()).ok()),
        groups,
        measures: spec.measures.iter().map(measure_to_pb).collect(),
        seed: spec.seed,
        delivery: spec.delivery.to_pb(),
        precision: spec.precision.to_pb(),
        budget_seconds: spec.budget,
        gpu_only: spec.gpu_only,
        project: spec.label.project.clone(),
        experiment: spec.label.experiment.clone(),
        tags: spec.label.tags.clone().into_iter().collect(),
        policy: spec.policy.as_ref().map(policy_to_pb),
        resume: false,
    }
}

/// A probe sent whole.
pub fn probe_to_pb(tensors: &[Tensor]) -> pb::Probe {
    let tensor =
        |tensor: &Tensor| pb::ProbeTensor { spec: Some(spec_to_pb(&tensor.spec)), data: tensor.data.clone() };
    pb::Probe { tensors: tensors.iter().map(tensor).collect() }
}

fn groups_from_pb(groups: Vec<pb::ProbeGroup>, resolve: Resolve<'_>) -> Result<Vec<ProbeGroup>, Fault> {
    at_most("groups", groups.len(), MAX_GROUPS)?;
    let mut complaints = Complaints::default();
    let mut domain = Vec::with_capacity(groups.len());
    for (i, group) in groups.into_iter().enumerate() {
        let prefix = format!("groups[{i}].");
        complaints.keep(&prefix, check_free_name("name", &group.name, &RESERVED_GROUPS));
        if let Some(tensors) = complaints.keep(&prefix, source_from_pb(group.source, resolve)) {
            domain.push(ProbeGroup { name: group.name, tensors });
        }
    }
    complaints.settle()?;
    Ok(domain)
}

fn source_from_pb(
    source: Option<pb::probe_group::Source>,
    resolve: Resolve<'_>,
) -> Result<Arc<Vec<Tensor>>, Fault> {
    use pb::probe_group::Source;
    match present("source", source)? {
        Source::Digest(digest) => resolve(&digest),
        Source::Probe(probe) => probe_from_pb(probe).map(Arc::new).map_err(|fault| fault.within("probe.")),
    }
}

fn probe_from_pb(probe: pb::Probe) -> Result<Vec<Tensor>, Fault> {
    let mut complaints = Complaints::default();
    let tensors = probe
        .tensors
        .into_iter()
        .enumerate()
        .filter_map(|(i, tensor)| complaints.keep(&format!("tensors[{i}]."), tensor_from_pb(tensor)))
        .collect();
    complaints.settle()?;
    Ok(tensors)
}

fn tensor_from_pb(tensor: pb::ProbeTensor) -> Result<Tensor, Fault> {
    let spec = present("spec", tensor.spec)?;
    check_tensor_name(&spec.name)?;
    let spec = spec_from_pb(spec).map_err(|fault| fault.within("spec."))?;
    Tensor::new(spec, tensor.data)
}

/// The first frame of a snapshot.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every wrong field.
pub fn announcement_from_pb(begin: pb::BeginSnapshot) -> Result<Announcement, Fault> {
    let mut complaints = Complaints::default();
    let key = Some(begin.idempotency_key).filter(|key| !key.is_empty());
    complaints.keep("", key.as_deref().map_or(Ok(()), check_key));
    let kind = complaints.keep("", WeightKind::or_default("kind", begin.kind));
    let manifest = complaints.keep("", manifest_from_pb(begin.tensors, begin.aliases));
    let digest = complaints.keep("", digest_from_pb("digest", begin.digest));
    let check =
        begin.model_check.map(check_from_pb).transpose().map_err(|fault| fault.within("model_check."));
    let check = complaints.keep("", check);
    complaints.settle()?;
    let missing =
        || Fault::internal("a required field is missing after validation, which is a defect of clino");
    Ok(Announcement {
        run: RunId(begin.run_id),
        key,
        step: begin.step,
        attempt: Some(begin.attempt).filter(|attempt| *attempt != 0),
        kind: kind.ok_or_else(missing)?,
        initialization: begin.initialization,
        manifest: manifest.ok_or_else(missing)?,
        digest: digest.ok_or_else(missing)?,
        check: check.ok_or_else(missing)?,
    })
}

/// A digest that a client may give.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `field`.
pub fn digest_from_pb(field: &str, digest: String) -> Result<Option<String>, Fault> {
    if digest.is_empty() {
        return Ok(None);
    }
    match is_digest(&digest) {
        true => Ok(Some(digest)),
        false => {
            let found = quoted(&digest);
            let expected = "expected SHA-256 in 64 lower-case hexadecimal digits, or nothing";
            Err(Fault::invalid(field, format!("found {found}, {expected}")))
        }
    }
}

/// The first frame of a snapshot.
pub fn announcement_to_pb(announcement: &Announcement) -> pb::BeginSnapshot {
    let alias =
        |alias: &clino_domain::Alias| pb::Alias { name: alias.name.clone(), target: alias.target.clone() };
    pb::BeginSnapshot {
        run_id: announcement.run.0.clone(),
        idempotency_key: announcement.key.clone().unwrap_or_default(),
        step: announcement.step,
        attempt: announcement.attempt.unwrap_or(0),
        kind: announcement.kind.to_pb(),
        initialization: announcement.initialization,
        tensors: announcement.manifest.tensors().iter().map(spec_to_pb).collect(),
        aliases: announcement.manifest.aliases().iter().map(alias).collect(),
        digest: announcement.digest.clone().unwrap_or_default(),
        model_check: announcement.check.as_ref().map(check_to_pb),
    }
}

/// Converts step and attempt to their message.
pub fn at_to_pb(at: SnapshotRef) -> pb::SnapshotRef {
    pb::SnapshotRef { step: at.step, attempt: at.attempt }
}

/// Step and attempt.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `snapshot` when absent.
pub fn at_from_pb(at: Option<pb::SnapshotRef>) -> Result<SnapshotRef, Fault> {
    let at = present("snapshot", at)?;
    Ok(SnapshotRef { step: at.step, attempt: at.attempt })
}

/// Converts a receipt to its message.
pub fn receipt_to_pb(receipt: &Receipt) -> pb::PushSnapshotResponse {
    let unmeasured =
        |line: &Unmeasured| pb::Unmeasured { measure: line.measure.clone(), reason: line.reason.clone() };
    pb::PushSnapshotResponse {
        snapshot_id: receipt.id.0.clone(),
        step: receipt.at.step,
        attempt: receipt.at.attempt,
        digest: receipt.digest.clone(),
        measures: receipt.measures.clone(),
        unmeasured: receipt.unmeasured.iter().map(unmeasured).collect(),
        replaced: receipt.replaced.map(at_to_pb),
        repeated_upload: receipt.repeated,
        warnings: receipt.warnings.clone(),
        decision: receipt.decision.as_deref().map(decision_to_pb),
        staleness: None,
    }
}

/// A receipt.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn receipt_from_pb(receipt: pb::PushSnapshotResponse) -> Result<Receipt, Fault> {
    let unmeasured = |line: pb::Unmeasured| Unmeasured { measure: line.measure, reason: line.reason };
    Ok(Receipt {
        id: SnapshotId(receipt.snapshot_id),
        at: SnapshotRef { step: receipt.step, attempt: receipt.attempt },
        digest: receipt.digest,
        measures: receipt.measures,
        unmeasured: receipt.unmeasured.into_iter().map(unmeasured).collect(),
        replaced: receipt.replaced.map(|at| SnapshotRef { step: at.step, attempt: at.attempt }),
        repeated: receipt.repeated_upload,
        warnings: receipt.warnings,
        decision: receipt.decision.map(decision_from_pb).transpose()?.map(Box::new),
    })
}
