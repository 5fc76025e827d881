//! GATHER: elements chosen by indices.
//!
//! Owns: its rule. May not touch: other operators.

use super::selection::Chooser;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::{numel, strides};
use crate::value::{Data, View};
use crate::wrong::Result;
use clino_domain::graph::Gather;

rule!(Gather);

impl Rule<'_> {
    fn chooser(&self) -> Chooser<'_> {
        Chooser { mode: self.mode, axes: &self.axes, first: 1 }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        Ok(vec![Typed { kind: cx.typed(0)?.kind, shape: self.chooser().shape(cx)? }])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * cx.out(0) as f64
    }

    fn passes(&self, operand: usize) -> bool {
        operand == 0
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        matches!(what, Read::Operand(i) if i > 0)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        self.chooser().scratch(&cx.operands)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let selection = self.chooser().select(cx)?;
        Ok(vec![match cx.view(0)? {
            View::Work(x) => Data::Work(selection.read(cx.threads, x)),
            View::I64(x) => Data::I64(selection.read(cx.threads, x)),
            View::Bool(x) => Data::Bool(selection.read(cx.threads, x)),
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        if let Some(target) = grads.target(0) {
            let shape = cx.shape(0)?;
            let size = shape[self.axes[0]] as i64;
            let padding = self.padding_index.map(|i| if i < 0 { i.saturating_add(size) } else { i });
            let row = strides(shape)[self.axes[0]] as usize;
            let skip = padding.and_then(|i| usize::try_from(i).ok()).and_then(|i| i.checked_mul(row));
            self.chooser().select(cx)?.add(cx.d()?, target, skip);
            debug_assert_eq!(target.len(), numel(shape));
        }
        Ok(())
    }
}
