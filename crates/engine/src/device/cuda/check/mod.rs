//! Every kernel against the CPU's function, on tensors of awkward lengths; and their bandwidth.
//!
//! Owns: what is compared with what, and how near it must come. May not touch: clocks of its own.

mod outputs;
mod points;
mod rows;
mod speed;
mod vectors;

use super::arena::{Arena, Vector};
use super::gpu::{Element, Gpu};
use crate::device::check::Check;
use crate::device::cpu;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::slot::Slot;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
pub use speed::speeds;
use std::sync::Arc;

/// Sums in f64 over fixed trees, on both sides in another order: a few roundings of 1e-16.
const SUMS: f64 = 1e-13;

/// Elements, and rows of matrices: below, at and above what a thread, a warp, a block and a piece take.
const SHAPES: [(usize, usize); 10] = [
    (1, 0),
    (3, 0),
    (31, 0),
    (33, 3),
    (1023, 0),
    (1024, 32),
    (16_384, 128),
    (16_385, 5),
    (7 * 5_001, 7),
    (40_003, 0),
];

/// Vectors on both sides.
struct Bed<T: Element> {
    gpu: Arc<Gpu>,
    slots: Vec<Slot>,
    arena: Arena,
    /// Numbers of a usual size, and two others.
    host: [Vec<T>; 3],
    there: [Vector<T>; 3],
    scales: Vec<f64>,
    scales_there: CudaSlice<f64>,
    found: Vec<Check>,
}

/// Seed of the noise in every comparison.
const SEED: u64 = 0x0123_4567_89AB_CDEF;

fn draw(purpose: Purpose) -> Draw {
    Draw { seed: SEED, index: 3, purpose }
}

impl<T: Element> Bed<T> {
    fn new(gpu: &Arc<Gpu>) -> Result<Self, Fault> {
        let mut slots = Vec::new();
        let mut offset = 0;
        for (i, (len, rows)) in SHAPES.into_iter().enumerate() {
            // Ranks that are no offsets, so that a mistake between them shows.
            slots.push(Slot { name: format!("t{i}"), offset, len, rank: 2 * i as u32 + 1, rows });
            offset += len;
        }
        let arena = Arena::new(gpu.clone(), &slots)?;
        let numbers = |index: u32| {
            let mut all = vec![T::ZERO; offset];
            cpu::noise(&slots, &mut all, Draw { seed: 7, index, purpose: Purpose::Gauss });
            all
        };
        let host = [numbers(0), numbers(1), numbers(2)];
        let there = |from: &Vec<T>| {
            let mut to = arena.vector()?;
            arena.write(&mut to, from)?;
            Ok::<_, Fault>(to)
        };
        let there = [there(&host[0])?, there(&host[1])?, there(&host[2])?];
        let scales: Vec<f64> = (0..slots.len()).map(|i| 0.37 + 0.11 * i as f64).collect();
        let scales_there = gpu.upload(&scales)?;
        Ok(Self { gpu: gpu.clone(), slots, arena, host, there, scales, scales_there, found: Vec::new() })
    }

    /// A copy of a vector on the device.
    fn copy(&self, of: usize) -> Result<Vector<T>, Fault> {
        let mut to = self.arena.vector()?;
        self.gpu.copy(&self.there[of], &mut to)?;
        Ok(to)
    }

    fn zeros(&self) -> Vec<T> {
        vec![T::ZERO; self.host[0].len()]
    }

    /// Addresses of the slots within a vector: as good as tensors that lie apart.
    fn bases(&self, of: &Vector<T>) -> Result<CudaSlice<u64>, Fault> {
        let first = self.gpu.address(of);
        let at = self.arena.places().map(|(_, offset)| first + (offset * size_of::<T>()) as u64);
        self.gpu.upload(&at.collect::<Vec<u64>>())
    }

    /// Keeps a comparison of elements, bit by bit.
    fn elements(&mut self, kernel: &str, found: &Vector<T>, wanted: &[T]) -> Result<(), Fault> {
        let found = self.arena.fetch(found)?;
        let equal = found.iter().zip(wanted).all(|(a, b)| a.wide().to_bits() == b.wide().to_bits());
        let wide = |xs: &[T]| xs.iter().map(|x| x.wide()).collect::<Vec<f64>>();
        let difference = if equal { 0.0 } else { apart(&wide(&found), &wide(wanted)).max(f64::MIN_POSITIVE) };
        self.keep(kernel, difference, 0.0);
        Ok(())
    }

    /// Keeps a comparison of numbers.
    fn numbers(&mut self, kernel: &str, found: &[f64], wanted: &[f64], allowed: f64) {
        self.keep(kernel, apart(found, wanted), allowed);
    }

    fn keep(&mut self, kernel: &str, difference: f64, allowed: f64) {
        self.found.push(Check { kernel: format!("{kernel} {}", T::SUFFIX), difference, allowed });
    }
}

/// The metrics that perturbations are made in.
fn metrics(tensors: usize) -> [(&'static str, ParameterMetric); 3] {
    let linear = ParameterMetric::linear(0.7, 0.01, tensors);
    [
        ("plain", ParameterMetric::Plain),
        ("linear", linear),
        ("root", ParameterMetric::Root { slope: 0.3, floor: 1e-3 }),
    ]
}

/// Greatest difference, relative to the larger of the number itself and a thousandth of the largest beside it; not a
/// number where only one side is none.
fn apart(found: &[f64], wanted: &[f64]) -> f64 {
    if found.len() != wanted.len() {
        return f64::NAN;
    }
    let top = wanted.iter().filter(|x| x.is_finite()).fold(0.0, |top: f64, x| top.max(x.abs()));
    let one = |(a, b): (&f64, &f64)| match a == b || (a.is_nan() && b.is_nan()) {
        true => 0.0,
        false => (a - b).abs() / b.abs().max(1e-3 * top).max(f64::MIN_POSITIVE),
    };
    found
        .iter()
        .zip(wanted)
        .map(one)
        .fold(0.0, |worst: f64, x| if x > worst || x.is_nan() { x } else { worst })
}

/// Holds every kernel against the CPU.
///
/// # Errors
/// If memory runs out or the device is lost.
pub fn kernels(gpu: &Arc<Gpu>) -> Result<Vec<Check>, Fault> {
    let mut found = Vec::new();
    found.extend(of::<f32>(gpu)?);
    found.extend(of::<f64>(gpu)?);
    found.extend(points::narrow(gpu)?);
    Ok(found)
}

fn of<T: Element>(gpu: &Arc<Gpu>) -> Result<Vec<Check>, Fault> {
    let mut bed = Bed::<T>::new(gpu)?;
    points::check(&mut bed)?;
    vectors::check(&mut bed)?;
    rows::check(&mut bed)?;
    outputs::check(&mut bed)?;
    Ok(bed.found)
}
