//! `flat_radius`: the relative radius at which the stable sharpness (mean of fixed draws) reaches `rise`: large is flat,
//! and it cannot saturate.
//!
//! Doubled or halved from 0.001 until the rise is bracketed, then bisected in log(alpha) until the bracket's ratio is
//! below 1 + tolerance; the value is the bracket's geometric mean. The run's last snapshot says at which power of two
//! to begin, so the search walks the same grid wherever it begins. Cost: about 10 draws (2 F + B), less when warm.

use super::ascent::{self, Ascent};
use super::sharpness::MOST_DRAWS;
use super::{Description, Findings, Kind, Measure, Parameter, Parameters, Shortfall, part};
use crate::domain::Needs;
use crate::engine::landscape::Scope;

/// See the module.
pub struct FlatRadius;

/// A cold search begins here.
const START: f64 = 1e-3;
/// Least and greatest radius that are tried.
const RANGE: [f64; 2] = [1e-6, 1.0];

static DESCRIPTION: Description = Description {
    name: "flat_radius",
    summary: "Relative radius at which the stable sharpness reaches a stated rise of the loss.",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form, inverted",
    cost: "about 10 draws (2 F + B)",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter {
            name: "rise",
            summary: "Rise of the loss in nats.",
            kind: Kind::Real { default: 0.1, zero: false, most: 1e6 },
        },
        Parameter {
            name: "draws",
            summary: "Draws of noise.",
            kind: Kind::Count { default: 2, most: MOST_DRAWS },
        },
        Parameter {
            name: "tolerance",
            summary: "Ratio of the last bracket, less one.",
            kind: Kind::Real { default: 0.01, zero: false, most: 1.0 },
        },
    ],
    standard: false,
};

/// The search: how often the rise was looked at.
struct Search<'s, 'a> {
    scope: &'s mut Scope<'a>,
    draws: u32,
    rise: f64,
    evaluations: u32,
}

impl Search<'_, '_> {
    fn reached(&mut self, alpha: f64) -> Result<bool, Shortfall> {
        self.evaluations += 1;
        let mean = ascent::draw(self.scope, &Ascent::at_radius(alpha), self.draws)?.mean();
        // A loss that overflows has risen.
        Ok(mean.is_nan() || mean >= self.rise)
    }

    /// A power of two times [`START`] and its double, between which the rise is reached; `None` beyond the range.
    fn bracket(&mut self, start: f64) -> Result<Option<[f64; 2]>, Shortfall> {
        let (mut low, mut high) = (start, start);
        if self.reached(start)? {
            loop {
                low /= 2.0;
                if !self.reached(low)? {
                    return Ok(Some([low, high]));
                }
                high = low;
                if low < RANGE[0] {
                    return Ok(None);
                }
            }
        }
        loop {
            high *= 2.0;
            if self.reached(high)? {
                return Ok(Some([low, high]));
            }
            low = high;
            if high > RANGE[1] {
                return Ok(None);
            }
        }
    }
}

impl Measure for FlatRadius {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let (rise, draws, tolerance) = (p.real("rise"), p.count("draws"), p.real("tolerance"));
        let hint = format!("flat_radius {} {rise:e} {draws}", scope.group);
        let start = scope.hints.0.get(&hint).map_or(START, |power| START * power.exp2());
        let mut search = Search { scope, draws, rise, evaluations: 0 };
        let Some([mut low, mut high]) = search.bracket(start)? else {
            let reason = format!("a rise of {rise} is not between alpha {} and {}", RANGE[0], RANGE[1]);
            return Err(Shortfall::Undefined(reason));
        };
        let power = (low / START).log2().round();
        while high / low > 1.0 + tolerance {
            let middle = (low * high).sqrt();
            if search.reached(middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        let evaluations = f64::from(search.evaluations);
        search.scope.hints.0.insert(hint, power);
        let alpha = (low * high).sqrt();
        Ok(Findings::parts(vec![part("alpha", alpha), part("evaluations", evaluations)]))
    }
}
