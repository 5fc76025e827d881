//! What a run takes of memory on the CPU, before any of it is taken: what is left of the buffers after each measure, and
//! the moment at which the most is held.
//!
//! Owners of buffers tell their own size (`Network::workspace`, `Measure::memory`, `gemm::scratch`); here is only who
//! holds how many of them when. All sums are f64: what is too much for a machine is a large number and nothing else.
//!
//! Owns: that sum and its parts. May not touch: what is allowed, devices, snapshots.

mod workers;

use crate::device::gemm;
use crate::device::slot::Slot;
use crate::measure::{Demand, Parts, Walks};
use crate::network::batch::{Batch, Extent};
use crate::network::{Network, Product};
use crate::outputs::UnitStatistics;
use crate::perturbation::side_by_side;
use crate::spectrum::{self, Shape};
use clino_domain::{MemoryPart, TensorStatistics};
use workers::{Worker, lists};

/// Elements of a piece of parameters, and bytes that go over them take for each while they do.
const PIECE: f64 = (1 << 14) as f64;
const PIECE_BYTES: f64 = 160.0;
/// What a session, its readings and the calls between them take in any case.
const SESSION: f64 = (96 << 10) as f64;
/// Bytes of a parameter of a snapshot in the widest type that it may come in.
const WIDEST: f64 = 8.0;

/// What the bytes are for, as a sentence names it.
const NAMES: [&str; 8] = [
    "the snapshot as it is read",
    "its parameters",
    "perturbed copies, gradients and directions",
    "vectors that a measure keeps",
    "activations",
    "scores of the examples",
    "singular values",
    "lists of measures",
];
const READ: usize = 0;
const PARAMETERS: usize = 1;
const POINTS: usize = 2;
const KEPT: usize = 3;
const ACTIVATIONS: usize = 4;
const SCORES: usize = 5;
const SPECTRA: usize = 6;
const LISTS: usize = 7;

/// Bytes by what they are for.
type Bytes = [f64; NAMES.len()];

fn sum(bytes: &Bytes) -> f64 {
    bytes.iter().sum()
}

/// What the sum goes by.
pub struct Ledger<'a> {
    network: &'a dyn Network,
    /// Bytes of an element.
    size: usize,
    threads: usize,
    /// Units of all groups.
    examples: f64,
    /// Numbers of a unit.
    width: usize,
    /// Whether the scores of every unit are kept.
    keeps_scores: bool,
    groups: f64,
    /// Of each batch: of every group, and of all groups together.
    lists: Vec<Vec<Extent>>,
    /// Bytes that products lay by, for each batch that goes side by side and for each thread.
    scratch: [f64; 2],
    /// Batches of the longest list.
    longest: usize,
    /// Bytes of the inputs of the largest example.
    example: f64,
    /// Bytes of names and numbers by tensor.
    tensors: f64,
    /// Rows of all matrices.
    rows: f64,
    /// Bytes of the singular values of all matrices, and of as many decompositions as go side by side.
    values: f64,
    decomposition: f64,
}

/// What a run takes while a snapshot is measured, and the measures for which there is no room.
pub struct Working {
    /// At the moment at which the most is held.
    pub parts: Vec<MemoryPart>,
    /// Of the measures that are left out: which, and all that would be held.
    pub left_out: Vec<(usize, f64)>,
}

/// What is held between two measures.
#[derive(Clone)]
struct Held {
    /// Those that go side by side, and if they are several the one with the whole machine.
    workers: Vec<Worker>,
    side: usize,
    slope: bool,
    scored: bool,
    spectra: usize,
    lists: f64,
}

