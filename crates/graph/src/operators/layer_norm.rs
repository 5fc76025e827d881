//! LAYER_NORM: rows with mean 0 and variance 1, times a weight, plus a bias.
//!
//! Owns: its rule. May not touch: other operators.

use crate::normal::{self, Normal};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::LayerNorm;

rule!(LayerNorm);

/// The last `axes` axes of operand 0, and that weights fit them.
pub fn check(cx: &Infer<'_>, axes: usize, weights: &[usize]) -> Result<Vec<Typed>> {
    let x = cx.work(0)?;
    if axes == 0 || axes > x.len() {
        return attribute(
            "axes",
            format!("found {axes}, expected 1 to {}, the axes of the operand", x.len()),
        );
    }
    let expected = &x[x.len() - axes..];
    for i in weights.iter().copied().filter(|i| cx.has(*i)) {
        if cx.work(i)? != expected {
            return operand(i, format!("found {:?}, expected {expected:?}", cx.work(i)?));
        }
    }
    Ok(vec![Typed::work(x)])
}

/// How rows of the last `axes` axes are normalized.
pub fn of_rows(shape: &[usize], axes: usize, epsilon: f64, centered: bool) -> Normal {
    let width = numel(&shape[shape.len() - axes..]);
    Normal { width, epsilon, centered, period: 1, spread: 1 }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        check(cx, self.axes, &[1, 2])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        8.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        normal::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        if cx.back() { of_rows(cx.shape(0), self.axes, self.epsilon, true).scratch(cx.out(0)) } else { 0 }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![Data::Work(of_rows(cx.shape(0)?, self.axes, self.epsilon, true).forward(cx, 1, 2)?)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        of_rows(cx.shape(0)?, self.axes, self.epsilon, true).backward(cx, grads, [1, 2])
    }
}
