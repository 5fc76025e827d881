//! Histories as lines of JSON: values of subjects, or readings as `clino watch --json` prints them.
//!
//! Owns: their form, and which lines make one snapshot. May not touch: what is made of them.

use clino_domain::{
    Estimate, Fault, MeasureRequest, Outcome, Part, Policy, Precision, Reading, RunId, SeriesPoint,
    SnapshotRef, Subject,
};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::BufRead;

/// The run of lines that name none.
const UNNAMED: &str = "run";

/// Snapshots that are told together, up to the next line with a policy.
#[derive(Debug, Default)]
pub struct TraceCase {
    /// Which; of the line with the policy.
    pub name: Option<String>,
    /// The policy, where the line has one.
    pub policy: Option<Policy>,
    /// In the order of the lines.
    pub told: Vec<TraceStep>,
}

/// What is told of one snapshot.
#[derive(Debug)]
pub struct TraceStep {
    /// Run of the snapshot.
    pub run: RunId,
    at: SnapshotRef,
    /// By subject; under the empty name what was given without one.
    values: BTreeMap<String, SeriesPoint>,
    readings: Vec<Reading>,
    line: usize,
}

impl TraceStep {
    /// Its point for one of the subjects of the policy.
    ///
    /// # Errors
    /// A value without a subject where several are asked for.
    pub fn of(&self, subject: &Subject, many: usize) -> Result<SeriesPoint, Fault> {
        if let Some(point) = self.values.get(&subject.to_string()) {
            return Ok(*point);
        }
        if let Some(point) = self.values.get("") {
            return match many {
                1 => Ok(*point),
                _ => {
                    Err(wrong(self.line, "subject", "found none, expected one: the policy looks at several"))
                }
            };
        }
        Ok(subject.observe(self.at, &self.readings.iter().collect::<Vec<_>>()))
    }
}

/// One line; what is not here is not looked at.
#[derive(Debug, Deserialize)]
struct TraceLine {
    case: Option<String>,
    policy: Option<Policy>,
    event: Option<String>,
    run: Option<String>,
    step: Option<u64>,
    attempt: Option<u32>,
    subject: Option<String>,
    value: Option<Json>,
    stderr: Option<f64>,
    non_finite: Option<bool>,
    measure: Option<String>,
    group: Option<String>,
    outcome: Option<Outcome>,
    #[serde(default)]
    parts: BTreeMap<String, Json>,
}

fn wrong(line: usize, field: &str, description: &str) -> Fault {
    Fault::invalid(format!("line {line}: {field}"), description)
}

/// Reads cases from lines.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: usize,
    /// The line with the policy of the next case, which ended the one before.
    begun: Option<TraceCase>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// From the first line on.
    pub fn new(input: R) -> Self {
        Self { input, line: 0, begun: None, ended: false }
    }

    /// The next case; `None` behind the last.
    ///
    /// # Errors
    /// A line that cannot be read, with its number.
    pub fn next(&mut self) -> Result<Option<TraceCase>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let mut case = self.begun.take().unwrap_or_default();
        while let Some(line) = self.read()? {
            if line.case.is_some() || line.policy.is_some() {
                let begun = TraceCase { name: line.case, policy: line.policy, told: Vec::new() };
                // Nothing before the first of these lines.
                if case.told.is_empty() && case.policy.is_none() && case.name.is_none() {
                    case = begun;
                    continue;
                }
                self.begun = Some(begun);
                return Ok(Some(case));
            }
            self.take(&mut case, line)?;
        }
        self.ended = true;
        Ok(Some(case))
    }

    fn read(&mut self) -> Result<Option<TraceLine>, Fault> {
        let mut text = String::new();
        loop {
            text.clear();
            self.line += 1;
            let read = self.input.read_line(&mut text);
            if read.map_err(|error| Fault::invalid(format!("line {}", self.line), error.to_string()))? == 0 {
                return Ok(None);
            }
            if !text.trim().is_empty() {
                let line = serde_json::from_str(&text);
                return line
                    .map(Some)
                    .map_err(|error| Fault::invalid(format!("line {}", self.line), error.to_string()));
            }
        }
    }

    fn take(&self, case: &mut TraceCase, line: TraceLine) -> Result<(), Fault> {
        if line.event.as_deref().is_some_and(|event| event != "reading") {
            return Ok(());
        }
        let step =
            line.step.ok_or_else(|| wrong(self.line, "step", "found none, expected a whole number"))?;
        let at = SnapshotRef { step, attempt: line.attempt.unwrap_or(1) };
        let run = RunId(line.run.clone().unwrap_or_else(|| UNNAMED.into()));
        let told = match case.told.last_mut() {
            // A second value of the same subject is told as a snapshot of its own.
            Some(last) if last.run == run && last.at == at && !last.has(&line) => last,
            _ => {
                let values = Default::default();
                let readings = Default::default();
                case.told.push(TraceStep { run, at, values, readings, line: self.line });
                let Some(last) = case.told.last_mut() else { return Ok(()) };
                last
            }
        };
        match &line.measure {
            Some(measure) => told.readings.push(line.reading(measure, at)),
            None => {
                let subject = match &line.subject {
                    None => String::new(),
                    Some(text) => {
                        text.parse::<Subject>().map_err(|e| wrong(self.line, "subject", &e))?.to_string()
                    }
                };
                told.values.insert(
                    subject,
                    line.point(at).ok_or_else(|| {
                        wrong(self.line, "value", "expected a number, null, or \"nan\", \"inf\", \"-inf\"")
                    })?,
                );
            }
        }
        Ok(())
    }
}

