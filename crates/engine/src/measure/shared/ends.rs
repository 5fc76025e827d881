//! Both ends of the Hessian's spectrum, by Lanczos' iteration within a bounded basis or by power iteration.
//!
//! What is found is an [`End`] with the residual of its vector, from a product with that vector: the iteration's own
//! word for it leaves out the error of the differences.
//!
//! Owns: the iterations. May not touch: what is told of them.

use super::climb::over;
use super::curvature;
use super::lanczos::{Lanczos, Ritz};
use crate::device::noise::Purpose;
use crate::landscape::{Point, VectorId};
use clino_domain::Fault;

/// An end within this share of the dominant eigenvalue counts as zero: its residual is held against that share.
const ZERO: f64 = 1e-3;

/// When an iteration ends.
#[derive(Debug, Clone, Copy)]
pub struct IterationLimits {
    /// Maximum number of products with the Hessian.
    pub iters: u32,
    /// Residual, or change, relative to the value.
    pub tol: f64,
    /// There are no more directions than parameters.
    pub parameters: usize,
    /// ‖h v‖ of the differences on the way.
    pub step: f64,
    /// The same along an eigenvector.
    pub last: f64,
}

/// One end of the spectrum: an extreme eigenvalue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct End {
    /// v·Hv of the vector v that was found.
    pub value: f64,
    /// ‖H v - value v‖.
    pub residual: f64,
}

/// What an iteration found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FoundEnds {
    /// The greatest eigenvalue; `None` where a gradient is not finite.
    pub top: Option<End>,
    /// The smallest eigenvalue, if it was found.
    pub bottom: Option<End>,
    /// Number of products with the Hessian.
    pub products: u32,
    /// Whether the iteration ended because it had come near enough.
    pub settled: bool,
}

impl FoundEnds {
    /// The end of the greater magnitude.
    pub fn dominant(&self) -> Option<End> {
        let larger = |a: End, b: End| if b.value.abs() > a.value.abs() { b } else { a };
        self.top.into_iter().chain(self.bottom).reduce(larger)
    }

    /// The residual of an end relative to it.
    pub fn doubt(&self, end: &End) -> f64 {
        let dominant = self.dominant().map_or(0.0, |end| end.value.abs());
        over(end.residual, end.value.abs().max(ZERO * dominant))
    }
}

/// Vectors of a basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// Maximum number of vectors in the basis.
    most: u32,
    /// Ritz vectors with which a full one begins anew, half of them from each end.
    kept: u32,
}

impl Basis {
    /// The fewest vectors with which Lanczos' iteration begins anew.
    pub const LEAST: u32 = 7;
    /// Above this a basis takes more time than products do.
    const MOST: u32 = 128;

    /// For `steps` steps in the room of a number of vectors; `None` if that is too little.
    pub fn within(room: u32, steps: u32) -> Option<Self> {
        let whole = Self { most: steps.min(Self::MOST), kept: Self::MOST / 2 };
        if whole.most == steps && steps.saturating_add(2) <= room {
            return Some(Self { kept: 0, ..whole });
        }
        if room < Self::LEAST {
            return None;
        }
        // Beside the basis lie the residual and what is kept while it is made.
        let most = ((room - 1) / 3 * 2).min(whole.most);
        Some(Self { most, kept: (most / 2).max(2) })
    }

    /// Vectors that the iteration keeps at once.
    pub fn vectors(&self) -> u32 {
        self.most + (self.kept + 1).max(2)
    }

    /// Vectors of the basis, at most.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Vectors that are held at once: beside those of the basis what a product takes, or the next vector and those that
    /// it begins anew with, while the room of the last gradient waits.
    pub fn held(&self) -> u32 {
        self.most + (self.kept + 2).max(3)
    }

    /// The Ritz vectors to go on with, half from each end.
    fn choose<'r>(&self, ritz: &'r [Ritz]) -> Vec<&'r Ritz> {
        let low = self.kept as usize / 2;
        let high = ritz.len() - (self.kept as usize - low);
        ritz.iter().enumerate().filter(|(i, _)| *i < low || *i >= high).map(|(_, ritz)| ritz).collect()
    }
}

