//! PERMUTE: axes in another order.
//!
//! Owns: its rule. May not touch: other operators.

use super::slice::{add_strided, read_strided};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::strides;
use crate::value::{Data, Known};
use crate::walk::Strided;
use crate::wrong::{Result, attribute};
use clino_domain::graph::Permute;

rule!(Permute);

impl Rule<'_> {
    fn strided(&self, shape: &[usize]) -> Strided {
        let from = strides(shape);
        Strided {
            shape: self.axes.iter().map(|axis| shape[*axis]).collect(),
            strides: self.axes.iter().map(|axis| from[*axis]).collect(),
            offset: 0,
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let rank = x.shape.len();
        if self.axes.len() != rank || self.axes.iter().any(|axis| *axis >= rank) {
            return attribute("axes", format!("found {:?}, expected each of 0 to {rank} once", self.axes));
        }
        Ok(vec![Typed { kind: x.kind, shape: self.strided(&x.shape).shape }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        operands.first().copied()
    }

    fn alias(&self, cx: &Cost<'_>) -> bool {
        // Only axes of size 1 move.
        let kept = self.axes.iter().filter(|axis| cx.shape(0)[**axis] != 1);
        kept.is_sorted()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        read_strided(cx, &self.strided(cx.shape(0)?))
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        add_strided(cx, &self.strided(cx.shape(0)?), grads)
    }
}
