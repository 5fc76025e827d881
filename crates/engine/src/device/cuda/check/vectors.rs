//! Arithmetic on vectors: elements equal to the CPU's bit for bit, sums to the last places; and the numbers that stay on
//! the device between two passes of an ascent.
//!
//! Owns: their comparisons. May not touch: points, rows.

use super::{Bed, SUMS, draw, metrics};
use crate::device::ascent::{AscentJob, Region, StepUnit};
use crate::device::cpu;
use crate::device::cuda::arena::Vector;
use crate::device::cuda::gpu::{Arg, Element};
use crate::device::noise::Purpose;
use crate::device::norms::Norms;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;

pub fn check<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    sums(bed)?;
    to_metric(bed)?;
    ascend(bed)?;
    combine(bed)?;
    climb_box(bed)?;
    moments(bed)?;
    steps(bed)
}

fn sums<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let noise = draw(Purpose::Sign);
    let wanted = cpu::products(&bed.slots, &bed.host[0], &bed.host[0]);
    let found = bed.arena.read(&bed.arena.products(&bed.there[0], &bed.there[0])?)?;
    bed.numbers("products", &found, &wanted, SUMS);
    let wanted = cpu::noise_norms::<T>(&bed.slots, draw(Purpose::Gauss)).squares;
    let found = bed.arena.read(&bed.arena.noise_squares::<T>(draw(Purpose::Gauss))?)?;
    bed.numbers("noise_squares", &found, &wanted, SUMS);
    let wanted = cpu::product_with_noise(&bed.slots, &bed.host[1], noise);
    let by_slot = bed.arena.read(&bed.arena.product_with_noise(&bed.there[1], noise)?)?;
    // Terms of both signs: the sum is compared with what its terms could have been.
    let size = cpu::norms(&bed.slots, &bed.host[1]).global();
    let far = (by_slot.iter().sum::<f64>() - wanted).abs() / size;
    bed.keep("product_with_noise", far, SUMS);
    Ok(())
}

/// Keeps the elements of a vector and its squares.
fn both<T: Element>(
    bed: &mut Bed<T>,
    kernel: &str,
    (found, squares): (&Vector<T>, &CudaSlice<f64>),
    (wanted, norms): (&[T], &Norms),
) -> Result<(), Fault> {
    bed.elements(kernel, found, wanted)?;
    let squares = bed.arena.read(squares)?;
    bed.numbers(&format!("{kernel}: squares"), &squares, &norms.squares, SUMS);
    Ok(())
}

fn to_metric<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    for (name, metric) in metrics(bed.slots.len()) {
        let mut wanted = bed.host[1].clone();
        let mut found = bed.copy(1)?;
        let norms = cpu::to_metric(&bed.slots, &mut wanted, &bed.host[0], &metric);
        let unit = bed.arena.unit(&metric)?;
        let squares = bed.arena.to_metric(&mut found, &bed.there[0], &unit)?;
        both(bed, &format!("to_metric, {name}"), (&found, &squares), (&wanted, &norms))?;
    }
    Ok(())
}

fn ascend<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let noise = draw(Purpose::Gauss);
    let factors: Vec<f64> = bed.scales.iter().map(|scale| 1.3 - scale).collect();
    let factors_there = bed.gpu.upload(&factors)?;
    for (name, noisy) in [("noise", true), ("none", false)] {
        let mut wanted = bed.host[1].clone();
        let mut found = bed.copy(1)?;
        let here = noisy.then_some((noise, bed.scales.as_slice()));
        let norms = cpu::scale_and_perturb(&bed.slots, &mut wanted, &factors, here);
        let there = noisy.then_some((noise, &bed.scales_there));
        let squares = bed.arena.scale_and_perturb(&mut found, &factors_there, there)?;
        both(bed, &format!("ascend, {name}"), (&found, &squares), (&wanted, &norms))?;
    }
    Ok(())
}

fn combine<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let keep: Vec<f64> = bed.scales.iter().map(|scale| 1.0 - 2.0 * scale).collect();
    let keep_there = bed.gpu.upload(&keep)?;
    let mut wanted = bed.host[1].clone();
    let mut found = bed.copy(1)?;
    let norms = cpu::combine(&bed.slots, &keep, &mut wanted, &bed.scales, &bed.host[2]);
    let squares = bed.arena.combine(&keep_there, &mut found, &bed.scales_there, &bed.there[2])?;
    both(bed, "combine", (&found, &squares), (&wanted, &norms))
}

