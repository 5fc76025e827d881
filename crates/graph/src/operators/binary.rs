//! BINARY: two operands, broadcast, element by element.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::{broadcast, broadcast_strides, numel};
use crate::value::{Data, Known};
use crate::walk::Walk;
use crate::wrong::{Result, attribute, operand};
use crate::{parallel, sums};
use clino_domain::graph::{Binary, BinaryKind, ValueType};
use std::cmp::Ordering;

rule!(Binary);

/// Of two types the wider: BOOL, I64, WORK.
pub fn wider(a: ValueType, b: ValueType) -> ValueType {
    match (a, b) {
        (ValueType::Work, _) | (_, ValueType::Work) => ValueType::Work,
        (ValueType::I64, _) | (_, ValueType::I64) => ValueType::I64,
        _ => ValueType::Bool,
    }
}

/// The shape of both operands together.
pub fn together(cx: &Infer<'_>, operands: &[usize]) -> Result<Vec<usize>> {
    let shapes = operands.iter().map(|i| cx.shape(*i)).collect::<Result<Vec<_>>>()?;
    match broadcast(&shapes) {
        Some(shape) => Ok(shape),
        None => operand(operands[operands.len() - 1], format!("found {shapes:?}, which do not broadcast")),
    }
}

/// `f` of every two elements of two tensors that broadcast to `to`.
pub fn zip<A: Copy + Sync, U: Copy + Default + Send>(
    threads: usize,
    [a, b]: [&[A]; 2],
    [of_a, of_b]: [&[usize]; 2],
    to: &[usize],
    f: impl Fn(A, A) -> U + Sync + Send,
) -> Vec<U> {
    let mut out = vec![U::default(); numel(to)];
    let walk = Walk::new(to, [&broadcast_strides(of_a, to), &broadcast_strides(of_b, to)]);
    let steps = walk.step.map(|step| step as usize);
    walk.fill(threads, &mut out, |[at_a, at_b], out| {
        let a = &a[at_a as usize..];
        let b = &b[at_b as usize..];
        match steps {
            [1, 1] => out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = f(*a, *b)),
            [1, 0] => out.iter_mut().zip(a).for_each(|(out, a)| *out = f(*a, b[0])),
            [0, 1] => out.iter_mut().zip(b).for_each(|(out, b)| *out = f(a[0], *b)),
            [by_a, by_b] => {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = f(a[i * by_a], b[i * by_b]);
                }
            }
        }
    });
    out
}

/// The function of `kind`.
fn value(kind: BinaryKind, a: f64, b: f64) -> f64 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Pow => a.powf(b),
        BinaryKind::Maximum => {
            if a.is_nan() || a > b {
                a
            } else {
                b
            }
        }
        BinaryKind::Minimum => {
            if a.is_nan() || a < b {
                a
            } else {
                b
            }
        }
        BinaryKind::Fmod => a % b,
        BinaryKind::Remainder => {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
        }
        BinaryKind::FloorDiv => (a / b).floor(),
        BinaryKind::TruncDiv => (a / b).trunc(),
        BinaryKind::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// Its derivatives along both operands.
fn slopes(kind: BinaryKind, a: f64, b: f64) -> [f64; 2] {
    // Where one is NaN, torch gives both the whole derivative.
    let share = |holds: bool| match a.partial_cmp(&b) {
        Some(Ordering::Equal) => 0.5,
        Some(_) => f64::from(u8::from(holds)),
        None => 1.0,
    };
    match kind {
        BinaryKind::Add => [1.0, 1.0],
        BinaryKind::Sub => [1.0, -1.0],
        BinaryKind::Mul => [b, a],
        BinaryKind::Div => [1.0 / b, -(a / b) / b],
        BinaryKind::Pow => {
            let of_a = if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) };
            let of_b = if a == 0.0 && b >= 0.0 { 0.0 } else { a.powf(b) * a.ln() };
            [of_a, of_b]
        }
        BinaryKind::Maximum => [share(a > b), share(b > a)],
        BinaryKind::Minimum => [share(a < b), share(b < a)],
        BinaryKind::Fmod => [1.0, -(a / b).trunc()],
        BinaryKind::Remainder => [1.0, -(a / b).floor()],
        BinaryKind::Atan2 => {
            let square = a * a + b * b;
            [b / square, -a / square]
        }
        _ => [0.0, 0.0],
    }
}