impl TraceStep {
    fn has(&self, line: &TraceLine) -> bool {
        line.measure.is_none() && self.values.contains_key(line.subject.as_deref().unwrap_or_default())
    }
}

impl TraceLine {
    /// A number; nothing, for `null` and no value; not a number for words. `None`: none of these.
    fn number(&self) -> Option<Option<f64>> {
        match &self.value {
            None | Some(Json::Null) => Some(None),
            Some(Json::Number(number)) => number.as_f64().map(Some),
            Some(Json::String(word)) => {
                word.to_lowercase().parse::<f64>().ok().filter(|x| !x.is_finite()).map(Some)
            }
            _ => None,
        }
    }

    fn point(&self, at: SnapshotRef) -> Option<SeriesPoint> {
        let number = self.number()?;
        let non_finite = self.non_finite.unwrap_or_else(|| number.is_some_and(|x| !x.is_finite()));
        Some(SeriesPoint { at, value: number.unwrap_or(f64::NAN), stderr: self.stderr, non_finite })
    }

    fn reading(&self, measure: &str, at: SnapshotRef) -> Reading {
        let request = MeasureRequest { name: measure.to_owned(), parameters: BTreeMap::new() };
        let mut reading = Reading::blank(request, self.group.as_deref(), at, Precision::F64);
        reading.outcome = self.outcome.unwrap_or(Outcome::Measured);
        reading.value = self.number().flatten();
        let value = reading.value.unwrap_or(f64::NAN);
        let spread = |stderr| Estimate { mean: value, stderr: Some(stderr), min: value, max: value };
        reading.estimate = self.stderr.map(spread);
        let part = |(name, value): (&String, &Json)| Part { name: name.clone(), value: value.as_f64() };
        let plain = self.parts.iter().filter(|(_, value)| value.is_number() || value.is_null());
        reading.parts = plain.map(part).collect();
        reading
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cases(text: &str) -> Result<Vec<TraceCase>, Fault> {
        let mut reader = Reader::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(case) = reader.next()? {
            all.push(case);
        }
        Ok(all)
    }

    #[test]
    fn lines_of_a_snapshot_are_one() {
        let text = r#"
            {"run":"a","step":1,"subject":"loss@de","value":0.5,"stderr":0.1}
            {"run":"a","step":1,"subject":"loss@en","value":"NaN"}
            {"event":"started","step":2,"attempt":1,"readings":1,"sequence":3}
            {"event":"reading","measure":"loss","group":"de","step":2,"attempt":1,"outcome":"measured","value":2.0,
        "#;
        let text = text.replace("2.0,\n", "2.0,\"parts\":{\"x\":3,\"rungs\":[]}}\n");
        let all = cases(&text).unwrap();
        let [first, second] = &all[0].told[..] else { panic!("{all:?}") };
        let of = |told: &TraceStep, subject: &str| told.of(&subject.parse().unwrap(), 2).unwrap();
        assert_eq!((of(first, "loss@de").value, of(first, "loss@de").stderr), (0.5, Some(0.1)));
        assert!(of(first, "loss@en").non_finite && !of(first, "loss@fr").non_finite);
        assert_eq!(second.run.0, "run");
        assert_eq!((of(second, "loss@de").value, of(second, "loss.x@de").value), (2.0, 3.0));
        assert!(of(second, "loss@en").value.is_nan());
    }

    #[test]
    fn a_policy_begins_anew() {
        let text = "{\"case\":\"x\"}\n{\"step\":1,\"value\":1}\n{\"case\":\"y\",\"policy\":{\"rules\":[]}}\n\
                    {\"step\":1,\"value\":1}\n{\"step\":1,\"value\":2}\n";
        let all = cases(text).unwrap();
        assert_eq!(all.iter().map(|case| case.told.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[1].name.as_deref(), Some("y"));
        assert!(all[0].policy.is_none() && all[1].policy.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, part) in [
            ("{\"step\":1,\"value\":1}\n{\"value\":1}", "line 2: step"),
            ("{\"step\":1,\"value\":true}", "line 1: value"),
            ("{\"step\":1,\"value\":\"x\"}", "line 1: value"),
            ("\n\nx", "line 3"),
            ("{\"step\":1,\"value\":1,\"subject\":\"loss@*\"}", "line 1: subject"),
        ] {
            let fault = cases(text).unwrap_err();
            assert!(fault.message.contains(part), "{fault}");
        }
        let all = cases("{\"step\":1,\"value\":1}").unwrap();
        let fault = all[0].told[0].of(&"loss".parse().unwrap(), 2).unwrap_err();
        assert!(fault.message.contains("line 1: subject"), "{fault}");
    }
}
