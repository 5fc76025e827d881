//! Parameters of one snapshot in an arena, w0: read by everyone, changed by no one.
//!
//! Owns: how they are converted, and what is told of them by themselves. May not touch: networks' arithmetic, losses.

use crate::criterion::Criterion;
use crate::device::cpu;
use crate::device::filter::{self, Rows};
use crate::device::noise::{Draw, Purpose};
use crate::device::norms::Norms;
use crate::device::real::Real;
use crate::device::slot::{Slot, Tie, mirror};
use crate::landscape::{Matrices, Position};
use crate::network::layout::{ParameterLayout, Untied};
use crate::spectrum::{self, Shape, Spectrum};
use crate::streaming;
use crate::work_counter::WorkCounter;
use clino_domain::{
    Checkpoint, Dtype, Fault, Layout, ParameterSource, References, Snapshot, Statistics, TensorStatistics,
};
use rayon::prelude::*;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Elements of a reference that are read at once.
const PIECE: usize = 1 << 16;

/// The parameters w0 of one snapshot in an arena, never changed.
pub struct Weights<T> {
    /// All elements, where the layout puts them.
    pub data: Vec<T>,
    /// Elements of tensors that are read and never perturbed, where the layout puts them.
    pub fixed: Vec<T>,
    /// Untied parameters, in the order of the names' bytes.
    pub slots: Vec<Slot>,
    /// What the snapshot calls each of these.
    pub sent: Vec<String>,
    /// Index of each slot in the layout.
    indices: Vec<usize>,
    /// Parameters that share their values with others.
    pub ties: Vec<Tie>,
    /// Of the untied parameters as they were sent.
    statistics: Arc<Statistics>,
    /// l2 norms of the slots.
    norms: Norms,
}

impl<T: Real> Weights<T> {
    /// Converts a snapshot tensor by tensor, each freed once it is read; makes its statistics unless `known` are those.
    ///
    /// # Errors
    /// Those of [`clino_domain::Layout::arrange`], and when a reference cannot be read back.
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
            None => Arc::new(streaming::of_all(&untied, &places, &snapshot, references)?),
        };
        let norms = Norms { squares: statistics.tensors.iter().map(|tensor| tensor.w.square).collect() };
        let (_, manifest, bytes) = snapshot.into_parts();
        let mut bytes: Vec<Option<bytes::Bytes>> = bytes.into_iter().map(Some).collect();
        let mut data = vec![T::ZERO; layout.total()];
        let mut fixed = vec![T::ZERO; layout.fixed_total()];
        // Not taken yet: a parameter may be tied to one of them.
        for (elements, place) in layout.fixed().iter().zip(&places[layout.slots().len()..]) {
            if let Some(bytes) = &bytes[*place] {
                convert(manifest.tensors()[*place].dtype, bytes, &mut fixed[elements.clone()]);
            }
        }
        let Untied { slots, indices, ties } = untied;
        for (slot, index) in slots.iter().zip(&indices) {
            let place = places[*index];
            if let Some(bytes) = bytes[place].take() {
                convert(manifest.tensors()[place].dtype, &bytes, &mut data[slot.range()]);
            }
        }
        mirror(&ties, &mut data);
        let sent = indices.iter().map(|index| manifest.tensors()[places[*index]].name.clone()).collect();
        Ok(Self { data, fixed, slots, sent, indices, ties, statistics, norms })
    }

    /// Count of non-finite elements and the first tensor that has one.
    pub fn non_finite(&self) -> Option<(usize, &str)> {
        let tensors = self.statistics.tensors.iter().filter(|tensor| tensor.non_finite > 0.0);
        let first = tensors.clone().next()?;
        Some((tensors.map(|tensor| tensor.non_finite as usize).sum(), &first.name))
    }

    /// Calls `with(elements of w, the same of the source)` for pieces of a slot, in order.
    fn beside(
        &self,
        slot: usize,
        source: &dyn ParameterSource,
        mut with: impl FnMut(usize, &[T], &[f64]),
    ) -> Result<(), Fault> {
        let own = &self.data[self.slots[slot].range()];
        let mut wide = vec![0.0; PIECE.min(own.len())];
        for (start, w) in (0..).step_by(PIECE).zip(own.chunks(PIECE)) {
            let wide = &mut wide[..w.len()];
            source.read(self.indices[slot], start, w.len(), &mut |dtype, bytes| dtype.widen(bytes, wide))?;
            with(start, w, wide);
        }
        Ok(())
    }
}

