//! COUNT: how often each number occurs.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Infer, Operation, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::Result;
use clino_domain::graph::{Count, ValueType};

rule!(Count);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.of(0, ValueType::I64)?;
        Ok(vec![Typed { kind: ValueType::I64, shape: vec![cx.count("bins", self.bins)?] }])
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let mut counts = vec![0i64; cx.out(0)?[0]];
        for x in cx.i64(0)? {
            if let Some(count) = usize::try_from(*x).ok().and_then(|x| counts.get_mut(x)) {
                *count += 1;
            }
        }
        Ok(vec![Data::I64(counts)])
    }
}
