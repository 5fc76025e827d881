//! What a reader of a run sees: the state that events add up to, and its picture as text.
//!
//! Owns: the table and the lines. May not touch: terminals, connections.

use super::grid::{Column, Grid};
use super::table::{typed, with_error};
use super::words::{count, shortened, width, within};
use clino_domain::text::{harmless, shown};
use clino_domain::{
    Advice, Decision, Event, MeasureRequest, ModelChecked, Outcome, Reading, Refusals, RunSummary, Sequenced,
    SnapshotRef, Value,
};
use std::collections::{BTreeMap, BTreeSet};

/// Width of the progress bar, in characters.
const BAR: usize = 30;
/// Parameters that say how far a measure looks around the weights.
const RADII: [&str; 5] = ["alpha", "eps", "rho", "rise", "sigma"];
/// Most lines that say why readings have no value.
const MOST_REASONS: usize = 8;
/// Columns of the run's name that are shown in any case.
const NAME: usize = 12;

const WAITING: &str = "waiting for a snapshot";
const CLOSED: &str = "the run is closed";

/// Readings of one snapshot.
#[derive(Debug, Clone)]
struct SnapshotReport {
    at: SnapshotRef,
    readings: Vec<Reading>,
    /// How many there will be.
    expected: usize,
    /// Wall time, once all are made.
    seconds: Option<f64>,
}

/// A run as its events tell it.
#[derive(Debug)]
pub struct RunView {
    run: RunSummary,
    /// The newest snapshot that is measured whole.
    shown: Option<SnapshotReport>,
    /// The one in the engine.
    building: Option<SnapshotReport>,
    accepted: u64,
    measured: u64,
    skipped: u64,
    lost: u64,
    note: &'static str,
    /// What the policy said last.
    decided: Option<String>,
    /// Why the run has no readings: its model is not what its configuration says.
    mismatch: Option<String>,
}

impl RunView {
    /// A view before any event.
    pub fn new(run: RunSummary) -> Self {
        let decided = run.decision.as_ref().map(decided);
        let mismatch = run.checked.as_ref().filter(|checked| !checked.agrees).map(ModelChecked::reason);
        Self {
            run,
            shown: None,
            building: None,
            accepted: 0,
            measured: 0,
            skipped: 0,
            lost: 0,
            note: WAITING,
            decided,
            mismatch,
        }
    }

    /// With the counts that the daemon keeps, for a single picture without events.
    pub fn counted(run: RunSummary) -> Self {
        let accepted = run.accepted;
        let measured = run.measured;
        let skipped = run.skipped;
        let note = if run.closed { CLOSED } else { WAITING };
        Self { accepted, measured, skipped, note, ..Self::new(run) }
    }

    /// Whether any snapshot was received.
    pub fn has_begun(&self) -> bool {
        self.accepted > 0
    }

    /// The same run as the daemon knows it now.
    pub fn renew(&mut self, run: RunSummary) {
        self.run = run;
    }

    /// Shows what has come of the snapshot in the engine as a whole that took `seconds`.
    pub fn show(&mut self, seconds: f64) {
        self.shown = self.building.take().map(|report| SnapshotReport { seconds: Some(seconds), ..report });
        self.note = if self.run.closed { CLOSED } else { "" };
    }

