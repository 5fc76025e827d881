//! CUMULATE: running sums or products.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::real::Real;
use crate::shape::{around, numel};
use crate::value::{Data, View};
use crate::wrong::{Result, operand};
use clino_domain::graph::{Cumulate, ValueType};

rule!(Cumulate);

/// Calls `f` with the first element of each lane and the distance between its elements.
pub fn lanes([outer, size, inner]: [usize; 3], mut f: impl FnMut(usize, usize)) {
    for i in 0..outer {
        (0..inner).for_each(|j| f(i * size * inner + j, inner));
    }
}

impl Rule<'_> {
    /// From the derivatives along running products of a lane `x` to those along its elements, of which any may be 0: each
    /// is the product before the element times d_j + x_j+1 (d_j+1 + x_j+2 (…)).
    fn back_products(x: &[f64], d: &mut [f64]) {
        for j in (1..x.len()).rev() {
            d[j - 1] += x[j] * d[j];
        }
        let mut before = 1.0;
        for (d, x) in d.iter_mut().zip(x) {
            *d *= before;
            before *= x;
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        cx.axis("axis", self.axis)?;
        let x = cx.typed(0)?;
        if x.kind == ValueType::Bool {
            return operand(0, "found BOOL, expected I64 or WORK: cast it before");
        }
        Ok(vec![x.clone()])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        4.0 * cx.out(0) as f64
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        self.product && what == Read::Operand(0)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        cx.shape(0).get(self.axis).copied().unwrap_or(0) * 2 * size_of::<f64>()
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let shape = around(cx.shape(0)?, self.axis);
        let size = shape[1];
        let n = numel(cx.shape(0)?);
        Ok(vec![match cx.view(0)? {
            View::I64(x) => {
                let mut out = vec![0i64; n];
                lanes(shape, |first, step| {
                    let mut sum = i64::from(self.product);
                    for i in (0..size).map(|i| first + i * step) {
                        sum = if self.product { sum.wrapping_mul(x[i]) } else { sum.wrapping_add(x[i]) };
                        out[i] = sum;
                    }
                });
                Data::I64(out)
            }
            _ => {
                let x = cx.work(0)?;
                let mut out = vec![T::ZERO; n];
                lanes(shape, |first, step| {
                    let mut sum = f64::from(u8::from(self.product));
                    for i in (0..size).map(|i| first + i * step) {
                        sum = if self.product { sum * x[i].wide() } else { sum + x[i].wide() };
                        out[i] = T::of(sum);
                    }
                });
                Data::Work(out)
            }
        }])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let shape = around(cx.shape(0)?, self.axis);
        let size = shape[1];
        let d = cx.d()?;
        let Some(target) = grads.target(0) else { return Ok(()) };
        if self.product {
            let x = cx.work(0)?;
            lanes(shape, |first, step| {
                let lane = |x: &[T]| (0..size).map(|i| x[first + i * step].wide()).collect::<Vec<_>>();
                let mut d = lane(d);
                Self::back_products(&lane(x), &mut d);
                for (i, d) in d.into_iter().enumerate() {
                    target[first + i * step] += T::of(d);
                }
            });
            return Ok(());
        }
        lanes(shape, |first, step| {
            let mut sum = 0.0;
            for i in (0..size).rev().map(|i| first + i * step) {
                sum += d[i].wide();
                target[i] += T::of(sum);
            }
        });
        Ok(())
    }
}
