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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::view::tests::{decision, run};
    use crate::domain::{Latest, RunLabel, SnapshotRef};

    fn named(id: &str, name: &str) -> RunSummary {
        let label = RunLabel { project: "p".into(), ..RunLabel::default() };
        RunSummary { run: RunId(id.into()), name: name.into(), label, ..run(vec![]) }
    }

    fn measured() -> RunSummary {
        let latest = |group: &str, value: Option<f64>| Latest {
            measure: "loss".into(),
            group: Some(group.into()),
            value,
            stderr: value.map(|_| 0.25),
        };
        let at = |step| Some(SnapshotRef { step, attempt: 1 });
        RunSummary {
            latest: vec![latest("en", Some(1.0)), latest("de", None), latest("pooled", Some(0.5))],
            last_accepted: at(40),
            last_measured: at(30),
            accepted: 4,
            measured: 3,
            pending: 1,
            decision: Some(decision("why")),
            ..named("r-2", "second")
        }
    }

    fn fleet() -> Fleet {
        let addresses = ["unix:///a", "unix:///b", "unix:///c"].map(str::to_owned);
        let mut fleet =
            Fleet::new(&addresses, vec!["loss".parse().unwrap(), "mean(loss@*)".parse().unwrap()]);
        let closed = RunSummary { closed: true, ..named("r-1", "first") };
        fleet.apply(0, Word::Here);
        fleet.apply(0, Word::News(RunNews { runs: vec![closed, measured()], forgotten: vec![] }));
        fleet.apply(1, Word::Away("no daemon at \x1b[2J".into()));
        fleet
    }

    #[test]
    fn a_row_a_run_and_a_row_for_each_daemon_without_any() {
        let text = fleet().render(10);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(text.lines().next(), Some("3 daemons, 1 away; 2 runs, 1 open"));
        assert_eq!(
            rows[1],
            ["daemon", "name", "project", "state", "step", "lag", "loss", "mean(loss@*)", "advice"]
        );
        // The one that is open goes first; of its mean a group is missing.
        assert_eq!(
            rows[3],
            ["unix:///a", "second", "p", "measuring", "30", "10", "0.50000", "±", "2.5e-1", "–", "STOP"]
        );
        assert_eq!(rows[4][..4], ["unix:///a", "first", "p", "closed"]);
        assert!(rows[5].starts_with(&["unix:///b", "–", "–", "away:"]), "{text}");
        assert_eq!(rows[6][..4], ["unix:///c", "–", "–", "called"]);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_picture_is_no_higher_than_it_may_be() {
        let text = fleet().render(2);
        assert_eq!(text.lines().count(), 2 + 1 + 2 + 1, "{text}");
        assert!(text.ends_with("and 2 more rows\n"));
    }

    #[test]
    fn what_a_daemon_forgets_goes_and_one_that_comes_back_tells_anew() {
        let mut fleet = fleet();
        fleet.apply(0, Word::News(RunNews { runs: vec![], forgotten: vec![RunId("r-1".into())] }));
        assert!(!fleet.render(10).contains("first") && fleet.render(10).contains("second"));
        fleet.apply(0, Word::Here);
        assert!(fleet.render(10).contains("no runs"));
    }

    #[test]
    fn a_change_is_a_line_or_an_object() {
        let fleet = fleet();
        let news = Word::News(RunNews { runs: vec![measured()], forgotten: vec![RunId("r-9".into())] });
        let said =
            "unix:///a second (p): measuring, step 30, lag 10, loss 0.50000 ± 2.5e-1, mean(loss@*) –, STOP";
        assert_eq!(fleet.lines(0, &news), [said, "unix:///a forgot the run r-9"]);
        let objects = fleet.json(0, &news);
        assert_eq!(
            objects[0]["values"],
            json!({"loss": {"value": 0.5, "stderr": 0.25}, "mean(loss@*)": null})
        );
        assert_eq!((&objects[0]["advice"], &objects[0]["lag_steps"]), (&json!("stop"), &json!(10)));
        assert_eq!(objects[1], json!({"daemon": "unix:///a", "event": "forgotten", "run": "r-9"}));
        let away = fleet.json(1, &Word::Away("why".into()));
        assert_eq!(away, [json!({"daemon": "unix:///b", "event": "away", "why": "why"})]);
    }
}
