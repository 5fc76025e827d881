//! Checks a run's specification against models and measures.
//!
//! Owns: what is wrong with a specification, and the precision. May not touch: snapshots, costs.

use crate::measure;
use crate::network::{self, Network};
use crate::placement::Gpus;
use crate::placement::upload_layout::UploadLayout;
use crate::plan::{PreparedGroup, PreparedRun};
use crate::probes::{self, PreparedProbe, PreparedProbes};
use clino_domain::run::AUTO_F64_PARAMETERS;
use clino_domain::subject::RESERVED_GROUPS;
use clino_domain::text::{check_free_name, quoted};
use clino_domain::{
    Fault, FaultKind, MeasureInfo, Precision, RunSpec, RunValidator, ValidatedRun, Violation,
};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// Bytes that looking at a specification takes beside its network and its probes.
const LOOK: u64 = 256 << 10;
/// Most probe groups of a run.
const MOST_GROUPS: usize = 256;

/// The engine's knowledge of models and measures, without a device.
#[derive(Debug, Clone, Copy)]
pub struct Validator;

impl Validator {
    fn plan(spec: &RunSpec, probes: &PreparedProbes) -> Result<(PreparedRun, String), Fault> {
        let mut violations = Vec::new();
        let mut keep = |fault: Fault| violations.extend(fault.violations);
        let network = network::of(spec).map_err(&mut keep).ok();
        let names: Vec<&str> = spec.groups.iter().map(|group| group.name.as_str()).collect();
        let measures = measure::choose(&spec.measures, &names).map_err(&mut keep).ok();
        budget(spec.budget).map_err(&mut keep).unwrap_or_default();
        let known = network.as_ref().map(|(network, _)| (&**network, probes));
        let groups = groups(spec, known).map_err(&mut keep).ok();
        if let (Some((network, model_type)), Some(measures), Some(groups), true) =
            (network, measures, groups, violations.is_empty())
        {
            let precision = settle(spec.precision, network.layout().total());
            let autograd =
                network::autograd::CandleModel::read(&model_type, &spec.config_json).ok().map(Arc::new);
            let mut plan = PreparedRun::new(network, autograd, groups, measures, precision);
            plan.gpu_only = spec.gpu_only;
            plan.warnings = crate::remarks::remarks(spec, &*plan.network, &plan.groups);
            return Ok((plan, model_type));
        }
        violations.truncate(16);
        Err(Fault::of(FaultKind::Invalid, violations))
    }
}

impl RunValidator for Validator {
    fn validate(&self, spec: &RunSpec) -> Result<ValidatedRun, Fault> {
        let (plan, model_type) = Self::plan(spec, &PreparedProbes::default())?;
        Ok(plan.validated(model_type, 1, u64::MAX))
    }

    fn catalogue(&self) -> Vec<MeasureInfo> {
        measure::catalogue()
    }
}

/// The GPUs of an engine, for examining runs and receiving their snapshots.
#[derive(Clone)]
pub struct GpuDevices {
    /// The GPUs that the engine uses.
    pub(super) gpus: Arc<Gpus>,
    /// Bytes that a run may take.
    pub(super) room: u64,
}

/// The same for the engine of a daemon: it knows its threads and its memory, holds probes that runs share once, and where
/// the engine is on GPUs, has snapshots brought there as they arrive once it has opened them.
#[derive(Clone)]
pub struct GpuValidator {
    /// Threads of the engine: what goes side by side takes memory.
    pub threads: usize,
    /// Bytes that one run may take on the CPU: measures for which that is too little are left out.
    pub room: u64,
    /// The probes of the runs.
    pub probes: PreparedProbes,
    /// The GPUs; empty until the engine has opened them.
    pub device: Arc<OnceLock<GpuDevices>>,
    /// Whether a run that does not fit is refused; else it goes to the CPU.
    pub strict: bool,
}

impl Default for GpuValidator {
    fn default() -> Self {
        let probes = PreparedProbes::default();
        Self { threads: 1, room: u64::MAX, probes, device: Arc::default(), strict: false }
    }
}

impl RunValidator for GpuValidator {
    fn preparation(&self, spec: &RunSpec) -> u64 {
        LOOK + network::preparation(spec) + probes::preparation(spec)
    }

    fn validate(&self, spec: &RunSpec) -> Result<ValidatedRun, Fault> {
        let (plan, model_type) = Validator::plan(spec, &self.probes)?;
        let validated = |plan: PreparedRun| plan.validated(model_type, self.threads, self.room);
        let Some(GpuDevices { gpus, room }) = self.device.get() else {
            let found = "found true, but this daemon has no GPU: leave gpu_only out, or start the daemon with \
                        --device cuda:0";
            let refused = || Fault::field(FaultKind::Precondition, "gpu_only", found);
            return if plan.gpu_only { Err(refused()) } else { Ok(validated(plan)) };
        };
        match plan.fits(*room) {
            Ok(_) => {}
            Err(_) if !self.strict && !plan.gpu_only => return Ok(validated(plan)),
            Err(fault) => return Err(fault),
        }
        let layout = plan.network.layout().clone();
        let gpus = gpus.clone();
        let precision = plan.precision;
        let layout = Arc::new(UploadLayout { layout, gpus, precision });
        Ok(ValidatedRun { layout, ..validated(plan) })
    }

    fn catalogue(&self) -> Vec<MeasureInfo> {
        measure::catalogue()
    }
}

fn budget(seconds: Option<f64>) -> Result<(), Fault> {
    match seconds {
        Some(seconds) if !(seconds.is_finite() && seconds > 0.0) => {
            Err(Fault::invalid("budget_seconds", format!("found {seconds}, expected a number above 0")))
        }
        _ => Ok(()),
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
fn groups(
    spec: &RunSpec,
    known: Option<(&dyn Network, &PreparedProbes)>,
) -> Result<Vec<PreparedGroup>, Fault> {
    let least = usize::from(known.is_none_or(|(network, _)| network.has_loss()));
    if !(least..=MOST_GROUPS).contains(&spec.groups.len()) {
        let found = spec.groups.len();
        let description = format!("found {found} groups, expected {least} to {MOST_GROUPS}");
        return Err(Fault::invalid("groups", description));
    }
    let mut names = HashSet::new();
    let mut violations: Vec<Violation> = Vec::new();
    let mut groups = Vec::new();
    for (i, group) in spec.groups.iter().enumerate() {
        let prefix = format!("groups[{i}].");
        let named = check_free_name("name", &group.name, &RESERVED_GROUPS);
        let named = named.and_then(|()| match names.insert(&group.name) {
            true => Ok(()),
            false => Err(Fault::invalid(
                "name",
                format!("found {} again, expected another name for each group", quoted(&group.name)),
            )),
        });
        let none = || Ok(Arc::<PreparedProbe>::default());
        let probe = known.map_or_else(none, |(network, probes)| probes.get(network, group));
        for fault in [named.err(), probe.as_ref().err().cloned()].into_iter().flatten() {
            violations.extend(fault.within(&prefix).violations);
        }
        groups.push(PreparedGroup { name: group.name.clone(), probe: probe.unwrap_or_default() });
    }
    if violations.is_empty() { Ok(groups) } else { Err(Fault::of(FaultKind::Invalid, violations)) }
}
