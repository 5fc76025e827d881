//! A policy of one function, for tests.
//!
//! Owns: its decisions. May not touch: who asks for them.

use clino_domain::*;
use std::fmt::{self, Debug};
use std::sync::Arc;

/// What to do at the points of the loss.
type Advise = Box<dyn Fn(&[SeriesPoint]) -> Advice + Send + Sync>;

struct FakePolicy {
    policy: Policy,
    subjects: Vec<Subject>,
    advise: Advise,
}

/// The context of a run with such a policy, which is enforced.
pub fn context(advise: impl Fn(&[SeriesPoint]) -> Advice + Send + Sync + 'static) -> DecisionContext {
    let subjects = vec!["loss".parse().expect("a subject")];
    let evaluator = FakePolicy { policy: Policy::default(), subjects, advise: Box::new(advise) };
    DecisionContext { evaluator: Some(Arc::new(evaluator)), ..DecisionContext::default() }
}

impl Debug for FakePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakePolicy")
    }
}

impl PolicyEvaluator for FakePolicy {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    fn across(&self) -> bool {
        false
    }

    fn consider(&self, evidence: &Evidence<'_>) -> (Decision, Vec<Want>) {
        let points = evidence.own[0].points();
        let advice = (self.advise)(points);
        let stop = advice == Advice::Stop;
        let last = points.last().map(|point| point.at);
        let decision = Decision {
            id: format!("at {last:?}"),
            run: evidence.run.clone(),
            advice,
            reason: if stop { Reason::ThresholdCrossed } else { Reason::WarmingUp },
            rule: String::new(),
            sentence: "it is too much".into(),
            compared: vec![],
            evaluated: last,
            best: None,
            next_check_step: None,
            peers: vec![],
            peer_count: 0,
            mode: Mode::Enforce,
            latched: stop,
            overridden: evidence.overridden.cloned(),
            history_digest: String::new(),
            policy_digest: String::new(),
        };
        (decision, vec![])
    }
}
