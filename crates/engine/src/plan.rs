//! What every snapshot of a run will need: network, batches, and measures in the order in which they are made, with what
//! each will do.
//!
//! Owns: the order of measures and what they share. May not touch: snapshots, time.

use crate::device::slot::Slot;
use crate::measure::{Chosen, Common, Cost, RunSize};
use crate::network::batch::Batch;
use crate::network::examples::{self, Content};
use crate::network::footprint::Footprint;
use crate::network::{Network, Product, autograd};
use crate::spectrum::{self, Shape};
use clino_domain::{
    Fault, FaultKind, Needs, Planned, Precision, PreparedModel, RunFootprint, ValidatedRun, Work,
};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

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
        let leaning = costs.iter().map(|(cost, _)| cost.leans_on_slope()).collect();
        let measures: Vec<Chosen> = costs.into_iter().map(|(_, measure)| measure).collect();
        let elements = measures.iter().any(|measure| measure.needs().elements);
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
            run_size,
            precision,
        }
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

    fn gpu_footprint(&self) -> Footprint {
        let size = element_bytes(self.precision) as u64;
        let kept = self.measures.iter().map(|measure| measure.vectors(&self.run_size)).max();
        let batches = self.groups.iter().flat_map(|group| &group.batches);
        Footprint::new(&*self.network, size, u64::from(kept.unwrap_or(0)), batches)
    }

    /// What is known of the run from now on.
    pub fn validated(self, model_type: String) -> ValidatedRun {
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
            footprint: RunFootprint::default(),
            needs_init: needs.iter().any(|needs| needs.init || needs.init_if_given),
            needs_previous: needs.iter().any(|needs| needs.previous || needs.previous_if_given),
            needs,
            prepared: PreparedModel(Arc::new(self)),
        }
    }

    /// Examples of a few groups.
    pub fn examples(&self, groups: &Range<usize>) -> usize {
        let batches = self.groups[groups.clone()].iter().flat_map(|group| &group.batches);
        batches.map(|batch| batch.labels.len()).sum()
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

/// What the plan goes by.
fn run_size(network: &dyn Network, groups: &[PreparedGroup], precision: Precision) -> RunSize {
    let batches = || groups.iter().flat_map(|group| &group.batches);
    let products = batches().flat_map(|batch| network.products(batch));
    let slots = network.layout().slots();
    let spectrum = |slot: &Slot| {
        let shape = |columns| Shape { rows: slot.rows, columns };
        slot.columns().map(shape).map(spectrum::operations)
    };
    RunSize {
        examples: batches().map(|batch| batch.labels.len()).sum(),
        classes: network.classes(),
        spectra: slots.iter().filter_map(spectrum).sum(),
        forward: products.map(|Product { m, n, k, times }| 2.0 * (m * n * k * times) as f64).sum(),
        parameters: network.layout().total(),
        vector_bytes: network.layout().total() * element_bytes(precision),
        init: false,
        path_norm: network.ones().is_some(),
    }
}

/// A probe group, checked and cut.
pub struct PreparedGroup {
    /// Unique in its run.
    pub name: String,
    /// Batches of the examples of the group.
    pub batches: Vec<Batch>,
    /// What each of them is.
    pub contents: Vec<Content>,
}

impl PreparedGroup {
    /// A group with this name and these batches.
    pub fn new(name: String, batches: Vec<Batch>) -> Self {
        let contents = examples::contents(&batches);
        Self { name, batches, contents }
    }
}
