//! RMS_NORM: rows with mean square 1, times a weight.
//!
//! Owns: its rule. May not touch: other operators.

use super::layer_norm::{check, of_rows};
use crate::normal;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::Result;
use clino_domain::graph::RmsNorm;

rule!(RmsNorm);

/// No operand.
const NONE: usize = usize::MAX;

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        check(cx, self.axes, &[1])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        8.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        normal::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        if cx.back() { of_rows(cx.shape(0), self.axes, self.epsilon, false).scratch(cx.out(0)) } else { 0 }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![Data::Work(of_rows(cx.shape(0)?, self.axes, self.epsilon, false).forward(cx, 1, NONE)?)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        of_rows(cx.shape(0)?, self.axes, self.epsilon, false).backward(cx, grads, [1, NONE])
    }
}
