//! Digests of what was looked at and of what was asked.
//!
//! Owns: the bytes that are hashed. May not touch: what is looked at.

use super::view::{Used, Verdict};
use clino_domain::id::hex;
use clino_domain::{Evidence, Policy, SeriesPoint, SnapshotRef};
use sha2::{Digest as _, Sha256};

/// SHA-256, fed with numbers and texts that cannot run into each other.
#[derive(Debug, Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    /// All that is not a number is one.
    fn real(&mut self, x: f64) {
        self.number(if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() });
    }

    fn at(&mut self, at: Option<SnapshotRef>) {
        let SnapshotRef { step, attempt } = at.unwrap_or(SnapshotRef { step: u64::MAX, attempt: u32::MAX });
        self.number(step);
        self.number(u64::from(attempt));
    }

    fn points(&mut self, points: &[SeriesPoint]) {
        self.number(points.len() as u64);
        // One long write for many points: hashing is most of what a decision costs.
        let mut bytes = Vec::with_capacity(points.len() * 29);
        for point in points {
            let value = if point.value.is_nan() { f64::NAN } else { point.value };
            bytes.extend_from_slice(&point.at.step.to_le_bytes());
            bytes.extend_from_slice(&point.at.attempt.to_le_bytes());
            bytes.extend_from_slice(&value.to_bits().to_le_bytes());
            bytes.extend_from_slice(&point.stderr.map_or(u64::MAX, f64::to_bits).to_le_bytes());
            bytes.push(u8::from(point.non_finite));
        }
        self.0.update(&bytes);
    }

    fn others(&mut self, evidence: &Evidence<'_>, Verdict { used, facts, .. }: &Verdict) {
        self.number(used.len() as u64);
        for Used { place, at, value } in used {
            self.text(evidence.peers.get(*place).map_or("", |peer| &peer.run.0));
            self.at(Some(*at));
            self.real(*value);
        }
        self.number(facts.len() as u64);
        for (name, number) in facts {
            self.text(name);
            self.number(*number);
        }
    }

    fn hex(self) -> String {
        hex(self.0.finalize())
    }
}

/// Of a run's own series, as far as they are looked at.
pub struct Own<'a> {
    /// Name of the subject.
    pub subject: String,
    /// Points of the series.
    pub points: &'a [SeriesPoint],
    /// The least and the greatest of those that are held no more.
    pub buried: Vec<SeriesPoint>,
}

/// Of a history: the run, what was taken back, its own points, and what verdicts rest on of other runs.
pub fn of_history<'a>(
    evidence: &Evidence<'_>,
    own: &[Own<'_>],
    verdicts: impl IntoIterator<Item = &'a Verdict>,
) -> String {
    let mut digest = Digest::default();
    digest.text(&evidence.run.0);
    digest.number(u64::from(evidence.overridden.is_some()));
    if let Some(overridden) = evidence.overridden {
        digest.at(overridden.at);
        digest.text(&overridden.reason);
        digest.text(&overridden.by);
    }
    for Own { subject, points, buried } in own {
        digest.text(subject);
        digest.points(points);
        digest.points(buried);
    }
    for verdict in verdicts {
        digest.others(evidence, verdict);
    }
    digest.hex()
}

/// Of a policy with its defaults filled in.
pub fn of_policy(policy: &Policy) -> String {
    let mut digest = Digest::default();
    digest.text(&serde_json::to_string(policy).unwrap_or_default());
    digest.hex()
}

/// Digest of a history and a policy together.
pub fn of_both(history: &str, policy: &str) -> String {
    let mut digest = Digest::default();
    digest.text(history);
    digest.text(policy);
    digest.hex()
}