impl<'a> Ledger<'a> {
    /// Of a run with these batches of its groups, on a number of threads.
    pub fn new(
        network: &'a dyn Network,
        groups: &[&[Batch]],
        size: usize,
        threads: usize,
        keeps_scores: bool,
    ) -> Self {
        let all = || groups.iter().copied().flatten();
        let products =
            |batch: &Batch| network.products(batch).into_iter().map(|Product { m, n, k, .. }| [m, n, k]);
        let scratch = all().flat_map(products).map(|product| gemm::scratch(product, size));
        let scratch = scratch.fold([0.0f64; 2], |[a, b], [through, pieces]| [a.max(through), b.max(pieces)]);
        let lists = lists(groups);
        let example = |batch: &Batch| batch.bytes() as f64 / batch.units().max(1) as f64;
        let slots = network.layout().slots();
        let fixed = size_of::<Slot>() + size_of::<TensorStatistics>() + 8 * size_of::<f64>();
        let shapes =
            || slots.iter().filter_map(|slot| Some(Shape { rows: slot.rows, columns: slot.columns()? }));
        let mut decompositions: Vec<f64> = shapes().map(spectrum::bytes).collect();
        decompositions.sort_by(|a, b| b.total_cmp(a));
        Self {
            network,
            size,
            threads: threads.max(1),
            examples: all().map(|batch| batch.units() as f64).sum(),
            width: all().map(|batch| batch.targets.width()).fold(network.unit_width(), usize::max),
            keeps_scores,
            groups: groups.len() as f64,
            longest: lists.iter().map(Vec::len).max().unwrap_or(0),
            lists,
            scratch,
            example: all().map(example).fold(0.0, f64::max),
            tensors: slots.iter().map(|slot| (fixed + 2 * slot.name.len()) as f64).sum(),
            rows: slots.iter().map(|slot| slot.rows as f64).sum(),
            values: shapes().map(|shape| shape.rows.min(shape.columns) as f64 * 8.0 + 64.0).sum(),
            decomposition: decompositions.iter().take(threads.max(1)).sum(),
        }
    }

    /// Bytes of a vector over all parameters.
    fn vector(&self) -> f64 {
        self.network.layout().total() as f64 * self.size as f64
    }

    /// Bytes of the tensors that are read and never perturbed.
    fn fixed(&self) -> f64 {
        self.network.layout().fixed_total() as f64 * self.size as f64
    }

    /// Numbers of a unit, of which a worker holds those of one in f64.
    fn width(&self) -> f64 {
        self.width as f64
    }

    /// Bytes of what is known of every unit of the probe: its statistics, and its scores in f64 where they are kept.
    fn scores(&self) -> f64 {
        let scores = if self.keeps_scores { (self.width() + 1.0) * 8.0 } else { 0.0 };
        self.examples * (size_of::<UnitStatistics>() as f64 + scores)
    }

