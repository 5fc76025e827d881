//! Vectors over all parameters on a GPU, and what is done with them: each function is one launch over all tensors.
//!
//! Owns: where tensors lie, the table of pieces, the order of a kernel's arguments. May not touch: networks, losses.

use super::gpu::{Arg, Element, Gpu};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Draw;
use crate::device::norms::Norms;
use crate::device::pieces::{PIECE, places};
use crate::device::slot::Slot;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
use std::sync::Arc;

/// Tensors begin at multiples of this many elements: whole lines of memory for every type.
const ALIGNMENT: usize = 32;

/// Part of one tensor, for one block; as the kernels have it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct DevicePiece {
    /// First element in the arena.
    pub offset: u64,
    /// Number of elements in the piece.
    pub len: u32,
    /// Index of the piece's tensor among the slots.
    pub slot: u32,
    /// Tensor word of the noise.
    pub rank: u32,
    /// First element within the tensor.
    pub start: u32,
    /// Elements of a row; 0 for vectors.
    pub columns: u32,
    /// The tensor's first row among all rows.
    pub row0: u32,
}

#[allow(unsafe_code)]
// SAFETY: plain integers without padding, laid out as in C.
unsafe impl candle_core::cuda_backend::cudarc::driver::DeviceRepr for DevicePiece {}

/// A flat vector on the device with one element for each parameter.
pub type Vector<T> = CudaSlice<T>;

/// Numbers of the rows, draw and coefficient of one direction.
pub type Axis<'a> = (&'a CudaSlice<f64>, u32, f64);

/// Where the parameters of a model lie on a GPU.
pub struct Arena {
    gpu: Arc<Gpu>,
    slots: Vec<Slot>,
    /// First element of each slot on the device.
    offsets: Vec<usize>,
    total: usize,
    pieces: CudaSlice<DevicePiece>,
    /// Number of entries of `pieces`.
    count: usize,
    /// First piece of each slot, and their number.
    first: CudaSlice<u32>,
}

/// T of a metric on the device: a mode, and two numbers for each slot.
pub struct DeviceUnit {
    mode: u32,
    terms: CudaSlice<f64>,
}

/// A scale for each slot, and T.
#[derive(Clone, Copy)]
pub struct DeviceScaled<'a> {
    /// One scale for each slot.
    pub scales: &'a CudaSlice<f64>,
    /// T of the metric, on the device.
    pub unit: &'a DeviceUnit,
}

