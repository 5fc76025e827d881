//! `clino doctor --codes`: the table of all codes, for the terminal, as the reference page, or as JSON.
//!
//! Owns: how the table is laid out. May not touch: what is in it.

use super::catalogue::cell;
use super::doctor::DoctorFormat;
use super::out::{columns, print};
use super::words::within;
use clino_domain::Fault;
use clino_domain::incident::{INCIDENTS, IncidentInfo, Origin};
use serde_json::json;
use std::fmt::Write as _;

/// Prints the table.
///
/// # Errors
/// Those of printing.
pub fn run(format: DoctorFormat) -> Result<(), Fault> {
    match format {
        DoctorFormat::Text => print(&within(&text(), columns())),
        DoctorFormat::Markdown => print(&markdown()),
        DoctorFormat::Json => print(&(json() + "\n")),
    }
}

fn text() -> String {
    let mut out = String::new();
    for (_, IncidentInfo { code, severity, what, action, .. }) in &INCIDENTS {
        let _ = writeln!(out, "{code} {}: {what}\n     → {action}", severity.name());
    }
    out
}

fn json() -> String {
    let line = |info: &IncidentInfo| {
        json!({
            "code": info.code,
            "severity": info.severity.name(),
            "found_by": info.origin.name(),
            "what": info.what,
            "action": info.action,
        })
    };
    let all: Vec<_> = INCIDENTS.iter().map(|(_, info)| line(info)).collect();
    serde_json::to_string_pretty(&all).unwrap_or_default()
}

const HEAD: &str = "# Codes

Everything that clino drops, skips, sheds, tries again or does in another way than it was asked, each under a code that never
changes its meaning. This page is the output of `clino doctor --codes --format markdown`, and CI compares the two.
[operations.md](operations.md#the-doctor) says how to ask for what is wrong with a daemon.

Each code is found in one way:

- **log**: the daemon notes it when it happens: one more of `clino_incidents_total{code=\"…\"}`, a line of the log with the
  field `code` (many of a kind are only logged with `--log debug`, or once), and a finding of the doctor for an hour.
- **doctor**: `clino doctor` sees it by how the daemon stands. What is noted in the log may be seen in this way as well.
- **client**: `clino doctor` finds it on its way to the daemon, which it cannot ask.

An **error** means that something is broken, a **warning** that somebody does not get what they asked for; a **note** is
usual under load.
";

/// Headings by the first digits of the codes.
const SECTIONS: [(&str, &str); 8] = [
    ("C1", "Measuring"),
    ("C2", "Uploads, runs, memory"),
    ("C3", "Connections and calls"),
    ("C4", "Watchers and policies"),
    ("C5", "Disks and history"),
    ("C6", "Settings and what is around the daemon"),
    ("C7", "The daemon as a whole"),
    ("C8", "The way to the daemon"),
];

fn markdown() -> String {
    let mut out = String::from(HEAD);
    for (digits, title) in SECTIONS {
        let _ =
            writeln!(out, "\n## {title}\n\n| code | | found by | what | what to do |\n|---|---|---|---|---|");
        let section = INCIDENTS.iter().filter(|(_, info)| info.code.starts_with(digits));
        for (_, IncidentInfo { code, severity, origin, what, action }) in section {
            let severity = severity.name();
            let origin = Origin::name(*origin);
            let _ = writeln!(out, "| {code} | {severity} | {origin} | {} | {} |", cell(what), cell(action));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section() {
        let page = markdown();
        for (_, info) in &INCIDENTS {
            let line = format!("| {} | {} |", info.code, info.severity.name());
            assert_eq!(page.matches(&line).count(), 1, "{line}");
            assert!(text().contains(&format!("{} {}: {}", info.code, info.severity.name(), info.what)));
        }
    }
}
