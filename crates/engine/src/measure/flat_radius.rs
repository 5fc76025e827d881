//! `flat_radius`: the relative radius at which the stable sharpness (mean of fixed draws) reaches `rise`: large is flat,
//! and it cannot saturate.
//!
//! By definition doubled or halved from 0.001 until the rise is bracketed, then bisected in log(alpha) until the
//! bracket's ratio is below 1 + tolerance; the value is where a line between the bracket's ends reaches the rise.
//! `evaluations` counts those questions. Most are answered without a draw: where the rise grows with the radius, radii
//! that are known to lie above or below answer for all beyond them, and a look at where a line through the nearest two
//! crosses makes them lie close.
//! The profile's radii and the end of the last search serve as such. Where the rise does not grow, every question is
//! looked at. The standard error is that of the rise over its slope, and beside it the bracket: as if the crossing lay
//! anywhere in it with equal chance, its width over √12.
//!
//! Cost: about 6 draws (2 F + B), 4 beside the profile. Not invariant to a rescaling of layers.

use super::shared::ascent::{self, Ascent};
use super::shared::climb::over;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, part,
};
use crate::scope::MeasureScope;
use clino_domain::{Estimate, Interval, Needs};

/// The measure `flat_radius`; the module has formula, source and cost.
pub struct FlatRadius;

/// A cold search begins here.
const START: f64 = 1e-3;
/// Least and greatest radius that are tried.
const RANGE: [f64; 2] = [1e-6, 1.0];
/// Most looks beside the search itself.
const LOOKS: usize = 6;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "flat_radius",
    summary: "Relative radius at which the stable sharpness reaches a stated rise of the loss.",
    formula: "α with mean over the draws of sharpness(α) = rise, by bisection in log α, on a line between the ends of the last bracket; stderr²: that of the rise over its slope, squared, and the bracket's width²/12",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form, inverted",
    parts: &[
        ("alpha", "the relative radius"),
        ("evaluations", "questions of the bisection"),
        ("looked", "radii that were looked at to answer them"),
    ],
    cost: "about 6 draws (2 F + B), less beside sharpness_profile and after the first snapshot",
    rescaling: false,
    invariance: "Moves with a rescaling of layers, as the radius does, and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "rise",
            summary: "Rise of the loss in nats.",
            kind: ParameterKind::Real { default: 0.1, zero: false, most: 1e6 },
        },
        MeasureParameter {
            name: "draws",
            summary: "Draws of noise.",
            kind: ParameterKind::Count { default: 4, least: 1, most: super::shared::draws::MOST },
        },
        MeasureParameter {
            name: "tolerance",
            summary: "Ratio of the last bracket, less one.",
            kind: ParameterKind::Real { default: 0.01, zero: false, most: 1.0 },
        },
    ],
    standard: false,
};

/// Radii whose mean rise is known.
#[derive(Debug, Clone, Default)]
struct KnownRises(Vec<(f64, f64)>);

impl KnownRises {
    /// The greatest radius below the rise and the least one that reaches it; `None` unless all of the first lie below all
    /// of the second.
    fn ends(&self, rise: f64) -> Option<[Option<(f64, f64)>; 2]> {
        let beyond = |(_, mean): &&(f64, f64)| reaches(*mean, rise);
        let by_radius = |a: &&(f64, f64), b: &&(f64, f64)| a.0.total_cmp(&b.0);
        let low = self.0.iter().filter(|point| !beyond(point)).max_by(by_radius).copied();
        let high = self.0.iter().filter(beyond).min_by(by_radius).copied();
        match (low, high) {
            (Some(low), Some(high)) if low.0 >= high.0 => None,
            ends => Some([ends.0, ends.1]),
        }
    }

    /// What is known of the question whether `alpha` reaches the rise.
    fn answer(&self, alpha: f64, rise: f64) -> Option<bool> {
        if let Some((_, mean)) = self.0.iter().find(|(known, _)| *known == alpha) {
            return Some(reaches(*mean, rise));
        }
        let [low, high] = self.ends(rise)?;
        if high.is_some_and(|(high, _)| alpha >= high) {
            return Some(true);
        }
        low.is_some_and(|(low, _)| alpha <= low).then_some(false)
    }

