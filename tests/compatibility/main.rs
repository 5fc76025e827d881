//! What is kept of every release, in `tests/fixtures/releases`, is understood by this version: the data folder that its
//! daemon left opens and goes on, and what its client said gets the answers that it got.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod folder;
mod likeness;
mod recording;
mod replay;

use common::Daemon;
use likeness::{Likeness, Protocol};
use prost_reflect::{DynamicMessage, Value};
use protox::prost_reflect;
use recording::What;
use replay::Replay;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of each release; what is called otherwise is not one.
fn releases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/fixtures/releases")).unwrap();
    let version = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
    let entries = entries.map(|entry| entry.unwrap());
    let found = entries.filter(|entry| version(&entry.file_name().to_string_lossy()));
    let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The changelog has a heading for each release; that of 0.1.0 was never written.
#[test]
fn every_minor_version_is_kept_whole() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split_once(']'));
    let minor = headings.map(|(version, _)| version).filter(|version| version.ends_with(".0"));
    for version in minor.chain(["0.1.0"]) {
        let release = root().join("tests/fixtures/releases").join(version);
        for part in ["data/history.db", "proto/clino/v1/types.proto", "wire.jsonl"] {
            assert!(release.join(part).exists(), "{version} has no {part}: see the README there");
        }
    }
}

#[tokio::test]
async fn what_the_client_of_every_release_said_gets_the_answers_that_it_got() {
    for release in releases() {
        println!("{}", release.display());
        let daemon = Daemon::start(&[]);
        let mut replay = Replay::new(daemon.channel().await, Protocol::of(&release.join("proto")));
        for entry in recording::read(&release.join("wire.jsonl")) {
            replay.play(entry).await;
        }
        replay.ended();
    }
}

/// Every call of the protocol as it was then, so that none is forgotten when a release is kept.
#[test]
fn every_call_of_every_release_was_recorded_with_an_answer() {
    for release in releases() {
        let mut methods = std::collections::HashMap::new();
        let mut answered = std::collections::BTreeSet::new();
        for entry in recording::read(&release.join("wire.jsonl")) {
            match entry.what {
                What::Begin { method, .. } => drop(methods.insert(entry.call, method)),
                What::Response { .. } => drop(answered.insert(methods[&entry.call].clone())),
                _ => {}
            }
        }
        let all = Protocol::of(&release.join("proto")).methods();
        assert_eq!(answered, all, "{}", release.display());
    }
}

/// What a comparison passes over must be no more than it says: each answer loses each of its fields in turn, and gets
/// other numbers.
#[test]
fn an_answer_that_is_another_one_is_told() {
    let release = root().join("tests/fixtures/releases/0.1.0");
    let protocol = Protocol::of(&release.join("proto"));
    let mut methods = std::collections::HashMap::new();
    let (mut lost, mut moved) = (0, 0);
    for entry in recording::read(&release.join("wire.jsonl")) {
        match entry.what {
            What::Begin { method, .. } => drop(methods.insert(entry.call, protocol.answer_of(&method))),
            What::Response { bytes } => {
                let whole = DynamicMessage::decode(methods[&entry.call].clone(), bytes.0.as_slice()).unwrap();
                assert_eq!(Likeness::default().differences(&whole, &whole), [""; 0]);
                lost += without_each(&whole);
                moved += with_other_numbers(&whole);
            }
            _ => {}
        }
    }
    assert!(lost > 100 && moved > 100, "{lost} {moved}");
}

fn told(whole: &DynamicMessage, other: &DynamicMessage) {
    let found = Likeness::default().differences(whole, other);
    assert!(!found.is_empty(), "{whole:?}\npasses as\n{other:?}");
}

fn without_each(whole: &DynamicMessage) -> usize {
    let compared = whole.fields().filter(|(field, _)| !likeness::is_free(field));
    let fields: Vec<_> = compared.map(|(field, _)| field).collect();
    for field in &fields {
        let mut other = whole.clone();
        other.clear_field(field);
        told(whole, &other);
    }
    fields.len()
}

/// The value of a reading, or what else is a number with a presence of its own.
fn with_other_numbers(whole: &DynamicMessage) -> usize {
    let Some(reading) = whole.get_field_by_name("reading").filter(|_| whole.has_field_by_name("reading"))
    else {
        return 0;
    };
    let reading = reading.as_message().unwrap();
    let mut count = 0;
    for name in ["value", "parameters", "parts", "rungs", "runs", "tensors", "surface", "draws", "estimate"] {
        let Some(found) = reading.get_field_by_name(name).filter(|_| reading.has_field_by_name(name)) else {
            continue;
        };
        let (mut other, mut changed) = (whole.clone(), found.into_owned());
        nudge(&mut changed);
        other
            .get_field_by_name_mut("reading")
            .unwrap()
            .as_message_mut()
            .unwrap()
            .set_field_by_name(name, changed);
        if other != *whole {
            told(whole, &other);
            count += 1;
        }
    }
    count
}

/// Every number in it by a thousandth.
fn nudge(value: &mut Value) {
    match value {
        Value::F64(number) => *number *= 1.001,
        Value::List(items) => items.iter_mut().for_each(nudge),
        Value::Map(items) => items.values_mut().for_each(nudge),
        Value::Message(message) => message.fields_mut().for_each(|(_, value)| nudge(value)),
        _ => {}
    }
}
