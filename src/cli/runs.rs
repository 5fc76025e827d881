//! `clino runs`: the runs that a daemon holds.
//!
//! Owns: the columns. May not touch: how a run is put into words.

use super::dial::Dial;
use super::row;
use super::selection::{Format, Selection};
use super::table::plain;
use super::watch::print;
use crate::domain::id::shown;
use crate::domain::{Fault, Latest, RunSummary};
use clap::Args;
use comfy_table::CellAlignment;
use serde_json::{Value as Json, json};

/// Lists the runs that a daemon holds, oldest first.
#[derive(Debug, Clone, Args)]
pub struct Runs {
    #[command(flatten)]
    daemon: Dial,
    #[command(flatten)]
    selection: Selection,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Runs {
    /// Prints them.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let runs = self.daemon.connect().await?.runs(&self.selection.filter()).await?;
        match self.format {
            Format::Table => print(&table(&runs)),
            Format::Json => runs.iter().try_for_each(|run| print(&format!("{}\n", json_line(run)))),
        }
    }
}

fn table(runs: &[RunSummary]) -> String {
    let header = ["name", "project", "experiment", "tags", "state", "step", "measured", "advice", "run"];
    let mut table = plain(header);
    for run in runs {
        table.add_row([
            shown(&run.name),
            shown(&run.label.project),
            row::text(&run.label.experiment),
            row::tags(run),
            row::state(run).into(),
            row::step(run),
            format!("{} of {}", run.measured, run.accepted),
            row::said(run).into(),
            shown(&run.run.0),
        ]);
    }
    for column in [5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// With the principal numbers of the snapshot that was measured last.
fn json_line(run: &RunSummary) -> Json {
    let latest = |latest: &Latest| {
        let Latest { measure, group, value, stderr } = latest;
        json!({"measure": measure, "group": group, "value": value, "stderr": stderr})
    };
    let mut body = row::json(run);
    body.insert("latest".into(), run.latest.iter().map(latest).collect());
    Json::Object(body)
}
