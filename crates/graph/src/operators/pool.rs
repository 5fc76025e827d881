//! POOL: one element of each window over spatial axes.
//!
//! Owns: its rule. May not touch: other operators.

use super::resample::{self, Taps};
use super::window::{Window, adaptive};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::{Pool, PoolKind, ValueType};

rule!(Pool);

impl Rule<'_> {
    fn adapts(&self) -> bool {
        matches!(self.kind, PoolKind::AdaptiveMean | PoolKind::AdaptiveMax)
    }

    fn takes_most(&self) -> bool {
        matches!(self.kind, PoolKind::Max | PoolKind::AdaptiveMax)
    }

    fn taps<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Taps>> {
        let x = cx.shape(0)?;
        let out = cx.out(0)?;
        let of = |axis: usize| match Window::of(self, axis - 2, x[axis]) {
            _ if self.adapts() => adaptive(x[axis], out[axis]),
            Some(window) => window.taps(out[axis], self.count_padding),
            None => Taps::new(),
        };
        let mut taps: Vec<Taps> = (2..x.len()).map(of).collect();
        if self.kind == PoolKind::Mean && self.divisor > 0 {
            // Sums, of which the first axis is divided.
            for (axis, taps) in taps.iter_mut().enumerate() {
                let weight = if axis == 0 { 1.0 / self.divisor as f64 } else { 1.0 };
                taps.iter_mut().flatten().for_each(|(_, tap)| *tap = weight);
            }
        }
        Ok(taps)
    }

    /// The place of the first greatest element of each window, in the flattened spatial axes.
    fn places<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<usize>> {
        let x = cx.work(0)?;
        let shape = cx.shape(0)?;
        let taps = self.taps(cx)?;
        let plane = numel(&shape[2..]);
        let windows = numel(&cx.out(0)?[2..]);
        let mut out = vec![0usize; numel(cx.out(0)?)];
        parallel::pieces(cx.threads, &mut out, windows, |first, out| {
            let x = &x[first / windows.max(1) * plane..][..plane];
            for (i, out) in out.iter_mut().enumerate() {
                *out = most(x, &shape[2..], &taps, i);
            }
        });
        Ok(out)
    }
}

/// The place of the greatest element of window `i` of a plane; NaN is the greatest.
fn most<T: Real>(x: &[T], shape: &[usize], taps: &[Taps], window: usize) -> usize {
    let mut axes: [(&[(usize, f64)], usize); 3] = [(&[(0, 1.0)], 1); 3];
    let mut rest = window;
    for (axis, taps) in taps.iter().enumerate().rev() {
        axes[axis] = (&taps[rest % taps.len()], shape[axis]);
        rest /= taps.len();
    }
    let [(first, _), (second, of_second), (third, of_third)] = axes;
    let mut best: Option<(usize, f64)> = None;
    for (a, _) in first {
        for (b, _) in second {
            let row = (a * of_second + b) * of_third;
            for at in third.iter().map(|(c, _)| row + c) {
                let new = x[at].wide();
                let better = best.is_none_or(|(_, old)| new > old || (new.is_nan() && !old.is_nan()));
                best = if better { Some((at, new)) } else { best };
            }
        }
    }
    best.map_or(0, |(at, _)| at)
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        if !(3..=5).contains(&x.len()) || x[2..].contains(&0) {
            return operand(
                0,
                format!("found {x:?}, expected [batch, channels, spatial...] with 1 to 3 spatial axes"),
            );
        }
        let lists = [&self.kernel, &self.stride, &self.padding, &self.dilation];
        let spatial = x.len() - 2;
        if lists.iter().any(|list| list.len() > 1 && list.len() != spatial) {
            return attribute(
                "kernel",
                format!("found lists of other lengths, expected {spatial} numbers each"),
            );
        }
        let mut shape = x[..2].to_vec();
        for axis in 2..x.len() {
            if self.adapts() {
                let Some(size) = self.output.get(axis - 2).filter(|_| self.output.len() == x.len() - 2)
                else {
                    return attribute(
                        "output",
                        format!("found {} sizes, expected {}", self.output.len(), x.len() - 2),
                    );
                };
                shape.push(cx.count("output", *size)?);
                continue;
            }
            let window = Window::of(self, axis - 2, x[axis]);
            let window = window.filter(|window| !self.takes_most() || window.all_have_elements());
            match window.and_then(|window| window.count()) {
                Some(count) => shape.push(count),
                None => {
                    let found = format!(
                        "kernel {:?}, stride {:?}, padding {:?}, dilation {:?}",
                        self.kernel, self.stride, self.padding, self.dilation
                    );
                    return attribute(
                        "kernel",
                        format!("found {found}, of which no window fits {x:?}, or one has no element"),
                    );
                }
            }
        }
        let mut results = vec![Typed::work(shape.clone())];
        if self.takes_most() {
            results.push(Typed { kind: ValueType::I64, shape });
        }
        Ok(results)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        let x = cx.shape(0);
        let elements = |axis: usize| match Window::of(self, axis - 2, x[axis]) {
            _ if self.adapts() => x[axis] as f64 / cx.results[0].shape[axis].max(1) as f64 + 2.0,
            Some(window) => window.kernel as f64,
            None => 1.0,
        };
        let window: f64 = (2..x.len()).map(elements).product();
        cx.numel(0) as f64 + 2.0 * window * cx.out(0) as f64
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        self.takes_most() && what == Read::Operand(0)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let out = &cx.results[0].shape;
        let kernel = self.kernel.iter().copied().max().unwrap_or(0) as usize;
        let adapted = cx.shape(0)[2..].iter().zip(&out[2..]).map(|(x, out)| x / out.max(&1) + 2).max();
        let taps = if self.adapts() {
            adapted.unwrap_or(0)
        } else {
            kernel.min(cx.shape(0).iter().max().map_or(0, |n| *n))
        };
        let places = if self.takes_most() { cx.out(0) * size_of::<usize>() } else { 0 };
        resample::scratch(cx.shape(0), out, cx.size, taps.next_power_of_two()) + places
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        if !self.takes_most() {
            return Ok(vec![Data::Work(resample::forward(
                cx.threads,
                cx.work(0)?,
                cx.shape(0)?,
                &self.taps(cx)?,
            ))]);
        }
        let x = cx.work(0)?;
        let plane = numel(&cx.shape(0)?[2..]);
        let windows = numel(&cx.out(0)?[2..]).max(1);
        let places = self.places(cx)?;
        let most = places.iter().enumerate().map(|(i, at)| x[i / windows * plane + at]).collect();
        let mut results = vec![Data::Work(most)];
        if cx.results.len() > 1 {
            results.push(Data::I64(places.into_iter().map(|at| at as i64).collect()));
        }
        Ok(results)
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        if self.takes_most() {
            let plane = numel(&cx.shape(0)?[2..]);
            let windows = numel(&cx.out(0)?[2..]).max(1);
            let places = self.places(cx)?;
            if let Some(target) = grads.target(0) {
                for (i, (at, d)) in places.iter().zip(d).enumerate() {
                    target[i / windows * plane + at] += *d;
                }
            }
            return Ok(());
        }
        let taps = self.taps(cx)?;
        if let Some(target) = grads.target(0) {
            resample::backward(cx.threads, d, target, cx.shape(0)?, &taps);
        }
        Ok(())
    }
}
