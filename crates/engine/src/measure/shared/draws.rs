//! How many draws a random measure makes: a fixed number, or until its standard error is small enough.
//!
//! Draws come in blocks of a fixed size, so that their number depends on the numbers alone and not on threads (unless
//! the time ends them, which no rerun repeats).
//!
//! Owns: the parameters of draws and the rule that ends them. May not touch: what a draw is.

use crate::measure::{MeasureError, MeasureParameter, MeasureParameters, ParameterKind};
use crate::scope::MeasureScope;
use clino_domain::{Ended, Estimate, Value, Violation};
use std::collections::BTreeMap;

/// Most draws of any random measure.
pub const MOST: u32 = 4096;
/// Fewest draws from which a standard error is believed.
const LEAST: u32 = 8;
/// Draws between two looks at it.
const BLOCK: u32 = 4;

/// The number of draws: 0 is until the target.
pub const fn draws(default: u32) -> MeasureParameter {
    let summary = "Number of draws; 0: as many as the target needs.";
    MeasureParameter { name: "draws", summary, kind: ParameterKind::Count { default, least: 0, most: MOST } }
}

/// The target as a number.
pub const STDERR: MeasureParameter = MeasureParameter {
    name: "stderr",
    summary: "Target: standard error of the mean, instead of a number of draws.",
    kind: ParameterKind::Real { default: 0.0, zero: true, most: 1e12 },
};

/// The target as a share of the mean.
pub const fn rel_stderr(default: f64) -> MeasureParameter {
    let summary = "Target: standard error relative to the mean, instead of a number of draws.";
    MeasureParameter {
        name: "rel_stderr",
        summary,
        kind: ParameterKind::Real { default, zero: true, most: 1e6 },
    }
}

/// The most draws on the way to a target.
pub const fn max_draws(default: u32) -> MeasureParameter {
    let summary = "Maximum number of draws for a target.";
    MeasureParameter {
        name: "max_draws",
        summary,
        kind: ParameterKind::Count { default, least: 1, most: MOST },
    }
}

/// The most draws, where nothing is known of how many a target takes.
pub const MAX_DRAWS: MeasureParameter = max_draws(64);

/// The most seconds on the way to a target.
pub const MAX_SECONDS: MeasureParameter = MeasureParameter {
    name: "max_seconds",
    summary: "Maximum seconds for a target; 0: no limit.",
    kind: ParameterKind::Real { default: 0.0, zero: true, most: 1e9 },
};

fn number(values: &BTreeMap<String, Value>, name: &str) -> Option<f64> {
    match values.get(name) {
        Some(Value::Number(x)) => Some(*x),
        _ => None,
    }
}

/// Settles draws against a target: whichever was given, the other gives way. `None` for measures without draws.
pub fn settle(given: &BTreeMap<String, Value>, all: &mut BTreeMap<String, Value>) -> Option<Violation> {
    let targets = ["stderr", "rel_stderr"];
    let draws = number(all, "draws").filter(|_| all.contains_key("max_draws"))?;
    let asked = targets.iter().any(|name| number(given, name).is_some_and(|target| target > 0.0));
    let wrong = |description: String| Some(Violation { field: "parameters.draws".into(), description });
    match number(given, "draws") {
        Some(draws) if draws > 0.0 && asked => {
            return wrong(format!("found {draws} together with a target, expected only one of the two"));
        }
        Some(draws) if draws > 0.0 => {
            targets.iter().for_each(|name| drop(all.insert((*name).into(), Value::Number(0.0))));
        }
        None if asked => drop(all.insert("draws".into(), Value::Number(0.0))),
        _ if draws > 0.0 => {}
        _ if targets.iter().all(|name| number(all, name) == Some(0.0)) => {
            return wrong("found 0 without a target, expected draws, stderr or rel_stderr".into());
        }
        _ => {}
    }
    None
}

/// Draws and what ended them.
pub struct Made {
    /// Values of all draws, in draw order.
    pub values: Vec<f64>,
    /// Why there are no more.
    pub ended: Ended,
}

/// Makes draws as `parameters` say; `make` gets the numbers of the next ones.
///
/// # Errors
/// Those of `make`.
pub fn make(
    scope: &mut MeasureScope<'_>,
    parameters: &MeasureParameters,
    mut make: impl FnMut(&mut MeasureScope<'_>, &[u32]) -> Result<Vec<f64>, MeasureError>,
) -> Result<Made, MeasureError> {
    let mut values: Vec<f64> = Vec::new();
    loop {
        match next(parameters, &values, scope.clock) {
            Ok(numbers) => values.extend(make(scope, &numbers)?),
            Err(ended) => return Ok(Made { values, ended }),
        }
    }
}

/// The numbers of the draws to make beside those that there are.
///
/// # Errors
/// What ended them.
pub fn next(
    parameters: &MeasureParameters,
    values: &[f64],
    clock: &(dyn Fn() -> f64 + Sync),
) -> Result<Vec<u32>, Ended> {
    let made = values.len() as u32;
    let count = parameters.count("draws");
    if count > 0 {
        return if made < count { Ok((made..count).collect()) } else { Err(Ended::Draws) };
    }
    let most = parameters.count("max_draws");
    if made == 0 {
        return Ok((0..LEAST.min(most)).collect());
    }
    let absolute = parameters.real("stderr");
    let relative = parameters.real("rel_stderr");
    let seconds = parameters.real("max_seconds");
    match stderr(values) {
        Some((mean, stderr)) if stderr <= absolute.max(relative * mean.abs()) => Err(Ended::Target),
        // A draw that is not finite: no number of others mends that.
        None if made > 1 => Err(Ended::MaxDraws),
        _ if made >= most => Err(Ended::MaxDraws),
        _ if seconds > 0.0 && clock() >= seconds => Err(Ended::MaxSeconds),
        _ => Ok((made..(made + BLOCK).min(most)).collect()),
    }
}

/// Mean and standard error, if they are finite.
fn stderr(values: &[f64]) -> Option<(f64, f64)> {
    let estimate = Estimate::of(values)?;
    Some((estimate.mean, estimate.stderr?)).filter(|(mean, stderr)| mean.is_finite() && stderr.is_finite())
}

/// How many draws come together at most, and whether one comes alone.
pub fn together(parameters: &MeasureParameters) -> (u32, bool) {
    match (parameters.count("draws"), parameters.count("max_draws")) {
        (0, most) => (LEAST.min(most), most == 1 || (most > LEAST && (most - LEAST) % BLOCK == 1)),
        (draws, _) => (draws, draws == 1),
    }
}

/// How many draws are likely: the fixed number, or what a target lets expect.
pub fn likely(parameters: &MeasureParameters) -> f64 {
    match parameters.count("draws") {
        0 => f64::from(parameters.count("max_draws")),
        draws => f64::from(draws),
    }
}
