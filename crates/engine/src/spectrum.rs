//! Singular values of matrices, from the eigenvalues of the smaller Gram matrix in f64.
//!
//! Squares of singular values below 2^-52 n of the largest are the rounding of the products, and count as zero.
//!
//! Owns: Gram matrices and their eigenvalues. May not touch: what is read off a spectrum.

use crate::device::gemm::{self, How, MatrixView, MatrixViewMut, multiply};
#[cfg(test)]
use crate::device::real::Real;
use crate::tridiagonal;
use clino_domain::{Checkpoint, Fault};
use nalgebra::{DMatrix, SymmetricEigen};

/// Elements of a matrix that are widened at once.
const BLOCK: usize = 1 << 18;
/// Steps of the QR iteration for each eigenvalue, of which two or three are usual.
const ITERATIONS: usize = 60;

/// Squared singular values of one matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// Index of the tensor among the slots.
    pub slot: usize,
    /// Squares of the singular values, greatest first: as many as the shorter side is long.
    pub squares: Vec<f64>,
    /// Square of the Frobenius norm.
    pub frobenius: f64,
}

impl Spectrum {
    /// Square of the spectral norm.
    pub fn top(&self) -> f64 {
        self.squares.first().copied().unwrap_or(0.0)
    }

    /// ‖W‖_F² / ‖W‖₂²; `None` for a matrix of zeros.
    pub fn stable_rank(&self) -> Option<f64> {
        (self.top() > 0.0).then(|| self.frobenius / self.top())
    }
}

/// That of a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Number of rows of the matrix.
    pub rows: usize,
    /// Number of columns of the matrix.
    pub columns: usize,
}

/// The spectrum of a matrix [rows, columns] that `read(start, out)` gives piece by piece, row-major and in f64.
///
/// # Errors
/// What `read` answers; `Cancelled` if a stop was requested.
pub fn of(
    slot: usize,
    Shape { rows, columns }: Shape,
    stop: &dyn Checkpoint,
    mut read: impl FnMut(usize, &mut [f64]) -> Result<(), Fault>,
) -> Result<Spectrum, Fault> {
    let tall = rows >= columns;
    let side = rows.min(columns);
    let mut gram = vec![0.0; side * side];
    let mut frobenius = 0.0;
    if tall {
        let step = (BLOCK / columns).max(1);
        let mut block = vec![0.0; step.min(rows) * columns];
        for first in (0..rows).step_by(step) {
            stop.check()?;
            let here = step.min(rows - first);
            let block = &mut block[..here * columns];
            read(first * columns, block)?;
            frobenius += square(block);
            let a = MatrixView::rows(block, (here, columns), columns);
            add_product(&mut gram, side, a.t(), a);
        }
    } else {
        let mut whole = vec![0.0; rows * columns];
        read(0, &mut whole)?;
        frobenius = square(&whole);
        let step = (BLOCK / columns).max(1);
        let a = MatrixView::rows(&whole, (rows, columns), columns);
        for (block, rows) in gram.chunks_mut(step * side).zip(whole.chunks(step * columns)) {
            stop.check()?;
            let block_rows = rows.len() / columns;
            let product = MatrixViewMut::rows(block, (block_rows, side), side);
            multiply(product, MatrixView::rows(rows, (block_rows, columns), columns), a.t(), ADDED);
        }
    }
    Ok(Spectrum { slot, squares: eigenvalues(&gram, side, stop)?, frobenius })
}

/// Floating-point operations of [`of`], roughly: the products and the reduction to a tridiagonal form.
pub fn operations(Shape { rows, columns }: Shape) -> f64 {
    let short = rows.min(columns) as f64;
    let long = rows.max(columns) as f64;
    2.0 * short * short * long + 4.0 * short * short * short
}

/// A product that is added to what is there.
const ADDED: How<f64> = How { scale: 1.0, add: true, threads: 1 };

