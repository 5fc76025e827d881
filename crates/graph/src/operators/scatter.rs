//! SCATTER: elements put in, or added, at indices.
//!
//! Owns: its rule. May not touch: other operators.

use super::binary::wider;
use super::reshape::copied;
use super::selection::{Chooser, Selection};
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::real::Real;
use crate::shape::{MOST, broadcast, broadcast_strides, elements, numel, offsets};
use crate::sums;
use crate::value::{Data, View};
use crate::wrong::{Result, operand};
use clino_domain::graph::Scatter;

rule!(Scatter);

const SOURCE: usize = 1;

/// Nobody wrote there.
const NOBODY: usize = usize::MAX;

impl Rule<'_> {
    fn chooser(&self) -> Chooser<'_> {
        Chooser { mode: self.mode, axes: &self.axes, first: 2 }
    }

    /// The source's element for each chosen one: it broadcasts to them.
    fn places<T: Real>(&self, cx: &Context<'_, T>, chosen: &[usize]) -> Result<Vec<usize>> {
        Ok(offsets(chosen, &broadcast_strides(cx.shape(SOURCE)?, chosen)))
    }
}

/// What is put where.
struct Puts<'a> {
    selection: &'a Selection,
    /// The source's element for each chosen one.
    places: Vec<usize>,
    add: bool,
}

impl Puts<'_> {
    fn put<U: Copy>(&self, x: &mut [U], source: &[U], add: impl Fn(U, U) -> U) {
        self.selection.each(|to, i| {
            let new = source[self.places[i]];
            x[to] = if self.add { add(x[to], new) } else { new };
        });
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let x = cx.typed(0)?;
        let source = cx.typed(SOURCE)?;
        let chosen = self.chooser().shape(cx)?;
        // They are no value, so that no limit counts them.
        elements(&chosen, MOST)?;
        if source.kind != x.kind || broadcast(&[&source.shape, &chosen]).as_ref() != Some(&chosen) {
            let found = format!("{} {:?}", source.kind.name(), source.shape);
            let expected = x.kind.name();
            return operand(
                SOURCE,
                format!("found {found}, expected {expected} that broadcasts to {chosen:?}"),
            );
        }
        debug_assert_eq!(wider(x.kind, source.kind), x.kind);
        Ok(vec![x.clone()])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * (cx.out(0) as f64 + self.chooser().count(&cx.operands) as f64)
    }

    fn passes(&self, operand: usize) -> bool {
        operand < 2
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        matches!(what, Read::Operand(i) if i > SOURCE)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let words = size_of::<usize>();
        let chosen = self.chooser().count(&cx.operands);
        let owners = if cx.back() && !self.add { cx.numel(0) * words } else { 0 };
        let part = if cx.back() { chosen * cx.size + cx.numel(SOURCE) * words } else { 2 * chosen * words };
        self.chooser().scratch(&cx.operands) + part + owners
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let selection = self.chooser().select(cx)?;
        let puts = Puts { selection: &selection, places: self.places(cx, &selection.shape)?, add: self.add };
        let mut out = copied(cx.view(0)?);
        match (&mut out, cx.view(SOURCE)?) {
            (Data::Work(x), View::Work(source)) => puts.put(x, source, |a, b| a + b),
            (Data::I64(x), View::I64(source)) => puts.put(x, source, i64::wrapping_add),
            (Data::Bool(x), View::Bool(source)) => puts.put(x, source, |a, b| a || b),
            _ => return operand(SOURCE, "found another type than that of the operand"),
        }
        Ok(vec![out])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let selection = self.chooser().select(cx)?;
        let d = cx.d()?;
        let mut owners = Vec::new();
        if !self.add {
            owners = vec![NOBODY; numel(cx.shape(0)?)];
            selection.each(|to, i| owners[to] = i);
        }
        if let Some(target) = grads.target(0) {
            match self.add {
                true => parallel::add(cx.threads, target, d),
                false => {
                    for ((target, d), owner) in target.iter_mut().zip(d).zip(&owners) {
                        if *owner == NOBODY {
                            *target += *d;
                        }
                    }
                }
            }
        }
        let own = cx.shape(SOURCE)?;
        if let Some(target) = grads.target(SOURCE) {
            let mut part = selection.read(cx.threads, d);
            if !self.add {
                selection.each(|to, i| {
                    if owners[to] != i {
                        part[i] = T::ZERO;
                    }
                });
            }
            sums::add_broadcast(cx.threads, &part, &selection.shape, target, own);
        }
        Ok(())
    }
}
