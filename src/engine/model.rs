//! The landscape of a network: one snapshot's parameters in an arena, evaluated on the batches of a probe group.
//!
//! Owns: parameters of the snapshot, workers with their buffers, ties. May not touch: what a measure does with it.

use super::device::cpu::{self, Against};
use super::landscape::{Job, Landscape, Outputs, Sample};
use super::network::batch::Batch;
use super::network::layout::{ParameterLayout, Slot};
use super::network::{Network, Passes};
use super::noise::{Draw, Purpose};
use super::statistics::{Move, Norms, TensorStatistics};
use super::stop::Stop;
use super::walker::{Walker, Worker};
use crate::domain::{Dtype, Fault, ParameterSource, Snapshot};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that workers beside the first may take: small models do their draws side by side, large ones one after the
/// other with threads inside each product.
const SIDE_BY_SIDE_BYTES: usize = 64 << 20;

/// A parameter that repeats another one: tied weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// First element of the repetition.
    pub mirror: usize,
    /// First element of the original.
    pub original: usize,
    /// Elements.
    pub len: usize,
}

/// Parameters of one snapshot, w0: read by everyone, changed by no one.
pub struct Weights<T> {
    /// All elements, where the layout puts them.
    pub data: Vec<T>,
    /// Untied parameters, in the order of the names' bytes.
    pub slots: Vec<Slot>,
    /// Index of each slot in the layout.
    pub indices: Vec<usize>,
    /// Tied ones.
    pub ties: Vec<Tie>,
    /// l2 norms of the slots.
    pub norms: Norms,
    /// Count of non-finite elements and the first tensor that has one.
    pub non_finite: Option<(usize, String)>,
}

impl<T: Passes> Weights<T> {
    /// Converts a snapshot tensor by tensor, each freed once it is read.
    ///
    /// # Errors
    /// Those of [`crate::domain::Layout::arrange`].
    pub fn new(layout: &ParameterLayout, snapshot: Snapshot) -> Result<Self, Fault> {
        use crate::domain::Layout;
        let places = layout.arrange(snapshot.manifest())?;
        let (slots, indices, ties) = untie(layout, &places, &snapshot);
        let (_, manifest, bytes) = snapshot.into_parts();
        let mut bytes: Vec<Option<bytes::Bytes>> = bytes.into_iter().map(Some).collect();
        let mut data = vec![T::ZERO; layout.total()];
        for (slot, index) in slots.iter().zip(&indices) {
            let place = places[*index];
            if let Some(bytes) = bytes[place].take() {
                convert(manifest.tensors()[place].dtype, &bytes, &mut data[slot.range()]);
            }
        }
        mirror(&ties, &mut data);
        let norms = cpu::norms(&slots, &data);
        let non_finite = cpu::non_finite(&slots, &data).map(|(count, name)| (count, name.to_owned()));
        Ok(Self { data, slots, indices, ties, norms, non_finite })
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

/// The parameters that have a tensor of their own, and those that share one. The owner of a shared tensor is the
/// parameter of its name, or else the first one by name.
fn untie(
    layout: &ParameterLayout,
    places: &[usize],
    snapshot: &Snapshot,
) -> (Vec<Slot>, Vec<usize>, Vec<Tie>) {
    let tensors = snapshot.manifest().tensors();
    let mut owners: HashMap<usize, usize> = HashMap::new();
    for (index, place) in places.iter().enumerate() {
        let named = super::network::layout::canonical(&tensors[*place].name) == layout.slots()[index].name;
        let owner = owners.entry(*place).or_insert(index);
        if named {
            *owner = index;
        }
    }
    let (mut slots, mut indices, mut ties) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (slot, place)) in layout.slots().iter().zip(places).enumerate() {
        if owners[place] == index {
            slots.push(Slot { rank: slots.len() as u32, ..slot.clone() });
            indices.push(index);
        } else {
            let original = layout.slots()[owners[place]].offset;
            ties.push(Tie { mirror: slot.offset, original, len: slot.len });
        }
    }
    (slots, indices, ties)
}

/// Workers of one network, kept between snapshots.
pub struct Crew<T> {
    workers: Vec<Worker<T>>,
}

impl<T: Passes> Crew<T> {
    /// As many workers as threads, within [`SIDE_BY_SIDE_BYTES`]; a single worker gets all threads.
    pub fn new(network: &dyn Network, threads: usize) -> Self {
        let bytes = 3 * network.layout().total() * size_of::<T>();
        let side_by_side = (1 + SIDE_BY_SIDE_BYTES / bytes.max(1)).clamp(1, threads.max(1));
        let inner = if side_by_side == 1 { threads } else { 1 };
        Self { workers: (0..side_by_side).map(|_| Worker::new(T::pass(network, inner))).collect() }
    }
}

/// What a snapshot is compared with.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// At initialization.
    pub init: Option<Arc<dyn ParameterSource>>,
    /// The snapshot that was received before this one.
    pub previous: Option<Arc<dyn ParameterSource>>,
}

/// Everything that is the same for all groups of one snapshot.
pub struct Snapped<T> {
    /// w0.
    pub weights: Weights<T>,
    /// Length of a row of logits.
    pub classes: usize,
    /// What the snapshot is compared with.
    pub references: References,
    /// Of the run.
    pub seed: u64,
    /// Norms of noise by draw and purpose: the same for every group.
    pub noise: Mutex<HashMap<(u32, Purpose), Arc<Norms>>>,
}

impl<T> Snapped<T> {
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
        let norms = Arc::new(cpu::noise_norms(&self.weights.slots, self.draw(index, purpose)));
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
        let mut outputs = Outputs { classes: self.snapped.classes, ..Outputs::default() };
        let worker = &mut self.crew.workers[0];
        for batch in &self.batches {
            self.stop.check()?;
            let logits = worker.pass.forward(&self.snapped.weights.data, batch, false);
            outputs.logits.extend(logits.iter().map(|z| z.wide()));
            outputs.labels.extend(&batch.labels);
        }
        Ok(Arc::new(outputs))
    }

    fn weight_norms(&self) -> &Norms {
        &self.snapped.weights.norms
    }

    fn statistics(&mut self) -> Result<Vec<TensorStatistics>, Fault> {
        let weights = &self.snapped.weights;
        let init = self.snapped.references.init.as_deref();
        let one = |(slot, index): (&Slot, &usize)| {
            let found =
                cpu::moments(*index, &weights.data[slot.range()], init as Option<&dyn ParameterSource>)?;
            Ok(statistics_of(slot, found, init.is_some()))
        };
        let slots: Vec<_> = weights.slots.iter().zip(&weights.indices).collect();
        slots.into_par_iter().map(one).collect()
    }

    fn last_move(&mut self) -> Result<Option<Move>, Fault> {
        let References { init, previous } = &self.snapped.references;
        let Some(previous) = previous.as_deref() else { return Ok(None) };
        let weights = &self.snapped.weights;
        let mut total = Move::default();
        for (slot, index) in weights.slots.iter().zip(&weights.indices) {
            let references =
                (previous as &dyn ParameterSource, init.as_deref().map(|i| i as &dyn ParameterSource));
            cpu::add_move(*index, &weights.data[slot.range()], references, &mut total)?;
        }
        Ok(Some(total))
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

fn statistics_of(slot: &Slot, found: Against, with_init: bool) -> TensorStatistics {
    TensorStatistics {
        name: slot.name.clone(),
        w: found.w,
        delta: with_init.then_some(found.delta),
        init_square: with_init.then_some(found.reference_square),
        dot_init: with_init.then_some(found.dot),
    }
}
