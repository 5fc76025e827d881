//! SORT: all elements along an axis in order, and where they were.
//!
//! Owns: its rule, and the order of elements. May not touch: other operators.

use super::cumulate::lanes;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::{around, numel};
use crate::value::{Data, View};
use crate::wrong::{Result, attribute};
use clino_domain::graph::{Sort, ValueType};
use std::cmp::Ordering;

rule!(Sort);

/// Along which axis, how many of which.
#[derive(Clone, Copy)]
pub struct Ordered {
    pub axis: usize,
    pub count: usize,
    pub falling: bool,
}

/// NaN is the greatest, as in torch.
fn order<U: PartialOrd>(a: &U, b: &U) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| {
        let nan = |x: &U| x.partial_cmp(x).is_none();
        nan(a).cmp(&nan(b))
    })
}

impl Ordered {
    fn pick<U: Copy + Default + PartialOrd>(&self, x: &[U], shape: &[usize]) -> (Vec<U>, Vec<i64>) {
        let [outer, size, inner] = around(shape, self.axis);
        let mut values = vec![U::default(); outer * self.count * inner];
        let mut places = vec![0i64; values.len()];
        let mut lane: Vec<usize> = Vec::with_capacity(size);
        if size == 0 {
            return (values, places);
        }
        lanes([outer, size, inner], |first, step| {
            lane.clear();
            lane.extend(0..size);
            let at = |i: usize| x[first + i * step];
            // Stable: equal elements stay in the order in which they are.
            lane.sort_by(|a, b| if self.falling { order(&at(*b), &at(*a)) } else { order(&at(*a), &at(*b)) });
            let to = (first / (size * inner) * self.count) * inner + first % inner;
            for (i, place) in lane.iter().take(self.count).enumerate() {
                values[to + i * inner] = at(*place);
                places[to + i * inner] = *place as i64;
            }
        });
        (values, places)
    }

    /// The elements in order, and their places.
    pub fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let shape = cx.shape(0)?;
        let (values, places) = match cx.view(0)? {
            View::Work(x) => {
                let (values, places) = self.pick(x, shape);
                (Data::Work(values), places)
            }
            View::I64(x) => {
                let (values, places) = self.pick(x, shape);
                (Data::I64(values), places)
            }
            View::Bool(x) => {
                let (values, places) = self.pick(x, shape);
                (Data::Bool(values), places)
            }
        };
        Ok(vec![values, Data::I64(places)])
    }

    /// Derivatives go where the elements were.
    pub fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let [_, size, inner] = around(cx.shape(0)?, self.axis);
        let places = match cx.results.get(1).and_then(|result| result.data) {
            Some(View::I64(places)) => places,
            _ => return attribute("", "found no places"),
        };
        let d = cx.d()?;
        if let Some(target) = grads.target(0) {
            for (i, (d, place)) in d.iter().zip(places).enumerate() {
                let block = self.count * inner;
                let first = i / block * size * inner + i % inner;
                target[first + *place as usize * inner] += *d;
            }
        }
        Ok(())
    }

    /// Bytes of a lane's order.
    pub fn scratch(&self, shape: &[usize]) -> usize {
        // A stable sort has half a lane more.
        shape.get(self.axis).copied().unwrap_or(0) * 2 * size_of::<usize>() + 4096
    }

    /// Values and places.
    pub fn typed(&self, x: &Typed) -> Vec<Typed> {
        let mut shape = x.shape.clone();
        shape[self.axis] = self.count;
        vec![Typed { kind: x.kind, shape: shape.clone() }, Typed { kind: ValueType::I64, shape }]
    }
}

impl Rule<'_> {
    fn ordered(&self, shape: &[usize]) -> Ordered {
        let count = shape.get(self.axis).copied().unwrap_or(0);
        Ordered { axis: self.axis, count, falling: self.falling }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.axis("axis", self.axis)?;
        let x = cx.typed(0)?;
        Ok(self.ordered(&x.shape).typed(x))
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        numel(cx.shape(0)) as f64 * 64.0
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        what == Read::Result(1)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        self.ordered(cx.shape(0)).scratch(cx.shape(0))
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        self.ordered(cx.shape(0)?).forward(cx)
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        self.ordered(cx.shape(0)?).backward(cx, grads)
    }
}
