//! Lanczos' iteration: an orthonormal basis that grows by a product with H a step, and H as it is seen in it.
//!
//! Each new vector is made orthogonal to all before it, twice, as rounding wants: without that, eigenvalues that are
//! found come again. A basis that is full begins anew from some of its Ritz vectors (thick restart: Wu and Simon 2000),
//! which keeps what it has found of both ends of the spectrum.
//!
//! Owns: the basis. May not touch: how far it goes, and what is read off it.

use super::curvature;
use crate::landscape::{Point, VectorId};
use crate::spectrum;
use clino_domain::Fault;

/// Below this share of the matrix's elements a residual is rounding, and the iteration has seen all that there is.
const NOTHING: f64 = 1e-12;

/// H in the basis, whose only elements are a diagonal and those that tie each vector to the next one. After a restart
/// the first `kept` vectors are Ritz vectors, each tied to the one behind them all.
#[derive(Debug, Clone, Default)]
pub struct Tridiagonal {
    /// Diagonal of the tridiagonal matrix.
    pub diagonal: Vec<f64>,
    /// The ties; the last is that to the residual, whose norm it is.
    pub beside: Vec<f64>,
    kept: usize,
}

/// An eigenvalue of H as it is seen.
#[derive(Debug, Clone)]
pub struct Ritz {
    /// The approximate eigenvalue of H.
    pub value: f64,
    /// ‖H v - value v‖ of its vector v, if products are exact.
    pub residual: f64,
    /// Its vector in the basis.
    coordinates: Vec<f64>,
}

impl Tridiagonal {
    /// The elements that tie two vectors of the basis.
    pub fn ties(&self) -> &[f64] {
        &self.beside[..self.diagonal.len().saturating_sub(1)]
    }

    /// Whether all of it is finite.
    pub fn is_finite(&self) -> bool {
        self.diagonal.iter().chain(&self.beside).all(|x| x.is_finite())
    }

    fn element(&self, i: usize, j: usize) -> f64 {
        let (first, second) = if i < j { (i, j) } else { (j, i) };
        let tied = if first < self.kept { self.kept } else { first + 1 };
        match (first == second, second == tied) {
            (true, _) => self.diagonal[first],
            (_, true) => self.beside[first],
            _ => 0.0,
        }
    }

    /// Its eigenvalues, rising.
    ///
    /// # Errors
    /// When the iteration for them does not end.
    pub fn ritz(&self) -> Result<Vec<Ritz>, Fault> {
        let found = spectrum::symmetric(self.diagonal.len(), |i, j| self.element(i, j))?;
        let norm = self.beside.last().copied().unwrap_or(0.0);
        let of = |(value, coordinates): (f64, Vec<f64>)| {
            let last = coordinates.last().copied().unwrap_or(0.0);
            Ritz { value, residual: norm * last.abs(), coordinates }
        };
        Ok(found.into_iter().map(of).collect())
    }

    fn largest(&self) -> f64 {
        self.diagonal.iter().chain(&self.beside).fold(0.0, |most, x| most.max(x.abs()))
    }
}

/// A Lanczos iteration with full reorthogonalization.
pub struct Lanczos<'p> {
    point: &'p mut dyn Point,
    /// ‖h v‖ of the products' differences.
    step: f64,
    basis: Vec<VectorId>,
    /// The next vector of the basis, once it is brought to length 1, and its length.
    next: VectorId,
    length: f64,
    /// H as it is seen.
    pub seen: Tridiagonal,
}

impl<'p> Lanczos<'p> {
    /// From a vector of length 1; `step` is that of [`curvature::product`].
    pub fn new(point: &'p mut dyn Point, from: VectorId, step: f64) -> Self {
        Self { point, step, basis: Vec::new(), next: from, length: 1.0, seen: Tridiagonal::default() }
    }

    /// Vectors of the basis.
    pub fn size(&self) -> usize {
        self.basis.len()
    }

    /// One product; false when there is nothing left to see, or a gradient is not finite: then it ends.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    pub fn advance(&mut self) -> Result<bool, Fault> {
        let newest = self.next;
        if !self.basis.is_empty() {
            self.point.scale(newest, 1.0 / self.length)?;
        }
        self.basis.push(newest);
        let next = curvature::product(self.point, newest, self.step)?;
        self.seen.diagonal.push(self.point.product(next, newest)?);
        for _ in 0..2 {
            for q in &self.basis {
                let along = self.point.product(next, *q)?;
                self.point.combine(next, 1.0, *q, -along)?;
            }
        }
        let length = self.point.product(next, next)?.sqrt();
        self.seen.beside.push(length);
        (self.next, self.length) = (next, length);
        Ok(length > NOTHING * self.seen.largest() && length.is_finite())
    }

    /// Goes on with no more of the basis than these Ritz vectors.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn restart(&mut self, keep: &[&Ritz]) -> Result<(), Fault> {
        let vectors = keep.iter().map(|ritz| self.vector(ritz)).collect::<Result<Vec<_>, Fault>>()?;
        self.drop_basis();
        self.basis = vectors;
        let tie = |ritz: &&Ritz| self.length * ritz.coordinates.last().copied().unwrap_or(0.0);
        self.seen = Tridiagonal {
            diagonal: keep.iter().map(|ritz| ritz.value).collect(),
            beside: keep.iter().map(tie).collect(),
            kept: keep.len(),
        };
        Ok(())
    }

    fn vector(&mut self, ritz: &Ritz) -> Result<VectorId, Fault> {
        let sum = self.point.keep_zeros()?;
        for (q, share) in self.basis.iter().zip(&ritz.coordinates) {
            self.point.combine(sum, 1.0, *q, *share)?;
        }
        Ok(sum)
    }

    /// Gives back the room of all but the basis.
    pub fn into_basis(self) -> Vec<VectorId> {
        self.point.release(self.next);
        self.basis
    }

    /// These Ritz vectors; gives back the room of all the rest.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn end(mut self, wanted: &[&Ritz]) -> Result<Vec<VectorId>, Fault> {
        self.point.release(self.next);
        let vectors = wanted.iter().map(|ritz| self.vector(ritz)).collect();
        self.drop_basis();
        vectors
    }

    fn drop_basis(&mut self) {
        for vector in self.basis.drain(..) {
            self.point.release(vector);
        }
    }
}
