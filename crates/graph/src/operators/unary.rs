//! UNARY: one operand, element by element.
//!
//! Owns: its rule. May not touch: other operators; the functions are in `crate::functions`.

use super::reshape::copied;
use crate::functions::{slope, value};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::value::{Data, Known, View};
use crate::wrong::{Result, operand};
use clino_domain::graph::{Unary, UnaryKind, ValueType};

rule!(Unary);

impl Rule<'_> {
    /// Of integers; `None` where the kind means nothing for them.
    fn integer(&self, x: i64) -> Option<i64> {
        Some(match self.kind {
            UnaryKind::Neg => x.wrapping_neg(),
            UnaryKind::Abs => x.wrapping_abs(),
            UnaryKind::Sign => x.signum(),
            UnaryKind::Relu => x.max(0),
            UnaryKind::Not => !x,
            UnaryKind::Clamp => x.max(self.parameters[0] as i64).min(self.parameters[1] as i64),
            UnaryKind::Floor | UnaryKind::Ceil | UnaryKind::Trunc | UnaryKind::Round | UnaryKind::Detach => x,
            _ => return None,
        })
    }

    fn question(&self) -> bool {
        matches!(self.kind, UnaryKind::IsNan | UnaryKind::IsInf)
    }

    fn asks(&self, x: f64) -> bool {
        if self.kind == UnaryKind::IsNan { x.is_nan() } else { x.is_infinite() }
    }

    /// Whether the derivative is a number that does not depend on the operand.
    fn constant(&self) -> bool {
        matches!(self.kind, UnaryKind::Neg)
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let fits = match x.kind {
            ValueType::Work => self.kind != UnaryKind::Not,
            ValueType::I64 => self.question() || self.integer(0).is_some(),
            ValueType::Bool => matches!(self.kind, UnaryKind::Not | UnaryKind::Detach),
        };
        if !fits {
            let found = x.kind.name();
            return operand(
                0,
                format!("found {found}, which {} does not take: cast it before", self.kind.name()),
            );
        }
        let kind = if self.question() { ValueType::Bool } else { x.kind };
        Ok(vec![Typed { kind, shape: x.shape.clone() }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        Some(match *operands.first()? {
            Known::Work(x) if self.question() => Known::Bool(self.asks(x)),
            Known::I64(_) if self.question() => Known::Bool(false),
            Known::Work(x) => Known::Work(value(self.kind, &self.parameters, x)),
            Known::I64(x) => Known::I64(self.integer(x)?),
            Known::Bool(x) => Known::Bool(x != (self.kind == UnaryKind::Not)),
        })
    }

    fn alias(&self, _cx: &Cost<'_>) -> bool {
        self.kind == UnaryKind::Detach
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        16.0 * cx.out(0) as f64
    }

    fn passes(&self, _operand: usize) -> bool {
        !matches!(
            self.kind,
            UnaryKind::Detach
                | UnaryKind::Sign
                | UnaryKind::Floor
                | UnaryKind::Ceil
                | UnaryKind::Trunc
                | UnaryKind::Round
                | UnaryKind::IsNan
                | UnaryKind::IsInf
        )
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Operand(0) && !self.constant()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let view = cx.view(0)?;
        let kind = self.kind;
        let p = &self.parameters;
        Ok(vec![match view {
            _ if kind == UnaryKind::Detach => copied(view),
            View::Work(x) if self.question() => {
                Data::Bool(parallel::map(cx.threads, x, |x| self.asks(x.wide())))
            }
            View::Work(x) => Data::Work(parallel::map(cx.threads, x, |x| T::of(value(kind, p, x.wide())))),
            View::I64(x) if self.question() => Data::Bool(vec![false; x.len()]),
            View::I64(x) => Data::I64(parallel::map(cx.threads, x, |x| self.integer(x).unwrap_or(x))),
            View::Bool(x) => Data::Bool(x.iter().map(|x| !x).collect()),
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let Some(target) = grads.target(0) else { return Ok(()) };
        let d = cx.d()?;
        if self.constant() {
            parallel::add_map(cx.threads, target, [d, d], |d, _| -d);
            return Ok(());
        }
        let p = &self.parameters;
        parallel::add_map(cx.threads, target, [d, cx.work(0)?], |d, x| {
            T::of(d.wide() * slope(self.kind, p, x.wide()))
        });
        Ok(())
    }
}
