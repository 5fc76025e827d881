//! Whether an answer is to a client of a release what it was then: read by the protocol of that release, as the client
//! reads it, so that what was added since does not matter and what is missing does.

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, MethodDescriptor,
    ReflectMessage, Value,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// By which numbers may differ: another CPU sums in another order.
const RELATIVE: f64 = 1e-6;
/// The same near zero.
const ABSOLUTE: f64 = 1e-9;

/// Ids that the daemon makes, and digests of what holds such ids or sums: another text, the same one wherever it comes again.
const MADE: &[&str] =
    &["run_id", "snapshot_id", "decision_id", "next_page_token", "peers", "history_digest", "policy_digest"];

/// Texts for people, which may be said better: that there is one is all that is compared.
const SAID: &[&str] = &[
    "Decision.sentence",
    "GetReportResponse.reason",
    "MeasureInfo.cost",
    "MeasureInfo.formula",
    "MeasureInfo.invariance",
    "MeasureInfo.source",
    "MeasureInfo.summary",
    "ParameterInfo.range",
    "ParameterInfo.summary",
    "PartInfo.summary",
    "Reading.reason",
    "Reading.remark",
    "RuleInfo.source",
    "RuleInfo.summary",
    "SnapshotSkipped.reason",
    "Unmeasured.reason",
];

/// What depends on the clock or on what is cheaper by now, and what a receipt says of a snapshot that may have been
/// measured already.
const FREE: &[&str] = &[
    "MeasurementFinished.seconds",
    "Planned.seconds",
    "PushSnapshotResponse.decision",
    "PushSnapshotResponse.staleness",
    "Reading.seconds",
    "RunSummary.opened_at",
    "WatchDecisionsResponse.staleness",
    "Work.backwards",
    "Work.forwards",
    "Work.operations",
    "Work.passes",
];

/// Whether the last event of a run has come when the closing is answered.
const UNDECIDED: &str = "CloseRunResponse.run.next_sequence";

/// Entries of a catalogue: each that was there is there, by its name, and there may be more.
const CATALOGUED: &[&str] = &["MeasureInfo", "ParameterInfo", "PartInfo", "RuleInfo"];

fn named(names: &[&str], full: &str) -> bool {
    names.iter().any(|name| full.strip_prefix("clino.v1.") == Some(name))
}

/// Whether nothing of a field is compared.
pub fn is_free(field: &FieldDescriptor) -> bool {
    named(FREE, field.full_name())
}

/// The protocol of a release.
pub struct Protocol(DescriptorPool);

impl Protocol {
    /// Compiled from its files.
    pub fn of(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder.join("clino/v1")).unwrap();
        let files = files.map(|entry| Path::new("clino/v1").join(entry.unwrap().file_name()));
        let compiled = protox::compile(files, [folder]).unwrap();
        Self(DescriptorPool::from_file_descriptor_set(compiled).unwrap())
    }

    /// Paths of all calls.
    pub fn methods(&self) -> BTreeSet<String> {
        let path =
            |method: MethodDescriptor| format!("/{}/{}", method.parent_service().full_name(), method.name());
        self.0.services().flat_map(|service| service.methods().map(path).collect::<Vec<_>>()).collect()
    }

    /// The message that answers a call.
    pub fn answer_of(&self, method: &str) -> MessageDescriptor {
        let (service, name) = method.trim_start_matches('/').split_once('/').unwrap();
        let service = self.0.get_service_by_name(service).unwrap();
        service.methods().find(|found| found.name() == name).unwrap().output()
    }
}

/// Compares answers, and knows by which ids those that the daemon made then go now.
#[derive(Debug, Default)]
pub struct Likeness {
    ids: BTreeMap<String, String>,
    found: Vec<String>,
}

impl Likeness {
    /// Where an answer is not what it was.
    pub fn differences(&mut self, then: &DynamicMessage, now: &DynamicMessage) -> Vec<String> {
        self.message(then.descriptor().name(), then, now);
        std::mem::take(&mut self.found)
    }

