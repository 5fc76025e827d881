//! The audit log: who opened, closed and overrode what, and what was denied to whom, as lines of JSON.
//!
//! Owns: the queue and the thread that writes. May not touch: secrets; somebody is named as the tokens file names them.
//!
//! A call never waits for the disk. What the queue or the disk does not take is counted, and the count is written as soon
//! as something can be.

use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::text::shown_json;
use clino_domain::{Fault, RunId};
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime};

/// Name of the file in faults.
const FIELD: &str = "audit";
/// Lines that wait to be written; more are dropped.
const WAITING: usize = 4_096;
/// Lines that are written at once.
const TOGETHER: usize = 256;

/// A line of the audit log.
#[derive(Debug, Default, Serialize)]
pub struct Record<'a> {
    /// opened, resumed, closed, override, denied, quota, reloaded, refused_reload.
    pub event: &'a str,
    /// As the tokens file names them; empty where nobody is known.
    pub who: &'a str,
    /// Address of the client.
    pub peer: &'a str,
    /// Path of the call.
    pub method: &'a str,
    /// If one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<&'a str>,
    /// If one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a RunId>,
    /// ok, or the sentence of the refusal.
    pub outcome: &'a str,
}

#[derive(Serialize)]
struct AuditLine<'a> {
    time: String,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

enum Message {
    AuditLine(String),
    Reopen,
    Flush(SyncSender<()>),
}

/// The log. Clones write to the same file; without a file nothing is written.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: Option<SyncSender<Message>>,
    counters: Arc<Counters>,
}

impl Audit {
    /// An audit log that writes nothing.
    pub fn none(counters: Arc<Counters>) -> Self {
        Self { queue: None, counters }
    }

    /// Appends to a file, which is made for its owner alone.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] when it cannot be opened.
    pub fn open(path: &Path, counters: Arc<Counters>) -> Result<Self, Fault> {
        let wrong = |error: std::io::Error| Fault::invalid(FIELD, format!("{}: {error}", path.display()));
        let file = append(path).map_err(wrong)?;
        let (queue, messages) = sync_channel(WAITING);
        let writer = AuditWriter {
            path: path.to_owned(),
            file,
            counters: counters.clone(),
            told: 0,
            torn: false,
            failing: false,
        };
        Builder::new().name("clino-audit".into()).spawn(move || writer.work(&messages)).map_err(wrong)?;
        Ok(Self { queue: Some(queue), counters })
    }

    /// Writes a line, some time soon.
    pub fn record(&self, record: &Record<'_>) {
        let Some(queue) = &self.queue else { return };
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let line = serde_json::to_string(&AuditLine { time, record });
        if !line.is_ok_and(|line| queue.try_send(Message::AuditLine(shown_json(&line))).is_ok()) {
            self.counters.count(Counter::AuditLineLost);
            let code = self.counters.note(Incident::AuditLineLost, "too many at once");
            tracing::debug!(code, "a line of the audit log is lost: there are too many at once");
        }
    }

    /// Opens the file again after it was moved away; a move is also noticed without this call.
    pub fn reopen(&self) {
        // A full queue is being written, and the writer looks at the file before.
        let _ = self.queue.as_ref().map(|queue| queue.try_send(Message::Reopen));
    }

    /// Waits until what was recorded is written, at most for `patience`.
    pub fn flush(&self, patience: Duration) {
        let Some(queue) = &self.queue else { return };
        let (sender, done) = sync_channel(1);
        if queue.try_send(Message::Flush(sender)).is_ok() {
            let _ = done.recv_timeout(patience);
        }
    }
}

/// Permissions of users who are neither the owner nor in the group (the group may ship logs).
const WORLD: u32 = 0o007;

/// Opens the log for its owner alone where there is none, whatever the umask; takes it from the world where there is one. A
/// FIFO that nobody reads is refused and not waited for.
fn append(path: &Path) -> std::io::Result<File> {
    let is_new = !path.exists();
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let wanted = if is_new { 0o600 } else { found.mode() & 0o7777 & !WORLD };
    if found.is_file() && found.mode() & 0o7777 != wanted {
        // One of another owner stays as it is.
        let _ = file.set_permissions(Permissions::from_mode(wanted));
    }
    let now = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, now - OFlags::NONBLOCK)?;
    Ok(file)
}

struct AuditWriter {
    path: PathBuf,
    file: File,
    counters: Arc<Counters>,
    /// Lost lines that the log has told of.
    told: u64,
    /// The line before may have been written in part.
    torn: bool,
    failing: bool,
}

