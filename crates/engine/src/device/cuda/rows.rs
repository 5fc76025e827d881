//! Norms of the rows of matrices on a GPU, for directions normalized by filter.
//!
//! Owns: the table of rows and what rows are multiplied with. May not touch: vectors, losses.

use super::arena::{Arena, DevicePiece, Vector, named};
use super::gpu::{Arg, Element, Gpu};
use crate::device::noise::Draw;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
use std::collections::HashMap;
use std::sync::Arc;

/// Most elements of an entry: one warp reads them.
const ENTRY: usize = 1 << 12;

/// Rows in warps: eight of them make a block.
const WARPS: usize = 8;

/// Rows of a block in kernels with one thread for each row.
const THREADS: usize = 256;

/// The rows of every matrix, in the order of the slots.
pub struct Rows<T> {
    gpu: Arc<Gpu>,
    /// Rows, cut where they are long.
    entries: CudaSlice<DevicePiece>,
    count: usize,
    /// First entry of each row, and their number.
    first: CudaSlice<u32>,
    rows: usize,
    /// Squares of the rows of w0.
    weights: CudaSlice<f64>,
    known: HashMap<u32, Arc<CudaSlice<f64>>>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Rows<T> {
    /// The rows of w0.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn new(arena: &Arena, w0: &Vector<T>) -> Result<Self, Fault> {
        let gpu = arena.gpu().clone();
        let (table, first) = table(arena);
        let count = table.len();
        let rows = first.len() - 1;
        let entries = gpu.upload(&table)?;
        let first = gpu.upload(&first)?;
        let weights = gpu.zeros(rows)?;
        let known = Default::default();
        let element = Default::default();
        let mut found = Self { gpu, entries, count, first, rows, weights, known, element };
        let table = [found.gpu.at(&found.entries), Arg::U32(found.count as u32), found.gpu.at(w0)];
        found.weights = found.squares("row_squares", &table)?;
        Ok(found)
    }

    /// What the rows of a draw are multiplied with: ‖w row‖ / (‖noise row‖ + 1e-10), row by row.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn scales(&mut self, draw: Draw) -> Result<Arc<CudaSlice<f64>>, Fault> {
        if let Some(known) = self.known.get(&draw.index) {
            return Ok(known.clone());
        }
        let [seed, index, purpose] = named(draw);
        let table = [self.gpu.at(&self.entries), Arg::U32(self.count as u32), seed, index, purpose];
        let noise = self.squares("noise_row_squares", &table)?;
        let out: CudaSlice<f64> = self.gpu.zeros(self.rows)?;
        let rows = Arg::U32(self.rows as u32);
        let arguments = [self.gpu.at(&self.weights), self.gpu.at(&noise), rows, self.gpu.at(&out)];
        self.gpu.launch("clino_row_scales", self.rows.div_ceil(THREADS), &arguments)?;
        Ok(self.known.entry(draw.index).or_insert(Arc::new(out)).clone())
    }

    /// A kernel's sums for each entry, joined by row.
    fn squares(&self, kernel: &str, arguments: &[Arg]) -> Result<CudaSlice<f64>, Fault> {
        let partial: CudaSlice<f64> = self.gpu.zeros(self.count)?;
        let all: Vec<Arg> = arguments.iter().copied().chain([self.gpu.at(&partial)]).collect();
        self.gpu.launch_for::<T>(kernel, self.count.div_ceil(WARPS), &all)?;
        let joined: CudaSlice<f64> = self.gpu.zeros(self.rows)?;
        let rows = Arg::U32(self.rows as u32);
        let arguments = [self.gpu.at(&partial), self.gpu.at(&self.first), rows, self.gpu.at(&joined)];
        self.gpu.launch("clino_join_rows", self.rows.div_ceil(THREADS), &arguments)?;
        Ok(joined)
    }
}

/// Every row in entries, and the first entry of each.
fn table(arena: &Arena) -> (Vec<DevicePiece>, Vec<u32>) {
    let mut entries = Vec::new();
    let mut first = vec![0];
    for (i, (slot, offset)) in arena.places().enumerate() {
        let columns = slot.columns().unwrap_or(0);
        for row in 0..if columns > 0 { slot.rows } else { 0 } {
            for start in (row * columns..(row + 1) * columns).step_by(ENTRY) {
                let len = ENTRY.min((row + 1) * columns - start);
                entries.push(DevicePiece {
                    offset: (offset + start) as u64,
                    len: len as u32,
                    slot: i as u32,
                    rank: slot.rank,
                    start: start as u32,
                    columns: columns as u32,
                    row0: 0,
                });
            }
            first.push(entries.len() as u32);
        }
    }
    (entries, first)
}
