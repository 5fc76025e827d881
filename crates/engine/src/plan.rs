//! What every snapshot of a run will need: network, batches, and measures in the order in which they are made, with what
//! each will do.
//!
//! Owns: the order of measures and what they share. May not touch: snapshots, time.

use crate::device::slot::Slot;
use crate::footprint::{Ledger, Working};
use crate::measure::{Chosen, Common, Cost, Demand, RunSize};
#[cfg(test)]
use crate::network::batch::Batch;
use crate::network::examples::units_by_example;
use crate::network::gpu_footprint::GpuFootprint;
use crate::network::{Network, Product, autograd};
use crate::probes::PreparedProbe;
use crate::spectrum::{self, Shape};
use clino_domain::{
    Fault, FaultKind, LeftOut, MemoryPart, Needs, Planned, Precision, PreparedModel, RunFootprint,
    SharedPart, ValidatedRun, Work,
};
use std::collections::{BTreeSet, HashSet};
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

/// Bytes of a plan, its measures and their texts, about.
const PLAN: u64 = 32 << 10;

/// What the engine keeps of a run.
pub struct PreparedRun {
    /// Network of the model.
    pub network: Arc<dyn Network>,
    /// The same model in candle, for GPUs; `None` where it is not written.
    pub autograd: Option<Arc<autograd::CandleModel>>,
    /// The probe groups of the run, prepared.
    pub groups: Vec<PreparedGroup>,
    /// From the cheapest to the most expensive.
    pub measures: Vec<Chosen>,
    /// What each of them will do on one group, less what those before it have made.
    pub works: Vec<Work>,
    /// The same on all groups together, which take over the scores that each of them has found.
    joined: Vec<Work>,
    /// Which of them had better come while the gradient at w0 is kept.
    pub leaning: Vec<bool>,
    /// Whether one looks into the references while it measures.
    pub elements: bool,
    /// Whether it is measured on GPUs or not at all.
    pub gpu_only: bool,
    /// What of the specification may differ from what its author expects.
    pub warnings: Vec<String>,
    /// Why a measure is not made: there is no memory for it.
    pub left_out: Vec<Option<String>>,
    /// What each of them takes of memory.
    demands: Vec<Demand>,
    /// What the run takes of a GPU's memory, once somebody has asked.
    gpu: OnceLock<GpuFootprint>,
    run_size: RunSize,
    /// Precision in which the run is measured; never auto.
    pub precision: Precision,
}

impl PreparedRun {
    /// What was prepared for a validated run.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] for a run that something else validated.
    pub fn of(run: &ValidatedRun) -> Result<Arc<Self>, Fault> {
        let plan = run.prepared.0.clone().downcast::<Self>();
        plan.map_err(|_| Fault::internal("the run was admitted by another engine"))
    }

    /// Puts measures in order and counts what each will do.
    pub fn new(
        network: Arc<dyn Network>,
        autograd: Option<Arc<autograd::CandleModel>>,
        groups: Vec<PreparedGroup>,
        chosen: Vec<Chosen>,
        precision: Precision,
    ) -> Self {
        let mut run_size = run_size(&*network, &groups, precision);
        run_size.init = chosen.iter().any(|measure| measure.needs().init || measure.needs().init_if_given);
        let dear = |cost: &Cost| run_size.operations(cost.total());
        let mut costs: Vec<(Cost, Chosen)> =
            chosen.into_iter().map(|measure| (measure.cost(&run_size), measure)).collect();
        costs.sort_by(|(a, _), (b, _)| dear(a).total_cmp(&dear(b)));
        let mut done = HashSet::new();
        let works = costs.iter().map(|(cost, _)| cost.after(&mut done)).collect();
        let mut found = HashSet::from([Common::Outputs, Common::Examples]);
        let joined = costs.iter().map(|(cost, _)| cost.after(&mut found)).collect();
        let demands = costs.iter().map(|(cost, measure)| measure.demand(cost, &run_size)).collect();
        let leaning = costs.iter().map(|(cost, _)| cost.leans_on_slope()).collect();
        let measures: Vec<Chosen> = costs.into_iter().map(|(_, measure)| measure).collect();
        let elements = measures.iter().any(|measure| measure.needs().elements);
        let left_out = measures.iter().map(|measure| meaningless(&*network, measure.needs())).collect();
        Self {
            network,
            autograd,
            groups,
            measures,
            works,
            joined,
            leaning,
            elements,
            gpu_only: false,
            warnings: Vec::new(),
            left_out,
            demands,
            gpu: OnceLock::new(),
            run_size,
            precision,
        }
    }

    /// Whether a measure asks for the scores of every unit.
    pub fn scores(&self) -> bool {
        let made = self.measures.iter().zip(&self.left_out).filter(|(_, left_out)| left_out.is_none());
        made.map(|(measure, _)| measure.needs()).any(|needs| needs.scores)
    }

