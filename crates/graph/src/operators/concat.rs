//! CONCAT: operands one after the other.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::{around, numel};
use crate::value::{Data, View};
use crate::wrong::{Result, operand};
use clino_domain::graph::{Concat, ValueType};

rule!(Concat);

impl Rule<'_> {
    /// One type after the other: `pick` takes the elements of operand `i`.
    fn joined<'a, T: Real, U: Copy + 'a>(
        &self,
        cx: &Context<'a, T>,
        pick: impl Fn(View<'a, T>) -> &'a [U],
    ) -> Result<Vec<U>> {
        let out = cx.out(0)?;
        let mut parts = Vec::with_capacity(cx.operands.len());
        for i in 0..cx.operands.len() {
            parts.push((pick(cx.view(i)?), numel(&cx.shape(i)?[self.axis..])));
        }
        let mut joined = Vec::with_capacity(numel(out));
        for row in 0..numel(&out[..self.axis]) {
            for (part, run) in &parts {
                joined.extend_from_slice(&part[row * run..][..*run]);
            }
        }
        Ok(joined)
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let first = cx.typed(0)?;
        let axis = cx.axis("axis", self.axis)?;
        let mut shape = first.shape.clone();
        for i in 1..cx.operands.len() {
            let own = cx.of(i, first.kind)?;
            let fits = own.len() == shape.len() && (0..own.len()).all(|j| j == axis || own[j] == shape[j]);
            let sum = own.get(axis).and_then(|own| shape[axis].checked_add(*own));
            match sum.filter(|_| fits) {
                Some(sum) => shape[axis] = sum,
                None => {
                    let expected = &first.shape;
                    return operand(i, format!("found {own:?}, expected {expected:?} but for axis {axis}"));
                }
            }
        }
        Ok(vec![Typed { kind: first.kind, shape }])
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![match cx.view(0)?.kind() {
            ValueType::Work => Data::Work(self.joined(cx, |view| match view {
                View::Work(x) => x,
                _ => &[],
            })?),
            ValueType::I64 => Data::I64(self.joined(cx, |view| match view {
                View::I64(x) => x,
                _ => &[],
            })?),
            ValueType::Bool => Data::Bool(self.joined(cx, |view| match view {
                View::Bool(x) => x,
                _ => &[],
            })?),
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let [outer, size, inner] = around(cx.out(0)?, self.axis);
        let mut first = 0;
        for i in 0..cx.operands.len() {
            let run = cx.shape(i)?[self.axis] * inner;
            if let Some(target) = grads.target(i)
                && run > 0
            {
                for row in 0..outer {
                    let d = &d[row * size * inner + first..][..run];
                    for (target, d) in target[row * run..][..run].iter_mut().zip(d) {
                        *target += *d;
                    }
                }
            }
            first += run;
        }
        Ok(())
    }
}
