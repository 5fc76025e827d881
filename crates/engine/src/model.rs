//! The landscape of a network: one snapshot's parameters, evaluated on the batches of a probe group.
//!
//! Owns: who computes what: workers side by side, or one with the whole machine. May not touch: what a measure does
//! with it.

use crate::backend::host::Host;
use crate::backend::{At, Backend, Base, Ground};
use crate::device::real::Real;
use crate::landscape::{Job, Landscape, Position, Share, Slope};
use crate::network::batch::Batch;
use crate::network::examples;
use crate::network::{Network, Passes};
use crate::outputs::Outputs;
use crate::plan::Group;
use crate::stop::Stop;
use crate::walker::{Walker, Worker};
use crate::weights::Snapped;
use clino_domain::Fault;
use clino_domain::reading::POOLED;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that workers beside the first may take: draws of small models go side by side, each on one thread; in a draw
/// of a large one the batches do, which takes a third of the memory.
const SIDE_BY_SIDE_BYTES: usize = 64 << 20;

/// Workers of one network, kept between measures.
pub struct Crew<B: Backend> {
    network: Arc<dyn Network>,
    workers: Vec<Worker<B>>,
    /// Has the whole machine, for what goes step by step; else the first worker does that.
    lead: Option<Worker<B>>,
}

impl<T: Passes> Crew<Host<T>> {
    /// As many workers as threads, within [`SIDE_BY_SIDE_BYTES`]; they share the threads.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        let bytes = 3 * network.layout().total() * size_of::<T>();
        let side_by_side = (1 + SIDE_BY_SIDE_BYTES / bytes.max(1)).clamp(1, threads.max(1));
        let inner = threads / side_by_side;
        let worker = |threads| Worker::new(Host::new(T::pass(&*network, threads)));
        let workers = (0..side_by_side).map(|_| worker(inner)).collect();
        let lead = (side_by_side > 1).then(|| worker(threads));
        Self { lead, ..Self::of(network.clone(), workers) }
    }
}

impl<B: Backend> Crew<B> {
    /// These workers, each on a device of its own.
    pub fn of(network: Arc<dyn Network>, workers: Vec<Worker<B>>) -> Self {
        Self { network, workers, lead: None }
    }

    /// The one with the whole machine.
    fn lead(&mut self) -> &mut Worker<B> {
        self.lead.as_mut().unwrap_or(&mut self.workers[0])
    }
}

/// A gradient at w0 that is kept, with the groups that it is of.
pub type Kept<B> = Option<(Range<usize>, Base<B>)>;

/// The landscape of one group.
pub struct Model<'a, B: Backend> {
    /// The snapshot that is measured.
    pub snapped: &'a Snapped<B::Element>,
    /// All groups of the run.
    pub groups: &'a [Group],
    /// Those of this landscape.
    pub own: Range<usize>,
    /// Workers.
    pub crew: &'a mut Crew<B>,
    /// The gradient that was asked for last.
    pub kept: &'a mut Kept<B>,
    /// Ends all work early when it is raised.
    pub stop: &'a Stop,
}

/// Batches of a few groups, in their order.
fn batches<'a>(groups: &'a [Group], of: &Range<usize>) -> Vec<&'a Batch> {
    groups[of.clone()].iter().flat_map(|group| &group.batches).collect()
}

impl<B: Backend> Model<'_, B> {
    fn named(&self, group: Option<&str>) -> Result<Range<usize>, Fault> {
        let Some(name) = group else { return Ok(self.own.clone()) };
        let found = match name {
            POOLED => Some(0..self.groups.len()),
            name => self.groups.iter().position(|group| group.name == name).map(|i| i..i + 1),
        };
        found.ok_or_else(|| Fault::internal("a measure uses a group that the run does not have"))
    }

    /// Of the gradient of each part: its square, and its product with the gradient that is kept, or 0.
    fn of_parts(&mut self, parts: &[Share], with_kept: bool) -> Result<Vec<[f64; 2]>, Fault> {
        let batches = batches(self.groups, &self.own);
        let snapped = self.snapped;
        let stop = self.stop;
        let lanes = self.crew.workers.len();
        let kept = self.kept.as_ref().filter(|_| with_kept).map(|(_, base)| &base.vector);
        let whole = |worker: &Worker<B>| {
            let Some(kept) = kept else { return Ok(None) };
            let mut whole = worker.backend.vector(snapped)?;
            worker.backend.take_up(kept, &mut whole)?;
            Ok::<_, Fault>(Some(whole))
        };
        let one = |worker: &mut Worker<B>, part: &Share, whole: &Option<B::Vector>| {
            let part: Vec<Batch> = cut(&batches, part);
            let part: Vec<&Batch> = part.iter().collect();
            worker
                .find_gradient(Ground { snapped, of: None, batches: &part, base: None, stop }, At::Start)?;
            snapped.meter.pass();
            let Some(gradient) = &worker.gradient else { return Err(Fault::internal("no gradient")) };
            let norms = worker.backend.norms(worker.backend.squares(snapped, gradient)?)?;
            let Some(whole) = whole else { return Ok([norms.squares.iter().sum::<f64>(), 0.0]) };
            snapped.meter.pass();
            let product = worker.backend.product(snapped, gradient, whole)?;
            Ok([norms.squares.iter().sum::<f64>(), product])
        };
        let workers = self.crew.workers.par_iter_mut().enumerate();
        let by_lane = workers.map(|(lane, worker)| {
            let whole = whole(worker)?;
            parts.iter().skip(lane).step_by(lanes).map(|part| one(worker, part, &whole)).collect()
        });
        let by_lane: Vec<Vec<[f64; 2]>> = by_lane.collect::<Result<_, Fault>>()?;
        Ok((0..parts.len()).map(|i| by_lane[i % lanes][i / lanes]).collect())
    }
}

