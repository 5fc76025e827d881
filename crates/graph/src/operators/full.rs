//! FULL: one value everywhere.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Gradients, Infer, Operation, Typed};
use crate::real::Real;
use crate::shape::numel;
use crate::sums;
use crate::value::{Data, Known};
use crate::wrong::{Result, operand};
use clino_domain::graph::{Full, ValueType};

rule!(Full);

impl Rule<'_> {
    fn known(&self, x: f64) -> Known {
        match self.of {
            ValueType::Work => Known::Work(x),
            ValueType::I64 => Known::I64(x as i64),
            ValueType::Bool => Known::Bool(x != 0.0),
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        if cx.has(0) && numel(cx.shape(0)?) != 1 {
            return operand(0, format!("found {:?}, expected a scalar", cx.shape(0)?));
        }
        let shape = self.shape.iter().map(|size| cx.count("shape", *size)).collect::<Result<Vec<_>>>()?;
        Ok(vec![Typed { kind: self.of, shape }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        Some(match operands.first() {
            Some(Known::I64(x)) if self.of == ValueType::I64 => Known::I64(*x),
            Some(x) => self.known(x.wide()),
            None => self.known(self.value),
        })
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let n = numel(cx.out(0)?);
        let given = if cx.has(0) { Some(cx.view(0)?) } else { None };
        Ok(vec![match self.of {
            ValueType::Work => {
                let value = given.and_then(|view| view.to_work().first().copied());
                Data::Work(vec![value.unwrap_or(T::of(self.value)); n])
            }
            ValueType::I64 => {
                let value = given.and_then(|view| view.to_i64().first().copied());
                Data::I64(vec![value.unwrap_or(self.value as i64); n])
            }
            ValueType::Bool => {
                let value = given.and_then(|view| view.to_bool().first().copied());
                Data::Bool(vec![value.unwrap_or(self.value != 0.0); n])
            }
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        if let Some([target, ..]) = grads.target(0) {
            *target += T::of(sums::sum(cx.d()?));
        }
        Ok(())
    }
}
