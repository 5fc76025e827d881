//! DIM: the size of an axis.
//!
//! Owns: its rule; the size itself is worked out with the shapes. May not touch: other operators.

use crate::operation::{Context, Infer, Operation, Typed};
use crate::real::Real;
use crate::value::Data;
use crate::wrong::Result;
use clino_domain::graph::{Dim, ValueType};

rule!(Dim);

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.axis("axis", self.axis)?;
        Ok(vec![Typed { kind: ValueType::I64, shape: Vec::new() }])
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        Ok(vec![Data::I64(vec![cx.shape(0)?[self.axis] as i64])])
    }
}
