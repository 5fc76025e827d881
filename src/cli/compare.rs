//! `clino compare`: runs side by side, the best first.
//!
//! Owns: the columns, and how a moment is typed. May not touch: which is the best (the daemon says so).

use super::connect::ConnectArguments;
use super::grid::{Column, Grid};
use super::out::{columns, print, print_json};
use super::row;
use super::selection::{RunsFormat, Selection};
use super::view::place;
use super::words::{count, within};
use clap::{Args, ValueEnum};
use clino_domain::text::{harmless, listed, shown};
use clino_domain::{ComparedRun, Comparison, Direction, Fault, Moment, Subject};
use serde_json::{Value as Json, json};

/// Compares runs by any reading.
#[derive(Debug, Clone, Args)]
pub struct Compare {
    #[command(flatten)]
    daemon: ConnectArguments,
    /// Reading to compare by: MEASURE[.PART][@GROUP], such as loss@de, or loss@"xlm-r/en" if the group has other characters;
    /// combine several with mean(..), min(..), max(..) or sum(..).
    #[arg(long, value_name = "SUBJECT", value_parser = subject)]
    on: Subject,
    /// Snapshot of each run: last, best, or step:N for the newest up to step N.
    #[arg(long, default_value = "last", value_parser = moment)]
    moment: Moment,
    /// Which values are better.
    #[arg(long, value_enum, default_value = "min")]
    direction: Best,
    #[command(flatten)]
    selection: Selection,
    /// Output format.
    #[arg(long, value_enum, default_value_t = RunsFormat::Table)]
    format: RunsFormat,
}

/// Most runs without a value that are named.
const MOST_NAMED: usize = 8;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Best {
    /// Lower is better
    Min,
    /// Higher is better
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
    /// The fault that the daemon answers.
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
            RunsFormat::Table if lines.is_empty() => print(self.selection.none()),
            RunsFormat::Table => print(&text(&self.on, &lines, columns())),
            RunsFormat::Json => {
                lines.iter().zip(1..).try_for_each(|(line, rank)| print_json(&json(line, rank).to_string()))
            }
        }
    }
}

/// A row a run that has a value, the best first, and a line for the others.
pub(super) fn text(on: &Subject, lines: &[ComparedRun], room: Option<usize>) -> String {
    let without = lines.iter().filter(|line| line.point.is_none()).map(|line| shown(&line.name));
    let without: Vec<String> = without.collect();
    let said = match without.len() {
        0 => String::new(),
        number => {
            let on = harmless(&on.to_string());
            let names = listed(without.into_iter(), MOST_NAMED);
            format!("no value of {on} in {}: {names}\n", count(number as u64, "run"))
        }
    };
    let table = table(on, lines).map(|table| table.render(room)).unwrap_or_default();
    table + &within(&said, room)
}

fn table(on: &Subject, lines: &[ComparedRun]) -> Option<Grid> {
    let value = Column::number(&harmless(&on.to_string()));
    let place_of =
        [Column::number(""), value, Column::number("step"), Column::name("name"), Column::id("run")];
    let labels = [Column::name("project"), Column::name("experiment")];
    let mut table = Grid::new(1, place_of.into_iter().chain(labels));
    let ranked: Vec<_> = lines.iter().filter_map(|line| Some((line, line.point?))).collect();
    for ((line, point), rank) in ranked.iter().zip(1..) {
        table.row([
            rank.to_string(),
            row::value(point),
            place(point.at),
            shown(&line.name),
            shown(&line.run.0),
            shown(&line.project),
            row::text(&line.experiment),
        ]);
    }
    (!ranked.is_empty()).then_some(table)
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
