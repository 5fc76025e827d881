//! Runs as they are answered: measures, the catalogue, opened runs, summaries.
//!
//! Owns: nothing beside the conversion. May not touch: the registry.

use super::{
    Coded, Complaints, at_from_pb, at_to_pb, checked_from_pb, checked_to_pb, decision_from_pb,
    decision_to_pb, policy_from_pb, policy_to_pb, spec_from_pb, spec_to_pb,
};
use crate::pb;
use clino_domain::text::{check_name, shown};
use clino_domain::{
    Delivery, Fault, Latest, MeasureInfo, MeasureRequest, MemoryShare, OpenedRun, ParameterInfo, Planned,
    Precision, Refusals, RunId, RunLabel, RunSummary, Value, Work,
};
use std::collections::BTreeMap;

/// The value of a parameter.
///
/// # Errors
/// An empty value, naming `field`.
pub fn value_from_pb(field: &str, value: pb::Value) -> Result<Value, Fault> {
    use pb::value::Kind;
    let kinds = "found nothing, expected a number, a text, a flag or a list of numbers";
    Ok(match value.kind.ok_or_else(|| Fault::invalid(field, kinds))? {
        Kind::Number(number) => Value::Number(number),
        Kind::Text(text) => Value::Text(text),
        Kind::Flag(flag) => Value::Flag(flag),
        Kind::Numbers(numbers) => Value::Numbers(numbers.values),
    })
}

/// The value of a parameter.
pub fn value_to_pb(value: &Value) -> pb::Value {
    use pb::value::Kind;
    let kind = match value {
        Value::Number(number) => Kind::Number(*number),
        Value::Text(text) => Kind::Text(text.clone()),
        Value::Flag(flag) => Kind::Flag(*flag),
        Value::Numbers(values) => Kind::Numbers(pb::Numbers { values: values.clone() }),
    };
    pb::Value { kind: Some(kind) }
}

/// Parameters by name; the paths of faults begin with `parameters.`.
pub(super) fn parameters_from_pb(
    parameters: impl IntoIterator<Item = (String, pb::Value)>,
) -> Result<BTreeMap<String, Value>, Fault> {
    let mut complaints = Complaints::default();
    let mut domain = BTreeMap::new();
    for (name, value) in parameters {
        complaints.keep("parameters.", check_name("name", &name));
        if let Some(value) =
            complaints.keep("", value_from_pb(&format!("parameters.{}", shown(&name)), value))
        {
            domain.insert(name, value);
        }
    }
    complaints.settle()?;
    Ok(domain)
}

/// A measure with its parameters.
///
/// # Errors
/// Those of [`value_from_pb`], under `parameters.`.
pub fn measure_from_pb(measure: pb::MeasureRequest) -> Result<MeasureRequest, Fault> {
    Ok(MeasureRequest { name: measure.name, parameters: parameters_from_pb(measure.parameters)? })
}

/// A measure with its parameters.
pub fn measure_to_pb(measure: &MeasureRequest) -> pb::MeasureRequest {
    let parameters = measure.parameters.iter().map(|(name, value)| (name.clone(), value_to_pb(value)));
    pb::MeasureRequest { name: measure.name.clone(), parameters: parameters.collect() }
}

/// Converts measures; complaints name fields under `measures[i].`.
pub(super) fn measures_from_pb(measures: Vec<pb::MeasureRequest>) -> Result<Vec<MeasureRequest>, Fault> {
    let mut complaints = Complaints::default();
    let domain = measures
        .into_iter()
        .enumerate()
        .filter_map(|(i, measure)| complaints.keep(&format!("measures[{i}]."), measure_from_pb(measure)))
        .collect();
    complaints.settle()?;
    Ok(domain)
}

/// Converts work to its message.
pub(super) fn work_to_pb(work: &Work) -> pb::Work {
    let Work { forwards, backwards, passes, operations } = *work;
    pb::Work { forwards, backwards, passes, operations }
}

/// Converts a message to work.
pub(super) fn work_from_pb(work: pb::Work) -> Work {
    let pb::Work { forwards, backwards, passes, operations } = work;
    Work { forwards, backwards, passes, operations }
}

fn plan_to_pb(measures: &[MeasureRequest], plan: &[Planned]) -> Vec<pb::Planned> {
    let line = |(measure, planned): (&MeasureRequest, &Planned)| pb::Planned {
        measure: measure.name.clone(),
        work: Some(work_to_pb(&planned.work)),
        counted: planned.counted,
        seconds: planned.seconds,
    };
    measures.iter().zip(plan).map(line).collect()
}

fn plan_from_pb(plan: Vec<pb::Planned>) -> Vec<Planned> {
    let line = |planned: pb::Planned| Planned {
        work: work_from_pb(planned.work.unwrap_or_default()),
        counted: planned.counted,
        seconds: planned.seconds,
    };
    plan.into_iter().map(line).collect()
}

fn part_info_to_pb(name: &str, summary: &str) -> pb::PartInfo {
    pb::PartInfo { name: name.to_owned(), summary: summary.to_owned() }
}

pub(super) fn parameter_info_to_pb(parameter: &ParameterInfo) -> pb::ParameterInfo {
    pb::ParameterInfo {
        name: parameter.name.to_owned(),
        summary: parameter.summary.to_owned(),
        standard: Some(value_to_pb(&parameter.default)),
        range: parameter.range.clone(),
    }
}

