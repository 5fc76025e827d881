//! GROUP_NORM: groups of channels with mean 0 and variance 1, times a weight, plus a bias.
//!
//! Owns: its rule. May not touch: other operators.

use super::batch_norm::channels;
use crate::normal::{self, Normal};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use crate::wrong::{Result, attribute};
use clino_domain::graph::GroupNorm;

rule!(GroupNorm);

impl Rule<'_> {
    fn normal(&self, shape: &[usize]) -> Normal {
        let groups = self.groups as usize;
        let spread = numel(&shape[2..]);
        let width = shape[1] / groups * spread;
        Normal { width, epsilon: self.epsilon, centered: true, period: groups, spread: spread.max(1) }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let channels = channels(cx, 1..=2)?;
        let groups = usize::try_from(self.groups).unwrap_or(usize::MAX);
        if groups == 0 || channels % groups != 0 {
            return attribute(
                "groups",
                format!("found {groups}, expected a divisor of the {channels} channels"),
            );
        }
        Ok(vec![Typed::work(cx.work(0)?)])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        8.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        normal::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        if cx.back() { self.normal(cx.shape(0)).scratch(cx.out(0)) } else { 0 }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![Data::Work(self.normal(cx.shape(0)?).forward(cx, 1, 2)?)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        self.normal(cx.shape(0)?).backward(cx, grads, [1, 2])
    }
}
