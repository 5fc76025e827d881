//! The landscape of a network: one snapshot's parameters in an arena, evaluated on the batches of a probe group.
//!
//! Owns: parameters of the snapshot, workers with their buffers, ties. May not touch: what a measure does with it.

use super::device::cpu;
use super::gauge;
use super::landscape::{Job, Landscape, Outputs, Sample};
use super::network::batch::Batch;
use super::network::layout::{ParameterLayout, Slot, Tie, Untied};
use super::network::{Network, Passes};
use super::noise::{Draw, Purpose};
use super::norms::Norms;
use super::stop::Stop;
use super::walker::{Walker, Worker};
use crate::domain::{Dtype, Fault, Layout, References, Snapshot, Statistics, TensorStatistics};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that workers beside the first may take: draws of small models go side by side, each on one thread; in a draw
/// of a large one the batches do, which takes a third of the memory.
const SIDE_BY_SIDE_BYTES: usize = 64 << 20;

/// Parameters of one snapshot, w0: read by everyone, changed by no one.
pub struct Weights<T> {
    /// All elements, where the layout puts them.
    pub data: Vec<T>,
    /// Untied parameters, in the order of the names' bytes.
    pub slots: Vec<Slot>,
    /// Tied ones.
    pub ties: Vec<Tie>,
    /// Of the untied parameters as they were sent.
    pub statistics: Arc<Statistics>,
    /// l2 norms of the slots.
    pub norms: Norms,
}

impl<T: Passes> Weights<T> {
    /// Converts a snapshot tensor by tensor, each freed once it is read; makes its statistics unless `known` are those.
    ///
    /// # Errors
    /// Those of [`crate::domain::Layout::arrange`], and when a reference cannot be read back.
    pub fn new(
        layout: &ParameterLayout,
        snapshot: Snapshot,
        references: &References,
        known: Option<Arc<Statistics>>,
    ) -> Result<Self, Fault> {
        let places = layout.arrange(snapshot.manifest())?;
        let untied = layout.untie(&places, snapshot.manifest());
        let statistics = match known.filter(|known| known.fit(references)) {
            Some(known) => known,
            None => Arc::new(gauge::of_all(&untied, &places, &snapshot, references)?),
        };
        let norms = Norms { squares: statistics.tensors.iter().map(|tensor| tensor.w.square).collect() };
        let (_, manifest, bytes) = snapshot.into_parts();
        let mut bytes: Vec<Option<bytes::Bytes>> = bytes.into_iter().map(Some).collect();
        let mut data = vec![T::ZERO; layout.total()];
        let Untied { slots, indices, ties } = untied;
        for (slot, index) in slots.iter().zip(indices) {
            let place = places[index];
            if let Some(bytes) = bytes[place].take() {
                convert(manifest.tensors()[place].dtype, &bytes, &mut data[slot.range()]);
            }
        }
        mirror(&ties, &mut data);
        Ok(Self { data, slots, ties, statistics, norms })
    }

    /// Count of non-finite elements and the first tensor that has one.
    pub fn non_finite(&self) -> Option<(usize, &str)> {
        let tensors = self.statistics.tensors.iter().filter(|tensor| tensor.non_finite > 0.0);
        let first = tensors.clone().next()?;
        Some((tensors.map(|tensor| tensor.non_finite as usize).sum(), &first.name))
    }
}

fn convert<T: Passes>(dtype: Dtype, bytes: &[u8], out: &mut [T]) {
    const PIECE: usize = 4096;
    let mut wide = vec![0.0; PIECE.min(out.len())];
    let size = dtype.size() as usize;
    for (out, bytes) in out.chunks_mut(PIECE).zip(bytes.chunks(PIECE * size)) {
        let wide = &mut wide[..out.len()];
        dtype.widen(bytes, wide);
        out.iter_mut().zip(wide).for_each(|(out, x)| *out = T::of(*x));
    }
}

/// Repeats the originals of ties.
pub fn mirror<T: Copy>(ties: &[Tie], data: &mut [T]) {
    for tie in ties {
        data.copy_within(tie.original..tie.original + tie.len, tie.mirror);
    }
}

/// Workers of one network, kept between snapshots.
pub struct Crew<T> {
    workers: Vec<Worker<T>>,
}

