//! SLICE: every step-th element of an axis.
//!
//! Owns: its rule, and reading and adding through strides. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::strides;
use crate::value::{Data, View};
use crate::walk::Strided;
use crate::wrong::Result;
use clino_domain::graph::Slice;

rule!(Slice);

/// Operand 0 through strides.
pub fn read_strided<T: Real>(cx: &Context<'_, T>, strided: &Strided) -> Result<Vec<Data<T>>> {
    Ok(vec![match cx.view(0)? {
        View::Work(x) => Data::Work(strided.read(cx.threads, x)),
        View::I64(x) => Data::I64(strided.read(cx.threads, x)),
        View::Bool(x) => Data::Bool(strided.read(cx.threads, x)),
    }])
}

/// The reverse of [`read_strided`].
pub fn add_strided<T: Real>(
    cx: &Context<'_, T>,
    strided: &Strided,
    grads: &mut Gradients<'_, T>,
) -> Result<()> {
    if let Some(target) = grads.target(0) {
        strided.add(cx.d()?, target);
    }
    Ok(())
}

/// A bound of a slice as an index of an axis of `size` elements.
fn bound(found: i64, size: usize) -> usize {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let from_start = if found < 0 { found.saturating_add(size) } else { found };
    from_start.clamp(0, size) as usize
}

impl Rule<'_> {
    fn bounds(&self, start: i64, end: Option<i64>, size: usize) -> (usize, usize) {
        let start = bound(start, size);
        let end = end.map_or(size, |end| bound(end, size));
        let step = usize::try_from(self.step.max(1)).unwrap_or(usize::MAX);
        (start, end.saturating_sub(start).div_ceil(step))
    }

    fn strided<T: Real>(&self, cx: &Context<'_, T>) -> Result<Strided> {
        let shape = cx.shape(0)?;
        let end = self.end.map(|end| cx.size(end)).transpose()?;
        let (start, _) = self.bounds(cx.size(self.start)?, end, shape[self.axis]);
        let mut strides = strides(shape);
        let offset = strides[self.axis] * start as isize;
        strides[self.axis] =
            strides[self.axis].saturating_mul(isize::try_from(self.step).unwrap_or(isize::MAX));
        Ok(Strided { shape: cx.out(0)?.to_vec(), strides, offset })
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let axis = cx.axis("axis", self.axis)?;
        let end = self.end.map(|end| cx.size("end", end)).transpose()?;
        let mut shape = x.shape.clone();
        (_, shape[axis]) = self.bounds(cx.size("start", self.start)?, end, shape[axis]);
        Ok(vec![Typed { kind: x.kind, shape }])
    }

    fn alias(&self, cx: &Cost<'_>) -> bool {
        cx.numel(0) == cx.out(0)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        cx.out(0) as f64
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        read_strided(cx, &self.strided(cx)?)
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        add_strided(cx, &self.strided(cx)?, grads)
    }
}