/// Of integers; `None` where it is not defined.
fn integer(kind: BinaryKind, a: i64, b: i64) -> Option<i64> {
    let shift = |x: i64| u32::try_from(x).ok().filter(|x| *x < 64);
    Some(match kind {
        BinaryKind::Add => a.wrapping_add(b),
        BinaryKind::Sub => a.wrapping_sub(b),
        BinaryKind::Mul => a.wrapping_mul(b),
        BinaryKind::Pow => a.wrapping_pow(u32::try_from(b).ok()?),
        BinaryKind::Maximum => a.max(b),
        BinaryKind::Minimum => a.min(b),
        BinaryKind::And => a & b,
        BinaryKind::Or => a | b,
        BinaryKind::Xor => a ^ b,
        BinaryKind::ShiftLeft => a << shift(b)?,
        BinaryKind::ShiftRight => a >> shift(b)?,
        _ if b == 0 => return None,
        BinaryKind::Fmod => a.wrapping_rem(b),
        BinaryKind::TruncDiv => a.wrapping_div(b),
        BinaryKind::FloorDiv => {
            let down = a.wrapping_rem(b) != 0 && (a < 0) != (b < 0);
            a.wrapping_div(b).wrapping_sub(i64::from(down))
        }
        BinaryKind::Remainder => {
            let rest = a.wrapping_rem(b);
            if rest != 0 && (rest < 0) != (b < 0) { rest.wrapping_add(b) } else { rest }
        }
        _ => return None,
    })
}

fn truth(kind: BinaryKind, a: bool, b: bool) -> Option<bool> {
    Some(match kind {
        BinaryKind::And | BinaryKind::Mul | BinaryKind::Minimum => a && b,
        BinaryKind::Or | BinaryKind::Add | BinaryKind::Maximum => a || b,
        BinaryKind::Xor => a != b,
        _ => return None,
    })
}

impl Rule<'_> {
    /// Whether the derivative along operand `i` is that along the result.
    fn goes_on(&self, i: usize) -> bool {
        self.kind == BinaryKind::Add || (self.kind == BinaryKind::Sub && i == 0)
    }

    fn bits(&self) -> bool {
        matches!(
            self.kind,
            BinaryKind::And
                | BinaryKind::Or
                | BinaryKind::Xor
                | BinaryKind::ShiftLeft
                | BinaryKind::ShiftRight
        )
    }

    /// Of WORK: what needs no f64 is done in the precision itself, where it is rounded once all the same.
    fn numbers<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<T>> {
        let kind = self.kind;
        let a = cx.view(0)?.to_work();
        let b = cx.view(1)?.to_work();
        let x: [&[T]; 2] = [&a, &b];
        let shapes = [cx.shape(0)?, cx.shape(1)?];
        let to = cx.out(0)?;
        let threads = cx.threads;
        Ok(match kind {
            BinaryKind::Add => zip(threads, x, shapes, to, |a, b| a + b),
            BinaryKind::Sub => zip(threads, x, shapes, to, |a, b| a - b),
            BinaryKind::Mul => zip(threads, x, shapes, to, |a, b| a * b),
            BinaryKind::Div => zip(threads, x, shapes, to, |a, b| a / b),
            // Squares, above all.
            BinaryKind::Pow if b.len() == 1 && b[0].wide() == 2.0 => {
                zip(threads, x, shapes, to, |a, _| a * a)
            }
            _ => zip(threads, x, shapes, to, |a, b| T::of(value(kind, a.wide(), b.wide()))),
        })
    }

    fn integers<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<i64>> {
        let a = cx.view(0)?.to_i64();
        let b = cx.view(1)?.to_i64();
        let shapes = [cx.shape(0)?, cx.shape(1)?];
        let kind = self.kind;
        let failed = std::sync::atomic::AtomicBool::new(false);
        let out = zip(cx.threads, [&*a, &*b], shapes, cx.out(0)?, |a, b| {
            integer(kind, a, b).unwrap_or_else(|| {
                failed.store(true, std::sync::atomic::Ordering::Relaxed);
                0
            })
        });
        match failed.into_inner() {
            false => Ok(out),
            true => {
                operand(1, format!("found an integer for which {} is not defined, such as 0", kind.name()))
            }
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let shape = together(cx, &[0, 1])?;
        let both = wider(cx.typed(0)?.kind, cx.typed(1)?.kind);
        let fits = match both {
            ValueType::Work => !self.bits(),
            ValueType::I64 => !matches!(self.kind, BinaryKind::Atan2),
            ValueType::Bool => self.kind == BinaryKind::Div || truth(self.kind, true, true).is_some(),
        };
        if !fits {
            let found = both.name();
            return attribute("kind", format!("found {} of {found}, which is not defined", self.kind.name()));
        }
        let kind = if self.kind == BinaryKind::Div { ValueType::Work } else { both };
        Ok(vec![Typed { kind, shape }])
    }

    fn scalar(&self, operands: &[Known]) -> Option<Known> {
        let [a, b] = operands else { return None };
        let both = wider(a.kind(), b.kind());
        if both == ValueType::Work || self.kind == BinaryKind::Div {
            return (!self.bits()).then(|| Known::Work(value(self.kind, a.wide(), b.wide())));
        }
        match (a, b) {
            (Known::Bool(a), Known::Bool(b)) => truth(self.kind, *a, *b).map(Known::Bool),
            _ => integer(self.kind, a.integer()?, b.integer()?).map(Known::I64),
        }
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        4.0 * cx.out(0) as f64
    }

    fn passes(&self, _operand: usize) -> bool {
        !self.bits() && !matches!(self.kind, BinaryKind::FloorDiv | BinaryKind::TruncDiv)
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        match (self.kind, what) {
            (BinaryKind::Add | BinaryKind::Sub, _) | (_, Read::Result(_)) => false,
            (BinaryKind::Mul, Read::Operand(i)) => wants(1 - i.min(1)),
            (BinaryKind::Div, Read::Operand(0)) => wants(1),
            _ => true,
        }
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let out = cx.out(0);
        let converted = |i: usize| match cx.operands.get(i).copied().flatten() {
            Some(typed) if typed.kind != cx.results[0].kind => cx.numel(i) * cx.size.max(8),
            _ => 0,
        };
        let sums = |i: usize| sums::scratch(&cx.results[0].shape, cx.shape(i));
        // What is added is a product of its own, but where the derivative goes on as it is.
        let product = |i: usize| if self.goes_on(i) { 0 } else { out * cx.size };
        let spread = |i: usize| if cx.numel(i) == out { 0 } else { sums(i) };
        let back = |i: usize| if cx.wants(i) { product(i) + spread(i) } else { 0 };
        converted(0) + converted(1) + back(0).max(back(1))
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let both = wider(cx.view(0)?.kind(), cx.view(1)?.kind());
        if both == ValueType::Work || self.kind == BinaryKind::Div {
            return Ok(vec![Data::Work(self.numbers(cx)?)]);
        }
        if both == ValueType::I64 {
            return Ok(vec![Data::I64(self.integers(cx)?)]);
        }
        let a = cx.view(0)?.to_bool();
        let b = cx.view(1)?.to_bool();
        let shapes = [cx.shape(0)?, cx.shape(1)?];
        let kind = self.kind;
        let f = |a, b| truth(kind, a, b).unwrap_or(false);
        Ok(vec![Data::Bool(zip(cx.threads, [&*a, &*b], shapes, cx.out(0)?, f))])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        for i in 0..2 {
            if grads.wants(i) {
                self.back(i, cx, grads)?;
            }
        }
        Ok(())
    }
}

