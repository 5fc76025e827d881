//! What the example prints: a block of rows a measured step, and the summary at the end.
//!
//! Owns: layout. May not touch: where readings come from.

use clino_domain::{Outcome, Reading, SnapshotRef};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, LineStyle, Table, Width};

const COLUMNS: [(&str, u16); 7] = [
    ("step", 6),
    ("group", 8),
    ("loss", 8),
    ("accuracy", 10),
    ("margin", 9),
    ("sharpness ± error", 21),
    ("distance", 10),
];

/// All readings of one snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotTable {
    /// Which.
    pub at: SnapshotRef,
    /// As they came.
    pub readings: Vec<Reading>,
}

impl SnapshotTable {
    fn reading(&self, measure: &str, group: Option<&str>) -> Option<&Reading> {
        self.readings.iter().find(|r| r.measure == measure && r.group.as_deref() == group)
    }

    fn value(&self, measure: &str, group: Option<&str>) -> Option<f64> {
        self.reading(measure, group)?.value
    }

    /// In the order of their readings, all of them together last.
    fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for group in self.readings.iter().filter_map(|reading| reading.group.as_deref()) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups.sort_by_key(|group| *group == clino_domain::reading::POOLED);
        groups
    }

    /// What belongs to the weights alone, in a line.
    pub fn weights(&self) -> String {
        let names = [("norm", "param_norm"), ("variance", "param_variance"), ("update", "update")];
        let shown = names.map(|(title, measure)| {
            let value = self.value(measure, None).map_or("-".into(), |value| format!("{value:.4}"));
            format!("{title} {value}")
        });
        format!("weights: {}", shown.join(", "))
    }

    /// The block of this step: step and distance, which belong to the weights, stand in its first row.
    pub fn table(&self) -> Table {
        let mut table = plain_table(&COLUMNS);
        for (i, group) in self.groups().into_iter().enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            let cell = |measure: &str| self.reading(measure, Some(group)).map_or("-".into(), cell);
            let distance = self.reading("distance", None).map_or("-".into(), cell_of_distance);
            table.add_row([
                first(self.at.step.to_string()),
                group.to_owned(),
                cell("loss"),
                cell("accuracy"),
                cell("margin"),
                cell("sharpness"),
                first(distance),
            ]);
        }
        table
    }
}

fn plain_table(columns: &[(&str, u16)]) -> Table {
    let mut table = Table::new();
    let style = NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_header(columns.iter().map(|(title, _)| *title));
    for (column, (_, width)) in table.column_iter_mut().zip(columns) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(*width)));
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(reading: &Reading) -> String {
    match (reading.outcome, reading.value, reading.estimate.and_then(|estimate| estimate.stderr)) {
        (Outcome::Measured, Some(value), Some(stderr)) => format!("{value:.4} ± {stderr:.1e}"),
        (Outcome::Measured, Some(value), None) => format!("{value:.4}"),
        _ => "-".to_owned(),
    }
}

fn cell_of_distance(reading: &Reading) -> String {
    reading.value.map_or("-".into(), |value| format!("{value:.3}"))
}

/// First against last measured step, a row a group.
pub fn summary(first: &SnapshotTable, last: &SnapshotTable) -> Table {
    let titles = [("group", 8), ("accuracy", 18), ("loss", 18), ("margin", 19), ("sharpness", 19)];
    let mut table = plain_table(&titles);
    for group in last.groups() {
        let both = |measure: &str| {
            let of = |sheet: &SnapshotTable| sheet.value(measure, Some(group));
            match (of(first), of(last)) {
                (Some(before), Some(after)) => format!("{before:.3} → {after:.3}"),
                _ => "-".to_owned(),
            }
        };
        let row = ["accuracy", "loss", "margin", "sharpness"].map(both);
        table.add_row(std::iter::once(group.to_owned()).chain(row));
    }
    table
}
