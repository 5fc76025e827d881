//! `clino runs`: the runs that a daemon holds, or a history.
//!
//! Owns: the columns. May not touch: how a run is put into words.

use super::connect::ConnectArguments;
use super::grid::{Column, Grid};
use super::out::{columns, print, print_json};
use super::row;
use super::selection::{RunsFormat, Selection};
use crate::store::sqlite;
use clap::Args;
use clino_domain::text::shown;
use clino_domain::{Fault, Latest, RunSummary};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// Lists the runs of a daemon, oldest first.
#[derive(Debug, Clone, Args)]
pub struct Runs {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// List the runs of a history instead of a daemon: the directory (--data of `clino serve`), or a copy of its
    /// database.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "addr")]
    data: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Output format.
    #[arg(long, value_enum, default_value_t = RunsFormat::Table)]
    format: RunsFormat,
}

impl Runs {
    /// Prints them.
    ///
    /// # Errors
    /// What the daemon answers; those of [`sqlite::runs`].
    pub async fn run(&self) -> Result<(), Fault> {
        let runs = self.found().await?;
        match self.format {
            RunsFormat::Table if runs.is_empty() => print(self.selection.none()),
            RunsFormat::Table => print(&table(&runs).render(columns())),
            RunsFormat::Json => runs.iter().try_for_each(|run| print_json(&json_line(run).to_string())),
        }
    }

    async fn found(&self) -> Result<Vec<RunSummary>, Fault> {
        let filter = self.selection.filter();
        match &self.data {
            None => self.daemon.connect().await?.runs(&filter).await,
            Some(data) => {
                let all = sqlite::runs(data)?;
                Ok(all.into_iter().filter(|run| filter.matches(&run.label, run.closed)).collect())
            }
        }
    }
}

/// A row a run.
pub(super) fn table(runs: &[RunSummary]) -> Grid {
    let labels =
        [Column::name("name"), Column::id("run"), Column::name("project"), Column::name("experiment")];
    let state = [Column::word("state"), Column::number("step"), Column::number("measured")];
    let end = [Column::word("advice"), Column::name("tags")];
    let mut table = Grid::new(1, labels.into_iter().chain(state).chain(end));
    for run in runs {
        table.row([
            shown(&run.name),
            shown(&run.run.0),
            shown(&run.label.project),
            row::text(&run.label.experiment),
            row::state(run).into(),
            row::step(run),
            format!("{} of {}", run.measured, run.accepted),
            row::said(run).into(),
            row::tags(run),
        ]);
    }
    table
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
