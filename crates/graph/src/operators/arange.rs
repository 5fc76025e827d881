//! ARANGE: numbers at equal distances.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Infer, Operation, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::{Result, attribute};
use clino_domain::graph::{Arange, ValueType};

rule!(Arange);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let start = i128::from(cx.size("start", self.start)?);
        let end = i128::from(cx.size("end", self.end)?);
        let step = i128::from(cx.size("step", self.step)?);
        if step == 0 {
            return attribute("step", "found 0, expected another number");
        }
        let count = ((end - start) + step - step.signum()) / step;
        let Ok(count) = usize::try_from(count.max(0)) else {
            return attribute("end", format!("found {count} numbers, which overflow"));
        };
        let kind = if self.work { ValueType::Work } else { ValueType::I64 };
        Ok(vec![Typed { kind, shape: vec![count] }])
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let start = cx.size(self.start)?;
        let step = cx.size(self.step)?;
        let numbers = (0..cx.out(0)?[0]).map(|i| start.wrapping_add(step.wrapping_mul(i as i64)));
        Ok(vec![match self.work {
            true => Data::Work(numbers.map(|x| T::of(x as f64)).collect()),
            false => Data::I64(numbers.collect()),
        }])
    }
}
