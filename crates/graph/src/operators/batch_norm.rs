//! BATCH_NORM: channels normalized by given statistics.
//!
//! Owns: its rule, and the check of channels. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::wrong::{Result, operand};
use clino_domain::graph::BatchNorm;
use std::ops::RangeInclusive;

rule!(BatchNorm);

/// What each channel is normalized with.
#[derive(Clone, Copy)]
struct Channel {
    mean: f64,
    factor: f64,
    weight: f64,
    bias: f64,
}

const MEAN: usize = 1;
const VARIANCE: usize = 2;
const WEIGHT: usize = 3;
const BIAS: usize = 4;

impl Rule<'_> {
    fn channels<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Channel>> {
        let weight = if cx.has(WEIGHT) { Some(cx.work(WEIGHT)?) } else { None };
        let bias = if cx.has(BIAS) && cx.d.is_empty() { Some(cx.work(BIAS)?) } else { None };
        let pairs = cx.work(MEAN)?.iter().zip(cx.work(VARIANCE)?).enumerate();
        let channel = |(i, (mean, variance)): (usize, (&T, &T))| Channel {
            mean: mean.wide(),
            factor: 1.0 / (variance.wide() + self.epsilon).sqrt(),
            weight: weight.map_or(1.0, |weight| weight[i].wide()),
            bias: bias.map_or(0.0, |bias| bias[i].wide()),
        };
        Ok(pairs.map(channel).collect())
    }
}

/// The channels of operand 0, of which the operands `each` have an element each, where they are there.
pub fn channels(cx: &Infer<'_>, each: RangeInclusive<usize>) -> Result<usize> {
    let x = cx.work(0)?;
    let [_, channels, ..] = x else {
        return operand(0, format!("found {x:?}, expected a batch and channels"));
    };
    for i in each.filter(|i| cx.has(*i)) {
        if cx.work(i)? != [*channels] {
            return operand(i, format!("found {:?}, expected [{channels}]", cx.work(i)?));
        }
    }
    Ok(*channels)
}

/// Adds to each channel the sum of `f` over its elements.
fn add_channels<T: Real>(
    threads: usize,
    target: &mut [T],
    [batch, spread]: [usize; 2],
    f: impl Fn(usize, usize) -> f64 + Sync + Send,
) {
    let channels = target.len();
    parallel::pieces(threads, target, 1, |channel, target| {
        let runs = (0..batch).map(|n| (n * channels + channel) * spread);
        let sum: f64 = runs.flat_map(|at| at..at + spread).map(|at| f(channel, at)).sum();
        target[0] += T::of(sum);
    });
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        channels(cx, MEAN..=BIAS)?;
        Ok(vec![Typed::work(cx.work(0)?)])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        4.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        match what {
            Read::Operand(0) => wants(VARIANCE) || wants(WEIGHT),
            Read::Operand(i) => i != BIAS,
            Read::Result(_) => false,
        }
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        cx.numel(MEAN) * size_of::<Channel>()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let x = cx.work(0)?;
        let channels = self.channels(cx)?;
        let spread = numel(&cx.shape(0)?[2..]);
        let mut out = vec![T::ZERO; x.len()];
        parallel::pieces(cx.threads, &mut out, parallel::rows(spread) * spread, |first, out| {
            for (i, out) in out.chunks_mut(spread.max(1)).enumerate() {
                let at = first + i * spread;
                let Channel { mean, factor, weight, bias } = channels[at / spread % channels.len()];
                for (out, x) in out.iter_mut().zip(&x[at..]) {
                    *out = T::of((x.wide() - mean) * factor * weight + bias);
                }
            }
        });
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let channels = self.channels(cx)?;
        let shape = cx.shape(0)?;
        let spread = numel(&shape[2..]);
        let runs = [shape[0], spread];
        if let Some(target) = grads.target(BIAS) {
            add_channels(cx.threads, target, runs, |_, at| d[at].wide());
        }
        if let Some(target) = grads.target(MEAN) {
            add_channels(cx.threads, target, runs, |c, at| {
                -d[at].wide() * channels[c].factor * channels[c].weight
            });
        }
        if grads.wants(VARIANCE) || grads.wants(WEIGHT) {
            let x = cx.work(0)?;
            let normal = |c: usize, at: usize| (x[at].wide() - channels[c].mean) * channels[c].factor;
            if let Some(target) = grads.target(WEIGHT) {
                add_channels(cx.threads, target, runs, |c, at| d[at].wide() * normal(c, at));
            }
            if let Some(target) = grads.target(VARIANCE) {
                add_channels(cx.threads, target, runs, |c, at| {
                    let Channel { factor, weight, .. } = channels[c];
                    -0.5 * d[at].wide() * normal(c, at) * weight * factor * factor
                });
            }
        }
        if let Some(target) = grads.target(0) {
            parallel::pieces(cx.threads, target, parallel::rows(spread) * spread, |first, target| {
                for (i, target) in target.iter_mut().enumerate() {
                    let Channel { factor, weight, .. } = channels[(first + i) / spread % channels.len()];
                    *target += T::of(d[first + i].wide() * factor * weight);
                }
            });
        }
        Ok(())
    }
}