impl Rule<'_> {
    /// The derivative along operand `i`.
    fn back<T: Real>(&self, i: usize, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let d = cx.d()?;
        let to = cx.out(0)?;
        let own = cx.shape(i)?;
        let Some(target) = grads.target(i) else { return Ok(()) };
        if self.goes_on(i) {
            sums::add_broadcast(cx.threads, d, to, target, own);
            return Ok(());
        }
        let with_d = |other: usize, f: fn(T, T) -> T| -> Result<Vec<T>> {
            let view = cx.view(other)?.to_work();
            Ok(zip(cx.threads, [d, &view], [to, cx.shape(other)?], to, f))
        };
        let product = match self.kind {
            BinaryKind::Sub => parallel::map(cx.threads, d, |d| -d),
            BinaryKind::Mul => with_d(1 - i, |d, other| d * other)?,
            BinaryKind::Div if i == 0 => with_d(1, |d, b| d / b)?,
            _ => self.general(i, cx)?,
        };
        sums::add_broadcast(cx.threads, &product, to, target, own);
        Ok(())
    }

    /// d times the derivative along operand `i`, where it depends on both operands.
    fn general<T: Real>(&self, i: usize, cx: &Context<'_, T>) -> Result<Vec<T>> {
        let to = cx.out(0)?;
        let a = cx.view(0)?.to_work();
        let b = cx.view(1)?.to_work();
        let kind = self.kind;
        let slope = |a: T, b: T| T::of(slopes(kind, a.wide(), b.wide())[i]);
        let mut slopes = zip(cx.threads, [&*a, &*b], [cx.shape(0)?, cx.shape(1)?], to, slope);
        for (slope, d) in slopes.iter_mut().zip(cx.d()?) {
            *slope *= *d;
        }
        Ok(slopes)
    }
}
