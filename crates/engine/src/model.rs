//! The landscape of a network: one snapshot's parameters, evaluated on the batches of a probe group.
//!
//! Owns: who computes what: workers side by side, or one with the whole machine. May not touch: what a measure does
//! with it.

use crate::backend::host::Host;
use crate::backend::{At, Backend, Base, GroupContext};
use crate::device::real::Real;
use crate::landscape::{ExampleShare, GradientSummary, Job, Landscape, Matrices, Position};
use crate::network::batch::Batch;
use crate::network::examples;
use crate::network::{Network, PassInput, Passes};
use crate::outputs::{CheckedRow, CheckedRows, Outputs};
use crate::perturbation::{Perturbation, PointBuffers, side_by_side};
use crate::plan::PreparedGroup;
use crate::spectrum::Spectrum;
use crate::weights::PreparedSnapshot;
use clino_domain::reading::POOLED;
use clino_domain::{Checkpoint, Fault};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Workers of one network, kept between measures.
pub struct WorkerPool<B: Backend> {
    network: Arc<dyn Network>,
    workers: Vec<PointBuffers<B>>,
    /// Has the whole machine, for what goes step by step; else the first worker does that.
    lead: Option<PointBuffers<B>>,
}

impl<T: Passes> WorkerPool<Host<T>> {
    /// As many workers as threads, within what [`side_by_side`] grants; they share the threads.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        let side_by_side = side_by_side(network.layout().total() * size_of::<T>(), threads);
        let inner = threads / side_by_side;
        let worker = |threads| PointBuffers::new(Host::new(T::pass(&*network, threads)));
        let workers = (0..side_by_side).map(|_| worker(inner)).collect();
        let lead = (side_by_side > 1).then(|| worker(threads));
        Self { lead, ..Self::of(network.clone(), workers) }
    }
}

impl<B: Backend> WorkerPool<B> {
    /// These workers, each on a device of its own.
    pub fn of(network: Arc<dyn Network>, workers: Vec<PointBuffers<B>>) -> Self {
        Self { network, workers, lead: None }
    }

    /// The one with the whole machine.
    fn lead(&mut self) -> &mut PointBuffers<B> {
        self.lead.as_mut().unwrap_or(&mut self.workers[0])
    }
}

/// A gradient at w0 that is kept, with the groups that it is of.
pub type KeptGradient<B> = Option<(Range<usize>, Base<B>)>;

/// The landscape of one group.
pub struct GroupLandscape<'a, B: Backend> {
    /// The snapshot that is measured.
    pub prepared: &'a PreparedSnapshot<B::Element>,
    /// All groups of the run.
    pub groups: &'a [PreparedGroup],
    /// Those of this landscape.
    pub own: Range<usize>,
    /// Whether a measure of the run asks for scores.
    pub scores: bool,
    /// Workers that evaluate the network.
    pub worker_pool: &'a mut WorkerPool<B>,
    /// The gradient that was asked for last.
    pub kept: &'a mut KeptGradient<B>,
    /// Asked whether to go on.
    pub stop: &'a dyn Checkpoint,
}

/// Batches of a few groups, in their order.
fn batches<'a>(groups: &'a [PreparedGroup], of: &Range<usize>) -> Vec<&'a Batch> {
    groups[of.clone()].iter().flat_map(|group| &group.batches).collect()
}

