//! COMPARE: a question about two operands, element by element.
//!
//! Owns: its rule. May not touch: other operators.

use super::binary::{together, wider, zip};
use crate::operation::{Context, Cost, Infer, Operation, Typed};
use crate::real::Real;
use crate::value::{Data, Known};
use crate::wrong::Result;
use clino_domain::graph::{Compare, CompareKind, ValueType};

rule!(Compare);

fn holds<A: PartialOrd>(kind: CompareKind, a: A, b: A) -> bool {
    match kind {
        CompareKind::Eq => a == b,
        CompareKind::Ne => a != b,
        CompareKind::Lt => a < b,
        CompareKind::Le => a <= b,
        CompareKind::Gt => a > b,
        CompareKind::Ge => a >= b,
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        Ok(vec![Typed { kind: ValueType::Bool, shape: together(cx, &[0, 1])? }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        let [a, b] = operands else { return None };
        Some(Known::Bool(match (a.integer(), b.integer()) {
            (Some(a), Some(b)) => holds(self.kind, a, b),
            _ => holds(self.kind, a.wide(), b.wide()),
        }))
    }

    fn passes(&self, _operand: usize) -> bool {
        false
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let kinds: Vec<_> = cx.operands.iter().flatten().map(|typed| typed.kind).collect();
        let mixed = kinds.windows(2).any(|pair| pair[0] != pair[1]) || kinds.contains(&ValueType::Bool);
        if mixed { (cx.numel(0) + cx.numel(1)) * size_of::<i64>() } else { 0 }
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let [a, b] = [cx.view(0)?, cx.view(1)?];
        let shapes = [cx.shape(0)?, cx.shape(1)?];
        let to = cx.out(0)?;
        let kind = self.kind;
        Ok(vec![Data::Bool(match wider(a.kind(), b.kind()) {
            ValueType::Work => {
                zip(cx.threads, [&*a.to_work(), &*b.to_work()], shapes, to, |a, b| holds(kind, a, b))
            }
            _ => zip(cx.threads, [&*a.to_i64(), &*b.to_i64()], shapes, to, |a, b| holds(kind, a, b)),
        })])
    }
}