    /// Takes one event in.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Accepted { .. } => self.accepted += 1,
            Event::Skipped { .. } => self.skipped += 1,
            Event::Started { snapshot, readings } => {
                let expected = *readings as usize;
                self.building =
                    Some(SnapshotReport { at: *snapshot, readings: Vec::new(), expected, seconds: None });
                self.note = "";
            }
            Event::Reading(reading) => self.add(reading),
            Event::Finished { snapshot, seconds } => {
                self.measured += 1;
                if let Some(mut report) = self.building.take().filter(|report| report.at == *snapshot) {
                    report.seconds = Some(*seconds);
                    self.shown = Some(report);
                }
                self.note = WAITING;
            }
            Event::Checked(checked) => {
                self.mismatch = (!checked.agrees).then(|| checked.reason()).or(self.mismatch.take());
            }
            Event::Decided(decision) => self.decided = Some(decided(decision)),
            Event::Gap { lost } => self.lost += lost,
            Event::Closed => self.note = CLOSED,
            Event::Draining => self.note = "the daemon shuts down",
        }
    }

    // After a gap readings can come without their beginning.
    fn add(&mut self, reading: &Reading) {
        let at = reading.snapshot;
        let fresh = || SnapshotReport { at, readings: Vec::new(), expected: 0, seconds: None };
        let report = match self.building.take() {
            Some(report) if report.at == at => report,
            _ => fresh(),
        };
        let report = self.building.insert(report);
        report.readings.push(reading.clone());
    }

    /// The picture: who and how far, what the policy said last, then a row a group and a column a measure, then what
    /// concerns no group; in at most `room` columns where there is a limit.
    pub fn render(&self, room: Option<usize>) -> String {
        let mut text = self.headline(room);
        text += &format!(
            "snapshots: {} accepted, {} measured, {} skipped",
            self.accepted, self.measured, self.skipped
        );
        if self.lost > 0 {
            text += &format!("; {} lost", count(self.lost, "event"));
        }
        text.push('\n');
        match &self.building {
            Some(report) => text += &progress(report),
            None => text += self.note,
        }
        text.push('\n');
        for line in self.mismatch.iter().chain(&self.decided) {
            text += &format!("{line}\n");
        }
        text += &self.refusals();
        let report = self.shown.as_ref().or(self.building.as_ref());
        within(&text, room) + &report.map(|report| self.sheet(report, room)).unwrap_or_default()
    }

    fn refusals(&self) -> String {
        let Refusals { count: number, last } = &self.run.refusals;
        match number {
            0 => String::new(),
            number => format!("{} refused; the last: {}\n", count(*number, "upload"), harmless(last)),
        }
    }

    /// Name and id; the name is shortened where both do not fit.
    fn headline(&self, room: Option<usize>) -> String {
        let id = format!("{}  ({} parameters)", shown(&self.run.run.0), self.run.parameters);
        let name = shown(&self.run.name);
        let least = width(&name).min(NAME);
        let most = room.map_or(usize::MAX, |room| room.saturating_sub(width(&id) + 2).max(least));
        format!("{}  {id}\n", shortened(&name, most))
    }

    fn sheet(&self, report: &SnapshotReport, room: Option<usize>) -> String {
        let mut text = format!("step {}", place(report.at));
        if let Some(seconds) = report.seconds {
            text += &format!(", measured in {seconds:.2} s");
        }
        text.push('\n');
        let (weights, grouped): (Vec<_>, Vec<_>) =
            report.readings.iter().partition(|reading| reading.group.is_none());
        if !grouped.is_empty() {
            text += &table(&self.run.measures, &grouped).render(room);
            text += &within(&radii(&self.run.measures), room);
        }
        for reading in weights {
            let line = format!("{} {}\n", title(&self.run.measures, reading), cell(reading));
            text += &within(&line, room);
        }
        text + &within(&reasons(&report.readings), room)
    }
}

/// How far measures look around the weights, as a line; where one measure does so twice its titles say it.
fn radii(measures: &[MeasureRequest]) -> String {
    let told = |measure: &MeasureRequest| {
        let alone = measures.iter().filter(|other| other.name == measure.name).count() == 1;
        let parameters =
            measure.parameters.iter().filter(|(name, _)| alone && RADII.contains(&name.as_str()));
        let parts: Vec<_> = parameters.map(|(name, value)| format!("{name}={}", typed(value))).collect();
        (!parts.is_empty()).then(|| format!("{} {}", shown(&measure.name), parts.join(" ")))
    };
    let all: Vec<String> = measures.iter().filter_map(told).collect();
    if all.is_empty() { String::new() } else { format!("with {}\n", all.join(", ")) }
}

/// Why readings have no value, a line for each reason.
fn reasons(readings: &[Reading]) -> String {
    let mut measures: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for reading in readings.iter().filter(|reading| reading.value.is_none()) {
        let Some(reason) = &reading.reason else { continue };
        measures.entry((reading.outcome.name(), reason)).or_default().insert(&reading.measure);
    }
    let line = |((outcome, reason), names): (&(&str, &str), &BTreeSet<&str>)| {
        let names: Vec<_> = names.iter().map(|name| shown(name)).collect();
        format!("{} {outcome}: {}\n", names.join(", "), harmless(reason))
    };
    measures.iter().take(MOST_REASONS).map(line).collect()
}

fn progress(report: &SnapshotReport) -> String {
    let done = report.readings.len();
    let expected = report.expected.max(done);
    let filled = (BAR * done).checked_div(expected).unwrap_or(0);
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
    format!("measuring step {} {bar} {done}/{expected}", place(report.at))
}

/// A step, and its attempt where it is not the first.
pub fn place(at: SnapshotRef) -> String {
    match at.attempt {
        0 | 1 => at.step.to_string(),
        attempt => format!("{} (attempt {attempt})", at.step),
    }
}

