//! Decisions: whether a run should go on, and why.
//!
//! Owns: policies as they are asked for, decisions as they are answered. May not touch: how a rule decides.

use super::{ParameterInfo, RunId, Series, SnapshotRef, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a STOP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is said, and nothing more.
    #[default]
    Advise,
    /// The run takes no more snapshots, and integrations end the training.
    Enforce,
}

/// A rule by name, on a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleRequest {
    /// Name in the list of rules.
    pub name: String,
    /// Text of a [`super::Subject`].
    pub on: String,
    /// By name; what is absent takes its default.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
}

/// When a run should stop: the first rule that says so, in this order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What a STOP means.
    #[serde(default)]
    pub mode: Mode,
    /// The rules; at least one.
    pub rules: Vec<RuleRequest>,
}

/// What a policy advises a trainer to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// The run should continue training.
    Continue,
    /// The run should stop training.
    Stop,
    /// Nothing can be said yet.
    NotEnoughData,
}

impl Advice {
    /// As it is written in JSON and on labels of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Stop => "stop",
            Self::NotEnoughData => "not_enough_data",
        }
    }
}

/// Why a policy advises what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No rule says stop.
    NoRuleFired,
    /// Every rule waits for more readings.
    WarmingUp,
    /// A value is above or below a fixed bound.
    ThresholdCrossed,
    /// No improvement for too many checks.
    PatienceExhausted,
    /// Far above the best.
    Diverged,
    /// No improvement that the errors of the readings could not explain.
    Plateau,
    /// Got worse while the others improved.
    TrendReversed,
    /// Something is not finite.
    NonFinite,
    /// Worse than the median of its peers.
    WorseThanMedian,
    /// Worse than a percentile of its peers.
    BelowPercentile,
    /// Not among those that go on to the next rung.
    NotPromoted,
    /// Worse than the best of its peers by a test.
    SignificantlyWorse,
}

/// A STOP that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// The snapshot that was measured last then; rules begin behind it. `None`: there was none.
    pub at: Option<SnapshotRef>,
    /// Reason for the override, as given.
    pub reason: String,
    /// Name of the client that overrode it.
    pub by: String,
}

/// An answer of a policy. It depends on nothing but the history and the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Lower-case hexadecimal, of both digests.
    pub id: String,
    /// The run that was decided.
    pub run: RunId,
    /// What the trainer should do.
    pub advice: Advice,
    /// Reason for the advice.
    pub reason: Reason,
    /// `NAME on SUBJECT` of the rule that decided; empty where none did.
    pub rule: String,
    /// The decision in one sentence, for people.
    pub sentence: String,
    /// The numbers that were compared, by name.
    pub compared: Vec<(String, f64)>,
    /// The newest snapshot that was looked at.
    pub evaluated: Option<SnapshotRef>,
    /// The snapshot to restore, and its value: the best of the deciding rule's subject, or of the first rule's.
    pub best: Option<(SnapshotRef, f64)>,
    /// The first step at which this may change; `None`: any.
    pub next_check_step: Option<u64>,
    /// Runs that were compared with, at most 64.
    pub peers: Vec<RunId>,
    /// How many there were.
    pub peer_count: u32,
    /// Mode of the policy.
    pub mode: Mode,
    /// Whether it stands until it is overridden: every STOP does.
    pub latched: bool,
    /// What was taken back last.
    pub overridden: Option<Overridden>,
    /// SHA-256 of the readings that the decision used, in lower-case hexadecimal.
    pub history_digest: String,
    /// SHA-256 of the policy, in lower-case hexadecimal.
    pub policy_digest: String,
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The run to decide.
    pub run: &'a RunId,
    /// Its series, one for each subject of the policy, in the policy's order of subjects.
    pub own: &'a [&'a Series],
    /// Other runs of its experiment, in the order of their ids; empty where no rule compares runs.
    pub peers: &'a [PeerRun<'a>],
    /// What was taken back last.
    pub overridden: Option<&'a Overridden>,
    /// Nothing behind this step is looked at.
    pub as_of: Option<u64>,
}

/// Points of a peer that were looked for and are held no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Its place in the evidence.
    pub peer: usize,
    /// Which of its series.
    pub subject: usize,
    /// From which step on.
    pub step: u64,
}

/// Another run that rules across runs look at.
#[derive(Debug, Clone, Copy)]
pub struct PeerRun<'a> {
    /// Id of the other run.
    pub run: &'a RunId,
    /// Its series, one for each subject of the policy that is asked.
    pub series: &'a [&'a Series],
    /// Whether it is over: closed, or stopped by its policy.
    pub over: bool,
    /// Whether its policy ended it: rules that compare with complete runs leave it out.
    pub stopped: bool,
}

/// A line of the list of rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleInfo {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Whose rule it is.
    pub source: &'static str,
    /// Whether it compares with other runs of the experiment.
    pub across: bool,
    /// Each with its default.
    pub parameters: Vec<ParameterInfo>,
}
