//! Directions normalized by filter (Li et al. 2018, arXiv 1712.09913): each row of a matrix gets the length of the same
//! row of w0, vectors stand still.
//!
//! Owns: norms of rows, and directions made of noise and of them. May not touch: losses.

use super::pieces::{Piece, cut, part, places};
use super::real::Real;
use super::widest::{MulAdd, widest};
use crate::device::noise::{Draw, NoiseFrom};
use crate::device::slot::Slot;
use rayon::prelude::*;

/// Added to the norm of a row of noise, so that none is divided by zero.
const LEAST: f64 = 1e-10;

/// A number for every row of every matrix, by slot; empty for vectors.
pub type Rows = Vec<Vec<f64>>;

/// Calls `with(row, elements)` for the runs of `start..start + len` that lie in one row of `columns` elements.
#[inline(always)]
fn each_row(columns: usize, start: usize, len: usize, mut with: impl FnMut(usize, std::ops::Range<usize>)) {
    let mut at = 0;
    while at < len {
        let row = (start + at) / columns;
        let column = (start + at) % columns;
        let end = len.min(at + columns - column);
        with(row, at..end);
        at = end;
    }
}

/// Joins sums of squares by row, in order; answers with norms.
fn join(slots: &[Slot], parts: Vec<(usize, Vec<(usize, f64)>)>) -> Rows {
    let mut rows: Rows = slots.iter().map(|slot| vec![0.0; slot.rows]).collect();
    for (slot, part) in parts {
        part.into_iter().for_each(|(row, square)| rows[slot][row] += square);
    }
    rows.iter_mut().flatten().for_each(|square| *square = square.sqrt());
    rows
}

#[inline(always)]
fn add_squares<T: Real>(columns: usize, start: usize, x: &[T], into: &mut Vec<(usize, f64)>) {
    each_row(
        columns,
        start,
        x.len(),
        #[inline(always)]
        |row, run| {
            let square: f64 = x[run].iter().map(|x| x.wide() * x.wide()).sum();
            match into.last_mut() {
                Some((last, sum)) if *last == row => *sum += square,
                _ => into.push((row, square)),
            }
        },
    );
}

/// Norms of the rows of `x`.
pub fn row_norms<T: Real>(slots: &[Slot], x: &[T]) -> Rows {
    let of = |Piece { slot, start, data }: Piece<usize>| {
        let mut found = Vec::new();
        if let Some(columns) = slots[slot].columns() {
            add_squares(columns, start, part(x, &slots[slot], start, data), &mut found);
        }
        (slot, found)
    };
    join(slots, places(slots).into_par_iter().map(of).collect())
}

/// Norms of the rows of a draw's noise.
pub fn noise_row_norms<T: Real>(slots: &[Slot], draw: Draw) -> Rows {
    let of = |Piece { slot, start, data }: Piece<usize>| {
        let mut found = Vec::new();
        if let Some(columns) = slots[slot].columns() {
            let numbers = draw.from(slots[slot].rank, start);
            widest!(|m| numbers.each(
                m,
                data,
                #[inline(always)]
                |first, noise: &[T]| add_squares(columns, start + first, noise, &mut found),
            ));
        }
        (slot, found)
    };
    join(slots, places(slots).into_par_iter().map(of).collect())
}

/// What the rows of a draw are multiplied with: ‖w row‖ / (‖noise row‖ + 1e-10).
pub fn scales(weights: &Rows, noise: &Rows) -> Rows {
    let one = |(w, n): (&Vec<f64>, &Vec<f64>)| w.iter().zip(n).map(|(w, n)| w / (n + LEAST)).collect();
    weights.iter().zip(noise).map(one).collect()
}

/// What the rows of one matrix are multiplied with.
#[derive(Clone, Copy)]
struct Lengths<'a> {
    columns: usize,
    scales: &'a [f64],
    coefficient: f64,
}

/// u = u + coefficient * (the filter-normalized direction of a draw).
pub fn add_direction<T: Real>(slots: &[Slot], u: &mut [T], draw: Draw, rows: &Rows, coefficient: f64) {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, u: &mut [T], noise: NoiseFrom, rows: Lengths<'_>) {
        let len = u.len();
        noise.each(
            m,
            len,
            #[inline(always)]
            |first, numbers: &[T]| {
                each_row(
                    rows.columns,
                    noise.start + first,
                    numbers.len(),
                    #[inline(always)]
                    |row, run| {
                        let scale = T::of(rows.coefficient * rows.scales[row]);
                        let u = &mut u[first..][run.clone()];
                        for (u, number) in u.iter_mut().zip(&numbers[run]) {
                            *u = m.fma(*number, scale, *u);
                        }
                    },
                );
            },
        );
    }
    cut(slots, u).into_par_iter().for_each(|Piece { slot, start, data }| {
        if let Some(columns) = slots[slot].columns() {
            let noise = draw.from(slots[slot].rank, start);
            let rows = Lengths { columns, scales: &rows[slot], coefficient };
            widest!(|m| kernel(m, data, noise, rows));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::noise::Purpose;

    #[test]
    fn rows_get_the_length_of_their_weights() {
        let slot = |offset, len, rank, rows| Slot { name: "a".into(), offset, len, rank, rows };
        // Rows of 7,001 elements: each lies in several pieces, and pieces hold parts of several rows.
        let slots = vec![slot(0, 5 * 7_001, 0, 5), slot(5 * 7_001, 9, 1, 0)];
        let w: Vec<f64> =
            (0..5 * 7_001 + 9).map(|i| (i as f64 * 0.3).sin() * (1 + i / 7_001) as f64).collect();
        let draw = Draw { seed: 3, index: 1, purpose: Purpose::Direction };
        let weights = row_norms(&slots, &w);
        let rows = scales(&weights, &noise_row_norms::<f64>(&slots, draw));
        let mut u = vec![0.0; w.len()];
        add_direction(&slots, &mut u, draw, &rows, 2.0);
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for (row, expected) in weights[0].iter().enumerate() {
            let found = norm(&u[row * 7_001..][..7_001]);
            assert!((expected - norm(&w[row * 7_001..][..7_001])).abs() < 1e-9);
            assert!((found - 2.0 * expected).abs() < 1e-9 * expected, "{row}: {found} {expected}");
        }
        let noise = draw.vector(0, 5 * 7_001);
        assert!((u[9_000] / noise[9_000] - u[9_001] / noise[9_001]).abs() < 1e-9);
        assert_eq!(&u[5 * 7_001..], [0.0; 9]);
    }
}