impl<B: Backend> GroupLandscape<'_, B> {
    fn named(&self, group: Option<&str>) -> Result<Range<usize>, Fault> {
        let Some(name) = group else { return Ok(self.own.clone()) };
        let found = match name {
            POOLED => Some(0..self.groups.len()),
            name => self.groups.iter().position(|group| group.name == name).map(|i| i..i + 1),
        };
        found.ok_or_else(|| Fault::internal("a measure uses a group that the run does not have"))
    }

    /// Of the gradient of each part: its square, and its product with the gradient that is kept, or 0.
    fn of_parts(&mut self, parts: &[ExampleShare], with_kept: bool) -> Result<Vec<[f64; 2]>, Fault> {
        let batches = batches(self.groups, &self.own);
        let prepared = self.prepared;
        let stop = self.stop;
        let lanes = self.worker_pool.workers.len();
        let kept = self.kept.as_ref().filter(|_| with_kept).map(|(_, base)| &base.vector);
        let whole = |worker: &PointBuffers<B>| {
            let Some(kept) = kept else { return Ok(None) };
            let mut whole = worker.backend.vector(prepared)?;
            worker.backend.take_up(kept, &mut whole)?;
            Ok::<_, Fault>(Some(whole))
        };
        let one = |worker: &mut PointBuffers<B>, part: &ExampleShare, whole: &Option<B::Vector>| {
            worker.rest();
            let part: Vec<Batch> = cut(&batches, part);
            let part: Vec<&Batch> = part.iter().collect();
            worker.find_gradient(
                GroupContext { prepared, of: None, batches: &part, base: None, stop },
                At::Start,
            )?;
            prepared.counter.pass();
            let Some(gradient) = &worker.gradient else { return Err(Fault::internal("no gradient")) };
            let norms = worker.backend.norms(worker.backend.squares(prepared, gradient)?)?;
            let Some(whole) = whole else { return Ok([norms.squares.iter().sum::<f64>(), 0.0]) };
            prepared.counter.pass();
            let product = worker.backend.product(prepared, gradient, whole)?;
            Ok([norms.squares.iter().sum::<f64>(), product])
        };
        let workers = self.worker_pool.workers.par_iter_mut().enumerate();
        let by_lane = workers.map(|(lane, worker)| {
            let whole = whole(worker)?;
            parts.iter().skip(lane).step_by(lanes).map(|part| one(worker, part, &whole)).collect()
        });
        let by_lane: Vec<Vec<[f64; 2]>> = by_lane.collect::<Result<_, Fault>>()?;
        Ok((0..parts.len()).map(|i| by_lane[i % lanes][i / lanes]).collect())
    }
}