fn convert<T: Real>(dtype: Dtype, bytes: &[u8], out: &mut [T]) {
    const PIECE: usize = 4096;
    let mut wide = vec![0.0; PIECE.min(out.len())];
    let size = dtype.size() as usize;
    for (out, bytes) in out.chunks_mut(PIECE).zip(bytes.chunks(PIECE * size)) {
        let wide = &mut wide[..out.len()];
        dtype.widen(bytes, wide);
        out.iter_mut().zip(wide).for_each(|(out, x)| *out = T::of(*x));
    }
}

/// What was made once and is kept.
type Known<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// What is known under `key`, or what `make` gives, which is never called under the lock: a thread that waits for the
/// pieces of a sum may take up another draw meanwhile, which would wait here for itself.
fn once<K: Hash + Eq, V>(known: &Known<K, V>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = lock().get(&key) {
        return value.clone();
    }
    let made = Arc::new(make());
    lock().entry(key).or_insert(made).clone()
}

/// Everything that is the same for all groups of one snapshot.
pub struct PreparedSnapshot<T> {
    /// Parameters of the snapshot, w0.
    pub weights: Weights<T>,
    /// What is lost on a unit.
    pub criterion: Arc<dyn Criterion>,
    /// Seed of the run.
    pub seed: u64,
    /// Counts what is done.
    pub counter: WorkCounter,
    references: References,
    noise: Known<(u32, Purpose), Norms>,
    filters: Known<u32, Rows>,
    rows: Known<(), Rows>,
    spectra: [OnceLock<Arc<Vec<Spectrum>>>; 2],
}

/// A snapshot in one of the two precisions.
pub enum AnyPrecision {
    /// A snapshot in f32.
    F32(PreparedSnapshot<f32>),
    /// A snapshot in f64.
    F64(PreparedSnapshot<f64>),
}

impl From<PreparedSnapshot<f32>> for AnyPrecision {
    fn from(prepared: PreparedSnapshot<f32>) -> Self {
        Self::F32(prepared)
    }
}

impl From<PreparedSnapshot<f64>> for AnyPrecision {
    fn from(prepared: PreparedSnapshot<f64>) -> Self {
        Self::F64(prepared)
    }
}

impl<T: Real> PreparedSnapshot<T> {
    /// Parameters with the references that measures look into while they run.
    pub fn new(
        weights: Weights<T>,
        criterion: Arc<dyn Criterion>,
        seed: u64,
        references: References,
    ) -> Self {
        let counter = WorkCounter::default();
        let noise = Default::default();
        let filters = Default::default();
        let rows = Default::default();
        let spectra = Default::default();
        Self { weights, criterion, seed, counter, references, noise, filters, rows, spectra }
    }

    /// A draw of this run's noise.
    pub fn draw(&self, index: u32, purpose: Purpose) -> Draw {
        Draw { seed: self.seed, index, purpose }
    }

    /// Norms of a draw's noise, kept for the other groups and measures of the snapshot.
    pub fn noise_norms(&self, index: u32, purpose: Purpose) -> Arc<Norms> {
        once(&self.noise, (index, purpose), || {
            self.counter.pass();
            cpu::noise_norms::<T>(&self.weights.slots, self.draw(index, purpose))
        })
    }

    /// What the rows of a draw for directions are multiplied with.
    pub fn filter(&self, index: u32) -> Arc<Rows> {
        let slots = &self.weights.slots;
        let weights = once(&self.rows, (), || filter::row_norms(slots, &self.weights.data));
        once(&self.filters, index, || {
            self.counter.pass();
            filter::scales(
                &weights,
                &filter::noise_row_norms::<T>(slots, self.draw(index, Purpose::Direction)),
            )
        })
    }

