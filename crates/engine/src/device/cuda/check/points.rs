//! Noise, and points made of it: equal to the CPU's bit for bit.
//!
//! Owns: their comparisons. May not touch: sums.

use super::{Bed, draw, metrics};
use crate::device::check::Check;
use crate::device::cpu;
use crate::device::cuda::arena::{DeviceScaled, named};
use crate::device::cuda::gpu::{Arg, Element, Gpu};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;
use std::sync::Arc;

pub fn check<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    noise(bed)?;
    perturb(bed)?;
    displace(bed)?;
    gather(bed)
}

fn noise<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let all = [
        ("normal", Purpose::Gauss),
        ("uniform", Purpose::Uniform),
        ("sign", Purpose::Sign),
        ("direction", Purpose::Direction),
    ];
    for (name, purpose) in all {
        let mut wanted = bed.zeros();
        let mut found = bed.arena.vector()?;
        cpu::noise(&bed.slots, &mut wanted, draw(purpose));
        bed.arena.noise(&mut found, draw(purpose))?;
        bed.elements(&format!("noise, {name}"), &found, &wanted)?;
    }
    Ok(())
}

fn perturb<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    for (name, metric) in metrics(bed.slots.len()) {
        let mut wanted = bed.zeros();
        let found = bed.arena.vector()?;
        let by = cpu::ScaledVector { scales: &bed.scales, metric: &metric };
        cpu::perturb(&bed.slots, &mut wanted, &bed.host[0], draw(Purpose::Gauss), by);
        let bases = bed.bases(&found)?;
        let unit = bed.arena.unit(&metric)?;
        let by = DeviceScaled { scales: &bed.scales_there, unit: &unit };
        bed.arena.perturb(&bases, &bed.there[0], draw(Purpose::Gauss), by)?;
        bed.elements(&format!("perturb, {name}"), &found, &wanted)?;
    }
    Ok(())
}

fn displace<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    for (name, metric) in metrics(bed.slots.len()) {
        let mut wanted = bed.zeros();
        let found = bed.arena.vector()?;
        let by = cpu::ScaledVector { scales: &bed.scales, metric: &metric };
        cpu::displace(&bed.slots, &mut wanted, &bed.host[0], &bed.host[1], by);
        let bases = bed.bases(&found)?;
        let unit = bed.arena.unit(&metric)?;
        let by = DeviceScaled { scales: &bed.scales_there, unit: &unit };
        bed.arena.displace(&bases, &bed.there[0], Some(&bed.there[1]), by)?;
        bed.elements(&format!("displace, {name}"), &found, &wanted)?;
    }
    let found = bed.arena.vector()?;
    let unit = bed.arena.unit(&ParameterMetric::Plain)?;
    let bases = bed.bases(&found)?;
    let by = DeviceScaled { scales: &bed.scales_there, unit: &unit };
    bed.arena.displace(&bases, &bed.there[0], None, by)?;
    let wanted = bed.host[0].clone();
    bed.elements("displace, to w0", &found, &wanted)
}

fn gather<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    let mut found = bed.arena.vector()?;
    let bases = bed.bases(&bed.there[2])?;
    bed.arena.gather(&bases, &mut found)?;
    let wanted = bed.host[2].clone();
    bed.elements("gather", &found, &wanted)
}

/// Rounds an f32 to a 16-bit format, as bits.
type Round = fn(f32) -> u16;

/// Perturbed copies of f32 in 16 bits: the CPU's, rounded to nearest even.
pub fn narrow(gpu: &Arc<Gpu>) -> Result<Vec<Check>, Fault> {
    let bed = Bed::<f32>::new(gpu)?;
    let mut wide = bed.zeros();
    let metric = ParameterMetric::linear(0.7, 0.01, bed.slots.len());
    let noise = draw(Purpose::Gauss);
    let by = cpu::ScaledVector { scales: &bed.scales, metric: &metric };
    cpu::perturb(&bed.slots, &mut wide, &bed.host[0], noise, by);
    let unit = bed.arena.unit(&metric)?;
    let rounded: [(&str, Round); 2] =
        [("bf16", |x| half::bf16::from_f32(x).to_bits()), ("f16", |x| half::f16::from_f32(x).to_bits())];
    let mut found = Vec::new();
    for (suffix, round) in rounded {
        let out: CudaSlice<u16> = gpu.zeros(bed.arena.total())?;
        let first = gpu.address(&out);
        let bases: Vec<u64> = bed.arena.places().map(|(_, offset)| first + 2 * offset as u64).collect();
        let bases = gpu.upload(&bases)?;
        let mut arguments: Vec<Arg> = vec![gpu.at(&bed.there[0]), gpu.at(&bases)];
        arguments.extend(named(noise));
        arguments.extend(bed.arena.scaled(DeviceScaled { scales: &bed.scales_there, unit: &unit }));
        bed.arena.each(&format!("clino_perturb_{suffix}"), &arguments)?;
        let there = gpu.download(&out)?;
        let equal = bed.arena.places().all(|(slot, offset)| {
            let wanted = wide[slot.range()].iter().map(|x| round(*x));
            there[offset..offset + slot.len].iter().copied().eq(wanted)
        });
        let difference = if equal { 0.0 } else { f64::INFINITY };
        found.push(Check { kernel: format!("perturb {suffix}"), difference, allowed: 0.0 });
    }
    Ok(found)
}