impl<B: Backend> Landscape for Model<'_, B> {
    fn position(&self) -> &dyn Position {
        self.snapped
    }

    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        let snapped = self.snapped;
        let stop = self.stop;
        let batches = batches(self.groups, &self.own);
        let share = batches.len().div_ceil(self.crew.workers.len()).max(1);
        let of = (share >= batches.len()).then_some(&self.own);
        let run = |(worker, batches): (&mut Worker<B>, &[&Batch])| {
            worker.backend.logits(Ground { snapped, of, batches, base: None, stop })
        };
        let workers = self.crew.workers.par_iter_mut().zip(batches.par_chunks(share));
        let logits: Vec<Vec<f64>> = workers.map(run).collect::<Result<_, Fault>>()?;
        let labels: Vec<usize> = batches.iter().flat_map(|batch| &batch.labels).copied().collect();
        snapped.meter.forward(labels.len());
        Ok(Arc::new(Outputs { logits: logits.concat(), labels, classes: snapped.classes }))
    }

    fn rows(&mut self, rows: &[usize]) -> Result<Outputs, Fault> {
        let batches = batches(self.groups, &self.own);
        let share = |row: &usize| Share { examples: vec![*row], label: None };
        let pieces: Vec<Batch> = rows.iter().flat_map(|row| cut(&batches, &share(row))).collect();
        let snapped = self.snapped;
        let stop = self.stop;
        let ground =
            Ground { snapped, of: None, batches: &pieces.iter().collect::<Vec<_>>(), base: None, stop };
        let logits = self.crew.lead().backend.logits(ground)?;
        let labels = pieces.iter().flat_map(|piece| &piece.labels).copied().collect();
        Ok(Outputs { logits, labels, classes: snapped.classes })
    }

    fn slope(&mut self, of: Option<&str>) -> Result<Slope, Fault> {
        let groups = self.named(of)?;
        match self.kept.take() {
            Some((known, base)) if known == groups => {
                let slope = base.slope.clone();
                *self.kept = Some((known, base));
                return Ok(slope);
            }
            Some((_, base)) => {
                let worker = self.crew.lead();
                let room = worker.backend.reclaim(base.vector);
                worker.gradient = worker.gradient.take().or(room);
            }
            None => {}
        }
        let snapped = self.snapped;
        let stop = self.stop;
        let batches = batches(self.groups, &groups);
        let ground = Ground { snapped, of: Some(&groups), batches: &batches, base: None, stop };
        let alone = self.crew.workers.len() == 1;
        let worker = self.crew.lead();
        let losses = worker.find_gradient(ground, At::Start)?;
        let Some(gradient) = worker.gradient.take() else { return Err(Fault::internal("no gradient")) };
        let backend = &worker.backend;
        let squares = backend.squares(snapped, &gradient)?;
        snapped.meter.pass();
        let slope = Slope { loss: backend.loss(losses)?, norms: backend.norms(squares)? };
        let vector = backend.share(gradient, alone)?;
        *self.kept = Some((groups, Base { slope: slope.clone(), vector }));
        Ok(slope)
    }

    fn visit(&mut self, draws: &[u32], job: Job<'_>) -> Result<(), Fault> {
        let batches = batches(self.groups, &self.own);
        let base = self.kept.as_ref().map(|(of, base)| (base, *of == self.own));
        let snapped = self.snapped;
        let of = Some(&self.own);
        let stop = self.stop;
        let ground = Ground { snapped, of, batches: &batches, base, stop };
        let run = |worker: &mut Worker<B>, draws: &mut dyn Iterator<Item = u32>| {
            let mut walker = Walker::new(ground, worker);
            for draw in draws {
                ground.stop.check()?;
                walker.reset();
                job(&mut walker, draw)?;
            }
            Ok(())
        };
        if draws.len() == 1 {
            return run(self.crew.lead(), &mut draws.iter().copied());
        }
        let lanes = self.crew.workers.len();
        let workers = self.crew.workers.par_iter_mut().enumerate();
        let ends: Vec<Result<(), Fault>> = workers
            .map(|(lane, worker)| run(worker, &mut draws.iter().copied().skip(lane).step_by(lanes)))
            .collect();
        ends.into_iter().collect()
    }

    fn keys(&self) -> Vec<u64> {
        examples::keys(self.groups[self.own.clone()].iter().flat_map(|group| &group.contents))
    }

    fn squares(&mut self, parts: &[Share]) -> Result<Vec<f64>, Fault> {
        Ok(self.of_parts(parts, false)?.into_iter().map(|[square, _]| square).collect())
    }

    fn squares_and_products(&mut self, parts: &[Share]) -> Result<Vec<[f64; 2]>, Fault> {
        self.slope(None)?;
        self.of_parts(parts, true)
    }

    fn path_norm(&mut self) -> Option<f64> {
        let ones = self.crew.network.ones()?;
        let squared: Vec<B::Element> = self.snapped.weights.data.iter().map(|w| *w * *w).collect();
        self.snapped.meter.pass();
        self.snapped.meter.forward(1);
        let mut pass = B::Element::pass(&*self.crew.network, 1);
        let logits = pass.forward(&squared, &[&ones], false);
        Some(logits.iter().map(|z| z.wide()).sum())
    }
}

/// The examples of a part, with its label if it has one.
fn cut(batches: &[&Batch], part: &Share) -> Vec<Batch> {
    let mut found = examples::pick(batches, &part.examples);
    if let Some(label) = part.label {
        found.iter_mut().for_each(|batch| batch.labels.fill(label));
    }
    found
}
