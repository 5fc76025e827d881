//! Events other than readings as a kind and a JSON text, and back.
//!
//! Owns: these texts. May not touch: the database.

use super::json::JsonNumber;
use clino_domain::{Decision, Event, Fault, SnapshotRef, WeightKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct AcceptedDetail {
    step: u64,
    attempt: u32,
    kind: WeightKind,
    initialization: bool,
}

#[derive(Serialize, Deserialize)]
struct SkippedDetail {
    step: u64,
    attempt: u32,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct StartedDetail {
    step: u64,
    attempt: u32,
    readings: u32,
}

#[derive(Serialize, Deserialize)]
struct FinishedDetail {
    step: u64,
    attempt: u32,
    seconds: JsonNumber,
}

/// A decision, whose numbers may be none that JSON has.
#[derive(Serialize, Deserialize)]
struct DecidedDetail {
    #[serde(flatten)]
    decision: Decision,
    numbers: Vec<JsonNumber>,
}

fn text(body: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(body).map_err(|error| Fault::internal(error.to_string()))
}

fn parsed<T: DeserializeOwned>(body: &str) -> Result<T, Fault> {
    let wrong = |error| Fault::internal(format!("the history holds an event that is damaged: {error}"));
    serde_json::from_str(body).map_err(wrong)
}

/// A decision as JSON. Its numbers stand beside it as `numbers`, those in its fields are 0 where JSON has none.
pub(super) fn decision_text(decision: &Decision) -> Result<String, Fault> {
    let mut decision = decision.clone();
    let mut numbers = Vec::new();
    for number in floats(&mut decision) {
        numbers.push(JsonNumber(*number));
        if !number.is_finite() {
            *number = 0.0;
        }
    }
    text(&DecidedDetail { decision, numbers })
}

/// The decision of such a text.
pub(super) fn decision_of(body: &str) -> Result<Decision, Fault> {
    let DecidedDetail { mut decision, numbers } = parsed(body)?;
    floats(&mut decision).into_iter().zip(numbers).for_each(|(number, JsonNumber(x))| *number = x);
    Ok(decision)
}

fn floats(decision: &mut Decision) -> Vec<&mut f64> {
    let best = decision.best.as_mut().map(|(_, value)| value);
    decision.compared.iter_mut().map(|(_, value)| value).chain(best).collect()
}

/// Kind and body; `None` for a reading, and for what is not kept.
pub(super) fn columns(event: &Event) -> Result<Option<(&'static str, String)>, Fault> {
    Ok(Some(match event {
        Event::Accepted { snapshot: SnapshotRef { step, attempt }, kind, initialization } => {
            let step = *step;
            let attempt = *attempt;
            let kind = *kind;
            let initialization = *initialization;
            ("accepted", text(&AcceptedDetail { step, attempt, kind, initialization })?)
        }
        Event::Skipped { snapshot: SnapshotRef { step, attempt }, reason } => {
            ("skipped", text(&SkippedDetail { step: *step, attempt: *attempt, reason: reason.clone() })?)
        }
        Event::Started { snapshot: SnapshotRef { step, attempt }, readings } => {
            ("started", text(&StartedDetail { step: *step, attempt: *attempt, readings: *readings })?)
        }
        Event::Finished { snapshot: SnapshotRef { step, attempt }, seconds } => (
            "finished",
            text(&FinishedDetail { step: *step, attempt: *attempt, seconds: JsonNumber(*seconds) })?,
        ),
        Event::Checked(checked) => ("checked", text(checked)?),
        Event::Decided(decision) => ("decided", decision_text(decision)?),
        Event::Closed => ("closed", "{}".to_owned()),
        Event::Reading(_) | Event::Gap { .. } | Event::Draining => return Ok(None),
    }))
}

/// The event of a kind and a body.
pub(super) fn event(kind: &str, body: &str) -> Result<Event, Fault> {
    let at = |step, attempt| SnapshotRef { step, attempt };
    Ok(match kind {
        "accepted" => {
            let AcceptedDetail { step, attempt, kind, initialization } = parsed(body)?;
            Event::Accepted { snapshot: at(step, attempt), kind, initialization }
        }
        "skipped" => {
            let SkippedDetail { step, attempt, reason } = parsed(body)?;
            Event::Skipped { snapshot: at(step, attempt), reason }
        }
        "started" => {
            let StartedDetail { step, attempt, readings } = parsed(body)?;
            Event::Started { snapshot: at(step, attempt), readings }
        }
        "finished" => {
            let FinishedDetail { step, attempt, seconds } = parsed(body)?;
            Event::Finished { snapshot: at(step, attempt), seconds: seconds.0 }
        }
        "checked" => Event::Checked(Box::new(parsed(body)?)),
        "decided" => Event::Decided(Box::new(decision_of(body)?)),
        "closed" => Event::Closed,
        _ => return Err(Fault::internal(format!("the history holds an unknown event: {kind}"))),
    })
}
