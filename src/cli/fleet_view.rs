//! What whoever watches many daemons sees: the state that their words add up to, and its picture as text.
//!
//! Owns: the rows and the lines. May not touch: terminals, connections.

use super::row;
use super::table::plain;
use crate::domain::id::shown;
use crate::domain::{RunId, RunNews, RunSummary, Subject};
use comfy_table::{CellAlignment, Table};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// What is heard of one daemon.
#[derive(Debug, Clone)]
pub enum Word {
    /// It answers; what it held before is told anew.
    Here,
    /// What is new among its runs.
    News(RunNews),
    /// It does not answer, and why.
    Away(String),
}

#[derive(Debug)]
struct Daemon {
    address: String,
    standing: Standing,
    runs: BTreeMap<RunId, RunSummary>,
}

#[derive(Debug)]
enum Standing {
    Called,
    Here,
    Away(String),
}

/// Daemons and their runs.
#[derive(Debug)]
pub struct Fleet {
    daemons: Vec<Daemon>,
    show: Vec<Subject>,
}

impl Fleet {
    /// Before any word.
    pub fn new(addresses: &[String], show: Vec<Subject>) -> Self {
        let daemon = |address: &String| Daemon {
            address: address.clone(),
            standing: Standing::Called,
            runs: BTreeMap::new(),
        };
        Self { daemons: addresses.iter().map(daemon).collect(), show }
    }

    /// Takes in a word of the daemon at `place`.
    pub fn apply(&mut self, place: usize, word: Word) {
        let Some(daemon) = self.daemons.get_mut(place) else { return };
        match word {
            Word::Here => {
                daemon.standing = Standing::Here;
                daemon.runs.clear();
            }
            Word::Away(why) => daemon.standing = Standing::Away(why),
            Word::News(news) => {
                news.forgotten.iter().for_each(|run| drop(daemon.runs.remove(run)));
                daemon.runs.extend(news.runs.into_iter().map(|run| (run.run.clone(), run)));
            }
        }
    }

    /// The picture: how many, then a row a run and a row for each daemon that has none to show; at most `rows` of them.
    pub fn render(&self, rows: usize) -> String {
        let head = ["daemon", "name", "project", "state", "step", "lag"].map(str::to_owned);
        let subjects = self.show.iter().map(Subject::to_string);
        let mut table = plain(head.into_iter().chain(subjects).chain(["advice".to_owned()]));
        let (mut shown, mut hidden) = (0, 0);
        for cells in self.daemons.iter().flat_map(|daemon| self.rows(daemon)) {
            if shown < rows {
                table.add_row(cells);
                shown += 1;
            } else {
                hidden += 1;
            }
        }
        align(&mut table, self.show.len());
        let more = if hidden > 0 { format!("and {hidden} more rows\n") } else { String::new() };
        format!("{}\n{table}\n{more}", self.headline())
    }

    fn headline(&self) -> String {
        let away = self.daemons.iter().filter(|daemon| matches!(daemon.standing, Standing::Away(_))).count();
        let here = self.daemons.iter().filter(|daemon| !matches!(daemon.standing, Standing::Away(_)));
        let (runs, open) = here
            .flat_map(|daemon| daemon.runs.values())
            .fold((0, 0), |(runs, open), run| (runs + 1, open + usize::from(!run.closed)));
        format!("{} daemons, {away} away; {runs} runs, {open} open", self.daemons.len())
    }

    /// Those that take snapshots come first, each in the order in which they were opened.
    fn rows(&self, daemon: &Daemon) -> Vec<Vec<String>> {
        let address = shown(&daemon.address);
        let note = |state: String| {
            let mut cells = vec![address.clone(), row::NOTHING.into(), row::NOTHING.into(), state];
            cells.resize(7 + self.show.len(), row::NOTHING.into());
            vec![cells]
        };
        match &daemon.standing {
            Standing::Called => note("called".into()),
            Standing::Away(why) => note(format!("away: {}", shown(why))),
            Standing::Here if daemon.runs.is_empty() => note("no runs".into()),
            Standing::Here => {
                let (open, closed): (Vec<_>, Vec<_>) = daemon.runs.values().partition(|run| !run.closed);
                open.into_iter().chain(closed).map(|run| self.row(&address, run)).collect()
            }
        }
    }

    fn row(&self, address: &str, run: &RunSummary) -> Vec<String> {
        let mut cells = vec![
            address.to_owned(),
            shown(&run.name),
            shown(&run.label.project),
            row::state(run).to_owned(),
            row::step(run),
            row::lag(run).map_or(row::NOTHING.into(), |lag| lag.to_string()),
        ];
        cells.extend(self.show.iter().map(|subject| row::value(&row::observe(run, subject))));
        cells.push(row::said(run).to_owned());
        cells
    }

    /// A word of the daemon at `place` as lines for logs: one a change.
    pub fn lines(&self, place: usize, word: &Word) -> Vec<String> {
        let Some(daemon) = self.daemons.get(place) else { return Vec::new() };
        let address = shown(&daemon.address);
        match word {
            Word::Here => vec![format!("{address} is here")],
            Word::Away(why) => vec![format!("{address} is away: {}", shown(why))],
            Word::News(news) => {
                let forgotten = |run: &RunId| format!("{address} forgot the run {}", shown(&run.0));
                let runs = news.runs.iter().map(|run| self.line(&address, run));
                runs.chain(news.forgotten.iter().map(forgotten)).collect()
            }
        }
    }

    fn line(&self, address: &str, run: &RunSummary) -> String {
        let mut line =
            format!("{address} {} ({}): {}", shown(&run.name), shown(&run.label.project), row::state(run));
        line += &format!(", step {}", row::step(run));
        if let Some(lag) = row::lag(run) {
            line += &format!(", lag {lag}");
        }
        for subject in &self.show {
            line += &format!(", {subject} {}", row::value(&row::observe(run, subject)));
        }
        if run.decision.is_some() {
            line += &format!(", {}", row::said(run));
        }
        line
    }

    /// The same as objects.
    pub fn json(&self, place: usize, word: &Word) -> Vec<Json> {
        let Some(daemon) = self.daemons.get(place) else { return Vec::new() };
        let address = &daemon.address;
        match word {
            Word::Here => vec![json!({"daemon": address, "event": "here"})],
            Word::Away(why) => vec![json!({"daemon": address, "event": "away", "why": why})],
            Word::News(news) => {
                let forgotten = |run: &RunId| json!({"daemon": address, "event": "forgotten", "run": run.0});
                let runs = news.runs.iter().map(|run| self.object(address, run));
                runs.chain(news.forgotten.iter().map(forgotten)).collect()
            }
        }
    }

    fn object(&self, address: &str, run: &RunSummary) -> Json {
        let value = |subject: &Subject| (subject.to_string(), row::value_json(&row::observe(run, subject)));
        let mut body = row::json(run);
        body.insert("daemon".into(), address.into());
        body.insert("event".into(), "run".into());
        body.insert("values".into(), Json::Object(self.show.iter().map(value).collect()));
        Json::Object(body)
    }
}

fn align(table: &mut Table, shown: usize) {
    for column in 4..6 + shown {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
