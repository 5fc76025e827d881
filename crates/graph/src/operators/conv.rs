//! CONV: convolution over one to three spatial axes, and its transpose, by products with unfolded windows.
//!
//! Owns: its rule. May not touch: other operators.

use super::window::at;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::product;
use crate::real::Real;
use crate::unfold::{Axis, Geometry};
use crate::value::Data;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::Conv;

rule!(Conv);

impl Rule<'_> {
    /// One spatial axis of `size` elements, and the size of the result; `None` where its numbers fit no kernel.
    fn axis(&self, axis: usize, size: usize, kernel: usize) -> Option<(Axis, usize)> {
        let stride = at(&self.stride, axis, 1).filter(|stride| *stride > 0)?;
        let dilation = at(&self.dilation, axis, 1).filter(|dilation| *dilation > 0)?;
        let before = at(&self.before, axis, 0)?;
        let after = at(&self.after, axis, 0)?;
        let span = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
        if self.transposed {
            let extra = at(&self.output_padding, axis, 0)?;
            let full = size.checked_sub(1)?.checked_mul(stride)?.checked_add(span)?.checked_add(extra)?;
            let out = full.checked_sub(before.checked_add(after)?)?;
            return Some((Axis { x: out, y: size, kernel, stride, before, dilation }, out));
        }
        let out = size.checked_add(before)?.checked_add(after)?.checked_sub(span)? / stride + 1;
        Some((Axis { x: size, y: out, kernel, stride, before, dilation }, out))
    }

    /// The convolution whose forward this is, or whose reverse where it is transposed; and the shape of the result.
    fn geometry(&self, x: &[usize], w: &[usize]) -> Option<(Geometry, Vec<usize>)> {
        let rank = x.len();
        let groups = usize::try_from(self.groups).ok()?;
        if !(3..=5).contains(&rank) || w.len() != rank || !(1..=x[1].max(1)).contains(&groups) {
            return None;
        }
        let mut axes = [Axis::default(); 3];
        let mut spatial = Vec::new();
        for axis in 2..rank {
            let (one, out) = self.axis(axis - 2, x[axis], w[axis])?;
            axes[axis + 3 - rank] = one;
            spatial.push(out);
        }
        let own = x[1];
        let fits = match self.transposed {
            false => w[1].checked_mul(groups)? == own && w[0].is_multiple_of(groups),
            true => w[0] == own && own.is_multiple_of(groups),
        };
        let other = if self.transposed { w[1].checked_mul(groups)? } else { w[0] };
        let [inputs, outputs] = if self.transposed { [other, own] } else { [own, other] };
        let geometry = Geometry { batch: x[0], inputs, outputs, groups, axes };
        fits.then(|| (geometry, [&[x[0], other], spatial.as_slice()].concat()))
    }

    fn of<T: Real>(&self, cx: &Context<'_, T>) -> Result<Geometry> {
        match self.geometry(cx.shape(0)?, cx.shape(1)?) {
            Some((geometry, _)) => Ok(geometry),
            None => operand(1, "found a shape that does not fit"),
        }
    }
}

/// Adds each channel's bias.
fn add_bias<T: Real>(out: &mut [T], bias: &[T], plane: usize) {
    if plane > 0 {
        for (out, bias) in out.chunks_mut(plane).zip(bias.iter().cycle()) {
            out.iter_mut().for_each(|out| *out += *bias);
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let lists = [&self.stride, &self.before, &self.after, &self.dilation, &self.output_padding];
        let spatial = x.len().saturating_sub(2);
        if lists.iter().any(|list| list.len() > 1 && list.len() != spatial) {
            return attribute(
                "stride",
                format!("found lists of other lengths, expected {spatial} numbers each"),
            );
        }
        let Some((_, shape)) = self.geometry(x, w) else {
            let expected = if self.transposed {
                "[in, out / groups, kernel...]"
            } else {
                "[out, in / groups, kernel...]"
            };
            let description = format!(
                "found {w:?} for {x:?} with stride {:?}, padding {:?} and {:?}, dilation {:?}, groups {}; expected \
                 {expected} that fits [batch, in, spatial...]",
                self.stride, self.before, self.after, self.dilation, self.groups
            );
            return operand(1, description);
        };
        if cx.has(2) && cx.work(2)? != [shape[1]] {
            return operand(2, format!("found {:?}, expected [{}]", cx.work(2)?, shape[1]));
        }
        Ok(vec![Typed::work(shape)])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        let Some((geometry, _)) = self.geometry(cx.shape(0), cx.shape(1)) else { return 0.0 };
        geometry.work()
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        product::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let Some((geometry, _)) = self.geometry(cx.shape(0), cx.shape(1)) else { return 0 };
        geometry.scratch(cx.size, cx.threads)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let geometry = self.of(cx)?;
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let mut out = vec![T::ZERO; crate::shape::numel(cx.out(0)?)];
        match self.transposed {
            false => geometry.forward(cx.threads, x, w, &mut out),
            true => geometry.back_input(cx.threads, x, w, &mut out),
        }
        if cx.has(2) {
            add_bias(&mut out, cx.work(2)?, crate::shape::numel(&cx.out(0)?[2..]));
        }
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let geometry = self.of(cx)?;
        let d = cx.d()?;
        if let Some(target) = grads.target(0) {
            let w = cx.work(1)?;
            match self.transposed {
                false => geometry.back_input(cx.threads, d, w, target),
                true => geometry.forward(cx.threads, d, w, target),
            }
        }
        if let Some(target) = grads.target(1) {
            let x = cx.work(0)?;
            match self.transposed {
                false => geometry.back_weight(cx.threads, x, d, target),
                true => geometry.back_weight(cx.threads, d, x, target),
            }
        }
        let plane = crate::shape::numel(&cx.out(0)?[2..]);
        if let Some(target) = grads.target(2) {
            let channels = target.len();
            for (channel, target) in target.iter_mut().enumerate() {
                let runs = d.chunks(plane.max(1)).skip(channel).step_by(channels);
                *target += T::of(runs.map(crate::sums::sum).sum());
            }
        }
        Ok(())
    }
}
