//! Parameter arithmetic on the CPU: the specification that other devices are held to.
//!
//! Every function goes over the slots of a layout in pieces of a fixed size; sums are in f64, over fixed lanes of each
//! piece, and are joined in order, so that no result depends on the number of threads or the width of vectors.
//!
//! Owns: perturb, displace, ascend, norms, products. May not touch: networks, losses.

use super::pieces::{Piece, Products, cut, norms_of, part, places, sums_of};
use super::real::Real;
use super::widest::{MulAdd, widest};
use crate::device::metric::{ParameterMetric, Unit};
use crate::device::noise::{Draw, NoiseFrom};
use crate::device::norms::Norms;
use crate::device::slot::Slot;
use rayon::prelude::*;

pub use super::pieces::PIECE;

/// Squares of the norms of a draw's noise, by slot, as it is in `T`.
pub fn noise_norms<T: Real>(slots: &[Slot], draw: Draw) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, noise: NoiseFrom, len: usize) -> f64 {
        let mut squares = Products::NONE;
        noise.each(
            m,
            len,
            #[inline(always)]
            |_, noise: &[T]| squares.add_squares(m, noise),
        );
        squares.sum()
    }
    norms_of(slots, places(slots), |Piece { slot, start, data }| {
        widest!(|m| kernel::<_, T>(m, draw.from(slots[slot].rank, start), data))
    })
}

/// Squares of the norms of `x`, by slot.
pub fn norms<T: Real>(slots: &[Slot], x: &[T]) -> Norms {
    Norms { squares: products(slots, x, x) }
}

/// x · y, by slot.
pub fn products<T: Real>(slots: &[Slot], x: &[T], y: &[T]) -> Vec<f64> {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, x: &[T], y: &[T]) -> f64 {
        let mut sum = Products::NONE;
        sum.add(m, x, y);
        sum.sum()
    }
    sums_of(slots, places(slots), |Piece { slot, start, data }| {
        let x = part(x, &slots[slot], start, data);
        let y = part(y, &slots[slot], start, data);
        widest!(|m| kernel(m, x, y))
    })
}

/// The scalar product of x and the noise of a draw.
pub fn product_with_noise<T: Real>(slots: &[Slot], x: &[T], draw: Draw) -> f64 {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, x: &[T], noise: NoiseFrom) -> f64 {
        let mut sum = Products::NONE;
        noise.each(
            m,
            x.len(),
            #[inline(always)]
            |first, noise: &[T]| sum.add(m, &x[first..][..noise.len()], noise),
        );
        sum.sum()
    }
    let by_slot = sums_of(slots, places(slots), |Piece { slot, start, data }| {
        let x = part(x, &slots[slot], start, data);
        widest!(|m| kernel(m, x, draw.from(slots[slot].rank, start)))
    });
    by_slot.iter().sum()
}

/// out = the noise of a draw.
pub fn noise<T: Real>(slots: &[Slot], out: &mut [T], draw: Draw) {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, out: &mut [T], noise: NoiseFrom) {
        noise.each(
            m,
            out.len(),
            #[inline(always)]
            |first, noise: &[T]| out[first..][..noise.len()].copy_from_slice(noise),
        );
    }
    cut(slots, out).into_par_iter().for_each(|Piece { slot, start, data }| {
        widest!(|m| kernel(m, data, draw.from(slots[slot].rank, start)));
    });
}

/// A vector with a scale for each slot, in the coordinates of a metric.
#[derive(Clone, Copy)]
pub struct ScaledVector<'a> {
    /// One scale for each slot.
    pub scales: &'a [f64],
    /// The metric that defines T.
    pub metric: &'a ParameterMetric,
}

impl ScaledVector<'_> {
    fn in_slot<T: Real>(self, slot: usize) -> Factor<T> {
        Factor { scale: T::of(self.scales[slot]), unit: self.metric.unit::<T>(slot) }
    }
}

/// What a vector is multiplied with in one slot: a scale, and the metric.
#[derive(Clone, Copy)]
struct Factor<T> {
    scale: T,
    unit: Unit<T>,
}

/// out = w0 + T∘(scale * noise).
pub fn perturb<T: Real>(slots: &[Slot], out: &mut [T], w0: &[T], draw: Draw, by: ScaledVector<'_>) {
    cut(slots, out).into_par_iter().for_each(|Piece { slot, start, data }| {
        let w0 = part(w0, &slots[slot], start, data.len());
        let noise = draw.from(slots[slot].rank, start);
        let by = by.in_slot(slot);
        widest!(|m| perturb_piece(m, data, w0, noise, by));
    });
}

#[inline(always)]
fn perturb_piece<M: MulAdd, T: Real>(m: M, out: &mut [T], w0: &[T], noise: NoiseFrom, by: Factor<T>) {
    noise.each(
        m,
        out.len(),
        #[inline(always)]
        |first, noise: &[T]| {
            let out = &mut out[first..][..noise.len()];
            let w0 = &w0[first..][..noise.len()];
            shift(m, out, w0, noise, by);
        },
    );
}

