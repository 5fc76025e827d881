//! UPSAMPLE: more (or fewer) elements along spatial axes.
//!
//! Owns: its rule: which elements are mixed with which weights, as torch does it. May not touch: other operators.

use super::resample::{self, Taps};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::{Upsample, UpsampleKind};

rule!(Upsample);

/// The parameter of the cubic that torch has.
const CUBIC: f64 = -0.75;

fn cubic(t: f64) -> [f64; 4] {
    let near = |t: f64| ((CUBIC + 2.0) * t - (CUBIC + 3.0)) * t * t + 1.0;
    let far = |t: f64| ((CUBIC * t - 5.0 * CUBIC) * t + 8.0 * CUBIC) * t - 4.0 * CUBIC;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl Rule<'_> {
    /// What coordinates of the result are multiplied by.
    fn scale(&self, axis: usize, size: usize, out: usize) -> f64 {
        let linear = matches!(self.kind, UpsampleKind::Linear | UpsampleKind::Bicubic);
        if self.align_corners && linear {
            return if out > 1 { (size as f64 - 1.0) / (out as f64 - 1.0) } else { 0.0 };
        }
        match self.scales.get(axis) {
            Some(factor) if *factor > 0.0 => 1.0 / factor,
            _ => size as f64 / out as f64,
        }
    }

    fn taps(&self, axis: usize, size: usize, out: usize) -> Taps {
        let scale = self.scale(axis, size, out);
        let coordinate = |i: usize| match self.align_corners {
            true => scale * i as f64,
            false => scale * (i as f64 + 0.5) - 0.5,
        };
        let last = size as i64 - 1;
        let clamped = |at: i64| at.clamp(0, last.max(0)) as usize;
        let tap = |i: usize| match self.kind {
            // In f32, as torch does whatever the type.
            UpsampleKind::Nearest => vec![(clamped((i as f32 * scale as f32).floor() as i64), 1.0)],
            UpsampleKind::NearestExact => {
                vec![(clamped(((i as f32 + 0.5) * scale as f32).floor() as i64), 1.0)]
            }
            UpsampleKind::Linear => {
                let x = coordinate(i).max(0.0);
                let first = clamped(x.floor() as i64);
                let share = (x - first as f64).clamp(0.0, 1.0);
                vec![(first, 1.0 - share), (clamped(first as i64 + 1), share)]
            }
            UpsampleKind::Bicubic => {
                // What lies beyond the edges has their elements, however far it is.
                let x = coordinate(i).clamp(-4.0, size as f64 + 4.0);
                let first = x.floor();
                let weights = cubic(x - first).into_iter().enumerate();
                weights.map(|(j, weight)| (clamped(first as i64 - 1 + j as i64), weight)).collect()
            }
        };
        (0..out).map(tap).collect()
    }

    fn all<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Taps>> {
        let x = cx.shape(0)?;
        let out = cx.out(0)?;
        Ok((2..x.len()).map(|axis| self.taps(axis - 2, x[axis], out[axis])).collect())
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        if x.len() < 3 || x[2..].contains(&0) {
            return operand(0, format!("found {x:?}, expected [batch, channels, spatial...]"));
        }
        if self.output.len() != x.len() - 2 || self.scales.len() > x.len() - 2 {
            return attribute(
                "output",
                format!("found {} sizes, expected {}", self.output.len(), x.len() - 2),
            );
        }
        if let Some(scale) = self.scales.iter().find(|scale| !(scale.is_finite() && **scale >= 0.0)) {
            return attribute(
                "scales",
                format!("found {scale}, expected finite factors, 0 where there is none"),
            );
        }
        if self.kind == UpsampleKind::Bicubic && x.len() != 4 {
            return operand(0, format!("found {x:?}, expected [batch, channels, rows, columns] for BICUBIC"));
        }
        let output = self.output.iter().map(|size| cx.count("output", *size)).collect::<Result<Vec<_>>>()?;
        Ok(vec![Typed::work([&x[..2], &output].concat())])
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        resample::scratch(cx.shape(0), &cx.results[0].shape, cx.size, 4)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        16.0 * cx.out(0) as f64
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![Data::Work(resample::forward(cx.threads, cx.work(0)?, cx.shape(0)?, &self.all(cx)?))])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let taps = self.all(cx)?;
        if let Some(target) = grads.target(0) {
            resample::backward(cx.threads, cx.d()?, target, cx.shape(0)?, &taps);
        }
        Ok(())
    }
}
