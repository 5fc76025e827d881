//! The view of many daemons: the state that their messages add up to, and its picture as text.
//!
//! Owns: the rows and the lines. May not touch: terminals, connections.

use super::grid::{Column, Grid};
use super::row;
use super::words::{NOTHING, count, within};
use clino_domain::subject::EVERY_GROUP;
use clino_domain::text::{harmless, shown};
use clino_domain::{RunId, RunNews, RunSummary, Subject};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is heard of one daemon.
#[derive(Debug, Clone)]
pub enum DaemonNews {
    /// It answers; what it held before is told anew.
    Here,
    /// What is new among its runs.
    News(RunNews),
    /// It does not answer, and why.
    Away(String),
}

#[derive(Debug)]
struct DaemonView {
    address: String,
    standing: DaemonStatus,
    runs: BTreeMap<RunId, RunSummary>,
    /// What was printed of each run last.
    told: BTreeMap<RunId, String>,
}

#[derive(Debug)]
enum DaemonStatus {
    Called,
    Here,
    Away(String),
}

/// Daemons and their runs.
#[derive(Debug)]
pub struct Fleet {
    daemons: Vec<DaemonView>,
    show: Vec<Subject>,
}

impl Fleet {
    /// A view before any daemon has answered.
    pub fn new(addresses: &[String], show: Vec<Subject>) -> Self {
        let daemon = |address: &String| DaemonView {
            address: address.clone(),
            standing: DaemonStatus::Called,
            runs: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        Self { daemons: addresses.iter().map(daemon).collect(), show }
    }

    /// Takes in a word of the daemon at `place`.
    pub fn apply(&mut self, place: usize, word: DaemonNews) {
        let Some(daemon) = self.daemons.get_mut(place) else { return };
        match word {
            DaemonNews::Here => {
                daemon.standing = DaemonStatus::Here;
                daemon.runs.clear();
            }
            DaemonNews::Away(why) => daemon.standing = DaemonStatus::Away(why),
            DaemonNews::News(news) => {
                news.forgotten.iter().for_each(|run| drop(daemon.runs.remove(run)));
                daemon.runs.extend(news.runs.into_iter().map(|run| (run.run.clone(), run)));
            }
        }
    }

    /// The picture: how many, then a row a run and a row for each daemon that has none to show, in at most `lines` lines
    /// and `room` columns where there are limits.
    pub fn render(&self, lines: Option<usize>, room: Option<usize>) -> String {
        let all: Vec<Vec<String>> =
            self.daemons.iter().flat_map(|daemon| self.rows(daemon, room.is_some())).collect();
        let around = format!("{}\n", self.headline());
        let below = self.remarks(room.is_some());
        let mut shown = all.len();
        loop {
            let mut grid = self.grid();
            all[..shown].iter().for_each(|row| grid.row(row.iter().cloned()));
            let more = match all.len() - shown {
                0 => String::new(),
                hidden => format!("and {}\n", count(hidden as u64, "more row")),
            };
            let table = grid.render(room);
            let text = within(&around, room) + &table + &within(&(more + &below), room);
            // A row may take a line in several blocks.
            if shown <= 1 || lines.is_none_or(|lines| text.lines().count() <= lines) {
                return text;
            }
            let over = text.lines().count() - lines.unwrap_or(0);
            shown -= over.div_ceil(table.matches("\n\n").count() + 1).clamp(1, shown - 1);
        }
    }

    fn grid(&self) -> Grid {
        let first = [Column::address("daemon"), Column::name("name"), Column::name("project")];
        let state = [Column::word("state"), Column::number("step"), Column::number("lag")];
        let subjects = self.show.iter().map(|subject| Column::number(&harmless(&subject.to_string())));
        Grid::new(2, first.into_iter().chain(state).chain(subjects).chain([Column::word("advice")]))
    }

    fn headline(&self) -> String {
        let away =
            self.daemons.iter().filter(|daemon| matches!(daemon.standing, DaemonStatus::Away(_))).count();
        let (runs, open) =
            self.runs().fold((0u64, 0), |(runs, open), run| (runs + 1, open + usize::from(!run.closed)));
        let daemons = count(self.daemons.len() as u64, "daemon");
        format!("{daemons}, {away} away; {}, {open} open", count(runs, "run"))
    }

    /// The runs of the daemons that are here.
    fn runs(&self) -> impl Iterator<Item = &RunSummary> {
        let here = |daemon: &&DaemonView| !matches!(daemon.standing, DaemonStatus::Away(_));
        self.daemons.iter().filter(here).flat_map(|daemon| daemon.runs.values())
    }

    /// What has no place in the table: why daemons are away, where a cell has no room for it, and groups that no run has.
    fn remarks(&self, narrow: bool) -> String {
        let mut text = String::new();
        for daemon in self.daemons.iter().filter(|_| narrow) {
            if let DaemonStatus::Away(why) = &daemon.standing {
                text += &format!("{} is away: {}\n", shown(&daemon.address), harmless(why));
            }
        }
        let groups: BTreeSet<&str> =
            self.runs().flat_map(|run| run.groups.iter().map(String::as_str)).collect();
        for term in self.show.iter().flat_map(|subject| &subject.terms).filter(|_| !groups.is_empty()) {
            let unknown = term.group.as_deref().filter(|group| {
                ![EVERY_GROUP, clino_domain::reading::POOLED].contains(group) && !groups.contains(group)
            });
            if let Some(group) = unknown {
                let known: Vec<String> = groups.iter().map(|group| shown(group)).collect();
                text += &format!("no run has a group {}: there are {}\n", shown(group), known.join(", "));
            }
        }
        text
    }

    /// How rows name a daemon: in a few columns without what all addresses begin with, and not at all where it is the only
    /// one.
    fn titled(&self, daemon: &DaemonView, narrow: bool) -> String {
        let address = shown(&daemon.address);
        match (narrow, self.daemons.len()) {
            (false, _) => address,
            (true, 1) => String::new(),
            (true, _) => address.split_once("://").map_or(address.as_str(), |(_, place)| place).to_owned(),
        }
    }

    /// Those that take snapshots come first, each in the order in which they were opened.
    fn rows(&self, daemon: &DaemonView, narrow: bool) -> Vec<Vec<String>> {
        let address = self.titled(daemon, narrow);
        let note = |state: String| {
            let mut cells = vec![address.clone(), NOTHING.into(), NOTHING.into(), state];
            cells.resize(7 + self.show.len(), NOTHING.into());
            vec![cells]
        };
        match &daemon.standing {
            DaemonStatus::Called => note("called".into()),
            DaemonStatus::Away(_) if narrow => note("away".into()),
            DaemonStatus::Away(why) => note(format!("away: {}", harmless(why))),
            DaemonStatus::Here if daemon.runs.is_empty() => note("no runs".into()),
            DaemonStatus::Here => {
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
            row::lag(run).map_or(NOTHING.into(), |lag| lag.to_string()),
        ];
        cells.extend(self.show.iter().map(|subject| row::value(&row::observe(run, subject))));
        cells.push(row::said(run).to_owned());
        cells
    }

    /// A word of the daemon at `place` as lines for logs: one a change. A run of which nothing has changed that a line
    /// tells has none.
    pub fn lines(&mut self, place: usize, word: &DaemonNews) -> Vec<String> {
        let Some(daemon) = self.daemons.get(place) else { return Vec::new() };
        let address = shown(&daemon.address);
        let news = match word {
            DaemonNews::Here => return vec![format!("{address} is here")],
            DaemonNews::Away(why) => return vec![format!("{address} is away: {}", harmless(why))],
            DaemonNews::News(news) => news,
        };
        let told: Vec<(RunId, String)> =
            news.runs.iter().map(|run| (run.run.clone(), self.line(&address, run))).collect();
        let daemon = &mut self.daemons[place];
        let changed = told.into_iter().filter_map(|(run, line)| {
            let before = daemon.told.insert(run, line.clone());
            (before.as_ref() != Some(&line)).then_some(line)
        });
        let mut lines: Vec<String> = changed.collect();
        for run in &news.forgotten {
            daemon.told.remove(run);
            lines.push(format!("{address} forgot the run {}", shown(&run.0)));
        }
        lines
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
    pub fn json(&self, place: usize, word: &DaemonNews) -> Vec<Json> {
        let Some(daemon) = self.daemons.get(place) else { return Vec::new() };
        let address = &daemon.address;
        match word {
            DaemonNews::Here => vec![json!({"daemon": address, "event": "here"})],
            DaemonNews::Away(why) => vec![json!({"daemon": address, "event": "away", "why": why})],
            DaemonNews::News(news) => {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::view::tests::{decision, run};
    use clino_domain::{Latest, RunLabel, SnapshotRef};

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
        fleet.apply(0, DaemonNews::Here);
        fleet.apply(0, DaemonNews::News(RunNews { runs: vec![closed, measured()], forgotten: vec![] }));
        fleet.apply(1, DaemonNews::Away("no daemon at \x1b[2J".into()));
        fleet
    }

    #[test]
    fn a_row_a_run_and_a_row_for_each_daemon_without_any() {
        let text = fleet().render(None, None);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(text.lines().next(), Some("3 daemons, 1 away; 2 runs, 1 open"));
        assert_eq!(
            rows[1],
            ["daemon", "name", "project", "state", "step", "lag", "loss", "mean(loss@*)", "advice"]
        );
        // The one that is open goes first; of its mean a group is missing.
        assert_eq!(
            rows[3],
            ["unix:///a", "second", "p", "measuring", "30", "10", "0.50000", "±", "0.25", "–", "STOP"]
        );
        assert_eq!(rows[4][..4], ["unix:///a", "first", "p", "closed"]);
        assert!(rows[5].starts_with(&["unix:///b", "–", "–", "away:"]), "{text}");
        assert_eq!(rows[6][..4], ["unix:///c", "–", "–", "called"]);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_picture_is_no_higher_than_it_may_be() {
        let text = fleet().render(Some(6), None);
        assert_eq!(text.lines().count(), 1 + 2 + 2 + 1, "{text}");
        assert!(text.ends_with("and 2 more rows\n"));
        assert!(!fleet().render(Some(7), None).contains("more"));
        // Where columns move below, a row takes several lines.
        for lines in 20..60 {
            let text = fleet().render(Some(lines), Some(40));
            assert!(text.lines().count() <= lines, "{lines}:\n{text}");
        }
    }

    #[test]
    fn a_picture_is_no_wider_than_it_may_be() {
        for room in 40..120 {
            let text = fleet().render(None, Some(room));
            let widest = text.lines().map(crate::cli::words::width).max().unwrap();
            assert!(widest <= room && text.contains("0.50000 ± 0.25"), "{room}:\n{text}");
            // The cell has no room for the reason.
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains("unix:///b is away: no daemon at"), "{text}");
        }
    }

    #[test]
    fn one_is_no_plural() {
        let mut fleet = Fleet::new(&["unix:///a".to_owned()], vec![]);
        fleet.apply(0, DaemonNews::News(RunNews { runs: vec![measured()], forgotten: vec![] }));
        assert_eq!(fleet.headline(), "1 daemon, 0 away; 1 run, 1 open");
    }

    #[test]
    fn a_group_that_no_run_has_is_told() {
        let mut fleet = Fleet::new(&["unix:///a".to_owned()], vec!["loss@fr".parse().unwrap()]);
        assert!(!fleet.render(None, None).contains("no run has"));
        fleet.apply(0, DaemonNews::News(RunNews { runs: vec![measured()], forgotten: vec![] }));
        assert!(fleet.render(None, None).ends_with("no run has a group fr: there are de, en\n"));
    }

    #[test]
    fn what_a_daemon_forgets_goes_and_one_that_comes_back_tells_anew() {
        let mut fleet = fleet();
        fleet.apply(0, DaemonNews::News(RunNews { runs: vec![], forgotten: vec![RunId("r-1".into())] }));
        assert!(!fleet.render(None, None).contains("first") && fleet.render(None, None).contains("second"));
        fleet.apply(0, DaemonNews::Here);
        assert!(fleet.render(None, None).contains("no runs"));
    }

    #[test]
    fn a_change_is_a_line_or_an_object() {
        let mut fleet = fleet();
        let news = DaemonNews::News(RunNews { runs: vec![measured()], forgotten: vec![RunId("r-9".into())] });
        let said =
            "unix:///a second (p): measuring, step 30, lag 10, loss 0.50000 ± 0.25, mean(loss@*) –, STOP";
        assert_eq!(fleet.lines(0, &news), [said, "unix:///a forgot the run r-9"]);
        // Another snapshot came in, of which a line tells nothing.
        let again = RunSummary { next_sequence: 9, ..measured() };
        let again = DaemonNews::News(RunNews { runs: vec![again], forgotten: vec![] });
        assert_eq!(fleet.lines(0, &again), [""; 0]);
        let further = RunSummary { pending: 0, ..measured() };
        let further = DaemonNews::News(RunNews { runs: vec![further], forgotten: vec![] });
        assert!(fleet.lines(0, &further)[0].contains("second (p): open"));
        let objects = fleet.json(0, &news);
        assert_eq!(
            objects[0]["values"],
            json!({"loss": {"value": 0.5, "stderr": 0.25}, "mean(loss@*)": null})
        );
        assert_eq!((&objects[0]["advice"], &objects[0]["lag_steps"]), (&json!("stop"), &json!(10)));
        assert_eq!(objects[1], json!({"daemon": "unix:///a", "event": "forgotten", "run": "r-9"}));
        let away = fleet.json(1, &DaemonNews::Away("why".into()));
        assert_eq!(away, [json!({"daemon": "unix:///b", "event": "away", "why": "why"})]);
    }
}
