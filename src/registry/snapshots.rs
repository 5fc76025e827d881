//! A snapshot's way through a run: announced, given room, committed, taken up, finished.
//!
//! Owns: what a snapshot is compared with and which one waits. May not touch: the bytes.

use super::fingerprint::announced;
use super::idempotency::same_content;
use super::run::{RegisteredRun, RunStatus, Waiting, closed};
use super::{Registry, RunEntry};
use clino_domain::counters::Counter;
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use clino_domain::text::quoted;
use clino_domain::{
    Acceptance, Announcement, Delivery, Fault, FaultKind, Manifest, ModelCheck, Receipt, ReceivedSnapshot,
    Reference, SnapshotHeader, SnapshotId, SnapshotRef, StatisticsBuilder, Unmeasured, ValidatedRun,
};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// The answer to an announcement.
#[derive(Debug)]
pub enum Admission {
    /// Received before under the same key, with the same bytes.
    Repeated(Receipt),
    /// Announced before under the same key: the bytes must come again to tell whether they are the same.
    Compared(RepeatedUpload),
    /// The bytes may come.
    Welcome(Upload),
}

/// An upload that repeats a key and does not say what its bytes are.
#[derive(Debug)]
pub struct RepeatedUpload {
    /// The manifest that the sender announced.
    pub manifest: Manifest,
    first: Receipt,
}

impl RepeatedUpload {
    /// The first receipt, if the bytes that have come now are those that came then.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] naming both digests.
    pub fn settle(self, digest: &str) -> Result<Receipt, Fault> {
        same_content(self.first, digest)
    }
}

/// A snapshot whose bytes may come.
#[derive(Debug)]
pub struct Upload {
    /// The run that the snapshot belongs to.
    pub run: Arc<RegisteredRun>,
    /// What the sender announced before the bytes.
    pub announcement: Announcement,
    /// Place of each parameter of the layout among the manifest's tensors.
    pub places: Vec<usize>,
    print: String,
}

/// Leave to send the bytes now.
#[derive(Debug)]
pub struct Room(Option<OwnedSemaphorePermit>);

impl Upload {
    /// Waits, in a run that wants every snapshot measured, until none waits before this one. Cancel-safe.
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] when the run is closed meanwhile.
    pub async fn room(&self) -> Result<Room, Fault> {
        match self.run.delivery {
            Delivery::Latest => Ok(Room(None)),
            Delivery::Every => {
                let mut ends = self.run.closed.subscribe();
                tokio::select! {
                    permit = self.run.room.clone().acquire_owned() => {
                        permit.map(|permit| Room(Some(permit))).map_err(|_| closed())
                    }
                    _ = ends.wait_for(|closed| *closed) => Err(closed()),
                }
            }
        }
    }
}

/// Said of a second initialization. Which one distances count from must not depend on what a trainer does when it is started
/// again.
const SECOND: &str = "initialization: the run has one already, from which distances are measured; this snapshot is \
                      measured like any other: mark only the first one, or open another run";

impl Registry {
    /// Checks everything about a snapshot that can be known before its bytes.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`], [`FaultKind::Precondition`] (closed, or the manifest does not fit the layout),
    /// [`FaultKind::Exists`] (the key announced something else or bytes of another digest, or the attempt is taken).
    pub fn announce(&self, announcement: Announcement) -> Result<Admission, Fault> {
        let print = announced(&announcement);
        self.remember(&announcement.run)?;
        let run = {
            let mut inner = self.lock();
            let entry = inner.entry(&announcement.run)?;
            if let Some(first) = repeated(&entry.state, &announcement, &print)? {
                let Announcement { digest, manifest, .. } = announcement;
                return match digest {
                    Some(digest) => Ok(Admission::Repeated(same_content(first, &digest)?)),
                    None => Ok(Admission::Compared(RepeatedUpload { manifest, first })),
                };
            }
            check_open(&entry.state, &announcement)?;
            if let Some(reason) = self.journal.refusal(&announcement.run) {
                return Err(Fault::field(FaultKind::Precondition, "run_id", reason));
            }
            entry.run.clone()
        };
        self.journal.room()?;
        self.ensure_validated(&run)?;
        let validated = run.validated()?;
        announcement.check.as_ref().map_or(Ok(()), |check| check_rows(&run, &validated, check))?;
        let places = validated.layout.arrange(&announcement.manifest)?;
        Ok(Admission::Welcome(Upload { run, announcement, places, print }))
    }

    /// What makes the statistics of an upload while its bytes arrive; none for an initialization, which is compared with
    /// itself.
    pub fn statistics_builder(&self, upload: &Upload) -> Option<Box<dyn StatisticsBuilder>> {
        let Upload { run, announcement, places, .. } = upload;
        let validated = run.validated().ok()?;
        let references = self.lock().entry(&run.id).ok()?.state.references();
        if announcement.initialization && validated.needs_init && references.init.is_none() {
            return None;
        }
        Some(validated.layout.statistics_builder(&announcement.manifest, places, references))
    }