    /// Where a line through the nearest known points, both logarithmic, crosses the rise.
    fn crossing(&self, rise: f64) -> Option<f64> {
        let [low, high] = self.ends(rise)?;
        let positive = |point: Option<(f64, f64)>| point.filter(|(_, mean)| *mean > 0.0 && mean.is_finite());
        let mut points: Vec<(f64, f64)> = positive(low).into_iter().chain(positive(high)).collect();
        if points.len() < 2 {
            let others = self.0.iter().filter(|point| positive(Some(**point)).is_some());
            let near = |point: &(f64, f64)| (point.1 / rise).ln().abs();
            let mut others: Vec<(f64, f64)> = others.copied().collect();
            others.sort_by(|a, b| near(a).total_cmp(&near(b)));
            points = others.into_iter().take(2).collect();
        }
        let [(a, p), (b, q)] = points[..] else { return None };
        let slope = (q / p).ln() / (b / a).ln();
        let alpha = a * ((rise / p).ln() / slope).exp();
        (slope > 0.0 && alpha.is_finite()).then_some(alpha)
    }
}

impl KnownRises {
    /// A radius for the first or second point of a line.
    fn unlike(&self, rise: f64) -> Option<f64> {
        match self.0[..] {
            [] => Some(START),
            [(alpha, mean)] => Some(if reaches(mean, rise) { alpha / 2.0 } else { alpha * 2.0 }),
            _ => None,
        }
    }
}

/// A loss that overflows has risen.
fn reaches(mean: f64, rise: f64) -> bool {
    mean.is_nan() || mean >= rise
}

/// Search for the radius at which the loss rises by a stated amount.
struct RadiusSearch<'s, 'a> {
    scope: &'s mut MeasureScope<'a>,
    draws: u32,
    rise: f64,
    known: KnownRises,
    evaluations: u32,
    looked: u32,
}

impl RadiusSearch<'_, '_> {
    fn draws_at(&mut self, alpha: f64) -> Result<Vec<f64>, MeasureError> {
        let draws: Vec<u32> = (0..self.draws).collect();
        Ok(ascent::draw(self.scope, &Ascent::at_radius(alpha), &draws)?.rises())
    }

    fn look(&mut self, alpha: f64) -> Result<f64, MeasureError> {
        if let Some((_, mean)) = self.known.0.iter().find(|(known, _)| *known == alpha) {
            return Ok(*mean);
        }
        let rises = self.draws_at(alpha)?;
        let mean = rises.iter().sum::<f64>() / rises.len() as f64;
        self.looked += 1;
        self.known.0.push((alpha, mean));
        Ok(mean)
    }

    fn reached(&mut self, alpha: f64) -> Result<bool, MeasureError> {
        self.evaluations += 1;
        match self.known.answer(alpha, self.rise) {
            Some(answer) => Ok(answer),
            None => Ok(reaches(self.look(alpha)?, self.rise)),
        }
    }