/// out = w0 + T∘(scale * u).
#[inline(always)]
fn shift<M: MulAdd, T: Real>(m: M, out: &mut [T], w0: &[T], u: &[T], by: Factor<T>) {
    let scale = by.scale;
    let all = out.iter_mut().zip(w0).zip(u);
    match by.unit {
        Unit::One => all.for_each(
            #[inline(always)]
            |((out, w0), u)| *out = m.fma(*u, scale, *w0),
        ),
        unit => all.for_each(
            #[inline(always)]
            |((out, w0), u)| *out = m.fma(*u * scale, unit.at(*w0), *w0),
        ),
    }
}

/// out = w0 + T∘(scale * u).
pub fn displace<T: Real>(slots: &[Slot], out: &mut [T], w0: &[T], u: &[T], by: ScaledVector<'_>) {
    cut(slots, out).into_par_iter().for_each(|Piece { slot, start, data }| {
        let w0 = part(w0, &slots[slot], start, data.len());
        let u = part(u, &slots[slot], start, data.len());
        let by = by.in_slot(slot);
        widest!(|m| shift(m, data, w0, u, by));
    });
}

/// g = T∘g: the gradient in the coordinates of the metric; returns its norms.
pub fn to_metric<T: Real>(slots: &[Slot], g: &mut [T], w0: &[T], metric: &ParameterMetric) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, g: &mut [T], w0: &[T], unit: Unit<T>) -> f64 {
        for (g, w0) in g.iter_mut().zip(w0) {
            *g *= unit.at(*w0);
        }
        let mut squares = Products::NONE;
        squares.add_squares(m, g);
        squares.sum()
    }
    norms_of(slots, cut(slots, g), |Piece { slot, start, data }| {
        let w0 = part(w0, &slots[slot], start, data.len());
        widest!(|m| kernel(m, data, w0, metric.unit::<T>(slot)))
    })
}

/// x = factor * x + scale * noise (a factor and a scale for each slot), or without noise; returns the norms.
pub fn scale_and_perturb<T: Real>(
    slots: &[Slot],
    x: &mut [T],
    factors: &[f64],
    noise: Option<(Draw, &[f64])>,
) -> Norms {
    norms_of(slots, cut(slots, x), |Piece { slot, start, data }| {
        let noise = noise.map(|(draw, scales)| (draw.from(slots[slot].rank, start), T::of(scales[slot])));
        widest!(|m| scale_and_perturb_piece(m, data, T::of(factors[slot]), noise))
    })
}

#[inline(always)]
fn scale_and_perturb_piece<M: MulAdd, T: Real>(
    m: M,
    x: &mut [T],
    factor: T,
    noise: Option<(NoiseFrom, T)>,
) -> f64 {
    let mut squares = Products::NONE;
    match noise {
        Some((noise, scale)) => noise.each(
            m,
            x.len(),
            #[inline(always)]
            |first, noise: &[T]| {
                let x = &mut x[first..][..noise.len()];
                for (x, noise) in x.iter_mut().zip(noise) {
                    *x = m.fma(*noise, scale, factor * *x);
                }
                squares.add_squares(m, x);
            },
        ),
        None => {
            for x in x.iter_mut() {
                *x = factor * *x;
            }
            squares.add_squares(m, x);
        }
    }
    squares.sum()
}

/// x = keep * x + factor * y, with both for each slot; returns the norms of x.
pub fn combine<T: Real>(slots: &[Slot], keep: &[f64], x: &mut [T], factor: &[f64], y: &[T]) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, keep: T, x: &mut [T], factor: T, y: &[T]) -> f64 {
        for (x, y) in x.iter_mut().zip(y) {
            *x = m.fma(factor, *y, keep * *x);
        }
        let mut squares = Products::NONE;
        squares.add_squares(m, x);
        squares.sum()
    }
    norms_of(slots, cut(slots, x), |Piece { slot, start, data }| {
        let y = part(y, &slots[slot], start, data.len());
        let keep = T::of(keep[slot]);
        let factor = T::of(factor[slot]);
        widest!(|m| kernel(m, keep, data, factor, y))
    })
}