impl AuditWriter {
    fn work(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            let mut lines = Vec::new();
            let mut waiting = Vec::new();
            for message in [message].into_iter().chain(messages.try_iter().take(TOGETHER)) {
                match message {
                    Message::AuditLine(line) => lines.push(line),
                    Message::Reopen => self.reopen(),
                    Message::Flush(done) => waiting.push(done),
                }
            }
            self.write(&lines);
            drop(waiting);
        }
    }

    fn write(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if self.is_moved() {
            self.reopen();
        }
        let lost = self.counters.of(Counter::AuditLineLost);
        let mut text = if self.torn { "\n".to_owned() } else { String::new() };
        if lost > self.told {
            let time = humantime::format_rfc3339_millis(SystemTime::now());
            let missing = lost - self.told;
            text += &format!("{{\"time\":\"{time}\",\"event\":\"lost\",\"lines\":{missing}}}\n");
        }
        for line in lines {
            text += line;
            text.push('\n');
        }
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => {
                (self.told, self.torn) = (lost, false);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(lost, "the audit log is written again");
                }
            }
            Err(error) => {
                let detail = format!("{}: {error}", self.path.display());
                let mut code = Incident::AuditLineLost.code();
                for _ in lines {
                    self.counters.count(Counter::AuditLineLost);
                    code = self.counters.note(Incident::AuditLineLost, &detail);
                }
                self.torn = true;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(code, %error, file = %self.path.display(), "the audit log is not written: lines are lost");
                }
            }
        }
    }

    fn is_moved(&self) -> bool {
        let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::metadata(&self.path).map(place).ok();
        there != self.file.metadata().map(place).ok()
    }

    fn reopen(&mut self) {
        match append(&self.path) {
            Ok(file) => (self.file, self.torn) = (file, false),
            Err(error) => {
                // Its lines go on into the file that was moved away.
                let code = Incident::AuditLineLost.code();
                tracing::warn!(code, %error, file = %self.path.display(), "the audit log is not opened again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::text::is_hidden;
    use std::os::unix::fs::PermissionsExt;

    /// Ends a test that hangs, and nothing else.
    const PATIENCE: Duration = Duration::from_secs(900);
    const OUTCOME: &str = "ok\n\"\u{202e}\u{2028}\u{e0041}\u{7f}";

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_are_appended_and_a_file_that_was_moved_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let audit = Audit::open(&path, Arc::default()).unwrap();
        let run = RunId("r".into());
        let record =
            Record { event: "opened", who: "a", run: Some(&run), outcome: OUTCOME, ..Record::default() };
        audit.record(&record);
        audit.flush(PATIENCE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let moved = directory.path().join("audit.1");
        std::fs::rename(&path, &moved).unwrap();
        audit.record(&Record { event: "closed", ..record });
        audit.flush(PATIENCE);
        let before = lines(&moved);
        let after = lines(&path);
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_eq!((&before[0]["run"], &before[0]["outcome"]), (&"r".into(), &OUTCOME.into()));
        let raw = std::fs::read_to_string(&moved).unwrap();
        assert!(!raw.chars().any(|c| c != '\n' && is_hidden(c)), "{raw:?}");
        assert!(humantime::parse_rfc3339(before[0]["time"].as_str().unwrap()).is_ok());
        assert_eq!(after[0]["event"], "closed");
    }

    #[test]
    fn a_full_disk_costs_lines_and_holds_nobody_up() {
        // Every write to this device says that there is no space left.
        let counters = Arc::new(Counters::default());
        let audit = Audit::open(Path::new("/dev/full"), counters.clone()).unwrap();
        for _ in 0..3 * WAITING {
            audit.record(&Record { event: "denied", ..Record::default() });
        }
        // The queue may be full at any moment.
        while counters.of(Counter::AuditLineLost) < 3 * WAITING as u64 {
            audit.flush(Duration::from_millis(100));
        }
        assert_eq!(counters.of(Counter::AuditLineLost), 3 * WAITING as u64);
    }

    #[test]
    fn the_log_tells_how_many_lines_it_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let counters = Arc::new(Counters::default());
        let audit = Audit::open(&path, counters.clone()).unwrap();
        (0..7).for_each(|_| counters.count(Counter::AuditLineLost));
        (0..2).for_each(|_| audit.record(&Record { event: "denied", ..Record::default() }));
        audit.flush(PATIENCE);
        let lines = lines(&path);
        assert_eq!((&lines[0]["event"], &lines[0]["lines"]), (&"lost".into(), &7.into()));
        assert_eq!(lines.len(), 3);
    }
}
