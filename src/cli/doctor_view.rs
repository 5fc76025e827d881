//! What the doctor found, as sentences and as JSON.
//!
//! Owns: the layout. May not touch: what was found.

use super::doctor::Examined;
use super::words::{beginning, count, wrapped};
use clino_domain::budget::size;
use clino_domain::diagnosis::{Concern, DaemonFacts, DiskFacts, Finding};
use clino_domain::incident::Severity;
use clino_domain::text::{harmless, shown};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::time::Duration;

/// The form of the JSON. It grows when something in it goes or gets another meaning, and not when something is added.
const SCHEMA: u32 = 1;
/// Columns of a screen that tells no width.
const WIDTH: usize = 100;
/// Before what is said of a finding.
const INDENT: &str = "  ";
/// Before what is to be done.
const ARROW: &str = "→ ";
/// Characters of a run's id, as in other tables.
const ID: usize = 8;

/// Sentences for people, in lines of at most `columns`.
pub fn text(examined: &Examined, columns: Option<usize>) -> String {
    let Examined { address, facts, findings } = examined;
    let width = columns.unwrap_or(WIDTH);
    let mut out = match facts {
        Some(facts) => head(address, facts),
        None => format!("{}: the daemon could not be asked\n", harmless(address)),
    };
    let now = facts.as_ref().map_or(0.0, |facts| facts.now);
    for finding in findings {
        let _ = write!(out, "\n{}", section(finding, now, width));
    }
    let _ = write!(out, "\n{}", sum(findings));
    out
}

/// What the daemon is.
fn head(address: &str, facts: &DaemonFacts) -> String {
    let DaemonFacts { version, uptime, ready, device, .. } = facts;
    let state = if *ready { "ready" } else { "not ready" };
    let place = if device.is_empty() { String::new() } else { format!(", computes on {}", shown(device)) };
    let up = duration(*uptime);
    let mut out = format!("{}: clino {}, up {up}, {state}{place}\n", harmless(address), shown(version));
    let DaemonFacts { runs_open, runs_limit, snapshots_waiting, memory_used, memory_limit, .. } = facts;
    let waiting = count(*snapshots_waiting, "snapshot");
    let _ = writeln!(
        out,
        "{runs_open} of {runs_limit} runs open, {waiting} waiting, {} of {} of memory claimed",
        size(*memory_used),
        size(*memory_limit)
    );
    for DiskFacts { purpose, folder, free, size: whole } in &facts.disks {
        if *whole == 0 {
            let _ = writeln!(out, "{} {}: cannot be asked", shown(purpose), harmless(folder));
            continue;
        }
        let _ = writeln!(
            out,
            "{} {}: {} of {} free",
            shown(purpose),
            harmless(folder),
            size(*free),
            size(*whole)
        );
    }
    out
}

fn section(finding: &Finding, now: f64, width: usize) -> String {
    let Finding { code, severity, concern, subject, what, action, detail, .. } = finding;
    let mut head = format!("{} {}", severity.name(), shown(code));
    if *concern == Concern::Run && !subject.is_empty() {
        let _ = write!(head, ", run {}", beginning(&shown(subject), ID));
    }
    head += &often(finding, now);
    let mut out = lines("", &head, width);
    out += &lines(INDENT, &harmless(what), width);
    if !detail.is_empty() {
        out += &lines(INDENT, &format!("Last: {}", harmless(detail)), width);
    }
    out + &lines(&format!("{INDENT}{ARROW}"), &harmless(action), width)
}

/// How often it has happened, and when last.
fn often(finding: &Finding, now: f64) -> String {
    let Some(last) = finding.last else { return String::new() };
    let ago = duration((now - last).max(0.0));
    match finding.count {
        1 => format!(", once in the last hour, {ago} ago"),
        times => format!(", {times} times in the last hour, last {ago} ago"),
    }
}

/// A text in lines behind a mark; those that follow the first are as far in.
fn lines(mark: &str, text: &str, width: usize) -> String {
    let far = mark.chars().count();
    let parts = wrapped(text, width.saturating_sub(far).max(1));
    let marks = std::iter::once(mark.to_owned()).chain(std::iter::repeat(" ".repeat(far)));
    parts.iter().zip(marks).map(|(part, mark)| format!("{mark}{part}\n")).collect()
}

fn sum(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing is wrong.\n".into();
    }
    let of =
        |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let all: Vec<String> =
        Severity::ALL.iter().rev().map(|severity| count(of(*severity), severity.name())).collect();
    format!("{}. What the codes mean: docs/codes.md, or clino doctor --codes\n", all.join(", "))
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs(seconds.max(0.0) as u64);
    humantime::format_duration(whole).to_string()
}