    /// Of measures made in this order, `leaning` ones group by group: those with which no more than `room` bytes are held.
    pub fn working(&self, demands: &[(usize, &Demand)], leaning: &[bool], room: f64) -> Working {
        let mut held = self.nothing();
        let mut most = self.reading();
        let mut left_out = Vec::new();
        let mut moment = [0.0; NAMES.len()];
        for (measure, demand) in demands {
            let mut after = held.clone();
            let mut peak = self.measure(&mut after, demand);
            let mut passing = moment;
            if leaning[*measure] && self.groups > 1.0 {
                // On the next group they find what those behind them have left on the first.
                let standing = self.standing(&after);
                let own = std::array::from_fn(|i| (peak[i] - standing[i]).max(0.0));
                passing = if sum(&own) > sum(&moment) { own } else { moment };
                peak = std::array::from_fn(|i| standing[i] + passing[i]);
            }
            if sum(&peak) > room {
                left_out.push((*measure, sum(&peak)));
                continue;
            }
            (held, moment) = (after, passing);
            if sum(&peak) > sum(&most) {
                most = peak;
            }
        }
        let part = |(name, bytes): (&'static str, f64)| MemoryPart { name, bytes: bytes.ceil() as u64 };
        Working { parts: NAMES.into_iter().zip(most).map(part).collect(), left_out }
    }

    fn nothing(&self) -> Held {
        let side = side_by_side(self.vector() as usize, self.threads);
        let inner = (self.threads / side).max(1);
        let mut workers: Vec<Worker> = (0..side).map(|_| Worker::new(inner)).collect();
        workers.extend((side > 1).then(|| Worker::new(self.threads)));
        Held { workers, side, slope: false, scored: false, spectra: 0, lists: 0.0 }
    }

    /// While it is read: all of the snapshot is there, and all of the parameters that it becomes.
    fn reading(&self) -> Bytes {
        let total = self.network.layout().total() as f64;
        let fixed = self.network.layout().fixed_total() as f64;
        let pieces = total / PIECE + self.network.layout().slots().len() as f64;
        let mut bytes = [0.0; NAMES.len()];
        bytes[READ] = WIDEST * (total + fixed) + 2.0 * pieces * size_of::<TensorStatistics>() as f64;
        bytes[PARAMETERS] = self.vector() + self.fixed() + self.tensors;
        bytes[LISTS] = SESSION;
        bytes
    }

    /// What is held between two measures.
    fn standing(&self, held: &Held) -> Bytes {
        let mut bytes = [0.0; NAMES.len()];
        bytes[PARAMETERS] = self.vector() + self.fixed() + self.tensors;
        let vectors: u32 = held.workers.iter().map(|worker| u32::from(worker.placed) + worker.left).sum();
        bytes[POINTS] = (f64::from(vectors) + if held.slope { 1.0 } else { 0.0 }) * self.vector();
        bytes[ACTIVATIONS] =
            held.workers.iter().map(|worker| worker.spaces.bytes(self.network, self.width, self.size)).sum();
        // Those of the groups, and once more those of all groups together.
        let times = if self.groups > 1.0 { 2.0 } else { 1.0 };
        bytes[SCORES] = if held.scored { times * self.scores() } else { 0.0 };
        bytes[SPECTRA] = held.spectra as f64 * self.values;
        bytes[LISTS] = SESSION + held.lists;
        bytes
    }

    /// The most that is held while one measure is made; `held` is what is left after it.
    fn measure(&self, held: &mut Held, demand: &Demand) -> Bytes {
        let before = self.standing(held);
        let own = &demand.own;
        let once = 1.0 + if self.groups > 1.0 { self.groups + 1.0 } else { 0.0 };
        let slots = self.network.layout().slots().len() as f64;
        held.lists += 160.0 * demand.ascents as f64 * once;
        held.lists += demand.noises as f64 * (slots * 8.0 + 160.0);
        held.lists += demand.filters as f64 * (self.rows * 8.0 + slots * 24.0);
        let mut moments = vec![before];
        if demand.outputs && !held.scored {
            moments.push(self.score(held));
        }
        if demand.slope || own.parts.is_some_and(|parts| parts.with_whole) {
            self.keep_slope(held);
            moments.push(self.busy(held, 1.0));
        }
        if demand.spectra > held.spectra {
            held.spectra = demand.spectra;
            let mut bytes = self.standing(held);
            bytes[SPECTRA] += self.decomposition;
            moments.push(bytes);
        }
        moments.extend(own.walks.map(|walks| self.walk(held, walks)));
        moments.extend(own.parts.map(|parts| self.gradients_of(held, parts)));
        if own.squared {
            let mut bytes = self.standing(held);
            let one = Extent { examples: 1, tokens: 1, pairs: 1, longest: 1, ..Extent::default() };
            bytes[POINTS] += self.vector();
            bytes[ACTIVATIONS] += self.network.workspace(one, false, self.size) + 8.0 * self.width();
            moments.push(bytes);
        }
        let mut most = moments
            .into_iter()
            .fold([0.0; NAMES.len()], |most, next| if sum(&next) > sum(&most) { next } else { most });
        most[LISTS] += own.lists + if demand.filters > 0 { 48.0 * self.rows } else { 0.0 };
        most
    }

    /// What is held while networks compute on some workers.
    fn busy(&self, held: &Held, workers: f64) -> Bytes {
        let mut bytes = self.standing(held);
        let pieces =
            self.network.layout().total() as f64 / PIECE + self.network.layout().slots().len() as f64;
        bytes[LISTS] += workers * pieces * PIECE_BYTES;
        let [through, pieces] = self.scratch;
        let threads = self.threads as f64;
        bytes[ACTIVATIONS] += (through * threads.min(workers * self.longest as f64)).max(pieces * threads);
        bytes[SCORES] += workers * self.width() * 8.0;
        bytes
    }

    /// Scores at w0: the batches are dealt out among the workers.
    fn score(&self, held: &mut Held) -> Bytes {
        let mut used = 0;
        for list in &self.lists {
            let share = list.len().div_ceil(held.side).max(1);
            for (worker, part) in held.workers.iter_mut().zip(list.chunks(share)) {
                worker.spaces.forward(part);
            }
            used = used.max(list.len().div_ceil(share));
        }
        held.scored = true;
        let mut bytes = self.busy(held, used as f64);
        if self.groups == 1.0 && used > 1 {
            bytes[SCORES] += self.scores();
        }
        bytes
    }

    fn keep_slope(&self, held: &mut Held) {
        let fresh = !std::mem::replace(&mut held.slope, true);
        let lead = held.workers.len() - 1;
        let lead = &mut held.workers[lead];
        self.lists.iter().for_each(|list| lead.spaces.backward(list));
        // Its room becomes that of the gradient that is kept.
        if fresh && lead.left > 0 {
            lead.left -= 1;
        }
    }

    fn walk(&self, held: &mut Held, walks: Walks) -> Bytes {
        let lead = held.workers.len() - 1;
        let side = if walks.points > 1 { held.side.min(walks.points as usize) } else { 0 };
        let alone = walks.alone || walks.points <= 1;
        // A single place on a plane leaves no room of a direction behind that another one would take.
        let apart = held.side > 1 && walks.points as usize <= held.side;
        let single = walks.directions && apart && self.groups == 1.0;
        let walks = if single { Walks { vectors: 1, left: 1, ..walks } } else { walks };
        let used = |i: usize| i < side || (alone && i == lead);
        let mut kept: f64 = 0.0;
        let mut moving: f64 = 0.0;
        for (_, worker) in held.workers.iter_mut().enumerate().filter(|(i, _)| used(*i)) {
            for list in &self.lists {
                match walks.gradients {
                    true => worker.spaces.backward(list),
                    false => worker.spaces.forward(list),
                }
            }
            // What is there for a moment only comes before a first place is made.
            let brief = if worker.placed || self.groups > 1.0 { walks.brief } else { 0 };
            worker.placed = true;
            let most = walks.vectors.max(worker.left);
            worker.left = walks.left.max(if walks.vectors > 2 { 0 } else { worker.left });
            kept += f64::from(most - worker.left + brief);
            moving += 1.0;
        }
        if walks.directions && held.side > 1 {
            held.workers[lead].left = 1;
            kept = kept.max(1.0);
        }
        // Those that go side by side and the one with the whole machine never move at once.
        if side > 0 && alone && lead >= side {
            kept -= f64::from(walks.vectors - walks.left + walks.brief).min(kept);
            moving -= 1.0;
        }
        let mut bytes = self.busy(held, moving);
        bytes[KEPT] += kept * self.vector();
        bytes
    }

    /// Gradients of parts of the examples, on all workers.
    fn gradients_of(&self, held: &mut Held, parts: Parts) -> Bytes {
        let whole = self.lists.iter().flatten().fold(Extent::default(), |most, extent| most.union(*extent));
        let examples = parts.examples.min(whole.tokens.max(whole.examples)).max(1);
        let tokens = examples.saturating_mul(whole.longest).min(whole.tokens.max(whole.longest));
        let pairs = tokens.saturating_mul(whole.longest);
        let extent = Extent { examples, tokens, pairs, ..whole };
        let side = held.side;
        let mut made = 0.0;
        for worker in &mut held.workers[..side] {
            let pieces = parts.examples.saturating_mul(whole.longest).div_ceil(whole.tokens.max(1)).max(1);
            let width = worker.spaces.width().min(pieces);
            worker.spaces.backward(&vec![extent; width]);
            worker.left = worker.left.max(1);
            made += 1.0;
        }
        let mut bytes = self.busy(held, made);
        bytes[KEPT] += if parts.with_whole { made * self.vector() } else { 0.0 };
        bytes[LISTS] += made * parts.examples as f64 * (2.0 * self.example + 256.0);
        bytes
    }
}
