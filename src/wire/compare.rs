//! Runs side by side.
//!
//! Owns: where the compared values come from. May not touch: which is the best (that is the domain's).

use super::access::AuthContext;
use super::services::Services;
use crate::registry::RegisteredRun;
use clino_domain::reading::POOLED;
use clino_domain::subject::EVERY_GROUP;
use clino_domain::text::{listed, quoted, suggestion};
use clino_domain::{ComparedRun, Comparison, Fault, FaultKind, Moment, RunId, SeriesPoint, Subject};
use clino_proto::convert::{compared_to_pb, comparison_from_pb};
use clino_proto::pb;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most runs of a comparison.
const MOST: usize = 10_000;
/// Most groups that are named where one is unknown.
const LISTED: usize = 10;

/// All runs that the filter and the context let through, the best first. May read back what is archived: not for an
/// asynchronous thread.
///
/// # Errors
/// [`FaultKind::Invalid`] naming the wrong fields; [`FaultKind::Precondition`] for too many runs; those of the archive.
pub(super) fn compare(
    services: &Services,
    auth: &AuthContext,
    request: pb::CompareRunsRequest,
) -> Result<pb::CompareRunsResponse, Fault> {
    let comparison = comparison_from_pb(request)?;
    known(services, &comparison.on)?;
    let runs = services.visible(auth, &comparison.filter);
    grouped(&runs, &comparison.on)?;
    if runs.len() > MOST {
        let description = format!("found {} runs, expected at most {MOST}: ask for fewer", runs.len());
        return Err(Fault::field(FaultKind::Precondition, "filter", description));
    }
    let mut lines = Vec::with_capacity(runs.len());
    for (run, _) in &runs {
        match point(services, &run.id, &comparison) {
            Ok(point) => lines.push(line(run, point)),
            // Forgotten between the two looks.
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
    }
    comparison.rank(&mut lines);
    Ok(pb::CompareRunsResponse { runs: lines.into_iter().map(compared_to_pb).collect() })
}

/// A measure that no run can have is a slip of the pen; one that some runs do not have is not.
fn known(services: &Services, on: &Subject) -> Result<(), Fault> {
    let has = |name: &str| services.registry.catalogue().iter().any(|info| info.name == name);
    match on.terms.iter().find(|term| !has(&term.measure)) {
        None => Ok(()),
        Some(term) => {
            let near = suggestion(&term.measure, services.registry.catalogue().iter().map(|info| info.name));
            let found = quoted(&term.measure);
            let description =
                format!("found {found}{near}, expected a measure of the catalogue (clino measures)");
            Err(Fault::invalid("on", description))
        }
    }
}

/// A group that none of the runs has is a slip of the pen, too.
fn grouped(runs: &[(Arc<RegisteredRun>, bool)], on: &Subject) -> Result<(), Fault> {
    let known: BTreeSet<&str> =
        runs.iter().flat_map(|(run, _)| run.groups.iter().map(String::as_str)).collect();
    let has = |group: &str| [EVERY_GROUP, POOLED].contains(&group) || known.contains(group);
    let unknown = on.terms.iter().filter_map(|term| term.group.as_deref()).find(|group| !has(group));
    match unknown.filter(|_| !runs.is_empty()) {
        None => Ok(()),
        Some(group) => {
            let description = format!(
                "found the group {}, which none of these runs has: their groups are {}",
                quoted(group),
                listed(known.iter().map(|group| quoted(group)), LISTED)
            );
            Err(Fault::invalid("on", description))
        }
    }
}

fn line(run: &RegisteredRun, point: Option<SeriesPoint>) -> ComparedRun {
    ComparedRun {
        run: run.id.clone(),
        name: run.name.clone(),
        project: run.label.project.clone(),
        experiment: run.label.experiment.clone(),
        point,
    }
}

fn point(services: &Services, run: &RunId, comparison: &Comparison) -> Result<Option<SeriesPoint>, Fault> {
    if comparison.moment == Moment::Last
        && let Some(point) = services.bus.newest(run, &comparison.on)?
    {
        return Ok(comparison.choose(vec![point]));
    }
    Ok(comparison.choose(services.bus.seen(run, &comparison.on)?))
}
