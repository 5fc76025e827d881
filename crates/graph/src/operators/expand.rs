//! EXPAND: repeated along axes of size 1.
//!
//! Owns: its rule. May not touch: other operators.

use super::slice::read_strided;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::broadcast_strides;
use crate::sums;
use crate::value::{Data, Known};
use crate::walk::Strided;
use crate::wrong::{Result, attribute};
use clino_domain::graph::Expand;

rule!(Expand);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let Some(new) = self.shape.len().checked_sub(x.shape.len()) else {
            let description =
                format!("found {} axes, expected at least those of {:?}", self.shape.len(), x.shape);
            return attribute("shape", description);
        };
        let mut shape = Vec::with_capacity(self.shape.len());
        for (i, size) in self.shape.iter().enumerate() {
            let found = cx.size("shape", *size)?;
            let own = i.checked_sub(new).map(|i| x.shape[i]);
            shape.push(match (own, usize::try_from(found)) {
                (Some(own), _) if found == -1 || found == own as i64 => own,
                (Some(1) | None, Ok(size)) => size,
                _ => {
                    let description =
                        format!("found {found} as axis {i}, which {:?} does not repeat to", x.shape);
                    return attribute("shape", description);
                }
            });
        }
        Ok(vec![Typed { kind: x.kind, shape }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        operands.first().copied()
    }

    fn alias(&self, cx: &Cost<'_>) -> bool {
        cx.numel(0) == cx.out(0)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        cx.out(0) as f64
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        if cx.back() { sums::scratch(&cx.results[0].shape, cx.shape(0)) } else { 0 }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let to = cx.out(0)?;
        let strides = broadcast_strides(cx.shape(0)?, to);
        read_strided(cx, &Strided { shape: to.to_vec(), strides, offset: 0 })
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        if let Some(target) = grads.target(0) {
            sums::add_broadcast(cx.threads, cx.d()?, cx.out(0)?, target, cx.shape(0)?);
        }
        Ok(())
    }
}