fn climb_box<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let mut wanted = bed.host[1].clone();
    let mut found = bed.copy(1)?;
    cpu::climb_box(&bed.slots, &mut wanted, &bed.host[2], [0.25, 0.5]);
    bed.arena.climb_box(&mut found, &bed.there[2], [0.25, 0.5])?;
    bed.elements("climb_box", &found, &wanted)
}

fn moments<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let mut numbers = bed.host[0].clone();
    // One that is not finite, in the last tensor alone.
    if let Some(last) = numbers.last_mut() {
        *last = T::of(f64::INFINITY);
    }
    let mut there = bed.arena.vector()?;
    bed.arena.write(&mut there, &numbers)?;
    let found = bed.arena.moments(&there)?;
    let of = |range: std::ops::Range<usize>| {
        let xs: Vec<f64> = numbers[range].iter().map(|x| x.wide()).collect();
        let n = xs.len() as f64;
        let sum = xs.iter().sum::<f64>();
        let spread = xs.iter().map(|x| (x - sum / n).powi(2)).sum::<f64>();
        let square = xs.iter().map(|x| x * x).sum::<f64>();
        let largest = xs.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
        [n, sum / n, spread, square, largest, xs.iter().filter(|x| !x.is_finite()).count() as f64]
    };
    let wanted: Vec<[f64; 6]> = bed.slots.iter().map(|slot| of(slot.range())).collect();
    let names = ["count", "mean", "spread", "squares", "largest", "non-finite"];
    for (i, name) in names.into_iter().enumerate() {
        // Of a tensor with infinite numbers the others mean nothing.
        let sound = || (0..bed.slots.len()).filter(|slot| i == 0 || i == 5 || wanted[*slot][5] == 0.0);
        let found: Vec<f64> = sound().map(|slot| found[6 * slot + i]).collect();
        let wanted: Vec<f64> = sound().map(|slot| wanted[slot][i]).collect();
        // The mean of numbers of both signs loses places to the sizes of its terms.
        let allowed = if i == 1 { 1e3 * SUMS } else { 10.0 * SUMS };
        bed.numbers(&format!("moments: {name}"), &found, &wanted, allowed);
    }
    Ok(())
}

fn steps<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let squares: Vec<f64> = bed.scales.iter().enumerate().map(|(i, s)| s * (i % 4) as f64).collect();
    let radii: Vec<f64> = bed.scales.iter().map(|scale| 0.6 * scale).collect();
    let squares_there = bed.gpu.upload(&squares)?;
    let radii_there = bed.gpu.upload(&radii)?;
    let norms = Norms { squares };
    let slots = Arg::U32(radii.len() as u32);
    for (name, region) in [("global", Region::Global), ("tensor", Region::Tensor), ("layer", Region::Layer)] {
        let unit = StepUnit::Radius;
        let radii = radii.as_slice();
        let order = AscentJob { draw: 0, noise: 0.1, step: 1.0, steps: 1, unit, region, radii };
        let out: CudaSlice<f64> = bed.gpu.zeros(radii.len())?;
        let at = [bed.gpu.at(&squares_there), bed.gpu.at(&radii_there)];
        let size = Arg::F64(0.75);
        let arguments = [at[0], at[1], size, Arg::U32(region as u32), slots, bed.gpu.at(&out)];
        bed.gpu.launch("clino_steps", 1, &arguments)?;
        let found = bed.gpu.download(&out)?;
        bed.numbers(&format!("steps, {name}"), &found, &order.scales(0.75, &norms), 0.0);
        let out = bed.gpu.upload(&vec![1.0; radii.len()])?;
        let left = bed.gpu.zeros::<f64>(1)?;
        let to = [bed.gpu.at(&out), bed.gpu.at(&left)];
        bed.gpu.launch("clino_project", 1, &[at[0], at[1], Arg::U32(region as u32), slots, to[0], to[1]])?;
        let mut found = bed.gpu.download(&out)?;
        let (mut wanted, norm) = order.pull(&norms);
        found.extend(bed.gpu.download(&left)?);
        wanted.push(norm);
        bed.numbers(&format!("project, {name}"), &found, &wanted, 0.0);
    }
    Ok(())
}