/// u = u + step * sign(g), pulled back to |u| ≤ bound; the sign of zero is zero.
pub fn climb_box<T: Real>(slots: &[Slot], u: &mut [T], g: &[T], [step, bound]: [f64; 2]) {
    #[inline(always)]
    fn kernel<T: Real>(u: &mut [T], g: &[T], step: T, bound: T) {
        let clamp = |x: T| if x > bound { bound } else { x };
        for (u, g) in u.iter_mut().zip(g) {
            let sign = if *g > T::ZERO { step } else { T::ZERO } - if *g < T::ZERO { step } else { T::ZERO };
            *u = -clamp(-clamp(*u + sign));
        }
    }
    cut(slots, u).into_par_iter().for_each(|Piece { slot, start, data }| {
        let g = part(g, &slots[slot], start, data.len());
        widest!(|_m| kernel(data, g, T::of(step), T::of(bound)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::noise::Purpose;

    fn slots() -> Vec<Slot> {
        let slot = |name: &str, offset, len, rank| Slot { name: name.into(), offset, len, rank, rows: 0 };
        vec![slot("a", 40_000, 7, 0), slot("b", 0, 40_000, 1)]
    }

    const DRAW: Draw = Draw { seed: 9, index: 2, purpose: Purpose::Gauss };

    #[test]
    fn a_perturbation_regenerates_its_noise() {
        let slots = slots();
        let w0: Vec<f64> = (0..40_007).map(|i| i as f64 * 1e-3).collect();
        let mut w = vec![0.0; w0.len()];
        let by = ScaledVector { scales: &[0.5, 2.0], metric: &ParameterMetric::Plain };
        perturb(&slots, &mut w, &w0, DRAW, by);
        let a = DRAW.vector(0, 7);
        let b = DRAW.vector(1, 40_000);
        for i in [0, 2, 16_383, 16_384, 39_999] {
            assert!((w[i] - (w0[i] + 2.0 * b[i])).abs() < 1e-13, "{i}");
        }
        assert!((w[40_005] - (w0[40_005] + 0.5 * a[5])).abs() < 1e-13);
        let mut delta = vec![0.0; w0.len()];
        let norms = scale_and_perturb(&slots, &mut delta, &[0.0; 2], Some((DRAW, &[1.0, 1.0])));
        assert_eq!(norms, noise_norms::<f64>(&slots, DRAW));
        assert!((norms.squares[0] - a.iter().map(|x| x * x).sum::<f64>()).abs() < 1e-12);
        let mut again = vec![0.0; w0.len()];
        displace(&slots, &mut again, &w0, &delta, by);
        assert!(w.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-13));
        noise(&slots, &mut again, DRAW);
        assert_eq!(again, delta);
        let product = product_with_noise(&slots, &again, DRAW);
        assert_eq!(product, norms.squares.iter().sum::<f64>());
    }

    #[test]
    fn a_metric_scales_each_parameter() {
        let slots = slots();
        let w0: Vec<f64> = (0..40_007).map(|i| (i as f64 * 0.37).sin()).collect();
        let u: Vec<f64> = (0..40_007).map(|i| (i as f64 * 0.11).cos()).collect();
        let linear = ParameterMetric::Linear(vec![[1.0, 0.5], [2.0, 0.0]].into());
        let root = ParameterMetric::Root { slope: 2.0, floor: 0.1 };
        let unit = |metric: &ParameterMetric, slot: usize, w: f64| match metric {
            ParameterMetric::Plain => 1.0,
            ParameterMetric::Linear(terms) => terms[slot][0] * w.abs() + terms[slot][1],
            ParameterMetric::Root { slope, floor } => (slope * slope * w * w + floor * floor).sqrt(),
        };
        for metric in [ParameterMetric::Plain, linear, root] {
            let mut w = vec![0.0; w0.len()];
            let mut g = u.clone();
            displace(&slots, &mut w, &w0, &u, ScaledVector { scales: &[3.0, -1.0], metric: &metric });
            to_metric(&slots, &mut g, &w0, &metric);
            for (i, slot, scale) in [(0, 1, -1.0), (39_999, 1, -1.0), (40_003, 0, 3.0)] {
                let t = unit(&metric, slot, w0[i]);
                assert!((w[i] - (w0[i] + scale * u[i] * t)).abs() < 1e-13, "{metric:?} {i}");
                assert!((g[i] - u[i] * t).abs() < 1e-13, "{metric:?} {i}");
            }
        }
    }

    #[test]
    fn a_box_holds_what_climbs_in_it() {
        let slots = slots();
        let g: Vec<f64> = (0..40_007).map(|i| [1.0, -2.0, 0.0][i % 3]).collect();
        let mut u = vec![0.05; 40_007];
        climb_box(&slots, &mut u, &g, [0.2, 0.1]);
        assert_eq!((u[0], u[1], u[2], u[40_006]), (0.1, -0.1, 0.05, [0.1, -0.1, 0.05][40_006 % 3]));
    }

    #[test]
    fn slots_may_lie_apart_and_in_any_order() {
        let mut slots = slots();
        slots[0].offset = 40_100;
        let mut x = vec![1f32; 40_200];
        scale_and_perturb(&slots, &mut x, &[3.0, 2.0], None);
        assert_eq!(
            (x[0], x[39_999], x[40_000], x[40_100], x[40_106], x[40_107]),
            (2.0, 2.0, 1.0, 3.0, 3.0, 1.0)
        );
        assert_eq!(norms(&slots, &x).squares, [63.0, 160_000.0]);
        let y = vec![1f32; 40_200];
        assert_eq!(combine(&slots, &[1.0; 2], &mut x, &[1.0; 2], &y).squares, [7.0 * 16.0, 360_000.0]);
    }
}
