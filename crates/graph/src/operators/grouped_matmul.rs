//! GROUPED_MATMUL: groups of rows, each multiplied by a matrix of its own: experts.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::product::{self, matrix};
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::wrong::{Result, operand};
use clino_domain::graph::{GroupedMatMul, ValueType};
use std::ops::Range;

rule!(GroupedMatMul);

/// Rows of each group.
fn groups<T: Real>(cx: &Context<'_, T>) -> Result<Vec<Range<usize>>> {
    let rows = cx.shape(0)?[0];
    let mut first = 0;
    let mut groups = Vec::new();
    for (i, end) in cx.i64(2)?.iter().enumerate() {
        match usize::try_from(*end) {
            Ok(end) if end >= first && end <= rows => groups.push(first..end),
            _ => {
                return operand(
                    2,
                    format!("found {end} as the end of group {i}, expected {first} to {rows}"),
                );
            }
        }
        first = groups[i].end;
    }
    Ok(groups)
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let ends = cx.of(2, ValueType::I64)?;
        match (x, w, ends) {
            ([rows, inputs], [groups, own, outputs], [ends]) if inputs == own && groups == ends => {
                Ok(vec![Typed::work([*rows, *outputs])])
            }
            _ => {
                let expected = "expected [rows, in], [groups, in, out] and [groups]";
                operand(1, format!("found {x:?}, {w:?} and {ends:?}, {expected}"))
            }
        }
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * cx.out(0) as f64 * cx.shape(1)[1] as f64
    }

    fn passes(&self, operand: usize) -> bool {
        operand < 2
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Operand(2) || product::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let [rows, inputs, outputs] = [cx.shape(0)[0], cx.shape(1)[1], cx.shape(1)[2]];
        product::scratch(rows, outputs, inputs, cx.size)
            .max(product::scratch(rows, inputs, outputs, cx.size))
            .max(product::scratch(inputs, outputs, rows, cx.size))
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let x = cx.work(0)?;
        let w = cx.work(1)?;
        let [inputs, outputs] = [cx.shape(1)?[1], cx.shape(1)?[2]];
        let mut out = vec![T::ZERO; numel(cx.out(0)?)];
        for (i, rows) in groups(cx)?.into_iter().enumerate() {
            let x = matrix(&x[rows.start * inputs..], rows.len(), inputs);
            let w = matrix(&w[i * inputs * outputs..], inputs, outputs);
            product::multiply(&mut out[rows.start * outputs..], x, w, product::set(cx.threads));
        }
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let [inputs, outputs] = [cx.shape(1)?[1], cx.shape(1)?[2]];
        let groups = groups(cx)?;
        let part = |rows: &Range<usize>| matrix(&d[rows.start * outputs..], rows.len(), outputs);
        if let Some(target) = grads.target(0) {
            let w = cx.work(1)?;
            for (i, rows) in groups.iter().enumerate() {
                let w = matrix(&w[i * inputs * outputs..], inputs, outputs);
                product::multiply(
                    &mut target[rows.start * inputs..],
                    part(rows),
                    w.t(),
                    product::add(cx.threads),
                );
            }
        }
        if let Some(target) = grads.target(1) {
            let x = cx.work(0)?;
            for (i, rows) in groups.iter().enumerate() {
                let x = matrix(&x[rows.start * inputs..], rows.len(), inputs);
                product::multiply(
                    &mut target[i * inputs * outputs..],
                    x.t(),
                    part(rows),
                    product::add(cx.threads),
                );
            }
        }
        Ok(())
    }
}