/// Rows are groups, columns are measures, both in the order of their first reading.
fn table(measures: &[MeasureRequest], readings: &[&Reading]) -> Grid {
    let mut columns: Vec<String> = Vec::new();
    let mut groups: Vec<&str> = Vec::new();
    for reading in readings {
        let title = title(measures, reading);
        if !columns.contains(&title) {
            columns.push(title);
        }
        let group = reading.group.as_deref().unwrap_or_default();
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let numbers = columns.iter().map(|title| Column::number(title));
    let mut table = Grid::new(1, std::iter::once(Column::name("group")).chain(numbers));
    for group in groups {
        let of = |column: &String| {
            let here = |r: &&&Reading| r.group.as_deref() == Some(group) && title(measures, r) == *column;
            readings.iter().find(here).map(|reading| cell(reading)).unwrap_or_default()
        };
        table.row(std::iter::once(shown(group)).chain(columns.iter().map(of)));
    }
    table
}

fn title(measures: &[MeasureRequest], reading: &Reading) -> String {
    titled(measures, &reading.measure, &reading.parameters)
}

/// A measure's name, with the parameters that tell it from its namesakes in the same run.
pub fn titled(measures: &[MeasureRequest], name: &str, parameters: &BTreeMap<String, Value>) -> String {
    let namesakes: Vec<_> = measures.iter().filter(|m| m.name == name).collect();
    let differs = |parameter: &String| {
        let mut values = namesakes.iter().map(|m| m.parameters.get(parameter));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let telling = parameters.iter().filter(|(parameter, _)| differs(parameter));
    let parts: Vec<_> = telling.map(|(parameter, value)| format!("{parameter}={}", typed(value))).collect();
    let name = shown(name);
    if parts.is_empty() { name } else { format!("{name} {}", parts.join(" ")) }
}

/// Value and standard error of a reading, or why there is none in a word.
pub fn cell(reading: &Reading) -> String {
    let word = match reading.outcome {
        Outcome::Measured => "–",
        outcome => outcome.name(),
    };
    reading.value.map_or(word.to_owned(), |value| with_error(value, reading.estimate.as_ref()))
}

/// An advice in a word.
pub fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Continue => "continue",
        Advice::Stop => "STOP",
        Advice::NotEnoughData => "not enough data",
    }
}

/// A decision as a line.
fn decided(decision: &Decision) -> String {
    format!("{}: {}", advice(decision.advice), harmless(&decision.sentence))
}

/// A comparison of the trainer's model with its configuration as a line.
fn checked(checked: &ModelChecked) -> String {
    format!("step {}: {}", place(checked.snapshot), checked.sentence())
}

/// One event as a line for logs; readings and what became of snapshots.
pub fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Reading(reading) => {
            let group = shown(reading.group.as_deref().unwrap_or("weights"));
            let reason = reading.reason.as_deref().map(|reason| format!(" ({})", harmless(reason)));
            let at = place(reading.snapshot);
            let reason = reason.unwrap_or_default();
            format!("step {at} {group} {} {}{reason}", shown(&reading.measure), cell(reading))
        }
        Event::Skipped { snapshot, reason } => {
            format!("step {} skipped: {}", place(*snapshot), harmless(reason))
        }
        Event::Finished { snapshot, seconds } => {
            format!("step {} measured in {seconds:.2} s", place(*snapshot))
        }
        Event::Checked(checked) => self::checked(checked),
        Event::Decided(decision) => decided(decision),
        Event::Gap { lost } => format!("{} lost", count(*lost, "event")),
        Event::Closed => CLOSED.to_owned(),
        Event::Draining => "the daemon shuts down".to_owned(),
        Event::Accepted { .. } | Event::Started { .. } => return None,
    })
}

/// One event as JSON: `sequence`, `event`, and what belongs to it; a reading in its own form.
///
/// # Errors
/// None that occurs: every event has a JSON form.
pub fn json(sequenced: &Sequenced) -> Result<String, serde_json::Error> {
    use serde_json::{Value as Json, json};
    let mut body = match &sequenced.event {
        Event::Accepted { snapshot, kind, initialization } => {
            let kind = format!("{kind:?}").to_lowercase();
            json!({"event": "accepted", "step": snapshot.step, "attempt": snapshot.attempt, "kind": kind, "initialization": initialization})
        }
        Event::Skipped { snapshot, reason } => {
            json!({"event": "skipped", "step": snapshot.step, "attempt": snapshot.attempt, "reason": reason})
        }
        Event::Started { snapshot, readings } => {
            json!({"event": "started", "step": snapshot.step, "attempt": snapshot.attempt, "readings": readings})
        }
        Event::Reading(reading) => {
            let mut body = serde_json::to_value(reading)?;
            body["event"] = Json::from("reading");
            body
        }
        Event::Finished { snapshot, seconds } => {
            json!({"event": "finished", "step": snapshot.step, "attempt": snapshot.attempt, "seconds": seconds})
        }
        Event::Checked(checked) => {
            let mut body = serde_json::to_value(checked)?;
            body["event"] = Json::from("checked");
            body["sentence"] = Json::from(checked.sentence());
            body
        }
        Event::Decided(decision) => {
            let mut body = serde_json::to_value(decision)?;
            body["event"] = Json::from("decided");
            body
        }
        Event::Gap { lost } => json!({"event": "gap", "lost": lost}),
        Event::Closed => json!({"event": "closed"}),
        Event::Draining => json!({"event": "draining"}),
    };
    body["sequence"] = Json::from(sequenced.sequence);
    serde_json::to_string(&body)
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(super) mod tests;
