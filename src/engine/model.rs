//! The landscape of a network: one snapshot's parameters, evaluated on the batches of a probe group.
//!
//! Owns: who computes what: workers side by side, or one with the whole machine. May not touch: what a measure does
//! with it.

use super::landscape::{Job, Landscape, Position, Share, Slope};
use super::network::batch::Batch;
use super::network::{Network, Passes};
use super::norms::Norms;
use super::outputs::Outputs;
use super::plan::Group;
use super::stop::Stop;
use super::walker::{Base, Ground, Walker, Worker};
use super::weights::Snapped;
use crate::domain::Fault;
use crate::domain::reading::POOLED;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that workers beside the first may take: draws of small models go side by side, each on one thread; in a draw
/// of a large one the batches do, which takes a third of the memory.
const SIDE_BY_SIDE_BYTES: usize = 64 << 20;

/// Workers of one network, kept between measures.
pub struct Crew<T> {
    network: Arc<dyn Network>,
    threads: usize,
    workers: Vec<Worker<T>>,
    /// Has all threads, for what goes step by step; the only worker does so itself.
    lead: Option<Worker<T>>,
}

impl<T: Passes> Crew<T> {
    /// As many workers as threads, within [`SIDE_BY_SIDE_BYTES`]; they share the threads.
    pub fn new(network: Arc<dyn Network>, threads: usize) -> Self {
        let bytes = 3 * network.layout().total() * size_of::<T>();
        let side_by_side = (1 + SIDE_BY_SIDE_BYTES / bytes.max(1)).clamp(1, threads.max(1));
        let inner = threads / side_by_side;
        let workers = (0..side_by_side).map(|_| Worker::new(T::pass(&*network, inner))).collect();
        Self { network, threads, workers, lead: None }
    }

    /// The one with all threads.
    fn lead(&mut self) -> &mut Worker<T> {
        match &mut self.workers[..] {
            [only] => only,
            _ => {
                let (network, threads) = (&self.network, self.threads);
                self.lead.get_or_insert_with(|| Worker::new(T::pass(&**network, threads)))
            }
        }
    }
}

/// A gradient at w0 that is kept, with the groups that it is of.
pub type Kept<T> = Option<(Range<usize>, Base<T>)>;

/// The landscape of one group.
pub struct Model<'a, T> {
    /// The snapshot.
    pub snapped: &'a Snapped<T>,
    /// All groups of the run.
    pub groups: &'a [Group],
    /// Those of this landscape.
    pub own: Range<usize>,
    /// Workers.
    pub crew: &'a mut Crew<T>,
    /// The gradient that was asked for last.
    pub kept: &'a mut Kept<T>,
    /// Ends everything early.
    pub stop: &'a Stop,
}

/// Batches of a few groups, in their order.
fn batches<'a>(groups: &'a [Group], of: &Range<usize>) -> Vec<&'a Batch> {
    groups[of.clone()].iter().flat_map(|group| &group.batches).collect()
}

impl<T: Passes> Model<'_, T> {
    fn named(&self, group: Option<&str>) -> Result<Range<usize>, Fault> {
        let Some(name) = group else { return Ok(self.own.clone()) };
        let found = match name {
            POOLED => Some(0..self.groups.len()),
            name => self.groups.iter().position(|group| group.name == name).map(|i| i..i + 1),
        };
        found.ok_or_else(|| Fault::internal("a measure asks for a group that the run does not have"))
    }
}

