//! REDUCE: one result for the elements along axes.
//!
//! Owns: its rule. May not touch: other operators; what is made of one lane is in `crate::lane`.

use crate::lane;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::{numel, strides};
use crate::value::{Data, View};
use crate::walk::Strided;
use crate::wrong::{Result, attribute, operand};
use clino_domain::graph::{Reduce, ReduceKind, ValueType};

rule!(Reduce);

/// Where the elements of each result lie.
struct Lanes {
    /// [outer, size, inner]: lane (i, j) begins at `i * size * inner + j` and goes in steps of `inner`.
    shape: [usize; 3],
    /// What the operand is read through before, where its reduced axes are not neighbours.
    through: Option<Strided>,
}

impl Rule<'_> {
    fn is_reduced(&self, axis: usize) -> bool {
        self.axes.is_empty() || self.axes.contains(&axis)
    }

    fn lanes(&self, x: &[usize]) -> Lanes {
        let wide: Vec<usize> = (0..x.len()).filter(|axis| x[*axis] != 1).collect();
        let (reduced, kept): (Vec<usize>, Vec<usize>) = wide.iter().partition(|axis| self.is_reduced(**axis));
        let size = reduced.iter().map(|axis| x[*axis]).product();
        let turns =
            wide.windows(2).filter(|pair| self.is_reduced(pair[0]) != self.is_reduced(pair[1])).count();
        let first_kept = wide.first().is_some_and(|axis| !self.is_reduced(*axis));
        if turns > 2 || (turns == 2 && !first_kept) {
            let order: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
            let from = strides(x);
            let through = Strided {
                shape: order.iter().map(|axis| x[*axis]).collect(),
                strides: order.iter().map(|axis| from[*axis]).collect(),
                offset: 0,
            };
            let outer = kept.iter().map(|axis| x[*axis]).product();
            return Lanes { shape: [outer, size, 1], through: Some(through) };
        }
        let before = |axis: &&usize| reduced.first().is_none_or(|first| **axis < *first);
        let outer = kept.iter().filter(before).map(|axis| x[*axis]).product();
        let inner = kept.iter().filter(|axis| !before(axis)).map(|axis| x[*axis]).product();
        Lanes { shape: [outer, size, inner], through: None }
    }

    fn result(&self, kind: ValueType) -> Option<ValueType> {
        Some(match (self.kind, kind) {
            (ReduceKind::Any | ReduceKind::All, _) => ValueType::Bool,
            (ReduceKind::Sum | ReduceKind::Prod, ValueType::Bool) => ValueType::I64,
            (_, ValueType::Bool) => return None,
            (ReduceKind::Argmax | ReduceKind::Argmin, _) => ValueType::I64,
            (ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min, kind) => kind,
            (_, ValueType::I64) => return None,
            (_, kind) => kind,
        })
    }

    fn needs_elements(&self) -> bool {
        matches!(self.kind, ReduceKind::Max | ReduceKind::Min | ReduceKind::Argmax | ReduceKind::Argmin)
    }
}

/// Calls `f` with the place of each result and the first element of its lane.
fn each<U: Send>(threads: usize, shape: [usize; 3], out: &mut [U], f: impl Fn(usize) -> U + Sync + Send) {
    let [_, size, inner] = shape;
    let piece = parallel::rows(size * inner) * inner;
    parallel::pieces(threads, out, piece, |first, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let at = first + i;
            *out = f(at / inner * size * inner + at % inner);
        }
    });
}

/// Sums of lanes that lie side by side: row after row.
fn sums<T: Real>(threads: usize, [_, size, inner]: [usize; 3], x: &[T], out: &mut [T], factor: f64) {
    parallel::pieces(threads, out, inner, |first, out| {
        let block = &x[first * size..][..size * inner];
        if inner == 1 {
            out[0] = T::of(crate::sums::sum(block) * factor);
            return;
        }
        let mut sums = vec![0.0; inner];
        for row in block.chunks(inner) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x.wide();
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = T::of(sum * factor);
        }
    });
}

impl Rule<'_> {
    fn numbers<T: Real>(&self, threads: usize, x: &[T], lanes: &Lanes) -> Vec<T> {
        let [outer, size, inner] = lanes.shape;
        let read = lanes.through.as_ref().map(|through| through.read(threads, x));
        let x = read.as_deref().unwrap_or(x);
        let mut out = vec![T::ZERO; outer * inner];
        match self.kind {
            ReduceKind::Sum if size > 0 => sums(threads, lanes.shape, x, &mut out, 1.0),
            ReduceKind::Mean if size > 0 => sums(threads, lanes.shape, x, &mut out, 1.0 / size as f64),
            _ => each(threads, lanes.shape, &mut out, |first| {
                let lane = (0..size).map(|i| x[first + i * inner].wide());
                T::of(lane::value(self.kind, self.parameter, lane))
            }),
        }
        out
    }

    /// Of any type, what is answered by a truth value, an integer or a place.
    fn places<T: Real>(&self, cx: &Context<'_, T>, lanes: &Lanes) -> Result<Data<T>> {
        let view = cx.view(0)?;
        let kind = self.kind;
        let greatest = kind == ReduceKind::Argmax;
        let out = match (kind, view) {
            (ReduceKind::Argmax | ReduceKind::Argmin, View::Work(x)) => {
                integers(cx.threads, x, lanes, |lane| lane::place(lane, greatest))
            }
            (ReduceKind::Argmax | ReduceKind::Argmin, View::I64(x)) => {
                integers(cx.threads, x, lanes, |lane| lane::place(lane, greatest))
            }
            (ReduceKind::Any, _) => integers(cx.threads, &view.to_bool(), lanes, |mut lane| {
                i64::from(Iterator::any(&mut lane, |x| x))
            }),
            (ReduceKind::All, _) => integers(cx.threads, &view.to_bool(), lanes, |mut lane| {
                i64::from(Iterator::all(&mut lane, |x| x))
            }),
            _ => integers(cx.threads, &view.to_i64(), lanes, |lane| lane::integer(kind, lane)),
        };
        Ok(match kind {
            ReduceKind::Any | ReduceKind::All => Data::Bool(out.iter().map(|x| *x != 0).collect()),
            _ => Data::I64(out),
        })
    }
}

