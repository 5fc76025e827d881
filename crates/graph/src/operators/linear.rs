//! LINEAR: x wᵀ + b.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::product::{self, matrix};
use crate::real::Real;
use crate::shape::numel;
use crate::sums::add_columns;
use crate::value::Data;
use crate::wrong::{Result, operand};
use clino_domain::graph::Linear;

rule!(Linear);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let Some((width, batch)) = x.split_last() else {
            return operand(0, "found a scalar, expected [..., in]");
        };
        let [outputs, inputs] = w else {
            return operand(1, format!("found {w:?} for {x:?}, expected [out, in]"));
        };
        if width != inputs {
            return operand(1, format!("found {w:?}, expected [out, {width}] for {x:?}"));
        }
        if cx.has(2) && cx.work(2)? != [*outputs] {
            return operand(2, format!("found {:?}, expected [{outputs}]", cx.work(2)?));
        }
        Ok(vec![Typed::work([batch, &[*outputs]].concat())])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * cx.out(0) as f64 * cx.shape(1).last().copied().unwrap_or(0) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        product::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let [outputs, inputs] = [cx.shape(1)[0], cx.shape(1)[1]];
        let rows = cx.numel(0) / inputs.max(1);
        match cx.back() {
            false => product::scratch(rows, outputs, inputs, cx.size),
            true => product::scratch(rows, inputs, outputs, cx.size)
                .max(product::scratch(outputs, inputs, rows, cx.size)),
        }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let [outputs, inputs] = [cx.shape(1)?[0], cx.shape(1)?[1]];
        let mut out = vec![T::ZERO; numel(cx.out(0)?)];
        let rows = out.len() / outputs.max(1);
        let bias = if cx.has(2) { Some(cx.work(2)?) } else { None };
        if let Some(bias) = bias {
            out.chunks_mut(outputs.max(1)).for_each(|out| out.copy_from_slice(bias));
        }
        let how = if bias.is_some() { product::add(cx.threads) } else { product::set(cx.threads) };
        product::multiply(&mut out, matrix(x, rows, inputs), matrix(w, outputs, inputs).t(), how);
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let [outputs, inputs] = [cx.shape(1)?[0], cx.shape(1)?[1]];
        let rows = d.len() / outputs.max(1);
        let d_matrix = matrix(d, rows, outputs);
        if let Some(target) = grads.target(0) {
            product::multiply(
                target,
                d_matrix,
                matrix(cx.work(1)?, outputs, inputs),
                product::add(cx.threads),
            );
        }
        if let Some(target) = grads.target(1) {
            product::multiply(
                target,
                d_matrix.t(),
                matrix(cx.work(0)?, rows, inputs),
                product::add(cx.threads),
            );
        }
        if let Some(target) = grads.target(2) {
            add_columns(cx.threads, target, rows, |row, column| d[row * outputs + column].wide());
        }
        Ok(())
    }
}