impl<T: Passes> Landscape for Model<'_, T> {
    fn position(&self) -> &dyn Position {
        self.snapped
    }

    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        let (snapped, stop, batches) = (self.snapped, self.stop, batches(self.groups, &self.own));
        let share = batches.len().div_ceil(self.crew.workers.len()).max(1);
        let run = |(worker, batches): (&mut Worker<T>, &[&Batch])| {
            let mut logits = Vec::new();
            for group in batches.chunks(worker.pass.width()) {
                stop.check()?;
                let found = worker.pass.forward(&snapped.weights.data, group, false);
                logits.extend(found.iter().map(|z| z.wide()));
            }
            Ok(logits)
        };
        let workers = self.crew.workers.par_iter_mut().zip(batches.par_chunks(share));
        let logits: Vec<Vec<f64>> = workers.map(run).collect::<Result<_, Fault>>()?;
        let labels: Vec<usize> = batches.iter().flat_map(|batch| &batch.labels).copied().collect();
        snapped.meter.forward(labels.len());
        Ok(Arc::new(Outputs { logits: logits.concat(), labels, classes: snapped.classes }))
    }

    fn slope(&mut self, of: Option<&str>) -> Result<Slope, Fault> {
        let groups = self.named(of)?;
        let room = match self.kept.take() {
            Some((known, base)) if known == groups => {
                let slope = base.slope.clone();
                *self.kept = Some((known, base));
                return Ok(slope);
            }
            Some((_, base)) => base.vector,
            None => Vec::new(),
        };
        let batches = batches(self.groups, &groups);
        let ground = Ground { snapped: self.snapped, batches: &batches, base: None, stop: self.stop };
        let worker = self.crew.lead();
        let mut spare = std::mem::replace(&mut worker.gradient, room);
        let loss = ground.gradient(worker, Some(&self.snapped.weights.data));
        std::mem::swap(&mut worker.gradient, &mut spare);
        let norms = super::device::cpu::norms(&self.snapped.weights.slots, &spare);
        self.snapped.meter.pass();
        let slope = Slope { loss: loss?, norms };
        *self.kept = Some((groups, Base { slope: slope.clone(), vector: spare }));
        Ok(slope)
    }

    fn visit(&mut self, draws: &[u32], job: Job<'_>) -> Result<(), Fault> {
        let batches = batches(self.groups, &self.own);
        let base = self.kept.as_ref().map(|(of, base)| (base, *of == self.own));
        let ground = Ground { snapped: self.snapped, batches: &batches, base, stop: self.stop };
        let run = |worker: &mut Worker<T>, draws: &mut dyn Iterator<Item = u32>| {
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

    fn squares(&mut self, parts: &[Share]) -> Result<Vec<f64>, Fault> {
        let batches = batches(self.groups, &self.own);
        let (snapped, stop, lanes) = (self.snapped, self.stop, self.crew.workers.len());
        let square = |worker: &mut Worker<T>, part: &Share| {
            let part: Vec<Batch> = cut(&batches, part);
            let part: Vec<&Batch> = part.iter().collect();
            let ground = Ground { snapped, batches: &part, base: None, stop };
            ground.gradient(worker, Some(&snapped.weights.data))?;
            snapped.meter.pass();
            let norms: Norms = super::device::cpu::norms(&snapped.weights.slots, &worker.gradient);
            Ok(norms.squares.iter().sum::<f64>())
        };
        let workers = self.crew.workers.par_iter_mut().enumerate();
        let by_lane: Vec<Vec<f64>> = workers
            .map(|(lane, worker)| {
                parts.iter().skip(lane).step_by(lanes).map(|part| square(worker, part)).collect()
            })
            .collect::<Result<_, Fault>>()?;
        Ok((0..parts.len()).map(|i| by_lane[i % lanes][i / lanes]).collect())
    }

    fn path_norm(&mut self) -> Option<f64> {
        let ones = self.crew.network.ones()?;
        let squared: Vec<T> = self.snapped.weights.data.iter().map(|w| *w * *w).collect();
        self.snapped.meter.pass();
        self.snapped.meter.forward(1);
        let logits = self.crew.lead().pass.forward(&squared, &[&ones], false);
        Some(logits.iter().map(|z| z.wide()).sum())
    }
}

/// The examples of a part, batch by batch, with its label if it has one.
fn cut(batches: &[&Batch], part: &Share) -> Vec<Batch> {
    let (mut first, mut found) = (0, Vec::new());
    for batch in batches {
        let last = first + batch.labels.len();
        let (start, end) = (part.examples.start.max(first), part.examples.end.min(last));
        if start < end {
            let mut piece = batch.slice(start - first..end - first);
            if let Some(label) = part.label {
                piece.labels.fill(label);
            }
            found.push(piece);
        }
        first = last;
    }
    found
}
