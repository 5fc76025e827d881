//! Losses of rows of logits against the CPU's, which takes the system's exp and log: to the last places.
//!
//! Owns: their comparisons. May not touch: parameters.

use super::{Bed, SUMS};
use crate::device::cuda::gpu::{Arg, Element};
use crate::scores::{best_other, cross_entropy, greatest, log_sum_exp};
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use clino_domain::Fault;

/// Rows, classes: also the vocabulary of XLM-R.
const TABLES: [(usize, usize); 5] = [(5, 1), (40, 3), (7, 33), (3, 1000), (2, 250_002)];

pub fn check<T: Element>(bed: &mut Bed<T>) -> Result<(), Fault> {
    TABLES.into_iter().try_for_each(|(rows, classes)| table(bed, rows, classes))
}

fn table<T: Element>(bed: &mut Bed<T>, rows: usize, classes: usize) -> Result<(), Fault> {
    let number = |i: usize| T::of(((i * 7919 + 13) % 4001) as f64 / 400.0 - 5.0);
    let logits: Vec<T> = (0..rows * classes).map(number).collect();
    let labels: Vec<u32> = (0..rows).map(|row| ((row * 31 + 1) % classes) as u32).collect();
    let share = 1.0 / rows as f64;
    let there = bed.gpu.upload(&logits)?;
    let labels_there = bed.gpu.upload(&labels)?;
    let losses = bed.gpu.zeros::<f64>(rows)?;
    let margins = bed.gpu.zeros::<f64>(rows)?;
    let ranks = bed.gpu.zeros::<u32>(rows)?;
    let right = bed.gpu.zeros::<u8>(rows)?;
    let slopes: CudaSlice<T> = bed.gpu.zeros(rows * classes)?;
    let arguments = [
        bed.gpu.at(&there),
        bed.gpu.at(&labels_there),
        Arg::U32(classes as u32),
        Arg::F64(share),
        bed.gpu.at(&losses),
        bed.gpu.at(&margins),
        bed.gpu.at(&ranks),
        bed.gpu.at(&right),
        bed.gpu.at(&slopes),
    ];
    let threads = classes.next_multiple_of(32).min(256) as u32;
    bed.gpu.launch_rows::<T>("cross_entropy", rows, threads, &arguments)?;
    let wide: Vec<f64> = logits.iter().map(|z| z.wide()).collect();
    let each = || wide.chunks_exact(classes).zip(labels.iter().map(|label| *label as usize));
    let name = |what: &str| format!("cross_entropy of {classes}: {what}");
    let wanted: Vec<f64> = each().map(|(row, label)| cross_entropy(row, label)).collect();
    let found = bed.gpu.download(&losses)?;
    bed.numbers(&name("loss"), &found, &wanted, 10.0 * SUMS);
    let wanted: Vec<f64> = each().map(|(row, label)| row[label] - best_other(row, label)).collect();
    let found = bed.gpu.download(&margins)?;
    bed.numbers(&name("margin"), &found, &wanted, 0.0);
    let above = |(row, label): (&[f64], usize)| row.iter().filter(|z| **z > row[label]).count() as f64;
    let wanted: Vec<f64> = each().map(above).collect();
    let found: Vec<f64> = bed.gpu.download(&ranks)?.into_iter().map(f64::from).collect();
    bed.numbers(&name("rank"), &found, &wanted, 0.0);
    let hit = |(row, label): (&[f64], usize)| if greatest(row) == label { 1.0 } else { 0.0 };
    let wanted: Vec<f64> = each().map(hit).collect();
    let found: Vec<f64> = bed.gpu.download(&right)?.into_iter().map(f64::from).collect();
    bed.numbers(&name("right"), &found, &wanted, 0.0);
    let slope = |(row, label): (&[f64], usize)| {
        let total = log_sum_exp(row);
        let one = move |(class, z): (usize, &f64)| libm::exp(z - total) - f64::from(u8::from(class == label));
        row.iter().enumerate().map(move |pair| one(pair) * share).collect::<Vec<f64>>()
    };
    let wanted: Vec<f64> = each().flat_map(slope).collect();
    let found: Vec<f64> = bed.gpu.download(&slopes)?.iter().map(|z| z.wide()).collect();
    let rounding = if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { 100.0 * SUMS };
    bed.numbers(&name("slope"), &found, &wanted, rounding);
    Ok(())
}