    /// The model in candle, if a GPU with `room` bytes can hold what the run takes.
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] for an architecture that is not written for GPUs, [`FaultKind::Exhausted`] with the
    /// sum of what it takes.
    pub fn fits(&self, room: u64) -> Result<&Arc<autograd::CandleModel>, Fault> {
        self.gpu_footprint().admit(room)?;
        let missing = || Fault::new(FaultKind::Precondition, "this architecture does not run on GPUs yet");
        self.autograd.as_ref().ok_or_else(missing)
    }

    /// Bytes that it takes on each GPU.
    pub fn gpu_bytes(&self) -> u64 {
        self.gpu_footprint().bytes()
    }

    fn gpu_footprint(&self) -> &GpuFootprint {
        self.gpu.get_or_init(|| {
            let size = element_bytes(self.precision) as u64;
            let kept = self.measures.iter().map(|measure| measure.vectors(&self.run_size)).max();
            let batches = self.groups.iter().flat_map(|group| &group.batches);
            GpuFootprint::new(&*self.network, size, u64::from(kept.unwrap_or(0)), batches)
        })
    }

    /// What the run takes on the CPU of a machine with `threads` and `room` bytes for it, without the measures for which
    /// that is too little. If it is too little for any, they are in the sum.
    fn footprint(&self, threads: usize, room: u64) -> RunFootprint {
        let batches: Vec<_> = self.groups.iter().map(|group| &*group.batches).collect();
        let ledger =
            Ledger::new(&*self.network, &batches, element_bytes(self.precision), threads, self.scores());
        let kept =
            vec![MemoryPart { name: "the model's layout", bytes: self.network.layout().bytes() + PLAN }];
        let mut shared: Vec<SharedPart> = Vec::new();
        for probe in self.groups.iter().map(|group| &group.probe) {
            if shared.iter().all(|known| known.key != probe.key) {
                let part = MemoryPart { name: "probes", bytes: probe.bytes() };
                shared.push(SharedPart { key: probe.key.clone(), part });
            }
        }
        let mut footprint = RunFootprint { kept, shared, ..RunFootprint::default() };
        let left = room.saturating_sub(footprint.kept_bytes()) as f64;
        let order = self.order();
        let Working { parts, mut left_out } = ledger.working(&order, &self.leaning, left);
        footprint.working = parts;
        if (left_out.len() == order.len() && !order.is_empty()) || footprint.bytes() > room {
            footprint.working = ledger.working(&order, &self.leaning, f64::INFINITY).parts;
            return footprint;
        }
        left_out.sort_by_key(|(measure, _)| *measure);
        let kept = footprint.kept_bytes();
        let left_out = left_out.into_iter().map(|(measure, bytes)| LeftOut {
            measure,
            reason: self.too_much(measure, (bytes as u64).saturating_add(kept), room),
        });
        footprint.left_out = left_out.collect();
        footprint
    }

    /// The order in which measures are made: cheap ones that lean on the gradient at w0 come together.
    fn order(&self) -> Vec<(usize, &Demand)> {
        let leaning = || (0..self.demands.len()).filter(|i| self.leaning[*i]);
        let first = leaning().next();
        let place = |i: usize| if first == Some(i) { leaning().collect() } else { vec![i] };
        let all = (0..self.demands.len()).filter(|i| !self.leaning[*i] || first == Some(*i));
        let made = all.flat_map(place).filter(|i| self.left_out[*i].is_none());
        made.map(|i| (i, &self.demands[i])).collect()
    }

    /// Why a measure is left out.
    fn too_much(&self, measure: usize, bytes: u64, room: u64) -> String {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let name = self.demands[measure].name;
        format!(
            "with {name} the run takes {} MiB of memory, more than the {} MiB that there are for it: give it smaller \
            parameters or the run a smaller probe, or start the daemon with more --memory",
            mib(bytes),
            room >> 20
        )
    }

    /// What is known of the run from now on, if its CPU has `threads` and `room` bytes for it.
    pub fn validated(mut self, model_type: String, threads: usize, room: u64) -> ValidatedRun {
        let footprint = self.footprint(threads, room);
        let names: Vec<(&str, &String)> = self
            .left_out
            .iter()
            .enumerate()
            .filter_map(|(i, reason)| Some((self.demands[i].name, reason.as_ref()?)))
            .collect();
        self.warnings.extend(without_meaning(&names));
        for LeftOut { measure, reason } in &footprint.left_out {
            self.left_out[*measure] = Some(reason.clone());
            self.warnings.push(format!("{} is unavailable: {reason}", self.demands[*measure].name));
        }
        let needs: Vec<Needs> = self.measures.iter().map(Chosen::needs).collect();
        let planned = |work: &Work| Planned { work: *work, counted: false, seconds: None };
        ValidatedRun {
            model_type,
            layout: self.network.layout().clone(),
            measures: self.measures.iter().map(Chosen::request).collect(),
            plan: self.works.iter().map(planned).collect(),
            examples: (0..self.groups.len()).map(|i| self.examples(&(i..i + 1))).collect(),
            precision: self.precision,
            warnings: self.warnings.clone(),
            footprint,
            needs_init: needs.iter().any(|needs| needs.init || needs.init_if_given),
            needs_previous: needs.iter().any(|needs| needs.previous || needs.previous_if_given),
            needs,
            prepared: PreparedModel(Arc::new(self)),
        }
    }

    /// Examples of a few groups.
    pub fn examples(&self, groups: &Range<usize>) -> usize {
        let batches = self.groups[groups.clone()].iter().flat_map(|group| &group.batches);
        batches.map(|batch| batch.units()).sum()
    }

    /// Floating-point operations of a measure on a few groups, roughly.
    pub fn operations(&self, measure: usize, groups: &Range<usize>) -> f64 {
        self.run_size.operations(self.share(self.works[measure], groups))
    }

    /// What a measure will do on a few groups that come after one another, and then on all of them. A single group is all
    /// of them: nothing is done twice.
    pub fn expected(&self, measure: usize, groups: &Range<usize>, pooled: bool) -> Work {
        match (pooled, self.groups.len()) {
            (false, _) => self.share(self.works[measure], groups),
            (true, 1) => Work::NONE,
            (true, _) => self.joined[measure],
        }
    }

    /// Work on a few groups, in forwards and backwards over all examples.
    fn share(&self, work: Work, groups: &Range<usize>) -> Work {
        let share = self.examples(groups) as f64 / self.run_size.examples.max(1) as f64;
        Work { forwards: share * work.forwards, backwards: share * work.backwards, ..work }
    }
}

