//! FLIP: axes reversed.
//!
//! Owns: its rule. May not touch: other operators.

use super::slice::{add_strided, read_strided};
use crate::operation::{Context, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::strides;
use crate::value::Data;
use crate::walk::Strided;
use crate::wrong::Result;
use clino_domain::graph::Flip;

rule!(Flip);

impl Rule<'_> {
    fn strided(&self, shape: &[usize]) -> Strided {
        let mut strides = strides(shape);
        let mut offset = 0;
        for axis in &self.axes {
            offset += strides[*axis] * (shape[*axis] as isize - 1).max(0);
            strides[*axis] = -strides[*axis];
        }
        Strided { shape: shape.to_vec(), strides, offset }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        for axis in &self.axes {
            cx.axis("axes", *axis)?;
        }
        Ok(vec![cx.typed(0)?.clone()])
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        read_strided(cx, &self.strided(cx.shape(0)?))
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        add_strided(cx, &self.strided(cx.shape(0)?), grads)
    }
}