/// Bytes that [`of`] takes: the Gram matrix with the elements that it is made of, then with two copies of it. (What reads
/// them may widen as many elements again.)
pub fn bytes(Shape { rows, columns }: Shape) -> f64 {
    let side = rows.min(columns) as f64;
    let gram = side * side;
    let read = match rows >= columns {
        true => (BLOCK / columns.max(1)).clamp(1, rows.max(1)) as f64 * columns as f64,
        false => rows as f64 * columns as f64,
    };
    let packed = gemm::packed(rows.max(columns), rows.min(columns), size_of::<f64>());
    let made = 8.0 * gram + (16.0 * read).max(8.0 * read + packed);
    made.max(24.0 * gram + 64.0 * side)
}

fn square(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

fn add_product(gram: &mut [f64], side: usize, a: MatrixView<'_, f64>, b: MatrixView<'_, f64>) {
    multiply(MatrixViewMut::rows(gram, (side, side), side), a, b, ADDED);
}

/// Eigenvalues of a Gram matrix, greatest first, none below zero.
fn eigenvalues(gram: &[f64], side: usize, stop: &dyn Checkpoint) -> Result<Vec<f64>, Fault> {
    let Some((matrix, scale)) = scaled(side, |i, j| gram[i * side + j]) else {
        return Ok(vec![f64::INFINITY; side]);
    };
    let mut found = tridiagonal::eigenvalues(tridiagonal::reduced(matrix, stop)?)?;
    found.iter_mut().for_each(|x| *x *= scale);
    found.sort_by(|a, b| b.total_cmp(a));
    let least = found.first().map_or(0.0, |top| top * side as f64 * f64::EPSILON);
    found.iter_mut().for_each(|x| *x = if *x > least { *x } else { 0.0 });
    Ok(found)
}

/// A matrix whose greatest element is 1, so that no square overflows, and what it is to be multiplied with; `None` when an
/// element is not finite. A matrix of zeros stays one.
fn scaled(n: usize, element: impl Fn(usize, usize) -> f64) -> Option<(DMatrix<f64>, f64)> {
    let matrix = DMatrix::from_fn(n, n, element);
    let greatest = matrix.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let scale = if greatest > 0.0 { greatest } else { 1.0 };
    matrix.iter().all(|x| x.is_finite()).then(|| (matrix / scale, scale))
}

/// Eigenvalues of a symmetric matrix of `n` rows in rising order, each with its eigenvector.
///
/// # Errors
/// [`clino_domain::FaultKind::Internal`] when an element is not finite, and when the iteration does not end.
pub fn symmetric(n: usize, element: impl Fn(usize, usize) -> f64) -> Result<Vec<(f64, Vec<f64>)>, Fault> {
    let none = |why: &str| Fault::internal(format!("no eigenvalues: {why}"));
    let (matrix, scale) = scaled(n, element).ok_or_else(|| none("an element is not finite"))?;
    let found = SymmetricEigen::try_new(matrix, f64::EPSILON, ITERATIONS * n.max(1));
    let found = found.ok_or_else(|| none("the iteration did not end"))?;
    let vectors = found.eigenvectors.column_iter().map(|vector| vector.iter().copied().collect());
    let mut pairs: Vec<(f64, Vec<f64>)> = found.eigenvalues.iter().map(|x| x * scale).zip(vectors).collect();
    pairs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(pairs)
}

/// Eigenvalues of a symmetric tridiagonal matrix in rising order, and the squares of the first elements of its
/// eigenvectors: nodes and weights of a Gauss quadrature.
///
/// # Errors
/// [`clino_domain::FaultKind::Internal`] when the iteration does not end.
pub fn quadrature(diagonal: &[f64], beside: &[f64]) -> Result<(Vec<f64>, Vec<f64>), Fault> {
    let found = symmetric(diagonal.len(), |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => beside[i.min(j)],
        _ => 0.0,
    })?;
    Ok(found.into_iter().map(|(node, vector)| (node, vector[0] * vector[0])).unzip())
}

