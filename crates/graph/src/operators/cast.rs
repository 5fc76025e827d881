//! CAST: another type.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Typed};
use crate::parallel;
use crate::real::Real;
use crate::value::{Data, Known};
use crate::wrong::Result;
use clino_domain::graph::{Cast, ValueType};

rule!(Cast);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        Ok(vec![Typed { kind: self.to, shape: cx.shape(0)?.to_vec() }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        let x = operands.first()?;
        Some(match self.to {
            ValueType::Work => Known::Work(x.wide()),
            ValueType::I64 => Known::I64(x.integer().unwrap_or(x.wide() as i64)),
            ValueType::Bool => Known::Bool(x.wide() != 0.0),
        })
    }

    fn alias(&self, cx: &Cost<'_>) -> bool {
        cx.operands.first().copied().flatten().is_some_and(|typed| typed.kind == self.to)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let x = cx.view(0)?;
        Ok(vec![match self.to {
            ValueType::Work => Data::Work(x.to_work().into_owned()),
            ValueType::I64 => Data::I64(x.to_i64().into_owned()),
            ValueType::Bool => Data::Bool(x.to_bool().into_owned()),
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        if let Some(target) = grads.target(0) {
            parallel::add(cx.threads, target, cx.d()?);
        }
        Ok(())
    }
}
