//! `clino compare`: runs side by side, the best first.
//!
//! Owns: the columns, and how a moment is typed. May not touch: which is the best (the daemon says so).

use super::dial::Dial;
use super::grid::{Column, Grid};
use super::out::{columns, print, print_json};
use super::row;
use super::selection::{Format, Selection};
use super::view::place;
use super::words::NOTHING;
use clap::{Args, ValueEnum};
use clino_domain::text::{harmless, shown};
use clino_domain::{ComparedRun, Comparison, Direction, Fault, Moment, Subject};
use serde_json::{Value as Json, json};

/// Compares runs by any reading.
#[derive(Debug, Clone, Args)]
pub struct Compare {
    #[command(flatten)]
    daemon: Dial,
    /// By what: MEASURE[.PART][@GROUP], such as loss@de, or loss@"xlm-r/en" for a group with other signs;
    /// several in mean(..), min(..), max(..) or sum(..).
    #[arg(long, value_name = "SUBJECT", value_parser = subject)]
    on: Subject,
    /// Which snapshot of each run: last, best, or step:N for the newest one up to step N.
    #[arg(long, default_value = "last", value_parser = moment)]
    moment: Moment,
    /// Which end is the best.
    #[arg(long, value_enum, default_value = "min")]
    direction: Best,
    #[command(flatten)]
    selection: Selection,
    /// How they are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Best {
    /// The least
    Min,
    /// The greatest
    Max,
}

fn subject(text: &str) -> Result<Subject, String> {
    text.parse()
}

fn moment(text: &str) -> Result<Moment, String> {
    let step = |text: &str| text.strip_prefix("step:").and_then(|step| step.parse().ok());
    match text {
        "last" => Ok(Moment::Last),
        "best" => Ok(Moment::Best),
        _ => step(text).map(Moment::AtStep).ok_or_else(|| "expected last, best or step:N".into()),
    }
}

impl Compare {
    /// Prints them.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn run(&self) -> Result<(), Fault> {
        let direction = match self.direction {
            Best::Min => Direction::Minimize,
            Best::Max => Direction::Maximize,
        };
        let filter = self.selection.filter();
        let on = self.on.clone();
        let comparison = Comparison { filter, on, moment: self.moment, direction };
        let lines = self.daemon.connect().await?.compare(&comparison).await?;
        match self.format {
            Format::Table => print(&table(&self.on, &lines).render(columns())),
            Format::Json => {
                lines.iter().zip(1..).try_for_each(|(line, rank)| print_json(&json(line, rank).to_string()))
            }
        }
    }
}

/// A row a run, the best first.
pub(super) fn table(on: &Subject, lines: &[ComparedRun]) -> Grid {
    let value = Column::number(&format!("{} ± standard error", harmless(&on.to_string()))).always();
    let place_of = [Column::number(""), value, Column::number("step")];
    let labels =
        [Column::name("name"), Column::name("project"), Column::name("experiment"), Column::id("run")];
    let mut table = Grid::new(1, place_of.into_iter().chain(labels));
    for (line, rank) in lines.iter().zip(1..) {
        let rank = line.point.map_or(String::new(), |_| rank.to_string());
        table.row([
            rank,
            line.point.map_or(NOTHING.into(), |point| row::value(&point)),
            line.point.map_or(NOTHING.into(), |point| place(point.at)),
            shown(&line.name),
            shown(&line.project),
            row::text(&line.experiment),
            shown(&line.run.0),
        ]);
    }
    table
}

fn json(line: &ComparedRun, rank: usize) -> Json {
    let point = line.point;
    json!({
        "rank": point.map(|_| rank),
        "run": line.run.0,
        "name": line.name,
        "project": line.project,
        "experiment": line.experiment,
        "step": point.map(|point| point.at.step),
        "attempt": point.map(|point| point.at.attempt),
        "value": point.map(|point| point.value),
        "stderr": point.and_then(|point| point.stderr),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_typed() {
        assert_eq!(moment("last"), Ok(Moment::Last));
        assert_eq!(moment("best"), Ok(Moment::Best));
        assert_eq!(moment("step:40"), Ok(Moment::AtStep(40)));
        for bad in ["", "40", "step:", "step:-1", "first"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