impl<B: Backend> Landscape for GroupLandscape<'_, B> {
    fn position(&self) -> &dyn Position {
        self.prepared
    }

    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        let prepared = self.prepared;
        let stop = self.stop;
        let scores = self.scores;
        let batches = batches(self.groups, &self.own);
        let share = batches.len().div_ceil(self.worker_pool.workers.len()).max(1);
        let of = (share >= batches.len()).then_some(&self.own);
        let run = |(worker, batches): (&mut PointBuffers<B>, &[&Batch])| {
            let context = GroupContext { prepared, of, batches, base: None, stop };
            let mut found = Outputs::with_room(context.units(), scores);
            worker.backend.each_unit(context, &mut |outputs, target| {
                found.push(&*prepared.criterion, outputs, target);
            })?;
            Ok(found)
        };
        let workers = self.worker_pool.workers.par_iter_mut().zip(batches.par_chunks(share));
        let parts = workers.map(run).collect::<Result<Vec<Outputs>, Fault>>()?;
        let units = parts.iter().map(|part| part.units.len()).sum();
        prepared.counter.forward(units);
        Ok(Arc::new(joined(parts, units)))
    }

    fn rows(&mut self, rows: &[usize], with_gradient: bool) -> Result<CheckedRows, Fault> {
        let batches = batches(self.groups, &self.own);
        let prepared = self.prepared;
        let stop = self.stop;
        let lead = self.worker_pool.lead();
        let mut found = CheckedRows::default();
        let mut all = Vec::new();
        for row in rows {
            let units = examples::units_of(&batches, *row);
            let pieces = examples::pick(&batches, &units.clone().collect::<Vec<_>>());
            let pieces: Vec<&Batch> = pieces.iter().collect();
            let context = GroupContext { prepared, of: None, batches: &pieces, base: None, stop };
            let mut sum = CheckedRow::default();
            lead.backend.each_unit(context, &mut |outputs, target| {
                sum.add(&*prepared.criterion, outputs, target);
            })?;
            found.rows.push(sum);
            all.extend(units);
        }
        if with_gradient && !all.is_empty() {
            let pieces = examples::pick(&batches, &all);
            let pieces: Vec<&Batch> = pieces.iter().collect();
            lead.rest();
            let context = GroupContext { prepared, of: None, batches: &pieces, base: None, stop };
            let mut gradient = lead.gradient.take().map_or_else(|| lead.backend.vector(prepared), Ok)?;
            lead.backend.gradient(context, At::Start, &mut gradient)?;
            let norms = lead.backend.norms(lead.backend.squares(prepared, &gradient)?)?;
            lead.gradient = Some(gradient);
            let norms = norms.squares.iter().map(|square| square.sqrt());
            found.norms = prepared.weights.sent.iter().cloned().zip(norms).collect();
        }
        Ok(found)
    }

    fn slope(&mut self, of: Option<&str>) -> Result<GradientSummary, Fault> {
        let groups = self.named(of)?;
        match self.kept.take() {
            Some((known, base)) if known == groups => {
                let slope = base.slope.clone();
                *self.kept = Some((known, base));
                return Ok(slope);
            }
            Some((_, base)) => {
                let worker = self.worker_pool.lead();
                let room = worker.backend.reclaim(base.vector);
                worker.gradient = worker.gradient.take().or(room);
            }
            None => {}
        }
        let prepared = self.prepared;
        let stop = self.stop;
        let batches = batches(self.groups, &groups);
        let context = GroupContext { prepared, of: Some(&groups), batches: &batches, base: None, stop };
        let alone = self.worker_pool.workers.len() == 1;
        let worker = self.worker_pool.lead();
        worker.rest();
        let losses = worker.find_gradient(context, At::Start)?;
        let Some(gradient) = worker.gradient.take() else { return Err(Fault::internal("no gradient")) };
        let backend = &worker.backend;
        let squares = backend.squares(prepared, &gradient)?;
        prepared.counter.pass();
        let slope = GradientSummary { loss: backend.loss(losses)?, norms: backend.norms(squares)? };
        let vector = backend.share(gradient, alone)?;
        *self.kept = Some((groups, Base { slope: slope.clone(), vector }));
        Ok(slope)
    }

    fn visit(&mut self, draws: &[u32], job: Job<'_>) -> Result<(), Fault> {
        let batches = batches(self.groups, &self.own);
        let base = self.kept.as_ref().map(|(of, base)| (base, *of == self.own));
        let prepared = self.prepared;
        let of = Some(&self.own);
        let stop = self.stop;
        let context = GroupContext { prepared, of, batches: &batches, base, stop };
        let run = |worker: &mut PointBuffers<B>, draws: &mut dyn Iterator<Item = u32>| {
            let mut perturbation = Perturbation::new(context, worker);
            for draw in draws {
                context.stop.check()?;
                perturbation.reset();
                job(&mut perturbation, draw)?;
            }
            Ok(())
        };
        if draws.len() == 1 {
            return run(self.worker_pool.lead(), &mut draws.iter().copied());
        }
        let lanes = self.worker_pool.workers.len();
        let workers = self.worker_pool.workers.par_iter_mut().enumerate();
        let ends: Vec<Result<(), Fault>> = workers
            .map(|(lane, worker)| run(worker, &mut draws.iter().copied().skip(lane).step_by(lanes)))
            .collect();
        ends.into_iter().collect()
    }

    fn examples(&self) -> Vec<Range<usize>> {
        examples::units_by_example(&batches(self.groups, &self.own))
    }

    fn keys(&self) -> Vec<u64> {
        examples::keys(self.groups[self.own.clone()].iter().flat_map(|group| &group.contents))
    }

    fn squares(&mut self, parts: &[ExampleShare]) -> Result<Vec<f64>, Fault> {
        Ok(self.of_parts(parts, false)?.into_iter().map(|[square, _]| square).collect())
    }

    fn squares_and_products(&mut self, parts: &[ExampleShare]) -> Result<Vec<[f64; 2]>, Fault> {
        self.slope(None)?;
        self.of_parts(parts, true)
    }

    fn path_norm(&mut self) -> Result<Option<f64>, Fault> {
        let Some(ones) = self.worker_pool.network.ones() else { return Ok(None) };
        let squared: Vec<B::Element> = self.prepared.weights.data.iter().map(|w| *w * *w).collect();
        self.prepared.counter.pass();
        self.prepared.counter.forward(1);
        let mut pass = B::Element::pass(&*self.worker_pool.network, 1);
        let input = PassInput { w: &squared, fixed: &[], batches: &[&ones], stop: self.stop };
        let logits = pass.forward(input, false)?;
        Ok(Some(logits.iter().map(|z| z.wide()).sum()))
    }

    fn spectra(&self, of: Matrices) -> Result<Arc<Vec<Spectrum>>, Fault> {
        self.prepared.spectra(of, self.stop)
    }
}

/// All of them, end to end; a single one stays where it is.
fn joined(mut parts: Vec<Outputs>, units: usize) -> Outputs {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let mut all = Outputs::with_room(units, parts.iter().any(|part| part.scores.is_some()));
    parts.iter().for_each(|part| all.append(part));
    all
}

/// The examples of a part, with its label if it has one.
fn cut(batches: &[&Batch], part: &ExampleShare) -> Vec<Batch> {
    let mut found = examples::pick(batches, &part.examples);
    if let Some(label) = part.label {
        found.iter_mut().for_each(|batch| batch.targets.fill(label));
    }
    found
}
