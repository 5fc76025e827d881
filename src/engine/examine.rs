//! Checks a run's specification against models and measures, and prepares what every snapshot will need.
//!
//! Owns: the network and the batches of a run. May not touch: snapshots.

use super::measure::{self, Chosen};
use super::network::batch::Batch;
use super::network::{self, Network};
use crate::domain::id::check_name;
use crate::domain::reading::POOLED;
use crate::domain::run::AUTO_F64_PARAMETERS;
use crate::domain::{
    Admitted, Examiner, Fault, FaultKind, MeasureInfo, Precision, Prepared, RunSpec, Violation,
};
use std::collections::HashSet;
use std::sync::Arc;

/// Most probe groups of a run.
const MOST_GROUPS: usize = 256;

/// The engine's knowledge of models and measures, without a device.
#[derive(Debug, Clone, Copy)]
pub struct Examination;

/// What the engine keeps of a run.
pub(super) struct Plan {
    pub network: Arc<dyn Network>,
    pub groups: Vec<Group>,
    pub measures: Vec<Chosen>,
    pub precision: Precision,
}

impl Plan {
    /// What was prepared for an admitted run.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] for a run that something else admitted.
    pub fn of(run: &Admitted) -> Result<Arc<Self>, Fault> {
        let plan = run.prepared.0.clone().downcast::<Self>();
        plan.map_err(|_| Fault::internal("the run was admitted by another engine"))
    }
}

/// A probe group, checked and cut.
pub(super) struct Group {
    pub name: String,
    pub batches: Vec<Batch>,
}

impl Examiner for Examination {
    fn examine(&self, spec: &RunSpec) -> Result<Admitted, Fault> {
        let mut violations = Vec::new();
        let mut keep = |fault: Fault| violations.extend(fault.violations);
        let network = network::build(&spec.config_json).map_err(&mut keep).ok();
        let measures = measure::choose(&spec.measures).map_err(&mut keep).ok();
        let groups = groups(spec, network.as_ref().map(|(network, _)| &**network)).map_err(&mut keep).ok();
        let (Some((network, model_type)), Some(measures), Some(groups)) = (network, measures, groups) else {
            violations.truncate(16);
            return Err(Fault::of(FaultKind::Invalid, violations));
        };
        let precision = settle(spec.precision, network.layout().total());
        let needs = |need: fn(&Chosen) -> bool| measures.iter().any(need);
        Ok(Admitted {
            model_type,
            layout: network.layout().clone(),
            measures: measures.iter().map(Chosen::request).collect(),
            precision,
            needs_init: needs(|chosen| chosen.needs().init || chosen.needs().init_if_given),
            needs_previous: needs(|chosen| chosen.needs().previous),
            prepared: Prepared(Arc::new(Plan { network, groups, measures, precision })),
        })
    }

    fn catalogue(&self) -> Vec<MeasureInfo> {
        measure::catalogue()
    }
}

fn settle(asked: Precision, parameters: usize) -> Precision {
    match asked {
        Precision::Auto if parameters as u64 <= AUTO_F64_PARAMETERS => Precision::F64,
        Precision::Auto => Precision::F32,
        settled => settled,
    }
}

/// Checks every group, whether or not the others are sound. Without a network only names are checked.
fn groups(spec: &RunSpec, network: Option<&dyn Network>) -> Result<Vec<Group>, Fault> {
    if spec.groups.is_empty() || spec.groups.len() > MOST_GROUPS {
        let found = spec.groups.len();
        return Err(Fault::invalid("groups", format!("found {found} groups, expected 1 to {MOST_GROUPS}")));
    }
    let mut names = HashSet::new();
    let mut violations: Vec<Violation> = Vec::new();
    let mut groups = Vec::new();
    for (i, group) in spec.groups.iter().enumerate() {
        let prefix = format!("groups[{i}].");
        let named = check_name("name", &group.name).and_then(|()| match names.insert(&group.name) {
            true if group.name != POOLED => Ok(()),
            true => Err(Fault::invalid("name", "found \"pooled\", which means all groups together")),
            false => Err(Fault::invalid("name", format!("found {:?} again", group.name))),
        });
        let batches = network.map_or(Ok(Vec::new()), |network| network.batches(group));
        for fault in [named.err(), batches.as_ref().err().cloned()].into_iter().flatten() {
            violations.extend(fault.within(&prefix).violations);
        }
        groups.push(Group { name: group.name.clone(), batches: batches.unwrap_or_default() });
    }
    if violations.is_empty() { Ok(groups) } else { Err(Fault::of(FaultKind::Invalid, violations)) }
}