    /// A request of then with the ids of now, which are as long: the lengths within a message stay.
    pub fn renamed(&self, request: &[u8]) -> Vec<u8> {
        let mut bytes = request.to_vec();
        for (then, now) in &self.ids {
            let mut at = 0;
            while let Some(found) = bytes[at..].windows(then.len()).position(|part| part == then.as_bytes()) {
                bytes[at + found..][..now.len()].copy_from_slice(now.as_bytes());
                at += found + now.len();
            }
        }
        bytes
    }

    fn message(&mut self, path: &str, then: &DynamicMessage, now: &DynamicMessage) {
        for field in then.descriptor().fields().filter(|field| !is_free(field)) {
            let here = format!("{path}.{}", field.name());
            if here == UNDECIDED {
                continue;
            }
            let had = (then.has_field(&field), now.has_field(&field));
            if named(SAID, field.full_name()) {
                self.check(!had.0 || had.1, || format!("{here}: is empty"));
            } else if field.supports_presence() && had.0 != had.1 {
                self.found.push(format!("{here}: found {}, expected {}", had.1, had.0));
            } else if MADE.contains(&field.name()) {
                self.made(&here, &then.get_field(&field), &now.get_field(&field));
            } else {
                self.value(&here, &then.get_field(&field), &now.get_field(&field));
            }
        }
    }

    fn value(&mut self, path: &str, then: &Value, now: &Value) {
        match (then, now) {
            (Value::F64(then), Value::F64(now)) => {
                self.check(near(*then, *now), || format!("{path}: found {now}, expected {then}"));
            }
            (Value::Message(then), Value::Message(now)) => self.message(path, then, now),
            (Value::List(then), Value::List(now)) => self.list(path, then, now),
            (Value::Map(then), Value::Map(now)) => self.map(path, then, now),
            _ => self.check(then == now, || format!("{path}: found {now:?}, expected {then:?}")),
        }
    }

    fn list(&mut self, path: &str, then: &[Value], now: &[Value]) {
        let entry = then.first().and_then(Value::as_message).map(DynamicMessage::descriptor);
        let catalogued = entry.is_some_and(|entry| CATALOGUED.contains(&entry.name()));
        if catalogued {
            for then in then {
                let name = name_of(then);
                match now.iter().find(|now| name_of(now) == name) {
                    Some(now) => self.value(&format!("{path}[{name}]"), then, now),
                    None => self.found.push(format!("{path}: found no {name}")),
                }
            }
            return;
        }
        let lengths = (now.len(), then.len());
        self.check(lengths.0 == lengths.1, || {
            format!("{path}: found {} of them, expected {}", lengths.0, lengths.1)
        });
        for (index, (then, now)) in then.iter().zip(now).enumerate() {
            self.value(&format!("{path}[{index}]"), then, now);
        }
    }

    /// A map of parameters or tags may have more: parameters with their defaults.
    fn map(&mut self, path: &str, then: &HashMap<MapKey, Value>, now: &HashMap<MapKey, Value>) {
        for (key, then) in then {
            let here = format!("{path}[{key:?}]");
            match now.get(key) {
                Some(now) => self.value(&here, then, now),
                None => self.found.push(format!("{here}: is not there")),
            }
        }
    }

    fn made(&mut self, path: &str, then: &Value, now: &Value) {
        match (then, now) {
            (Value::List(then), Value::List(now)) if then.len() == now.len() => {
                then.iter().zip(now).for_each(|(then, now)| self.made(path, then, now));
            }
            (Value::String(then), Value::String(now)) if then.is_empty() && now.is_empty() => {}
            (Value::String(then), Value::String(now)) if then.len() == now.len() => {
                let known = self.ids.entry(then.clone()).or_insert_with(|| now.clone()).clone();
                self.check(known == *now, || format!("{path}: found {now}, expected {known}"));
            }
            _ => self.found.push(format!("{path}: found {now:?}, expected one such as {then:?}")),
        }
    }

    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.found.push(otherwise());
        }
    }
}

fn near(then: f64, now: f64) -> bool {
    let bound = ABSOLUTE + RELATIVE * then.abs().max(now.abs());
    then == now || (then.is_nan() && now.is_nan()) || (then - now).abs() <= bound
}

fn name_of(entry: &Value) -> String {
    let name = entry.as_message().and_then(|message| message.get_field_by_name("name"));
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap()
}
