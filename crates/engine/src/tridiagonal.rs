//! Eigenvalues of a symmetric matrix that may take minutes, and can be ended before: by Householder's reduction to a
//! tridiagonal matrix, column by column, and the implicit QL iteration (Golub and Van Loan, Matrix Computations, 8.3).
//!
//! Owns: these two steps. May not touch: what the matrix is.

use clino_domain::{Checkpoint, Fault};
use nalgebra::DMatrix;

/// A symmetric tridiagonal matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Tridiagonal {
    /// Its diagonal.
    pub diagonal: Vec<f64>,
    /// What is below it, one element less.
    pub beside: Vec<f64>,
}

/// The tridiagonal matrix with the eigenvalues of a symmetric one, of which the lower triangle is read.
///
/// # Errors
/// `Cancelled` if a stop was requested.
pub fn reduced(mut matrix: DMatrix<f64>, stop: &dyn Checkpoint) -> Result<Tridiagonal, Fault> {
    let n = matrix.nrows();
    let mut beside = Vec::with_capacity(n.saturating_sub(1));
    for i in 0..n.saturating_sub(1) {
        stop.check()?;
        let mut below = matrix.rows_range_mut(i + 1..);
        let (mut axis, mut rest) = below.columns_range_pair_mut(i, i + 1..);
        let norm = axis.norm();
        let reflected = if axis[0] > 0.0 { -norm } else { norm };
        beside.push(reflected);
        axis[0] -= reflected;
        if axis.normalize_mut() > 0.0 {
            // The reflection of both sides: A - v pᵀ - p vᵀ with v the axis and p = 2 (A v - (vᵀ A v) v).
            let mut p = DMatrix::zeros(n - i - 1, 1).column(0).into_owned();
            p.sygemv(2.0, &rest, &axis, 0.0);
            let dot = axis.dot(&p);
            p.axpy(-dot, &axis, 1.0);
            rest.syger(-1.0, &p, &axis, 1.0);
            rest.syger(-1.0, &axis, &p, 1.0);
        }
    }
    Ok(Tridiagonal { diagonal: matrix.diagonal().iter().copied().collect(), beside })
}

/// Steps of the QL iteration for an eigenvalue, of which two or three are usual.
const ITERATIONS: usize = 60;

/// Eigenvalues of a tridiagonal matrix, in no order.
///
/// # Errors
/// [`clino_domain::FaultKind::Internal`] when the iteration does not end, as it does for what is not finite.
pub fn eigenvalues(of: Tridiagonal) -> Result<Vec<f64>, Fault> {
    let Tridiagonal { diagonal: mut d, beside: mut e } = of;
    e.push(0.0);
    for first in 0..d.len() {
        let mut steps = 0;
        loop {
            let negligible = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let last = (first..d.len() - 1).find(|i| negligible(*i)).unwrap_or(d.len() - 1);
            if last == first {
                break;
            }
            if steps == ITERATIONS {
                return Err(Fault::internal("no eigenvalues: the iteration did not end"));
            }
            steps += 1;
            step(&mut d, &mut e, first, last);
        }
    }
    Ok(d)
}

/// One implicit QL step with Wilkinson's shift on the block `first..=last`.
fn step(d: &mut [f64], e: &mut [f64], first: usize, last: usize) {
    let slope = (d[first + 1] - d[first]) / (2.0 * e[first]);
    let mut g = d[last] - d[first] + e[first] / (slope + slope.hypot(1.0).copysign(slope));
    let mut sine = 1.0;
    let mut cosine = 1.0;
    let mut shift = 0.0;
    for i in (first..last).rev() {
        let f = sine * e[i];
        let b = cosine * e[i];
        let length = f.hypot(g);
        e[i + 1] = length;
        if length == 0.0 {
            // The block falls apart here.
            d[i + 1] -= shift;
            e[last] = 0.0;
            return;
        }
        (sine, cosine) = (f / length, g / length);
        let up = d[i + 1] - shift;
        let turned = (d[i] - up) * sine + 2.0 * cosine * b;
        shift = sine * turned;
        d[i + 1] = up + shift;
        g = cosine * turned - b;
    }
    d[first] -= shift;
    e[first] = g;
    e[last] = 0.0;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::{FaultKind, Stop};

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    fn found(matrix: DMatrix<f64>) -> Vec<f64> {
        sorted(eigenvalues(reduced(matrix, &Stop::default()).unwrap()).unwrap())
    }

    /// Symmetric, with elements that repeat themselves nowhere.
    fn matrix(n: usize, scale: f64) -> DMatrix<f64> {
        DMatrix::from_fn(n, n, |i, j| scale * ((1 + i.min(j)) as f64 * 0.7 + (i.max(j) as f64).sqrt()).sin())
    }

    #[test]
    fn eigenvalues_are_those_of_nalgebra() {
        for n in [1, 2, 3, 5, 17, 64, 150] {
            for scale in [1.0, 1e-150, 1e150] {
                let expected = sorted(matrix(n, 1.0).symmetric_eigenvalues().iter().copied().collect());
                for (a, b) in found(matrix(n, scale)).iter().zip(&expected) {
                    assert!((a / scale - b).abs() < 1e-12 * n as f64, "{n} {scale}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn special_matrices_have_their_eigenvalues() {
        assert_eq!(found(DMatrix::zeros(4, 4)), [0.0; 4]);
        assert_eq!(found(DMatrix::identity(3, 3)), [1.0; 3]);
        assert!(found(DMatrix::zeros(0, 0)).is_empty());
        // Of rank one: n and zeros.
        let ones = found(DMatrix::from_element(6, 6, 1.0));
        assert!((ones[5] - 6.0).abs() < 1e-14 && ones[..5].iter().all(|x| x.abs() < 1e-14), "{ones:?}");
        // 2 - 2 cos(k π / (n + 1)) for second differences.
        let n = 200;
        let of = Tridiagonal { diagonal: vec![2.0; n], beside: vec![-1.0; n - 1] };
        for (k, x) in sorted(eigenvalues(of).unwrap()).iter().enumerate() {
            let angle = (k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64;
            assert!((x - (2.0 - 2.0 * angle.cos())).abs() < 1e-13, "{k}: {x}");
        }
    }

    #[test]
    fn a_stop_ends_the_reduction_and_what_is_not_finite_ends_the_iteration() {
        let stop = Stop::default();
        stop.raise("enough");
        assert_eq!(reduced(matrix(3, 1.0), &stop).unwrap_err().kind, FaultKind::Cancelled);
        let of = Tridiagonal { diagonal: vec![f64::NAN, 1.0], beside: vec![1.0] };
        assert_eq!(eigenvalues(of).unwrap_err().kind, FaultKind::Internal);
    }
}