    /// Looks where the crossing ought to be, until known radii lie as close around it as the last bracket will. Radii
    /// are those that the bisection comes to.
    fn narrow(&mut self, mut guess: Option<f64>, grid: &RadiusGrid) -> Result<(), MeasureError> {
        for _ in 0..LOOKS {
            let Some(alpha) = guess.take().or_else(|| self.known.crossing(self.rise)) else {
                // A line takes two points.
                let Some(alpha) = self.known.unlike(self.rise) else { return Ok(()) };
                self.look(alpha)?;
                continue;
            };
            if !(RANGE[0]..=RANGE[1]).contains(&alpha) {
                return Ok(());
            }
            let cell = grid.cell(alpha);
            let missing = [cell, cell + 1].map(|i| grid.radius(i));
            let next = missing.into_iter().find(|alpha| self.known.answer(*alpha, self.rise).is_none());
            match next {
                Some(alpha) => drop(self.look(alpha)?),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A power of two times [`START`] and its double, between which the rise is reached; `None` beyond the range.
    fn bracket(&mut self) -> Result<Option<[f64; 2]>, MeasureError> {
        let mut low = START;
        let mut high = START;
        if self.reached(START)? {
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

    /// Where the mean of the draws reaches the rise, and each draw by itself, on lines between the ends of the last
    /// bracket.
    fn crossings(&mut self, [low, high]: [f64; 2]) -> Result<Crossings, MeasureError> {
        let below = self.draws_at(low)?;
        let above = self.draws_at(high)?;
        let along = |below: f64, above: f64| low + (high - low) * over(self.rise - below, above - below);
        let of_draws: Vec<f64> =
            below.iter().zip(&above).map(|(below, above)| along(*below, *above)).collect();
        let mean = |rises: &[f64]| rises.iter().sum::<f64>() / rises.len() as f64;
        let mean = along(mean(&below), mean(&above));
        // Where a loss overflows there is a radius, but no line to it.
        Ok(match of_draws.iter().all(|alpha| alpha.is_finite()) {
            true => Crossings { mean, of_draws },
            false => Crossings { mean: (low * high).sqrt(), of_draws: Vec::new() },
        })
    }
}

/// Where rises are reached.
struct Crossings {
    mean: f64,
    /// In draw order; none where a loss overflows.
    of_draws: Vec<f64>,
}

/// The radii that bisection comes to: [`START`] times powers of 2^(1/parts).
struct RadiusGrid {
    parts: i32,
}

impl RadiusGrid {
    fn new(tolerance: f64) -> Self {
        let mut parts = 1;
        while 2f64.powf(1.0 / f64::from(parts)) > 1.0 + tolerance && parts < 1 << 20 {
            parts *= 2;
        }
        Self { parts }
    }

    /// Made as the bisection makes it, so that it is the same number.
    fn radius(&self, index: i32) -> f64 {
        let octave = index.div_euclid(self.parts);
        let mut left = index.rem_euclid(self.parts);
        let mut low = START * f64::from(octave).exp2();
        let mut high = 0.0;
        let mut width = self.parts;
        high += 2.0 * low;
        while left != 0 {
            let middle = (low * high).sqrt();
            width /= 2;
            if left >= width {
                (low, left) = (middle, left - width);
            } else {
                high = middle;
            }
        }
        low
    }

    fn cell(&self, alpha: f64) -> i32 {
        ((alpha / START).log2() * f64::from(self.parts)).floor() as i32
    }
}

impl Measure for FlatRadius {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        // The start is the profile's and sharpness's; then what a few lines and the ends of a bracket take.
        let start = Ascent::at_radius(START);
        let draws = p.count("draws");
        Cost { own: start.work() * (f64::from(draws) * 5.0), ..start.cost(draws) }
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Ascent::at_radius(START).walks().draws(p.count("draws")).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let rise = p.real("rise");
        let draws = p.count("draws");
        let tolerance = p.real("tolerance");
        let hint = format!("flat_radius {} {rise:e} {draws}", scope.group);
        let guess = scope.hints.0.get(&hint).copied();
        let known = KnownRises(ascent::remembered(scope, &Ascent::at_radius(START), draws));
        let mut search = RadiusSearch { scope, draws, rise, known, evaluations: 0, looked: 0 };
        let grid = RadiusGrid::new(tolerance);
        search.narrow(guess, &grid)?;
        let Some([mut low, mut high]) = search.bracket()? else {
            let reason =
                format!("the loss does not rise by {rise} between alpha {} and {}", RANGE[0], RANGE[1]);
            return Err(MeasureError::Undefined(reason));
        };
        while high / low > 1.0 + tolerance {
            let middle = (low * high).sqrt();
            if search.reached(middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        let Crossings { mean: alpha, of_draws } = search.crossings([low, high])?;
        let evaluations = f64::from(search.evaluations);
        let looked = f64::from(search.looked);
        search.scope.hints.0.insert(hint, alpha);
        let parts = vec![part("alpha", alpha), part("evaluations", evaluations), part("looked", looked)];
        let bracket = (high - low) / 12f64.sqrt();
        let stderr =
            Estimate::of(&of_draws).and_then(|estimate| estimate.stderr).map(|stderr| stderr.hypot(bracket));
        let interval = stderr.and_then(|stderr| Interval::around(alpha, stderr, of_draws.len() - 1));
        Ok(Findings { draws: of_draws, stderr, interval, ..Findings::parts(parts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_that_of_the_bisection() {
        let grid = RadiusGrid::new(0.01);
        assert_eq!(grid.parts, 128);
        for target in [3.3e-4, 1.0e-3, 2.71e-3, 0.4] {
            let mut low = START;
            let mut high = START;
            while high <= target {
                (low, high) = (high, 2.0 * high);
            }
            while low > target {
                (low, high) = (low / 2.0, low);
            }
            high = high.max(2.0 * low);
            while high / low > 1.01 {
                let middle = (low * high).sqrt();
                if middle > target { high = middle } else { low = middle }
            }
            let cell = grid.cell(target);
            assert_eq!([grid.radius(cell), grid.radius(cell + 1)], [low, high], "{target}");
        }
    }
}
