//! WHERE: one of two operands, element by element.
//!
//! Owns: its rule. May not touch: other operators.

use super::binary::{together, wider};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::{broadcast_strides, numel};
use crate::sums;
use crate::value::{Data, Known};
use crate::walk::Walk;
use crate::wrong::Result;
use clino_domain::graph::{ValueType, Where};

rule!(Where);

/// Picks from two tensors by a condition; all three broadcast to `to`.
fn pick<A: Copy + Default + Send + Sync>(
    threads: usize,
    condition: (&[bool], &[usize]),
    [a, b]: [(&[A], &[usize]); 2],
    to: &[usize],
) -> Vec<A> {
    let strides = [condition.1, a.1, b.1].map(|shape| broadcast_strides(shape, to));
    let walk = Walk::new(to, [&strides[0], &strides[1], &strides[2]]);
    let mut out = vec![A::default(); numel(to)];
    let step = walk.step;
    walk.fill(threads, &mut out, |at, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let place = |n: usize| (at[n] + i as isize * step[n]) as usize;
            *out = if condition.0[place(0)] { a.0[place(1)] } else { b.0[place(2)] };
        }
    });
    out
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.of(0, ValueType::Bool)?;
        let kind = wider(cx.typed(1)?.kind, cx.typed(2)?.kind);
        Ok(vec![Typed { kind, shape: together(cx, &[0, 1, 2])? }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        let [Known::Bool(condition), a, b] = operands else { return None };
        let chosen = if *condition { a } else { b };
        Some(match wider(a.kind(), b.kind()) {
            ValueType::Work => Known::Work(chosen.wide()),
            ValueType::I64 => Known::I64(chosen.integer()?),
            ValueType::Bool => *chosen,
        })
    }

    fn passes(&self, operand: usize) -> bool {
        operand > 0
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Operand(0)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let converted = |i: usize| match cx.operands.get(i).copied().flatten() {
            Some(typed) if !cx.back() && typed.kind != cx.results[0].kind => cx.numel(i) * cx.size.max(8),
            _ => 0,
        };
        let back = |i: usize| match cx.wants(i) {
            true => sums::scratch(&cx.results[0].shape, cx.shape(i)) + cx.out(0) * cx.size,
            false => 0,
        };
        converted(1) + converted(2) + back(1).max(back(2))
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let chosen = cx.view(0)?.to_bool();
        let condition = (&*chosen, cx.shape(0)?);
        let [a, b] = [cx.view(1)?, cx.view(2)?];
        let [of_a, of_b] = [cx.shape(1)?, cx.shape(2)?];
        let to = cx.out(0)?;
        Ok(vec![match wider(a.kind(), b.kind()) {
            ValueType::Work => {
                Data::Work(pick(cx.threads, condition, [(&a.to_work(), of_a), (&b.to_work(), of_b)], to))
            }
            ValueType::I64 => {
                Data::I64(pick(cx.threads, condition, [(&a.to_i64(), of_a), (&b.to_i64(), of_b)], to))
            }
            ValueType::Bool => {
                Data::Bool(pick(cx.threads, condition, [(&a.to_bool(), of_a), (&b.to_bool(), of_b)], to))
            }
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let chosen = cx.view(0)?.to_bool();
        let condition = (&*chosen, cx.shape(0)?);
        let to = cx.out(0)?;
        let none = [T::ZERO];
        let zero: (&[T], &[usize]) = (&none, &[]);
        for i in [1, 2] {
            let own = cx.shape(i)?;
            if let Some(target) = grads.target(i) {
                let d = (cx.d()?, to);
                let part = pick(cx.threads, condition, if i == 1 { [d, zero] } else { [zero, d] }, to);
                sums::add_broadcast(cx.threads, &part, to, target, own);
            }
        }
        Ok(())
    }
}