/// A line of the catalogue. There is no way back: the catalogue is the daemon's.
pub fn info_to_pb(info: &MeasureInfo) -> pb::MeasureInfo {
    pb::MeasureInfo {
        name: info.name.to_owned(),
        summary: info.summary.to_owned(),
        source: info.source.to_owned(),
        cost: info.cost.to_owned(),
        needs: info.needs.names().into_iter().map(str::to_owned).collect(),
        parameters: info.parameters.iter().map(parameter_info_to_pb).collect(),
        standard: info.standard,
        formula: info.formula.to_owned(),
        invariance: info.invariance.to_owned(),
        rescaling: info.rescaling,
        parts: info.parts.iter().map(|(name, summary)| part_info_to_pb(name, summary)).collect(),
    }
}

/// The answer of `OpenRun`.
pub fn opened_to_pb(opened: &OpenedRun) -> pb::OpenRunResponse {
    pb::OpenRunResponse {
        run_id: opened.run.0.clone(),
        measures: opened.measures.iter().map(measure_to_pb).collect(),
        precision: opened.precision.to_pb(),
        parameters: opened.parameters.iter().map(spec_to_pb).collect(),
        created: opened.created,
        plan: plan_to_pb(&opened.measures, &opened.plan),
        warnings: opened.warnings.clone(),
    }
}

/// The answer of `OpenRun`.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn opened_from_pb(opened: pb::OpenRunResponse) -> Result<OpenedRun, Fault> {
    let parameters = opened.parameters.into_iter().map(spec_from_pb).collect::<Result<_, _>>()?;
    Ok(OpenedRun {
        run: RunId(opened.run_id),
        measures: measures_from_pb(opened.measures)?,
        precision: Precision::from_pb("precision", opened.precision)?,
        parameters,
        created: opened.created,
        plan: plan_from_pb(opened.plan),
        warnings: opened.warnings,
    })
}

fn latest_to_pb(latest: &Latest) -> pb::Latest {
    let Latest { measure, group, value, stderr } = latest.clone();
    pb::Latest { measure, group, value, stderr }
}

fn latest_from_pb(latest: pb::Latest) -> Latest {
    let pb::Latest { measure, group, value, stderr } = latest;
    Latest { measure, group, value, stderr }
}

fn share_to_pb(share: &MemoryShare) -> pb::MemoryShare {
    let MemoryShare { purpose, bytes, measuring, shared } = share.clone();
    pb::MemoryShare { purpose, bytes, measuring, shared }
}

fn share_from_pb(share: pb::MemoryShare) -> MemoryShare {
    let pb::MemoryShare { purpose, bytes, measuring, shared } = share;
    MemoryShare { purpose, bytes, measuring, shared }
}

/// Converts the summary of a run to its message.
pub fn summary_to_pb(run: &RunSummary) -> pb::RunSummary {
    pb::RunSummary {
        run_id: run.run.0.clone(),
        name: run.name.clone(),
        model_type: run.model_type.clone(),
        parameters: run.parameters,
        groups: run.groups.clone(),
        measures: run.measures.iter().map(measure_to_pb).collect(),
        seed: run.seed,
        delivery: run.delivery.to_pb(),
        precision: run.precision.to_pb(),
        closed: run.closed,
        accepted: run.accepted,
        measured: run.measured,
        skipped: run.skipped,
        pending: run.pending,
        next_sequence: run.next_sequence,
        plan: plan_to_pb(&run.measures, &run.plan),
        budget_seconds: run.budget,
        project: run.label.project.clone(),
        experiment: run.label.experiment.clone(),
        tags: run.label.tags.clone().into_iter().collect(),
        policy: run.policy.as_ref().map(policy_to_pb),
        decision: run.decision.as_ref().map(decision_to_pb),
        latest: run.latest.iter().map(latest_to_pb).collect(),
        last_accepted: run.last_accepted.map(at_to_pb),
        last_measured: run.last_measured.map(at_to_pb),
        opened_at: run.opened_at,
        model_check: run.checked.as_ref().map(checked_to_pb),
        refused: run.refusals.count,
        refusal: run.refusals.last.clone(),
        waiting: run.waiting.clone(),
        memory: run.memory.iter().map(share_to_pb).collect(),
    }
}

/// A summary.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn summary_from_pb(run: pb::RunSummary) -> Result<RunSummary, Fault> {
    Ok(RunSummary {
        run: RunId(run.run_id),
        name: run.name,
        model_type: run.model_type,
        parameters: run.parameters,
        groups: run.groups,
        measures: measures_from_pb(run.measures)?,
        seed: run.seed,
        delivery: Delivery::from_pb("delivery", run.delivery)?,
        precision: Precision::from_pb("precision", run.precision)?,
        closed: run.closed,
        accepted: run.accepted,
        measured: run.measured,
        skipped: run.skipped,
        pending: run.pending,
        next_sequence: run.next_sequence,
        plan: plan_from_pb(run.plan),
        budget: run.budget_seconds,
        label: RunLabel {
            project: run.project,
            experiment: run.experiment,
            tags: run.tags.into_iter().collect(),
        },
        policy: run.policy.map(policy_from_pb).transpose()?,
        decision: run.decision.map(decision_from_pb).transpose()?,
        latest: run.latest.into_iter().map(latest_from_pb).collect(),
        last_accepted: run.last_accepted.map(|at| at_from_pb(Some(at))).transpose()?,
        last_measured: run.last_measured.map(|at| at_from_pb(Some(at))).transpose()?,
        opened_at: run.opened_at,
        checked: run.model_check.map(checked_from_pb).transpose()?,
        refusals: Refusals { count: run.refused, last: run.refusal },
        waiting: run.waiting,
        memory: run.memory.into_iter().map(share_from_pb).collect(),
    })
}
