//! Bandwidth of every kernel beside that of a copy.
//!
//! Owns: how many bytes each has to move. May not touch: clocks; the caller passes one.

use crate::device::check::Speed;
use crate::device::cuda::arena::{Arena, DeviceScaled, Vector, named};
use crate::device::cuda::gpu::{Arg, Element, Gpu};
use crate::device::cuda::rows::Rows;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::slot::Slot;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
use std::sync::Arc;

/// Launches that are timed together, after one that is not.
const TIMES: u32 = 10;

/// Logits of a row, and threads for it.
const CLASSES: usize = 1024;
const THREADS: u32 = 256;

/// Times every kernel that goes over parameters, on a number of elements.
///
/// # Errors
/// If memory runs out or the device is lost.
pub fn speeds(gpu: &Arc<Gpu>, elements: usize, clock: &dyn Fn() -> f64) -> Result<Vec<Speed>, Fault> {
    let mut all = of::<f32>(gpu, elements, clock)?;
    all.extend(of::<f64>(gpu, elements, clock)?);
    Ok(all)
}

fn of<T: Element>(gpu: &Arc<Gpu>, elements: usize, clock: &dyn Fn() -> f64) -> Result<Vec<Speed>, Fault> {
    let columns = 1024;
    let len = elements.next_multiple_of(columns);
    let slots = [Slot { name: "w".into(), offset: 0, len, rank: 0, rows: len / columns }];
    let arena = Arena::new(gpu.clone(), &slots)?;
    let w0 = arena.vector::<T>()?;
    let mut x = arena.vector::<T>()?;
    let y = arena.vector::<T>()?;
    let draw = Draw { seed: 1, index: 0, purpose: Purpose::Gauss };
    let unit = arena.unit(&ParameterMetric::Plain)?;
    let ones = gpu.upload(&[1.0f64])?;
    let linear = arena.unit(&ParameterMetric::linear(1.0, 0.0, 1))?;
    let by = DeviceScaled { scales: &ones, unit: &unit };
    let bases = gpu.upload(&[gpu.address(&y)])?;
    let vector = (len * size_of::<T>()) as u64;
    let mut found = Vec::new();
    let mut time = |kernel, vectors: u64, run: &mut dyn FnMut() -> Result<(), Fault>| {
        run()?;
        gpu.wait()?;
        let began = clock();
        (0..TIMES).try_for_each(|_| run())?;
        gpu.wait()?;
        // What is written in 16 bits is half a vector of f32.
        let half = if kernel == "perturb to bf16" { vector / 2 } else { 0 };
        let seconds = (clock() - began) / f64::from(TIMES);
        found.push(Speed { kernel, element: T::SUFFIX, bytes: vectors * vector - half, seconds });
        Ok::<(), Fault>(())
    };
    time("copy", 2, &mut || gpu.copy(&w0, &mut x))?;
    time("perturb", 2, &mut || arena.perturb(&bases, &w0, draw, by))?;
    time("displace", 3, &mut || arena.displace(&bases, &w0, Some(&x), by))?;
    time("gather", 2, &mut || arena.gather(&bases, &mut x))?;
    noises(&arena, &w0, &mut x, (draw, by), &mut time)?;
    time("products", 2, &mut || arena.products(&x, &y).map(drop))?;
    time("to_metric", 3, &mut || arena.to_metric(&mut x, &w0, &linear).map(drop))?;
    time("ascend", 2, &mut || arena.scale_and_perturb(&mut x, &ones, Some((draw, &ones))).map(drop))?;
    time("combine", 3, &mut || arena.combine(&ones, &mut x, &ones, &y).map(drop))?;
    time("climb_box", 3, &mut || arena.climb_box(&mut x, &y, [0.1, 1.0]))?;
    time("moments", 1, &mut || arena.moments(&x).map(drop))?;
    directions(&arena, &w0, &mut x, &bases, &mut time)?;
    Ok(found)
}

/// Times a kernel by its name and the vectors that it moves.
type Time<'a> = dyn FnMut(&'static str, u64, &mut dyn FnMut() -> Result<(), Fault>) -> Result<(), Fault> + 'a;

/// Noise by itself, and a point in 16 bits, in the place of a vector of f32.
fn noises<T: Element>(
    arena: &Arena,
    w0: &Vector<T>,
    x: &mut Vector<T>,
    (draw, by): (Draw, DeviceScaled<'_>),
    time: &mut Time<'_>,
) -> Result<(), Fault> {
    time("noise", 1, &mut || arena.noise(x, draw))?;
    time("noise_squares", 0, &mut || arena.noise_squares::<T>(draw).map(drop))?;
    time("product_with_noise", 1, &mut || arena.product_with_noise(x, draw).map(drop))?;
    if T::SUFFIX != "f32" {
        return Ok(());
    }
    let gpu = arena.gpu();
    let bases = gpu.upload(&[gpu.address(x)])?;
    let mut arguments = vec![gpu.at(w0), gpu.at(&bases)];
    arguments.extend(named(draw));
    arguments.extend(arena.scaled(by));
    time("perturb to bf16", 2, &mut || arena.each("clino_perturb_bf16", &arguments))
}

/// Kernels for directions, and the losses of as many logits as there are elements.
fn directions<T: Element>(
    arena: &Arena,
    w0: &Vector<T>,
    x: &mut Vector<T>,
    bases: &CudaSlice<u64>,
    time: &mut Time<'_>,
) -> Result<(), Fault> {
    let gpu = arena.gpu().clone();
    let of = |index| Draw { seed: 1, index, purpose: Purpose::Direction };
    time("row_squares", 1, &mut || Rows::new(arena, w0).map(drop))?;
    let mut rows = Rows::new(arena, w0)?;
    let mut index = 0;
    time("noise_row_squares", 0, &mut || {
        // A draw that is known would not be made.
        index += 1;
        rows.scales(of(index)).map(drop)
    })?;
    let scales = rows.scales(of(0))?;
    time("add_direction", 2, &mut || arena.add_direction(x, of(0), &scales, 0.5))?;
    let axes = [Some((&*scales, 0, 0.5)), Some((&*scales, 0, 0.25))];
    time("plane", 2, &mut || arena.plane(bases, w0, 1, axes))?;
    let labels = gpu.zeros::<u32>(arena.total() / CLASSES)?;
    let losses = gpu.zeros::<f64>(arena.total() / CLASSES)?;
    let logits = gpu.at(w0);
    let slopes = gpu.at(x);
    let none = Arg::At(0);
    let labels_at = gpu.at(&labels);
    let losses_at = gpu.at(&losses);
    let arguments =
        [logits, labels_at, Arg::U32(CLASSES as u32), Arg::F64(1.0), losses_at, none, none, none, slopes];
    let examples = arena.total() / CLASSES;
    time("cross_entropy", 2, &mut || gpu.launch_rows::<T>("cross_entropy", examples, THREADS, &arguments))
}