    /// w0 - the previous snapshot; `None` when there is none.
    ///
    /// # Errors
    /// If it cannot be read back.
    pub fn update(&self) -> Result<Option<Vec<T>>, Fault> {
        let Some(previous) = &self.references.previous else { return Ok(None) };
        let mut update = vec![T::ZERO; self.weights.data.len()];
        for (i, slot) in self.weights.slots.iter().enumerate() {
            let out = &mut update[slot.range()];
            self.weights.beside(i, &**previous, |start, w, before| {
                let all = out[start..].iter_mut().zip(w).zip(before);
                all.for_each(|((out, w), before)| *out = T::of(w.wide() - before));
            })?;
        }
        self.counter.pass();
        Ok(Some(update))
    }

    /// Elements of `slot` from `start`, less those at initialization if `init` is given.
    fn read(
        &self,
        slot: usize,
        init: Option<&dyn ParameterSource>,
        start: usize,
        out: &mut [f64],
    ) -> Result<(), Fault> {
        let own = &self.weights.data[self.weights.slots[slot].range()][start..];
        out.iter_mut().zip(own).for_each(|(out, x)| *out = x.wide());
        let Some(init) = init else { return Ok(()) };
        let mut wide = vec![0.0; out.len()];
        let index = self.weights.indices[slot];
        init.read(index, start, out.len(), &mut |dtype, bytes| dtype.widen(bytes, &mut wide))?;
        out.iter_mut().zip(wide).for_each(|(out, x)| *out -= x);
        Ok(())
    }

    /// The initialization, if it has every parameter.
    fn whole_init(&self) -> Option<&dyn ParameterSource> {
        let whole = self.weights.statistics.tensors.iter().all(|tensor| tensor.init.is_some());
        self.references.init.as_deref().filter(|_| whole)
    }

    /// Singular values of every matrix, in the order of the slots; made once.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; if the initialization cannot be read back.
    pub fn spectra(&self, of: Matrices, stop: &dyn Checkpoint) -> Result<Arc<Vec<Spectrum>>, Fault> {
        let init = match of {
            Matrices::Weights => None,
            Matrices::Moves if self.whole_init().is_none() => return Ok(Arc::default()),
            Matrices::Moves => self.whole_init(),
        };
        let known = &self.spectra[of as usize];
        if let Some(spectra) = known.get() {
            return Ok(spectra.clone());
        }
        let made = Arc::new(self.make_spectra(init, stop)?);
        Ok(known.get_or_init(|| made).clone())
    }

    fn make_spectra(
        &self,
        init: Option<&dyn ParameterSource>,
        stop: &dyn Checkpoint,
    ) -> Result<Vec<Spectrum>, Fault> {
        let slots = &self.weights.slots;
        let matrices: Vec<usize> = (0..slots.len()).filter(|i| slots[*i].columns().is_some()).collect();
        let of = |slot: usize| {
            let shape = Shape { rows: slots[slot].rows, columns: slots[slot].columns().unwrap_or(0) };
            self.counter.operations(spectrum::operations(shape));
            spectrum::of(slot, shape, stop, |start, out| self.read(slot, init, start, out))
        };
        matrices.into_par_iter().map(of).collect()
    }
}

impl<T: Real> Position for PreparedSnapshot<T> {
    fn slots(&self) -> &[Slot] {
        &self.weights.slots
    }

    fn norms(&self) -> &Norms {
        &self.weights.norms
    }

    fn statistics(&self) -> &[TensorStatistics] {
        &self.weights.statistics.tensors
    }

    fn epsilon(&self) -> f64 {
        if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON }
    }

    fn uniform(&self, draw: u32, example: u64) -> f64 {
        self.draw(draw, Purpose::Class).uniform(example)
    }

    fn place(&self, example: u64) -> u64 {
        self.draw(0, Purpose::Order).bits(example)
    }

    fn log_sums(&self, slope: f64, floor: f64) -> Result<Option<Vec<f64>>, Fault> {
        let Some(init) = self.whole_init() else { return Ok(None) };
        let slope = slope * slope;
        let floor = floor * floor;
        let of = |slot: usize| {
            let mut sum = 0.0;
            self.weights.beside(slot, init, |_, w, init| {
                let logs = w.iter().zip(init).map(|(w, init)| {
                    let d = w.wide() - init;
                    libm::log(floor + slope * d * d)
                });
                sum += logs.sum::<f64>();
            })?;
            Ok(sum)
        };
        self.counter.pass();
        (0..self.weights.slots.len()).into_par_iter().map(of).collect::<Result<_, Fault>>().map(Some)
    }
}
