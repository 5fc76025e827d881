//! RESHAPE: another shape of as many elements.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::{checked_numel, numel};
use crate::value::{Data, Known, View};
use crate::wrong::{Result, attribute};
use clino_domain::graph::Reshape;

rule!(Reshape);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let have = numel(&x.shape);
        let sizes = self.shape.iter().map(|size| cx.size("shape", *size)).collect::<Result<Vec<_>>>()?;
        let free = sizes.iter().filter(|size| **size == -1).count();
        let wrong =
            || attribute("shape", format!("found {sizes:?}, expected {have} elements as {:?} has", x.shape));
        if free > 1 || sizes.iter().any(|size| *size < -1) {
            return wrong();
        }
        let given: Vec<usize> = sizes.iter().filter(|size| **size >= 0).map(|size| *size as usize).collect();
        let rest = match checked_numel(&given) {
            Some(given) if free == 0 && given == have => 1,
            Some(given) if free == 1 && given > 0 && have.is_multiple_of(given) => have / given,
            _ => return wrong(),
        };
        let shape = sizes.iter().map(|size| if *size < 0 { rest } else { *size as usize }).collect();
        Ok(vec![Typed { kind: x.kind, shape }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        operands.first().copied()
    }

    fn alias(&self, _cx: &Cost<'_>) -> bool {
        true
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![copied(cx.view(0)?)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        if let Some(target) = grads.target(0) {
            parallel::add(cx.threads, target, cx.d()?);
        }
        Ok(())
    }
}

/// The same elements once more.
pub fn copied<T: Real>(x: View<'_, T>) -> Data<T> {
    match x {
        View::Work(x) => Data::Work(x.to_vec()),
        View::I64(x) => Data::I64(x.to_vec()),
        View::Bool(x) => Data::Bool(x.to_vec()),
    }
}