    /// Makes an upload a snapshot of its run, in one step: `hold` gets the final header. A newer snapshot takes the
    /// place of one that waits.
    ///
    /// # Errors
    /// Those of [`Registry::announce`], for what changed while the bytes came.
    pub fn commit(
        &self,
        upload: Upload,
        room: Room,
        digest: &str,
        hold: impl FnOnce(SnapshotHeader, Vec<usize>) -> Arc<dyn ReceivedSnapshot>,
    ) -> Result<Receipt, Fault> {
        let Upload { run, announcement, places, print } = upload;
        self.journal.room()?;
        let mut inner = self.lock();
        if inner.stopped {
            return Err(Fault::new(FaultKind::Unavailable, "the daemon shuts down"));
        }
        let entry = inner.entry(&run.id)?;
        // The same key may have come twice at once.
        if let Some(first) = repeated(&entry.state, &announcement, &print)? {
            return same_content(first, digest);
        }
        let at = check_open(&entry.state, &announcement)?;
        let validated = run.validated()?;
        let mut warnings = validated.layout.remarks(&announcement.manifest);
        let Announcement { kind, key, check, .. } = announcement;
        let again = announcement.initialization && entry.state.init.is_some();
        warnings.extend(again.then(|| SECOND.to_owned()));
        let initialization = announcement.initialization && !again;
        let header = SnapshotHeader { at, kind, initialization };
        let held = hold(header, places);
        entry.state.attempts.take(at);
        let (measures, unmeasured) = outlook(&validated, &entry.state, initialization);
        let kept = (initialization && validated.needs_init)
            .then(|| Reference { layout: validated.layout.clone(), source: held.clone() });
        let waiting = entry.receive(&validated, held, check, room);
        let replaced = waiting.map(|older| older.held.header().at);
        let id = SnapshotId(Uuid::now_v7().to_string());
        let digest = digest.to_owned();
        let repeated = false;
        let decision = None;
        let receipt =
            Receipt { id, at, digest, measures, unmeasured, replaced, repeated, warnings, decision };
        let key = key.map(|key| (key, print));
        if let Some((key, print)) = key.clone() {
            entry.state.receipts.keep(key, print, receipt.clone());
        }
        let acceptance = Acceptance { header, receipt: receipt.clone(), key, reference: kept };
        self.journal.accept(&run.id, acceptance);
        self.counters.count(Counter::SnapshotAccepted);
        self.counters.metrics.one(Metric::SnapshotsAccepted, &[&run.label.project]);
        if let Some(older) = replaced {
            let reason = format!("step {} attempt {} took its place", at.step, at.attempt);
            self.skip(&run, older, Incident::SnapshotReplaced, reason);
        } else {
            inner.ready.push_back(run.id.clone());
        }
        self.call_engine();
        Ok(receipt)
    }
}

impl RunEntry {
    /// Puts a snapshot into the waiting place and makes it a reference; returns the one that waited.
    fn receive(
        &mut self,
        validated: &ValidatedRun,
        held: Arc<dyn ReceivedSnapshot>,
        check: Option<ModelCheck>,
        room: Room,
    ) -> Option<Waiting> {
        let state = &mut self.state;
        if held.header().initialization && validated.needs_init {
            state.init = Some(held.clone());
        }
        let references = state.references();
        state.previous = validated.needs_previous.then(|| held.clone());
        (state.begun, state.reopened) = (true, false);
        let since = Instant::now();
        state.received = Some(since);
        state.waiting.replace(Waiting { held, references, check, since, _room: room.0 })
    }
}

/// Which measures will run on a snapshot that is received now, and why the others will not.
fn outlook(
    validated: &ValidatedRun,
    state: &RunStatus,
    initialization: bool,
) -> (Vec<String>, Vec<Unmeasured>) {
    let mut will = Vec::new();
    let mut will_not = Vec::new();
    let left_out = &validated.footprint.left_out;
    for (place, (measure, needs)) in validated.measures.iter().zip(&validated.needs).enumerate() {
        let reason = if let Some(left_out) = left_out.iter().find(|left_out| left_out.measure == place) {
            Some(left_out.reason.as_str())
        } else if needs.init && !initialization && state.init.is_none() {
            Some("no initialization has been received")
        } else if needs.previous && state.previous.is_none() {
            Some(match (state.begun, state.reopened) {
                (false, _) => "it is the first snapshot of the run",
                (true, false) => "it is the first snapshot since the daemon was restarted",
                (true, true) => "it is the first snapshot since the run was opened again",
            })
        } else {
            None
        };
        match reason {
            None => will.push(measure.name.clone()),
            Some(reason) => {
                will_not.push(Unmeasured { measure: measure.name.clone(), reason: reason.into() });
            }
        }
    }
    (will, will_not)
}

fn repeated(state: &RunStatus, announcement: &Announcement, print: &str) -> Result<Option<Receipt>, Fault> {
    announcement.key.as_deref().map_or(Ok(None), |key| state.receipts.find(key, print))
}

/// Whether a check is about rows that the run has.
fn check_rows(run: &RegisteredRun, validated: &ValidatedRun, check: &ModelCheck) -> Result<(), Fault> {
    let Some(place) = run.groups.iter().position(|name| *name == check.group) else {
        let found = quoted(&check.group);
        let expected = run.groups.join(", ");
        let description = format!("found {found}, expected one of the run's groups: {expected}");
        return Err(Fault::invalid("model_check.group", description));
    };
    let examples = validated.examples.get(place).copied().unwrap_or(0);
    match check.rows.iter().find(|row| **row as usize >= examples) {
        None => Ok(()),
        Some(row) => {
            let description = format!("found row {row}, but {} has {examples} examples", check.group);
            Err(Fault::invalid("model_check.rows", description))
        }
    }
}

fn check_open(state: &RunStatus, announcement: &Announcement) -> Result<SnapshotRef, Fault> {
    match state.closed {
        true => Err(closed()),
        false => state.attempts.choose(announcement.step, announcement.attempt),
    }
}
