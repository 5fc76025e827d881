//! Readings as text for people.
//!
//! Owns: how numbers are rounded and laid out in a terminal. May not touch: where readings come from.

use super::words::count;
use clino_domain::text::{harmless, shown};
use clino_domain::{Ended, Estimate, Interval, Reading, Value};
use std::collections::BTreeMap;

/// A number in five significant digits.
pub fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:.3e}"),
        size => format!("{x:.*}", (4.0 - size.log10().floor()).clamp(0.0, 8.0) as usize),
    }
}

/// How often something is done.
pub fn times(x: f64) -> String {
    if x.fract() == 0.0 { format!("{x:.0}") } else { format!("{x:.1}") }
}

/// A value with its standard error in as many digits as the error leaves.
pub fn with_error(value: f64, estimate: Option<&Estimate>) -> String {
    with_stderr(value, estimate.and_then(|estimate| estimate.stderr))
}

/// A value with its standard error, where it is known.
pub fn with_stderr(value: f64, stderr: Option<f64>) -> String {
    match stderr {
        Some(error) => format!("{} ± {}", number(value), deviation(error)),
        None => number(value),
    }
}

/// A standard error in two significant digits: as short as it can be beside a [`number`].
fn deviation(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{x:.1e}"),
        size => format!("{x:.*}", (1.0 - size.log10().floor()).clamp(0.0, 4.0) as usize),
    }
}

/// A value as it is typed.
pub fn typed(value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => shown(text),
        Value::Numbers(numbers) => numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Parameters that say how many draws are made: what became of them stands elsewhere.
const OF_DRAWS: [&str; 5] = ["draws", "stderr", "rel_stderr", "max_draws", "max_seconds"];

/// `key=value` of all parameters but those of the draws.
pub fn parameters(parameters: &BTreeMap<String, Value>) -> String {
    let told = parameters.iter().filter(|(name, _)| !OF_DRAWS.contains(&name.as_str()));
    let pairs = told.map(|(name, value)| (name, typed(value))).filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{}={value}", shown(name))).collect::<Vec<_>>().join(" ")
}

/// How many draws were made and what ended them.
fn draws(reading: &Reading) -> Option<String> {
    let why = match reading.ended? {
        Ended::Draws => "",
        Ended::Target => ", target reached",
        Ended::MaxDraws => ", target not reached in max_draws",
        Ended::MaxSeconds => ", target not reached in max_seconds",
    };
    Some(count(reading.draws.len() as u64, "draw") + why)
}

/// Between which numbers the value lies.
fn interval(interval: &Interval) -> String {
    format!("{} to {} at {} %", number(interval.low), number(interval.high), 100.0 * interval.level)
}

/// What there is beside the value, or why there is none.
pub fn details(reading: &Reading) -> String {
    if let Some(reason) = &reading.reason {
        return harmless(reason);
    }
    let parts = reading.parts.iter().skip(1);
    let mut all: Vec<String> = parts
        .map(|part| format!("{} {}", shown(&part.name), part.value.map_or("-".into(), number)))
        .collect();
    all.extend(reading.rungs.iter().map(|rung| format!("{} at {}", number(rung.value), rung.alpha)));
    all.extend(reading.interval.as_ref().map(interval));
    all.extend(draws(reading));
    all.extend(reading.remark.as_deref().map(harmless));
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{deviation, number};

    #[test]
    fn numbers_have_five_digits() {
        let shown = [0.0, 1.0, 0.123_456_78, 1234.567, 1e-7, -2.5e9].map(number);
        assert_eq!(shown, ["0", "1.0000", "0.12346", "1234.6", "1.000e-7", "-2.500e9"]);
        let shown = [0.0, 1.0, 6.25, 0.031, 0.001, 9.7e-5, 123.4, 2.5e9].map(deviation);
        assert_eq!(shown, ["0", "1.0", "6.2", "0.031", "0.0010", "9.7e-5", "123", "2.5e9"]);
    }
}
