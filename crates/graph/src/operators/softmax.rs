//! SOFTMAX: shares that sum to one along an axis, or their logarithms.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::{around, numel};
use crate::value::Data;
use crate::wrong::Result;
use clino_domain::graph::Softmax;

rule!(Softmax);

/// Calls `f` with each run of `size * inner` elements of both and its lanes: `inner` of them, `inner` elements apart.
fn lanes<T: Real>(
    threads: usize,
    shape: [usize; 3],
    target: &mut [T],
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    let [_, size, inner] = shape;
    let block = size * inner;
    if block > 0 {
        parallel::pieces(threads, target, parallel::rows(block) * block, |first, target| {
            for (i, target) in target.chunks_mut(block).enumerate() {
                f(first + i * block, target);
            }
        });
    }
}

impl Rule<'_> {
    /// One lane of `x` in steps of `step` into the same of `out`.
    fn lane<T: Real>(&self, x: &[T], out: &mut [T], step: usize) {
        let most = x.iter().step_by(step).fold(f64::NEG_INFINITY, |most, x| most.max(x.wide()));
        // A lane of -∞ gives NaN, as in torch.
        let sum: f64 = x.iter().step_by(step).map(|x| (x.wide() - most).exp()).sum();
        let log = sum.ln();
        for (out, x) in out.iter_mut().step_by(step).zip(x.iter().step_by(step)) {
            let above = x.wide() - most;
            *out = T::of(if self.log { above - log } else { above.exp() / sum });
        }
    }

    fn back_lane<T: Real>(&self, y: &[T], d: &[T], target: &mut [T], step: usize) {
        let pairs = || y.iter().step_by(step).zip(d.iter().step_by(step));
        let sum: f64 = match self.log {
            true => pairs().map(|(_, d)| d.wide()).sum(),
            false => pairs().map(|(y, d)| y.wide() * d.wide()).sum(),
        };
        for (target, (y, d)) in target.iter_mut().step_by(step).zip(pairs()) {
            *target += T::of(match self.log {
                true => d.wide() - y.wide().exp() * sum,
                false => y.wide() * (d.wide() - sum),
            });
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.axis("axis", self.axis)?;
        Ok(vec![Typed::work(cx.work(0)?)])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        16.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Result(0)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let x = cx.work(0)?;
        let shape = around(cx.shape(0)?, self.axis);
        let [_, _, inner] = shape;
        let mut out = vec![T::ZERO; numel(cx.shape(0)?)];
        lanes(cx.threads, shape, &mut out, |first, out| {
            let x = &x[first..][..out.len()];
            (0..inner).for_each(|i| self.lane(&x[i..], &mut out[i..], inner));
        });
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let shape = around(cx.out(0)?, self.axis);
        let [_, _, inner] = shape;
        let y = cx.result(0)?;
        let d = cx.d()?;
        if let Some(target) = grads.target(0) {
            lanes(cx.threads, shape, target, |first, target| {
                let y = &y[first..][..target.len()];
                let d = &d[first..][..target.len()];
                (0..inner).for_each(|i| self.back_lane(&y[i..], &d[i..], &mut target[i..], inner));
            });
        }
        Ok(())
    }
}