fn element_bytes(precision: Precision) -> usize {
    if precision == Precision::F32 { 4 } else { 8 }
}

/// A sentence for each reason, with the measures that are unavailable for it.
fn without_meaning(left_out: &[(&str, &String)]) -> Vec<String> {
    let reasons: BTreeSet<&String> = left_out.iter().map(|(_, reason)| *reason).collect();
    let sentence = |reason: &String| {
        let names = left_out.iter().filter(|(_, other)| *other == reason).map(|(name, _)| *name);
        format!("unavailable: {}: {reason}", names.collect::<Vec<_>>().join(", "))
    };
    reasons.into_iter().map(sentence).collect()
}

/// Why a measure means nothing for the loss of a model.
fn meaningless(network: &dyn Network, needs: Needs) -> Option<String> {
    if needs.probe && !network.has_loss() {
        return Some(
            "the run was opened with the names of its tensors alone, without a model that is evaluated: export its graph, or \
             give the config.json of a model that docs/models.md lists"
                .into(),
        );
    }
    let criterion = network.criterion();
    let no_classes = || criterion.no_classes().filter(|_| needs.classes);
    let no_likelihood = || criterion.no_likelihood().filter(|_| needs.likelihood);
    let coupled = || "the loss of an example depends on the others of its group (batch_coupled)".to_owned();
    no_classes().or_else(no_likelihood).or_else(|| (needs.examples && network.coupled()).then(coupled))
}

/// What the plan goes by.
fn run_size(network: &dyn Network, groups: &[PreparedGroup], precision: Precision) -> RunSize {
    let batches = || groups.iter().flat_map(|group| &group.batches);
    let products = batches().flat_map(|batch| network.products(batch));
    let of = |group: &PreparedGroup| units_by_example(&group.batches.iter().collect::<Vec<_>>());
    let sequences: Vec<Vec<Range<usize>>> = groups.iter().map(of).collect();
    let slots = network.layout().slots();
    let spectrum = |slot: &Slot| {
        let shape = |columns| Shape { rows: slot.rows, columns };
        slot.columns().map(shape).map(spectrum::operations)
    };
    RunSize {
        examples: batches().map(|batch| batch.units()).sum(),
        sequences: sequences.iter().map(Vec::len).sum(),
        longest: sequences.iter().flatten().map(Range::len).max().unwrap_or(1),
        classes: network.unit_width(),
        spectra: slots.iter().filter_map(spectrum).sum(),
        // As numbers that do not overflow: a configuration may ask for any product.
        forward: products
            .map(|Product { m, n, k, times }| 2.0 * m as f64 * n as f64 * k as f64 * times as f64)
            .sum(),
        parameters: network.layout().total(),
        vector_bytes: network.layout().total().saturating_mul(element_bytes(precision)),
        init: false,
        path_norm: network.has_paths(),
    }
}

/// A probe group, checked and cut.
pub struct PreparedGroup {
    /// Unique in its run.
    pub name: String,
    /// Its examples, which other runs may have as well.
    pub probe: Arc<PreparedProbe>,
}

impl Deref for PreparedGroup {
    type Target = PreparedProbe;

    fn deref(&self) -> &PreparedProbe {
        &self.probe
    }
}

#[cfg(test)]
impl PreparedGroup {
    /// A group with this name and these batches.
    pub fn new(name: String, batches: Vec<Batch>) -> Self {
        Self { name, probe: Arc::new(PreparedProbe::new(String::new(), batches)) }
    }
}
