//! Readings as text for people.
//!
//! Owns: how numbers are rounded and laid out in a terminal. May not touch: where readings come from.

use crate::domain::{Ended, Estimate, Reading, Value};
use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Row, Table};

/// A number in five significant digits.
pub fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:.3e}"),
        size => format!("{x:.*}", (4.0 - size.log10().floor()).clamp(0.0, 8.0) as usize),
    }
}

/// A value with its standard error in as many digits as the error leaves.
pub fn with_error(value: f64, estimate: Option<&Estimate>) -> String {
    with_stderr(value, estimate.and_then(|estimate| estimate.stderr))
}

/// A value with its standard error, where it is known.
pub fn with_stderr(value: f64, stderr: Option<f64>) -> String {
    match stderr {
        Some(error) => format!("{} ± {:.1e}", number(value), error),
        None => number(value),
    }
}

/// A value as it is typed.
pub fn typed(value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Numbers(numbers) => numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Parameters that say how many draws are made: what became of them stands elsewhere.
const OF_DRAWS: [&str; 5] = ["draws", "stderr", "rel_stderr", "max_draws", "max_seconds"];

/// `key=value` of all parameters but those of the draws.
fn parameters(reading: &Reading) -> String {
    let told = reading.parameters.iter().filter(|(name, _)| !OF_DRAWS.contains(&name.as_str()));
    let pairs = told.map(|(name, value)| (name, typed(value))).filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// How many draws were made and what ended them.
fn draws(reading: &Reading) -> Option<String> {
    let why = match reading.ended? {
        Ended::Draws => "",
        Ended::Target => ", target reached",
        Ended::MaxDraws => ", target not reached in max_draws",
        Ended::MaxSeconds => ", target not reached in max_seconds",
    };
    Some(format!("{} draws{why}", reading.draws.len()))
}

fn details(reading: &Reading) -> String {
    if let Some(reason) = &reading.reason {
        return reason.clone();
    }
    let parts = reading.parts.iter().skip(1);
    let mut all: Vec<String> =
        parts.map(|part| format!("{} {}", part.name, part.value.map_or("-".into(), number))).collect();
    all.extend(reading.rungs.iter().map(|rung| format!("{} at {}", number(rung.value), rung.alpha)));
    all.extend(draws(reading));
    all.extend(reading.remark.clone());
    all.join(", ")
}

/// A table whose only line is that below its header.
pub fn plain(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    let style = NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// One row a reading.
pub fn readings(readings: &[Reading]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["measure", "group", "value ± standard error", "parameters", "also"]);
    for reading in readings {
        let value = reading.value.map_or("-".into(), |value| with_error(value, reading.estimate.as_ref()));
        let group = reading.group.as_deref().unwrap_or("");
        table.add_row([&reading.measure, group, &value, &parameters(reading), &details(reading)]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_five_digits() {
        let shown = [0.0, 1.0, 0.123_456_78, 1234.567, 1e-7, -2.5e9].map(number);
        assert_eq!(shown, ["0", "1.0000", "0.12346", "1234.6", "1.000e-7", "-2.500e9"]);
    }
}
