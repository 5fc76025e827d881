//! PAD: more elements around.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::{numel, strides};
use crate::value::{Data, View};
use crate::wrong::{Result, attribute};
use clino_domain::graph::{Pad, PadMode};

rule!(Pad);

/// The element of the operand that each element of the result has, along one axis; `None` for the value.
type Sources = Vec<Option<usize>>;

/// Which element lies at `i`, counted from the first one of the operand.
fn source(mode: PadMode, i: i64, size: i64) -> Option<usize> {
    let within = (0..size).contains(&i);
    let at = match mode {
        _ if within => i,
        PadMode::Constant => return None,
        PadMode::Replicate => i.clamp(0, size - 1),
        PadMode::Circular => i.rem_euclid(size.max(1)),
        PadMode::Reflect => {
            let period = (2 * (size - 1)).max(1);
            let i = i.rem_euclid(period);
            i.min(period - i)
        }
    };
    usize::try_from(at).ok()
}

impl Rule<'_> {
    fn sources<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Sources>> {
        let x = cx.shape(0)?;
        let out = cx.out(0)?;
        let of = |axis: usize| -> Result<Sources> {
            let before = self.before.get(axis).map_or(Ok(0), |size| cx.size(*size))?;
            Ok((0..out[axis]).map(|i| source(self.mode, i as i64 - before, x[axis] as i64)).collect())
        };
        (0..x.len()).map(of).collect()
    }

    /// Calls `f` with each element's place in the result and in the operand.
    fn each(sources: &[Sources], shape: &[usize], mut f: impl FnMut(usize, Option<usize>)) {
        let strides = strides(shape);
        let mut places: Vec<Option<usize>> = vec![Some(0)];
        let Some((last, before)) = sources.split_last() else { return f(0, Some(0)) };
        for (axis, sources) in before.iter().enumerate() {
            let stride = strides[axis] as usize;
            let mut next = Vec::with_capacity(places.len() * sources.len());
            for at in places {
                next.extend(sources.iter().map(|i| Some(at? + (*i)? * stride)));
            }
            places = next;
        }
        for (row, at) in places.into_iter().enumerate() {
            for (i, source) in last.iter().enumerate() {
                f(row * last.len() + i, at.zip(*source).map(|(at, i)| at + i));
            }
        }
    }

    fn padded<T: Real, U: Copy>(&self, cx: &Context<'_, T>, x: &[U], value: U) -> Result<Vec<U>> {
        let mut out = vec![value; numel(cx.out(0)?)];
        Self::each(&self.sources(cx)?, cx.shape(0)?, |to, from| {
            if let Some(from) = from {
                out[to] = x[from];
            }
        });
        Ok(out)
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let mut shape = x.shape.clone();
        for (name, list) in [("before", &self.before), ("after", &self.after)] {
            if list.len() > shape.len() {
                return attribute(
                    name,
                    format!("found {} sizes, expected at most {}", list.len(), shape.len()),
                );
            }
            for (axis, size) in list.iter().enumerate() {
                let found = cx.size(name, *size)?;
                let sum = i64::try_from(shape[axis]).ok().and_then(|own| own.checked_add(found));
                match sum.and_then(|sum| usize::try_from(sum).ok()) {
                    Some(sum) => shape[axis] = sum,
                    None => {
                        return attribute(name, format!("found {found} for axis {axis} of {:?}", x.shape));
                    }
                }
            }
        }
        for (axis, (own, new)) in x.shape.iter().zip(&shape).enumerate() {
            if *new > 0 && *own == 0 && self.mode != PadMode::Constant {
                return attribute(
                    "mode",
                    format!("found axis {axis} without elements, which cannot be repeated"),
                );
            }
        }
        Ok(vec![Typed { kind: x.kind, shape }])
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let out = &cx.results[0].shape;
        let sum: usize = out.iter().sum();
        let rows = numel(&out[..out.len().saturating_sub(1)]);
        (sum + 2 * rows) * size_of::<Option<usize>>()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![match cx.view(0)? {
            View::Work(x) => Data::Work(self.padded(cx, x, T::of(self.value))?),
            View::I64(x) => Data::I64(self.padded(cx, x, self.value as i64)?),
            View::Bool(x) => Data::Bool(self.padded(cx, x, self.value != 0.0)?),
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let sources = self.sources(cx)?;
        if let Some(target) = grads.target(0) {
            Self::each(&sources, cx.shape(0)?, |from, to| {
                if let Some(to) = to {
                    target[to] += d[from];
                }
            });
        }
        Ok(())
    }
}