/// Both ends by Lanczos' iteration from normal noise.
///
/// # Errors
/// `Cancelled` if a stop was requested.
pub fn lanczos(point: &mut dyn Point, limits: IterationLimits, basis: Basis) -> Result<FoundEnds, Fault> {
    let from = curvature::unit_noise(point, 0, Purpose::Gauss)?;
    let mut lanczos = Lanczos::new(point, from, limits.step);
    let mut products = 0;
    let mut found = FoundEnds::default();
    let ritz = loop {
        let more = lanczos.advance()?;
        products += 1;
        if !lanczos.seen.is_finite() {
            lanczos.end(&[])?;
            return Ok(FoundEnds { products, ..FoundEnds::default() });
        }
        let ritz = lanczos.seen.ritz()?;
        let whole = !more || lanczos.size() == limits.parameters;
        if whole || near(&ritz, limits.tol) || products == limits.iters {
            found.settled = whole || near(&ritz, limits.tol);
            break ritz;
        }
        if lanczos.size() == basis.most as usize {
            lanczos.restart(&basis.choose(&ritz))?;
        }
    };
    let wanted: Vec<&Ritz> = ritz.last().into_iter().chain(ritz.first()).collect();
    let mut ends = Vec::new();
    for vector in lanczos.end(&wanted)? {
        ends.push(rayleigh(point, vector, limits.last)?);
    }
    let finite = ends.iter().all(|end| end.value.is_finite() && end.residual.is_finite());
    let [top, bottom] = [0, 1].map(|i| ends.get(i).copied().filter(|_| finite));
    Ok(FoundEnds { top, bottom, products: products + ends.len() as u32, ..found })
}

/// Whether both ends are near enough.
fn near(ritz: &[Ritz], tol: f64) -> bool {
    let dominant = ritz.iter().fold(0.0, |most: f64, ritz| most.max(ritz.value.abs()));
    let end = |ritz: &Ritz| ritz.residual <= tol * ritz.value.abs().max(ZERO * dominant);
    ritz.first().is_some_and(end) && ritz.last().is_some_and(end)
}

/// What H says of a vector; gives its room back.
fn rayleigh(point: &mut dyn Point, v: VectorId, step: f64) -> Result<End, Fault> {
    let norm = point.product(v, v)?.sqrt();
    point.scale(v, over(1.0, norm))?;
    let product = curvature::product(point, v, step)?;
    let value = point.product(v, product)?;
    point.combine(product, 1.0, v, -value)?;
    let residual = point.product(product, product)?.sqrt();
    point.release(v);
    point.release(product);
    Ok(End { value, residual })
}

/// The dominant eigenvalue by power iteration from normal noise; where it is negative, the top as well.
///
/// # Errors
/// `Cancelled` if a stop was requested.
pub fn power(point: &mut dyn Point, limits: IterationLimits) -> Result<FoundEnds, Fault> {
    let first = drive(point, limits, 0.0)?;
    if first.top.is_none_or(|top| top.value >= 0.0) {
        return Ok(first);
    }
    let shift = first.top.map_or(0.0, |bottom| bottom.value);
    let second = drive(point, limits, shift)?;
    let products = first.products + second.products;
    Ok(FoundEnds { top: second.top, bottom: first.top, products, settled: first.settled && second.settled })
}

/// As the top: the eigenvalue of H that is farthest from `shift`.
fn drive(point: &mut dyn Point, limits: IterationLimits, shift: f64) -> Result<FoundEnds, Fault> {
    let mut v = curvature::unit_noise(point, 0, Purpose::Gauss)?;
    let mut last = f64::INFINITY;
    let mut found = FoundEnds::default();
    while found.products < limits.iters && !found.settled {
        let next = curvature::product(point, v, limits.last)?;
        if shift != 0.0 {
            point.combine(next, 1.0, v, -shift)?;
        }
        let value = point.product(v, next)?;
        let square = point.product(next, next)?;
        let residual = (square - value * value).max(0.0).sqrt();
        found.products += 1;
        found.top = square.is_finite().then_some(End { value: value + shift, residual });
        // A square that is not finite never becomes finite again.
        found.settled =
            !(square > 0.0 && square.is_finite()) || (value - last).abs() < limits.tol * value.abs();
        last = value;
        point.scale(next, over(1.0, square.sqrt()))?;
        point.release(v);
        v = next;
    }
    point.release(v);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_keeps_to_its_room() {
        assert_eq!(Basis::within(Basis::LEAST - 1, 100), None);
        for room in Basis::LEAST..400 {
            for steps in [1, 2, 3, 7, 40, 100, 128, 129, 5000] {
                let basis = Basis::within(room, steps).expect("room");
                assert!(basis.vectors() <= room, "{room} {steps}: {basis:?}");
                assert!(basis.kept == 0 || basis.most > basis.kept, "{room} {steps}: {basis:?}");
                assert!(basis.kept > 0 || basis.most == steps, "{room} {steps}: {basis:?}");
            }
        }
        assert_eq!(Basis::within(1000, 100).map(|basis| basis.vectors()), Some(102));
    }
}
