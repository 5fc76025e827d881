//! Checks a policy against rules and what a run measures.
//!
//! Owns: what is wrong with a policy. May not touch: how it decides.

use super::compiled_policy::{BoundRule, CompiledPolicy};
use super::parameters::RuleParameters;
use super::rule::{self, RULES, Rule};
use clino_domain::reading::POOLED;
use clino_domain::subject::EVERY_GROUP;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{
    Fault, FaultKind, MeasureInfo, MeasureRequest, Policy, RuleRequest, Subject, Term, Value, Violation,
};

/// Most rules of a policy.
const MOST_RULES: usize = 64;
/// Most complaints of an answer: they travel in a header of bounded size.
const MOST_VIOLATIONS: usize = 32;

/// What a run measures.
#[derive(Debug, Clone, Copy)]
pub struct RunMeasures<'a> {
    /// Parts of measures and whether they are taken by group; of a measure that is not there nothing is checked but its
    /// name.
    pub catalogue: &'a [MeasureInfo],
    /// What is measured.
    pub measures: &'a [MeasureRequest],
    /// Names of the probe groups.
    pub groups: &'a [String],
}

/// Checks a policy and fills in what is absent.
///
/// # Errors
/// [`FaultKind::Invalid`] with a violation for every wrong field, under `policy.`.
pub fn compile(policy: &Policy, measured: RunMeasures<'_>) -> Result<CompiledPolicy, Fault> {
    let found = policy.rules.len();
    if !(1..=MOST_RULES).contains(&found) {
        let description = format!("found {found}, expected 1 to {MOST_RULES}");
        return Err(Fault::invalid("policy.rules", description));
    }
    let mut violations = Vec::new();
    let mut asked = Vec::new();
    for (i, request) in policy.rules.iter().enumerate() {
        match one(request, measured) {
            Ok(found) => asked.push(found),
            Err(wrong) => violations.extend(wrong.into_iter().map(|violation| Violation {
                field: format!("policy.rules[{i}].{}", violation.field),
                ..violation
            })),
        }
    }
    if !violations.is_empty() {
        violations.truncate(MOST_VIOLATIONS);
        return Err(Fault::of(FaultKind::Invalid, violations));
    }
    Ok(CompiledPolicy::new(policy.mode, asked))
}

fn one(request: &RuleRequest, measured: RunMeasures<'_>) -> Result<BoundRule, Vec<Violation>> {
    let mut violations = Vec::new();
    let wrong = |field: &str, description: String| Violation { field: field.into(), description };
    let subject: Option<Subject> = match request.on.parse() {
        Ok(subject) => {
            violations.extend(unmeasured(&subject, measured).map(|text| wrong("on", text)));
            Some(subject)
        }
        Err(description) => {
            violations.push(wrong("on", description));
            None
        }
    };
    let Some(rule) = rule::find(&request.name) else {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.description().name).collect();
        let near = suggestion(&request.name, known.iter().copied());
        let description =
            format!("found {}{near}, expected one of {}", quoted(&request.name), known.join(", "));
        violations.insert(0, wrong("name", description));
        return Err(violations);
    };
    let parameters = match RuleParameters::new(rule.description().parameters, &request.parameters) {
        Ok(parameters) => parameters,
        Err(more) => {
            violations.extend(more);
            return Err(violations);
        }
    };
    violations.extend(rule.check(&parameters));
    let asked = subject.and_then(|on| finish(rule, on, parameters, measured, &mut violations));
    asked.filter(|_| violations.is_empty()).ok_or(violations)
}

/// Takes in the other subject of a rule that has one.
fn finish(
    rule: &'static dyn Rule,
    on: Subject,
    mut parameters: RuleParameters,
    measured: RunMeasures<'_>,
    violations: &mut Vec<Violation>,
) -> Option<BoundRule> {
    let against = match rule.against(&on, measured.groups, &parameters) {
        Ok(against) => against,
        Err(violation) => {
            violations.push(violation);
            return None;
        }
    };
    let against = against.map(|(name, subject)| {
        let field = format!("parameters.{name}");
        let found = unmeasured(&subject, measured);
        violations.extend(found.map(|description| Violation { field: field.clone(), description }));
        parameters.set(name, Value::Text(subject.to_string()));
        subject
    });
    Some(BoundRule { rule, on, against, parameters })
}

/// Why terms of a subject are never measured in such a run.
fn unmeasured<'a>(subject: &'a Subject, measured: RunMeasures<'a>) -> impl Iterator<Item = String> + 'a {
    subject.terms.iter().filter_map(move |term| of_term(term, measured))
}

fn of_term(term: &Term, measured: RunMeasures<'_>) -> Option<String> {
    let RunMeasures { catalogue, measures, groups } = measured;
    let name = quoted(&term.measure);
    match measures.iter().filter(|measure| measure.name == term.measure).count() {
        0 => {
            let mut known: Vec<&str> = measures.iter().map(|measure| measure.name.as_str()).collect();
            known.dedup();
            let near = suggestion(&term.measure, known.iter().copied());
            return Some(format!("found {name}{near}, expected a measure of this run: {}", known.join(", ")));
        }
        1 => {}
        n => {
            return Some(format!(
                "found {name}, which the run measures {n} times, expected one measured once"
            ));
        }
    }
    let info = catalogue.iter().find(|info| info.name == term.measure);
    if let (Some(part), Some(info)) = (&term.part, info)
        && !info.parts.iter().any(|(known, _)| known == part)
    {
        let known: Vec<&str> = info.parts.iter().map(|(name, _)| *name).collect();
        let near = suggestion(part, known.iter().copied());
        let known = if known.is_empty() { "no part".into() } else { known.join(", ") };
        return Some(format!("found part {}{near} of {name}, expected {known}", quoted(part)));
    }
    let group = term.group.as_deref()?;
    if info.is_some_and(|info| !info.needs.probe) {
        return Some(format!(
            "found group {} of {name}, expected no group: this measure needs no probe",
            quoted(group)
        ));
    }
    let known = [POOLED, EVERY_GROUP].contains(&group) || groups.iter().any(|known| known == group);
    (!known).then(|| {
        let known: Vec<&str> = groups.iter().map(String::as_str).collect();
        let near = suggestion(group, known.iter().copied().chain([POOLED]));
        format!("found group {}{near}, expected one of {}, {POOLED}", quoted(group), known.join(", "))
    })
}