/// Reads elements of a slice that holds the whole matrix.
#[cfg(test)]
pub fn from_slice<T: Real>(data: &[T]) -> impl FnMut(usize, &mut [f64]) -> Result<(), Fault> + '_ {
    |start, out| {
        out.iter_mut().zip(&data[start..]).for_each(|(out, x)| *out = x.wide());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clino_domain::Stop;

    #[test]
    fn a_diagonal_shows_its_singular_values() {
        for (rows, columns) in [(3, 3), (5, 3), (3, 5)] {
            let mut w = vec![0.0f64; rows * columns];
            [3.0, -4.0, 0.0].iter().enumerate().for_each(|(i, x)| w[i * columns + i] = *x);
            let found = of(2, Shape { rows, columns }, &Stop::default(), from_slice(&w)).expect("finite");
            let expected = [16.0, 9.0, 0.0];
            assert!(found.squares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
            assert_eq!(
                (found.frobenius, found.stable_rank(), found.slot),
                (25.0, Some(25.0 / found.top()), 2)
            );
        }
        let zero =
            of(0, Shape { rows: 2, columns: 2 }, &Stop::default(), from_slice(&[0.0f32; 4])).expect("finite");
        assert_eq!((zero.top(), zero.stable_rank()), (0.0, None));
    }

    #[test]
    fn eigenvalues_come_in_rising_order_and_nothing_overflows() {
        for scale in [1.0, 1e-160, 1e300] {
            let found = symmetric(2, |i, j| if i == j { 2.0 * scale } else { -scale }).expect("finite");
            let close = |found: f64, expected: f64| (found / scale - expected).abs() < 1e-14;
            assert!(close(found[0].0, 1.0) && close(found[1].0, 3.0), "{found:?}");
            assert!((found[1].1[0] + found[1].1[1]).abs() < 1e-14, "{found:?}");
        }
        assert_eq!(symmetric(1, |_, _| 0.0).expect("finite")[0].0, 0.0);
        assert!(symmetric(2, |_, _| f64::NAN).is_err());
        let wide =
            of(0, Shape { rows: 2, columns: 2 }, &Stop::default(), from_slice(&[1e150, 0.0, 0.0, 1e149]))
                .expect("finite");
        assert!((wide.squares[1] / 1e298 - 1.0).abs() < 1e-14, "{wide:?}");
        let infinite = of(0, Shape { rows: 1, columns: 2 }, &Stop::default(), from_slice(&[1e200, 1e200]))
            .expect("read");
        assert_eq!(infinite.squares, [f64::INFINITY]);
    }

    #[test]
    fn blocks_of_a_tall_matrix_add_up() {
        // Orthogonal columns: sin and cos of the row, longer than one block.
        let rows = BLOCK;
        let angle = |i: usize| std::f64::consts::TAU * i as f64 / rows as f64;
        let w: Vec<f64> = (0..rows).flat_map(|i| [angle(i).sin(), 2.0 * angle(i).cos()]).collect();
        let found = of(0, Shape { rows, columns: 2 }, &Stop::default(), from_slice(&w)).expect("finite");
        assert!((found.squares[0] - 2.0 * rows as f64).abs() < 1e-6 * rows as f64);
        assert!((found.squares[1] - 0.5 * rows as f64).abs() < 1e-6 * rows as f64);
    }

    #[test]
    fn a_quadrature_has_its_moments() {
        let (nodes, weights) = quadrature(&[1.0, 2.0, 4.0], &[0.5, 0.25]).expect("finite");
        let moment = |k: i32| nodes.iter().zip(&weights).map(|(x, w)| w * x.powi(k)).sum::<f64>();
        assert!((moment(0) - 1.0).abs() < 1e-14);
        assert!((moment(1) - 1.0).abs() < 1e-14);
        assert!((moment(2) - 1.25).abs() < 1e-14);
    }
}