impl<T: Passes> Crew<T> {
    /// As many workers as threads, within [`SIDE_BY_SIDE_BYTES`]; they share the threads.
    pub fn new(network: &dyn Network, threads: usize) -> Self {
        let bytes = 3 * network.layout().total() * size_of::<T>();
        let side_by_side = (1 + SIDE_BY_SIDE_BYTES / bytes.max(1)).clamp(1, threads.max(1));
        let inner = threads / side_by_side;
        Self { workers: (0..side_by_side).map(|_| Worker::new(T::pass(network, inner))).collect() }
    }
}

/// Everything that is the same for all groups of one snapshot.
pub struct Snapped<T> {
    /// w0.
    pub weights: Weights<T>,
    /// Length of a row of logits.
    pub classes: usize,
    /// Of the run.
    pub seed: u64,
    /// Norms of noise by draw and purpose: the same for every group.
    pub noise: Mutex<HashMap<(u32, Purpose), Arc<Norms>>>,
}

impl<T: Passes> Snapped<T> {
    /// A draw of this run's noise.
    pub fn draw(&self, index: u32, purpose: Purpose) -> Draw {
        Draw { seed: self.seed, index, purpose }
    }

    /// Norms of a draw's noise, kept for the other groups and measures of the snapshot.
    pub fn noise_norms(&self, index: u32, purpose: Purpose) -> Arc<Norms> {
        let known = || self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(norms) = known().get(&(index, purpose)) {
            return norms.clone();
        }
        // Never under the lock: a thread that waits for the pieces of this sum may take up another draw meanwhile,
        // which would wait here for itself.
        let norms = Arc::new(cpu::noise_norms::<T>(&self.weights.slots, self.draw(index, purpose)));
        known().entry((index, purpose)).or_insert(norms).clone()
    }
}

/// The landscape of one group.
pub struct Model<'a, T> {
    /// The snapshot.
    pub snapped: &'a Snapped<T>,
    /// Batches of the group, or of all groups for the pooled one.
    pub batches: Vec<&'a Batch>,
    /// Workers.
    pub crew: &'a mut Crew<T>,
    /// Ends everything early.
    pub stop: &'a Stop,
}

impl<T: Passes> Landscape for Model<'_, T> {
    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        let (snapped, stop) = (self.snapped, self.stop);
        let share = self.batches.len().div_ceil(self.crew.workers.len()).max(1);
        let run = |(worker, batches): (&mut Worker<T>, &[&Batch])| {
            let mut logits = Vec::new();
            for group in batches.chunks(worker.pass.width()) {
                stop.check()?;
                let found = worker.pass.forward(&snapped.weights.data, group, false);
                logits.extend(found.iter().map(|z| z.wide()));
            }
            Ok(logits)
        };
        let workers = self.crew.workers.par_iter_mut().zip(self.batches.par_chunks(share));
        let logits: Vec<Vec<f64>> = workers.map(run).collect::<Result<_, Fault>>()?;
        let labels = self.batches.iter().flat_map(|batch| &batch.labels).copied().collect();
        Ok(Arc::new(Outputs { logits: logits.concat(), labels, classes: snapped.classes }))
    }

    fn weight_norms(&self) -> &Norms {
        &self.snapped.weights.norms
    }

    fn statistics(&self) -> &[TensorStatistics] {
        &self.snapped.weights.statistics.tensors
    }

    fn explore(&mut self, draws: &[u32], job: Job<'_>) -> Result<Vec<Sample>, Fault> {
        let (snapped, batches, stop) = (self.snapped, &self.batches, self.stop);
        let lanes = self.crew.workers.len();
        let run = |(lane, worker): (usize, &mut Worker<T>)| {
            let mut walker = Walker::new(snapped, batches, worker, stop);
            let mut mine = Vec::new();
            for draw in draws.iter().skip(lane).step_by(lanes) {
                stop.check()?;
                walker.reset();
                mine.push(job(&mut walker, *draw)?);
            }
            Ok(mine)
        };
        let by_lane: Vec<Vec<Sample>> =
            self.crew.workers.par_iter_mut().enumerate().map(run).collect::<Result<_, Fault>>()?;
        Ok((0..draws.len()).map(|i| by_lane[i % lanes][i / lanes]).collect())
    }
}