/// `f` of each lane.
fn integers<U: Copy + Default + Send + Sync>(
    threads: usize,
    x: &[U],
    lanes: &Lanes,
    f: impl Fn(&mut dyn Iterator<Item = U>) -> i64 + Sync + Send,
) -> Vec<i64> {
    let [outer, size, inner] = lanes.shape;
    let read = lanes.through.as_ref().map(|through| through.read(threads, x));
    let x = read.as_deref().unwrap_or(x);
    let mut out = vec![0i64; outer * inner];
    each(threads, lanes.shape, &mut out, |first| f(&mut (0..size).map(|i| x[first + i * inner])));
    out
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        for axis in &self.axes {
            cx.axis("axes", *axis)?;
        }
        let Some(kind) = self.result(x.kind) else {
            let found = x.kind.name();
            let name = self.kind.name();
            return operand(0, format!("found {found}, which {name} does not take: cast it before"));
        };
        let [outer, size, inner] = self.lanes(&x.shape).shape;
        if size == 0 && self.needs_elements() && outer * inner > 0 {
            return attribute("axes", format!("found no elements along {:?} of {:?}", self.axes, x.shape));
        }
        let size = |axis: usize| match (self.is_reduced(axis), self.keep) {
            (false, _) => Some(x.shape[axis]),
            (true, true) => Some(1),
            (true, false) => None,
        };
        Ok(vec![Typed { kind, shape: (0..x.shape.len()).filter_map(size).collect() }])
    }

    fn passes(&self, _operand: usize) -> bool {
        !matches!(self.kind, ReduceKind::Any | ReduceKind::All | ReduceKind::Argmax | ReduceKind::Argmin)
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * cx.numel(0) as f64
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        !matches!(self.kind, ReduceKind::Sum | ReduceKind::Mean)
            && matches!(what, Read::Operand(0) | Read::Result(0))
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let n = cx.numel(0);
        let lanes = self.lanes(cx.shape(0));
        let [_, size, inner] = lanes.shape;
        let copies = if lanes.through.is_some() { n * cx.size.max(8) } else { 0 };
        let back = if cx.back() && lanes.through.is_some() { n * cx.size } else { 0 };
        let kind = cx.operands.first().copied().flatten().map(|typed| typed.kind);
        let truth = matches!(self.kind, ReduceKind::Any | ReduceKind::All);
        let converted = match kind {
            Some(ValueType::Bool) if !truth => 8 * n,
            Some(ValueType::Work | ValueType::I64) if truth => n,
            _ => 0,
        };
        let places = if self.passes(0) { 0 } else { 8 * cx.out(0) };
        copies + back + converted + places + cx.threads * (inner.max(size) * 2) * size_of::<f64>()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let lanes = self.lanes(cx.shape(0)?);
        Ok(vec![match cx.view(0)? {
            View::Work(x) if self.passes(0) => Data::Work(self.numbers(cx.threads, x, &lanes)),
            _ => self.places(cx, &lanes)?,
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let shape = cx.shape(0)?;
        let lanes = self.lanes(shape);
        let Some(target) = grads.target(0) else { return Ok(()) };
        match &lanes.through {
            None => self.back(cx, &lanes, target),
            Some(through) => {
                let mut part = vec![T::ZERO; numel(shape)];
                self.back(cx, &lanes, &mut part)?;
                through.add(&part, target);
                Ok(())
            }
        }
    }
}

impl Rule<'_> {
    /// Adds to the elements as the lanes have them.
    fn back<T: Real>(&self, cx: &Context<'_, T>, lanes: &Lanes, target: &mut [T]) -> Result<()> {
        let [_, size, inner] = lanes.shape;
        let d = cx.d()?;
        if size * inner == 0 {
            return Ok(());
        }
        let linear = matches!(self.kind, ReduceKind::Sum | ReduceKind::Mean);
        let factor = if self.kind == ReduceKind::Mean { 1.0 / size as f64 } else { 1.0 };
        let x = if linear { &[] } else { cx.work(0)? };
        let y = if linear { &[] } else { cx.result(0)? };
        let read = lanes.through.as_ref().filter(|_| !linear).map(|through| through.read(cx.threads, x));
        let x = read.as_deref().unwrap_or(x);
        parallel::pieces(cx.threads, target, size * inner, |first, target| {
            let outer = first / (size * inner);
            for j in 0..inner {
                let lane = outer * inner + j;
                let d = d[lane].wide();
                if linear {
                    let d = T::of(d * factor);
                    target[j..].iter_mut().step_by(inner).for_each(|target| *target += d);
                    continue;
                }
                let at = |i: usize| x[first + j + i * inner].wide();
                let lane = lane::Lane { n: size, x: &at, y: y[lane].wide(), d };
                lane::back(self.0, lane, |i, d| target[j + i * inner] += T::of(d));
            }
        });
        Ok(())
    }
}
