//! TOP_K: the k greatest or least along an axis, and where they were.
//!
//! Owns: its rule. May not touch: other operators.

use super::sort::Ordered;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::{Result, attribute};
use clino_domain::graph::TopK;

rule!(TopK);

impl Rule<'_> {
    fn ordered(&self, count: usize) -> Ordered {
        Ordered { axis: self.axis, count, falling: !self.least }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let axis = cx.axis("axis", self.axis)?;
        let x = cx.typed(0)?;
        let k = cx.count("k", self.k)?;
        if k > x.shape[axis] {
            return attribute(
                "k",
                format!("found {k}, expected at most the {} elements of the axis", x.shape[axis]),
            );
        }
        Ok(self.ordered(k).typed(x))
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        cx.numel(0) as f64 * 64.0
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Result(1)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        self.ordered(0).scratch(cx.shape(0))
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        self.ordered(cx.out(0)?[self.axis]).forward(cx)
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        self.ordered(cx.out(0)?[self.axis]).backward(cx, grads)
    }
}