/// One object for programs.
pub fn json(examined: &Examined) -> Json {
    let Examined { address, facts, findings } = examined;
    json!({
        "schema": SCHEMA,
        "address": address,
        "client": env!("CARGO_PKG_VERSION"),
        "reached": facts.is_some(),
        "daemon": facts.as_ref().map(daemon),
        "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn daemon(facts: &DaemonFacts) -> Json {
    let disk = |disk: &DiskFacts| {
        let DiskFacts { purpose, folder, free, size } = disk;
        json!({"purpose": purpose, "folder": folder, "free_bytes": free, "size_bytes": size})
    };
    json!({
        "version": facts.version,
        "uptime_seconds": facts.uptime,
        "now": facts.now,
        "ready": facts.ready,
        "device": facts.device,
        "memory_used_bytes": facts.memory_used,
        "memory_limit_bytes": facts.memory_limit,
        "runs_open": facts.runs_open,
        "runs_limit": facts.runs_limit,
        "snapshots_waiting": facts.snapshots_waiting,
        "disks": facts.disks.iter().map(disk).collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding) -> Json {
    json!({
        "code": finding.code,
        "severity": finding.severity.name(),
        "concern": finding.concern.name(),
        "subject": finding.subject,
        "what": finding.what,
        "action": finding.action,
        "count": finding.count,
        "last": finding.last,
        "detail": finding.detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clino_domain::incident::Incident;

    fn examined(findings: Vec<Finding>) -> Examined {
        let disks =
            vec![DiskFacts { purpose: "spool".into(), folder: "/tmp".into(), free: 5 << 30, size: 9 << 30 }];
        let facts = DaemonFacts {
            version: "1.2.3".into(),
            uptime: 3_725.9,
            now: 10_000.0,
            ready: true,
            device: "cpu".into(),
            memory_used: 12 << 20,
            memory_limit: 256 << 20,
            runs_open: 2,
            runs_limit: 1_000,
            snapshots_waiting: 1,
            disks,
        };
        Examined { address: "http://127.0.0.1:7411".into(), facts: Some(facts), findings }
    }

    #[test]
    fn findings_are_sentences_that_fit_into_the_screen() {
        let run = "01a213d0-4951-773d-9a61-3c0d79eafbf6";
        let often = Finding {
            count: 12,
            last: Some(9_820.0),
            detail: "run a\u{202e}b".into(),
            ..Finding::of(Incident::UploadFailed)
        };
        let one = Finding::of(Incident::ModelMismatch)
            .about(Concern::Run, run)
            .told("A model differs.")
            .doing("Mend it.");
        let expected = "\
http://127.0.0.1:7411: clino 1.2.3, up 1h 2m 5s, ready, computes on cpu
2 of 1000 runs open, 1 snapshot waiting, 12 MiB of 256 MiB of memory claimed
spool /tmp: 5120 MiB of 9216 MiB free

error C106, run 01a213d0…
  A model differs.
  → Mend it.

warning C201, 12 times in the last hour, last 3m ago
  An upload was refused or broke off.
  Last: run a\\u{202e}b
  → `clino watch RUN` shows why the last one of a run was refused; the log
    has all of them.

1 error, 1 warning, 0 notes. What the codes mean: docs/codes.md, or clino doctor --codes
";
        assert_eq!(text(&examined(vec![one, often]), Some(76)), expected);
        assert!(text(&examined(vec![]), None).ends_with("free\n\nNothing is wrong.\n"));
    }

    #[test]
    fn the_json_has_everything_and_says_of_which_form_it_is() {
        let found = Finding { count: 1, last: Some(5.0), ..Finding::of(Incident::CallShed) };
        let json = json(&examined(vec![found]));
        assert_eq!((&json["schema"], &json["reached"]), (&1.into(), &true.into()));
        assert_eq!(json["daemon"]["disks"][0]["free_bytes"], 5u64 << 30);
        let finding = &json["findings"][0];
        assert_eq!(
            (&finding["code"], &finding["severity"], &finding["last"]),
            (&"C302".into(), &"warning".into(), &5.0.into())
        );
        let unreached = Examined { facts: None, ..examined(vec![]) };
        assert_eq!(
            (&super::json(&unreached)["reached"], &super::json(&unreached)["daemon"]),
            (&false.into(), &Json::Null)
        );
    }
}
