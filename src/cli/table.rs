//! Readings as text for people.
//!
//! Owns: how numbers are rounded and laid out in a terminal. May not touch: where readings come from.

use crate::domain::{Estimate, Reading, Value};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use std::fmt::Write;

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
    match estimate.and_then(|estimate| estimate.stderr) {
        Some(error) => format!("{} ± {:.1e}", number(value), error),
        None => number(value),
    }
}

/// `key=value` of all parameters.
pub fn parameters(reading: &Reading) -> String {
    let mut text = String::new();
    for (name, value) in &reading.parameters {
        let value = match value {
            Value::Number(x) => x.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Text(word) => word.clone(),
            Value::Numbers(xs) => xs.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        };
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{name}={value}");
    }
    text
}

fn details(reading: &Reading) -> String {
    if let Some(reason) = &reading.reason {
        return reason.clone();
    }
    let parts = reading.parts.iter().skip(1);
    let mut all: Vec<String> =
        parts.map(|part| format!("{} {}", part.name, part.value.map_or("-".into(), number))).collect();
    all.extend(reading.rungs.iter().map(|rung| format!("{} at {}", number(rung.value), rung.alpha)));
    all.join(", ")
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
