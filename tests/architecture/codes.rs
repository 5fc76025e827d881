//! Codes of incidents: whatever is dropped, shed or done in another way is noted under one, and there is none that nobody
//! notes.

use super::read;
use clino_domain::incident::{INCIDENTS, Origin};

/// Warnings that are no incident.
const OTHER_WARNINGS: [&str; 1] = ["a STOP was overridden"];

/// The product's part of a source: tests stand at its end.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn every_code_is_noted_where_it_belongs() {
    let sources = read("src");
    for (incident, info) in &INCIDENTS {
        let name = format!("{incident:?}");
        let path = format!("Incident::{name}");
        let names = |text: &str| {
            let mut rest = text.split(&path).skip(1);
            rest.any(|behind| !behind.starts_with(|c: char| c.is_alphanumeric()))
        };
        let belongs = |room: &str| match info.origin {
            Origin::Noted => !["doctor", "cli"].contains(&room),
            Origin::Seen => room == "doctor",
            Origin::Client => room == "cli",
        };
        let found = sources.iter().filter(|source| !source.is_test() && names(product(&source.text)));
        let rooms: Vec<&str> = found.map(|source| source.room()).collect();
        assert!(rooms.iter().any(|room| belongs(room)), "{} {name}: {rooms:?}", info.code);
    }
}

#[test]
fn every_warning_has_a_code() {
    let mut warnings = 0;
    for source in read("src").iter().filter(|source| !source.is_test()) {
        let text = product(&source.text);
        for (place, call) in
            text.match_indices("tracing::warn!(").chain(text.match_indices("tracing::error!("))
        {
            let behind = text[place + call.len()..].trim_start();
            let end = behind.find(");").unwrap_or(behind.len());
            let other = OTHER_WARNINGS.iter().any(|warning| behind[..end].contains(warning));
            let has_code = behind.starts_with("code,") || behind.starts_with("code = ");
            warnings += 1;
            assert!(has_code || other, "{}: {}", source.path.display(), &behind[..end]);
        }
    }
    assert!(warnings > 30, "found only {warnings}");
}

/// What is noted must be logged: no code is thrown away but that of what was logged before.
#[test]
fn no_code_is_noted_without_a_line_of_the_log() {
    for source in read("src").iter().filter(|source| !source.is_test()) {
        let thrown = product(&source.text).matches("let _ = counters.note(").count();
        let expected = usize::from(source.path.ends_with("src/store/sqlite/notes.rs"));
        assert_eq!(thrown, expected, "{}", source.path.display());
    }
}
