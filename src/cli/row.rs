//! A run among many: its row in a table, and its line of JSON.
//!
//! Owns: what is said of a run in a word. May not touch: which runs are shown.

use super::table::with_stderr;
use super::view::{advice, place};
use super::words::NOTHING;
use clino_domain::text::shown;
use clino_domain::{
    Estimate, Latest, MeasureRequest, Outcome, Reading, RunSummary, SeriesPoint, SnapshotRef, Subject,
};
use serde_json::{Map, Value as Json, json};

/// How a run is, in a word.
pub fn state(run: &RunSummary) -> &'static str {
    if run.checked.as_ref().is_some_and(|checked| !checked.agrees) {
        return "mismatch";
    }
    if run.accepted == 0 && run.refusals.count > 0 {
        return "refused";
    }
    match (run.closed, run.pending) {
        (true, 0) => "closed",
        (true, _) => "closing",
        (false, 0) if run.accepted == 0 => "waiting",
        (false, 0) => "open",
        (false, _) => "measuring",
    }
}

/// The step that was measured last.
pub fn step(run: &RunSummary) -> String {
    run.last_measured.map_or(NOTHING.into(), place)
}

/// Steps between the newest snapshot received and the newest measured.
pub fn lag(run: &RunSummary) -> Option<u64> {
    Some(run.last_accepted?.step.saturating_sub(run.last_measured?.step))
}

/// What the run's policy said last.
pub fn said(run: &RunSummary) -> &'static str {
    run.decision.as_ref().map_or(NOTHING, |decision| advice(decision.advice))
}

/// `name=text` of every tag.
pub fn tags(run: &RunSummary) -> String {
    let pair = |(name, text): (&String, &String)| format!("{}={}", shown(name), shown(text));
    run.label.tags.iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// A text of a daemon, or what stands for an empty one.
pub fn text(text: &str) -> String {
    if text.is_empty() { NOTHING.into() } else { shown(text) }
}

/// A subject on the snapshot that was measured last, from the principal numbers that a summary has.
pub fn observe(run: &RunSummary, subject: &Subject) -> SeriesPoint {
    let at = run.last_measured.unwrap_or(SnapshotRef { step: 0, attempt: 0 });
    let reading = |latest: &Latest| {
        let measure = MeasureRequest { name: latest.measure.clone(), parameters: Default::default() };
        let blank = Reading::blank(measure, latest.group.as_deref(), at, run.precision);
        let estimate = |mean: f64| Estimate { mean, stderr: latest.stderr, min: mean, max: mean };
        let outcome = if latest.value.is_some() { Outcome::Measured } else { Outcome::Unavailable };
        Reading { outcome, value: latest.value, estimate: latest.value.map(estimate), ..blank }
    };
    let readings: Vec<Reading> = run.latest.iter().map(reading).collect();
    subject.observe(at, &readings.iter().collect::<Vec<_>>())
}

/// Value and standard error of a point.
pub fn value(point: &SeriesPoint) -> String {
    if point.counts() { with_stderr(point.value, point.stderr) } else { NOTHING.into() }
}

/// A point as JSON; `null` where there is no value.
pub fn value_json(point: &SeriesPoint) -> Json {
    match point.counts() {
        true => json!({"value": point.value, "stderr": point.stderr}),
        false => Json::Null,
    }
}

/// What a run is and how far it is.
pub fn json(run: &RunSummary) -> Map<String, Json> {
    let decision = run.decision.as_ref();
    let word = |word: Option<Json>| word.unwrap_or(Json::Null);
    let serialized = |value: Result<Json, serde_json::Error>| value.unwrap_or(Json::Null);
    let body = json!({
        "run": run.run.0,
        "name": run.name,
        "project": run.label.project,
        "experiment": run.label.experiment,
        "tags": run.label.tags,
        "state": state(run),
        "accepted": run.accepted,
        "measured": run.measured,
        "skipped": run.skipped,
        "pending": run.pending,
        "step": run.last_measured.map(|at| at.step),
        "attempt": run.last_measured.map(|at| at.attempt),
        "lag_steps": lag(run),
        "opened_at": run.opened_at,
        "model_check": run.checked,
        "refused": run.refusals.count,
        "refusal": (run.refusals.count > 0).then_some(&run.refusals.last),
        "advice": word(decision.map(|d| serialized(serde_json::to_value(d.advice)))),
        "reason": word(decision.map(|d| serialized(serde_json::to_value(d.reason)))),
        "sentence": decision.map(|d| d.sentence.clone()),
    });
    match body {
        Json::Object(body) => body,
        _ => Map::new(),
    }
}
