//! Policies and decisions.
//!
//! Owns: nothing beside the conversion. May not touch: rules.

use super::runs::{parameter_info_to_pb, parameters_from_pb};
use super::{Coded, Complaints, at_from_pb, at_to_pb, value_to_pb};
use crate::pb;
use clino_domain::subject::MAX_SUBJECT;
use clino_domain::{Advice, Decision, Fault, Mode, Overridden, Policy, Reason, RuleInfo, RuleRequest, RunId};

/// That the text of a subject is not too long to be kept.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming `on`.
pub(super) fn check_subject(text: &str) -> Result<(), Fault> {
    match text.len() {
        0..=MAX_SUBJECT => Ok(()),
        found => Err(Fault::invalid("on", format!("found {found} bytes, expected at most {MAX_SUBJECT}"))),
    }
}

/// A policy.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every wrong field, under `policy.`.
pub fn policy_from_pb(policy: pb::Policy) -> Result<Policy, Fault> {
    let mut complaints = Complaints::default();
    let mode = complaints.keep("policy.", Mode::or_default("mode", policy.mode));
    let mut rules = Vec::with_capacity(policy.rules.len());
    for (i, rule) in policy.rules.into_iter().enumerate() {
        let parameters = parameters_from_pb(rule.parameters);
        let prefix = format!("policy.rules[{i}].");
        complaints.keep(&prefix, check_subject(&rule.on));
        let parameters = complaints.keep(&prefix, parameters);
        rules.push(RuleRequest { name: rule.name, on: rule.on, parameters: parameters.unwrap_or_default() });
    }
    complaints.settle()?;
    Ok(Policy { mode: mode.unwrap_or_default(), rules })
}

/// Converts a policy to its message.
pub fn policy_to_pb(policy: &Policy) -> pb::Policy {
    let rule = |rule: &RuleRequest| pb::Rule {
        name: rule.name.clone(),
        on: rule.on.clone(),
        parameters: rule.parameters.iter().map(|(name, value)| (name.clone(), value_to_pb(value))).collect(),
    };
    pb::Policy { mode: policy.mode.to_pb(), rules: policy.rules.iter().map(rule).collect() }
}

/// Converts a decision to its message.
pub fn decision_to_pb(decision: &Decision) -> pb::Decision {
    let compared = |(name, value): &(String, f64)| pb::Compared { name: name.clone(), value: *value };
    let overridden = |overridden: &Overridden| pb::Overridden {
        at: overridden.at.map(at_to_pb),
        reason: overridden.reason.clone(),
        by: overridden.by.clone(),
    };
    pb::Decision {
        decision_id: decision.id.clone(),
        run_id: decision.run.0.clone(),
        advice: decision.advice.to_pb(),
        reason: decision.reason.to_pb(),
        rule: decision.rule.clone(),
        sentence: decision.sentence.clone(),
        compared: decision.compared.iter().map(compared).collect(),
        evaluated: decision.evaluated.map(at_to_pb),
        best: decision.best.map(|(at, _)| at_to_pb(at)),
        best_value: decision.best.map(|(_, value)| value),
        next_check_step: decision.next_check_step,
        peers: decision.peers.iter().map(|run| run.0.clone()).collect(),
        peer_count: decision.peer_count,
        mode: decision.mode.to_pb(),
        latched: decision.latched,
        overridden: decision.overridden.as_ref().map(overridden),
        history_digest: decision.history_digest.clone(),
        policy_digest: decision.policy_digest.clone(),
    }
}

/// A decision.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn decision_from_pb(decision: pb::Decision) -> Result<Decision, Fault> {
    let at = |at: Option<pb::SnapshotRef>| at.map(|at| at_from_pb(Some(at))).transpose();
    let overridden = |overridden: pb::Overridden| {
        let pb::Overridden { at: place, reason, by } = overridden;
        Ok::<_, Fault>(Overridden { at: at(place)?, reason, by })
    };
    Ok(Decision {
        id: decision.decision_id,
        run: RunId(decision.run_id),
        advice: Advice::from_pb("advice", decision.advice)?,
        reason: Reason::from_pb("reason", decision.reason)?,
        rule: decision.rule,
        sentence: decision.sentence,
        compared: decision.compared.into_iter().map(|line| (line.name, line.value)).collect(),
        evaluated: at(decision.evaluated)?,
        best: at(decision.best)?.zip(decision.best_value),
        next_check_step: decision.next_check_step,
        peers: decision.peers.into_iter().map(RunId).collect(),
        peer_count: decision.peer_count,
        mode: Mode::from_pb("mode", decision.mode)?,
        latched: decision.latched,
        overridden: decision.overridden.map(overridden).transpose()?,
        history_digest: decision.history_digest,
        policy_digest: decision.policy_digest,
    })
}

/// A line of the list of rules. There is no way back: the list is the daemon's.
pub fn rule_info_to_pb(info: &RuleInfo) -> pb::RuleInfo {
    pb::RuleInfo {
        name: info.name.to_owned(),
        summary: info.summary.to_owned(),
        source: info.source.to_owned(),
        across: info.across,
        parameters: info.parameters.iter().map(parameter_info_to_pb).collect(),
    }
}