impl Arena {
    /// Lays out the slots.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn new(gpu: Arc<Gpu>, slots: &[Slot]) -> Result<Self, Fault> {
        let (offsets, total) = Self::lay_out(slots);
        let (pieces, first) = table(slots, &offsets);
        let count = pieces.len();
        let pieces = gpu.upload(&pieces)?;
        let first = gpu.upload(&first)?;
        Ok(Self { gpu, slots: slots.to_vec(), offsets, total, pieces, count, first })
    }

    /// First element of each slot on a device, and elements in all.
    pub fn lay_out(slots: &[Slot]) -> (Vec<usize>, usize) {
        let mut offsets = Vec::new();
        let mut total = 0;
        for slot in slots {
            offsets.push(total);
            total += slot.len.next_multiple_of(ALIGNMENT);
        }
        (offsets, total)
    }

    /// The GPU that holds the arena.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The slots with their first elements on the device.
    pub fn places(&self) -> impl Iterator<Item = (&Slot, usize)> + '_ {
        self.slots.iter().zip(self.offsets.iter().copied())
    }

    /// A vector of zeros.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn vector<T: Element>(&self) -> Result<Vector<T>, Fault> {
        self.gpu.zeros(self.total)
    }

    /// Copies a vector of the host's layout to the device.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn write<T: Element>(&self, to: &mut Vector<T>, from: &[T]) -> Result<(), Fault> {
        for (slot, offset) in self.slots.iter().zip(&self.offsets) {
            self.gpu.write(to, *offset, &from[slot.range()])?;
        }
        Ok(())
    }

    /// A vector in the host's layout.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn fetch<T: Element>(&self, from: &Vector<T>) -> Result<Vec<T>, Fault> {
        let flat = self.gpu.download(from)?;
        let end = self.slots.iter().map(|slot| slot.offset + slot.len).max().unwrap_or(0);
        let mut all = vec![T::ZERO; end];
        for (slot, offset) in self.places() {
            all[slot.range()].copy_from_slice(&flat[offset..offset + slot.len]);
        }
        Ok(all)
    }

    /// Elements of a vector.
    pub fn total(&self) -> usize {
        self.total
    }

    /// T on the device.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn unit(&self, metric: &ParameterMetric) -> Result<DeviceUnit, Fault> {
        let (mode, terms) = match metric {
            ParameterMetric::Plain => (0, Vec::new()),
            ParameterMetric::Linear(terms) => (1, terms.concat()),
            ParameterMetric::Root { slope, floor } => {
                (2, [slope * slope, floor * floor].repeat(self.slots.len()))
            }
        };
        Ok(DeviceUnit { mode, terms: self.gpu.upload(&terms)? })
    }

    /// Starts a kernel with a block for each piece; the table of pieces goes before the arguments.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn each(&self, kernel: &str, arguments: &[Arg]) -> Result<(), Fault> {
        let all: Vec<Arg> =
            [self.gpu.at(&self.pieces)].into_iter().chain(arguments.iter().copied()).collect();
        self.gpu.launch(kernel, self.count, &all)
    }

    /// The same for a kernel that has a form for each type of element.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn each_for<T: Element>(&self, kernel: &str, arguments: &[Arg]) -> Result<(), Fault> {
        self.each(&format!("clino_{kernel}_{}", T::SUFFIX), arguments)
    }

    /// A kernel that leaves a sum for each piece in its last argument; joined by slot, on the device.
    fn sums<T: Element>(&self, kernel: &str, arguments: &[Arg]) -> Result<CudaSlice<f64>, Fault> {
        let partial: CudaSlice<f64> = self.gpu.zeros(self.count)?;
        let all: Vec<Arg> = arguments.iter().copied().chain([self.gpu.at(&partial)]).collect();
        self.each_for::<T>(kernel, &all)?;
        let joined: CudaSlice<f64> = self.gpu.zeros(self.slots.len())?;
        let at = [self.gpu.at(&partial), self.gpu.at(&self.first), self.gpu.at(&joined)];
        self.gpu.launch("clino_join", self.slots.len(), &at)?;
        Ok(joined)
    }

    /// Sums by slot, on the host.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn read(&self, sums: &CudaSlice<f64>) -> Result<Vec<f64>, Fault> {
        let mut all = self.gpu.download(sums)?;
        all.truncate(self.slots.len());
        Ok(all)
    }

    /// Squares by slot as norms, on the host.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn norms(&self, squares: &CudaSlice<f64>) -> Result<Norms, Fault> {
        Ok(Norms { squares: self.read(squares)? })
    }

    /// out = w0 + T∘(scale * noise), into tensors that lie apart.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn perturb<T: Element>(
        &self,
        out: &CudaSlice<u64>,
        w0: &Vector<T>,
        draw: Draw,
        by: DeviceScaled<'_>,
    ) -> Result<(), Fault> {
        let mut arguments = vec![self.gpu.at(w0), self.gpu.at(out)];
        arguments.extend(named(draw));
        arguments.extend(self.scaled(by));
        self.each_for::<T>("perturb", &arguments)
    }

    /// out = w0 + T∘(scale * u), into tensors that lie apart; without u, w0 itself.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn displace<T: Element>(
        &self,
        out: &CudaSlice<u64>,
        w0: &Vector<T>,
        u: Option<&Vector<T>>,
        by: DeviceScaled<'_>,
    ) -> Result<(), Fault> {
        let u = u.map_or(Arg::At(0), |u| self.gpu.at(u));
        let mut arguments = vec![self.gpu.at(w0), self.gpu.at(out), u];
        arguments.extend(self.scaled(by));
        self.each_for::<T>("displace", &arguments)
    }

    /// As kernels take it.
    pub fn scaled(&self, DeviceScaled { scales, unit }: DeviceScaled<'_>) -> [Arg; 3] {
        [self.gpu.at(scales), Arg::U32(unit.mode), self.gpu.at(&unit.terms)]
    }

    /// out = noise.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn noise<T: Element>(&self, out: &mut Vector<T>, draw: Draw) -> Result<(), Fault> {
        let [seed, index, purpose] = named(draw);
        self.each_for::<T>("noise", &[self.gpu.at(out), seed, index, purpose])
    }

    /// x · y by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn products<T: Element>(&self, x: &Vector<T>, y: &Vector<T>) -> Result<CudaSlice<f64>, Fault> {
        self.sums::<T>("products", &[self.gpu.at(x), self.gpu.at(y)])
    }

    /// noise · noise by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn noise_squares<T: Element>(&self, draw: Draw) -> Result<CudaSlice<f64>, Fault> {
        self.sums::<T>("noise_squares", &named(draw))
    }

    /// x · noise by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn product_with_noise<T: Element>(&self, x: &Vector<T>, draw: Draw) -> Result<CudaSlice<f64>, Fault> {
        let [seed, index, purpose] = named(draw);
        self.sums::<T>("product_with_noise", &[self.gpu.at(x), seed, index, purpose])
    }

    /// g = T∘g; its squares by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn to_metric<T: Element>(
        &self,
        g: &mut Vector<T>,
        w0: &Vector<T>,
        unit: &DeviceUnit,
    ) -> Result<CudaSlice<f64>, Fault> {
        let terms = self.gpu.at(&unit.terms);
        self.sums::<T>("to_metric", &[self.gpu.at(g), self.gpu.at(w0), Arg::U32(unit.mode), terms])
    }

    /// x = factor * x + scale * noise, or without noise; its squares by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn scale_and_perturb<T: Element>(
        &self,
        x: &mut Vector<T>,
        factors: &CudaSlice<f64>,
        noise: Option<(Draw, &CudaSlice<f64>)>,
    ) -> Result<CudaSlice<f64>, Fault> {
        let none = [Arg::U64(0), Arg::U32(0), Arg::U32(0), Arg::At(0)];
        let [seed, index, purpose, scales] = noise.map_or(none, |(draw, scales)| {
            let [seed, index, purpose] = named(draw);
            [seed, index, purpose, self.gpu.at(scales)]
        });
        let noisy = Arg::U32(u32::from(noise.is_some()));
        let arguments = [self.gpu.at(x), self.gpu.at(factors), noisy, seed, index, purpose, scales];
        self.sums::<T>("ascend", &arguments)
    }

    /// x = keep * x + factor * y; its squares by slot.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn combine<T: Element>(
        &self,
        keep: &CudaSlice<f64>,
        x: &mut Vector<T>,
        factors: &CudaSlice<f64>,
        y: &Vector<T>,
    ) -> Result<CudaSlice<f64>, Fault> {
        let arguments = [self.gpu.at(x), self.gpu.at(keep), self.gpu.at(y), self.gpu.at(factors)];
        self.sums::<T>("combine", &arguments)
    }

    /// u = u + step * sign(g), pulled back to |u| ≤ bound.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn climb_box<T: Element>(
        &self,
        u: &mut Vector<T>,
        g: &Vector<T>,
        [step, bound]: [f64; 2],
    ) -> Result<(), Fault> {
        self.each_for::<T>("climb_box", &[self.gpu.at(u), self.gpu.at(g), Arg::F64(step), Arg::F64(bound)])
    }

    /// u = u + coefficient * (noise, each row times its number).
    ///
    /// # Errors
    /// If the device is lost.
    pub fn add_direction<T: Element>(
        &self,
        u: &mut Vector<T>,
        draw: Draw,
        rows: &CudaSlice<f64>,
        coefficient: f64,
    ) -> Result<(), Fault> {
        let [seed, index, _] = named(draw);
        let arguments = [self.gpu.at(u), seed, index, Arg::F64(coefficient), self.gpu.at(rows)];
        self.each_for::<T>("add_direction", &arguments)
    }

    /// out = w0 + a * (noise of one draw for directions, each row times its number) + the same of another, into tensors
    /// that lie apart. An axis is its rows' numbers, its draw and its coefficient.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn plane<T: Element>(
        &self,
        out: &CudaSlice<u64>,
        w0: &Vector<T>,
        seed: u64,
        axes: [Option<Axis<'_>>; 2],
    ) -> Result<(), Fault> {
        let [a, b] = axes.map(|axis| match axis {
            Some((rows, draw, coefficient)) => (self.gpu.at(rows), Arg::U32(draw), Arg::F64(coefficient)),
            None => (Arg::At(0), Arg::U32(0), Arg::F64(0.0)),
        });
        let to = [self.gpu.at(w0), self.gpu.at(out), Arg::U64(seed)];
        self.each_for::<T>("plane", &[to[0], to[1], to[2], a.1, b.1, a.2, b.2, a.0, b.0])
    }

    /// Count, mean, spread, square, largest magnitude and number of non-finite elements of each slot, on the host.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn moments<T: Element>(&self, x: &Vector<T>) -> Result<Vec<f64>, Fault> {
        let partial: CudaSlice<f64> = self.gpu.zeros(6 * self.count)?;
        self.each_for::<T>("moments", &[self.gpu.at(x), self.gpu.at(&partial)])?;
        let joined: CudaSlice<f64> = self.gpu.zeros(6 * self.slots.len())?;
        let at = [self.gpu.at(&partial), self.gpu.at(&self.first), self.gpu.at(&joined)];
        self.gpu.launch("clino_moments_join", self.slots.len(), &at)?;
        self.gpu.download(&joined)
    }

    /// out = the tensors that lie apart, as one vector.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn gather<T: Element>(&self, bases: &CudaSlice<u64>, out: &mut Vector<T>) -> Result<(), Fault> {
        self.each_for::<T>("gather", &[self.gpu.at(bases), self.gpu.at(out)])
    }
}

/// A draw as kernels take it.
pub fn named(draw: Draw) -> [Arg; 3] {
    [Arg::U64(draw.seed), Arg::U32(draw.index), Arg::U32(draw.purpose as u32)]
}

/// The pieces of all slots, slot by slot, and the first of each.
fn table(slots: &[Slot], offsets: &[usize]) -> (Vec<DevicePiece>, Vec<u32>) {
    let mut pieces = Vec::new();
    let mut first = vec![0];
    let mut row0 = 0;
    for (i, (slot, offset)) in slots.iter().zip(offsets).enumerate() {
        for place in places(std::slice::from_ref(slot)) {
            debug_assert!(place.data <= PIECE, "a block takes at most one piece");
            pieces.push(DevicePiece {
                offset: (offset + place.start) as u64,
                len: place.data as u32,
                slot: i as u32,
                rank: slot.rank,
                start: place.start as u32,
                columns: slot.columns().unwrap_or(0) as u32,
                row0,
            });
        }
        first.push(pieces.len() as u32);
        row0 += slot.rows as u32;
    }
    (pieces, first)
}
