//! A policy that passed, and how its rules become one decision.
//!
//! Owns: who decides, digests, what is told of a decision. May not touch: how a rule decides.

use super::digest::{self, Own};
use super::parameters::RuleParameters;
use super::rule::Rule;
use super::view::{Other, RuleView, Track, Verdict, Wants};
use clino_domain::{
    Advice, Decision, Direction, Evidence, Mode, Policy, PolicyEvaluator, Reason, RuleRequest, RunId,
    SeriesPoint, SnapshotRef, Subject, Want,
};
use std::fmt;

/// Most runs that a decision names.
const MOST_PEERS: usize = 64;

/// A rule with what it is on.
pub struct BoundRule {
    /// The rule.
    pub rule: &'static dyn Rule,
    /// Subject of the rule.
    pub on: Subject,
    /// Another subject that it takes.
    pub against: Option<Subject>,
    /// Parameters, checked and with defaults filled in.
    pub parameters: RuleParameters,
}

impl BoundRule {
    fn name(&self) -> &'static str {
        self.rule.description().name
    }
}

/// A policy that was checked and can be evaluated.
pub struct CompiledPolicy {
    policy: Policy,
    policy_digest: String,
    subjects: Vec<Subject>,
    /// With the places of their subjects.
    rules: Vec<(BoundRule, usize, Option<usize>)>,
}

impl fmt::Debug for CompiledPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompiledPolicy").field(&self.policy).finish()
    }
}

impl CompiledPolicy {
    /// Of rules that were checked.
    pub fn new(mode: Mode, asked: Vec<BoundRule>) -> Self {
        let mut subjects: Vec<Subject> = Vec::new();
        let mut place = |subject: &Subject| {
            subjects.iter().position(|known| known == subject).unwrap_or_else(|| {
                subjects.push(subject.clone());
                subjects.len() - 1
            })
        };
        let mut rules = Vec::with_capacity(asked.len());
        for asked in asked {
            let on = place(&asked.on);
            let against = asked.against.as_ref().map(&mut place);
            rules.push((asked, on, against));
        }
        let request = |(asked, ..): &(BoundRule, usize, Option<usize>)| RuleRequest {
            name: asked.name().to_owned(),
            on: asked.on.to_string(),
            parameters: asked.parameters.all().clone(),
        };
        let policy = Policy { mode, rules: rules.iter().map(request).collect() };
        let policy_digest = digest::of_policy(&policy);
        Self { policy, policy_digest, subjects, rules }
    }
}

/// What all rules look at.
struct RuleInputs<'a> {
    evidence: &'a Evidence<'a>,
    /// Peers in the order of their ids.
    order: Vec<usize>,
    behind: Option<u64>,
    tracks: Vec<Track<'a>>,
    checks: Vec<Vec<SeriesPoint>>,
    wants: Wants,
}

impl<'a> RuleInputs<'a> {
    fn new(evidence: &'a Evidence<'a>, subjects: usize) -> Self {
        let behind = evidence.overridden.and_then(|overridden| overridden.at).map(|at| at.step);
        let track = |place: usize| Track::new(evidence.own.get(place).copied(), behind, evidence.as_of);
        let tracks: Vec<_> = (0..subjects).map(track).collect();
        let checks = tracks.iter().map(Track::counted).collect();
        let mut order: Vec<usize> = (0..evidence.peers.len()).collect();
        order.sort_by_key(|place| evidence.peers[*place].run);
        Self { evidence, order, behind, tracks, checks, wants: Wants::default() }
    }

    fn view(&'a self, on: usize, against: Option<usize>, across: bool) -> RuleView<'a> {
        let Evidence { run, peers, as_of, .. } = *self.evidence;
        let others = self.order.iter().filter(|_| across);
        RuleView {
            run,
            own: self.tracks[on],
            checks: &self.checks[on],
            against: against.map(|place| self.tracks[place]),
            peers: others.map(|place| Other::new(*place, &peers[*place], on, as_of, &self.wants)).collect(),
            behind: self.behind,
        }
    }

    /// The newest snapshot, with a value or without.
    fn evaluated(&self) -> Option<SnapshotRef> {
        self.tracks.iter().filter_map(|track| track.points.last()).map(|point| point.at).max()
    }

    fn digest(&self, subjects: &[Subject], verdicts: &[(usize, Verdict)]) -> String {
        let own = |(place, track): (usize, &Track<'a>)| Own {
            subject: subjects[place].to_string(),
            points: track.points,
            buried: [Direction::Minimize, Direction::Maximize]
                .map(|end| track.buried(end))
                .into_iter()
                .flatten()
                .collect(),
        };
        let own: Vec<_> = self.tracks.iter().enumerate().map(own).collect();
        digest::of_history(self.evidence, &own, verdicts.iter().map(|(_, verdict)| verdict))
    }

    /// Runs by their places, without repetition, in the order of their ids.
    fn names(&self, mut places: Vec<usize>) -> Vec<RunId> {
        places.sort_unstable();
        places.dedup();
        let mut names: Vec<RunId> =
            places.iter().map(|place| self.evidence.peers[*place].run.clone()).collect();
        names.sort();
        names
    }
}

impl PolicyEvaluator for CompiledPolicy {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    fn across(&self) -> bool {
        self.rules.iter().any(|(asked, ..)| asked.rule.description().across)
    }

    fn consider(&self, evidence: &Evidence<'_>) -> (Decision, Vec<Want>) {
        let inputs = RuleInputs::new(evidence, self.subjects.len());
        let mut verdicts: Vec<(usize, Verdict)> = Vec::new();
        for (i, (asked, on, against)) in self.rules.iter().enumerate() {
            let view = inputs.view(*on, *against, asked.rule.description().across);
            let verdict = asked.rule.evaluate(&view, &asked.parameters);
            let stop = verdict.advice == Advice::Stop;
            verdicts.push((i, verdict));
            if stop {
                break;
            }
        }
        let decision = self.conclude(&inputs, &verdicts);
        (decision, inputs.wants.into_inner().into_iter().collect())
    }
}

impl CompiledPolicy {
    fn conclude(&self, inputs: &RuleInputs<'_>, verdicts: &[(usize, Verdict)]) -> Decision {
        let of = |advice: Advice| verdicts.iter().find(|(_, verdict)| verdict.advice == advice);
        let stop = of(Advice::Stop);
        // Without a STOP the first rule that had enough data speaks, else the first.
        let (speaker, verdict) = match stop.or_else(|| of(Advice::Continue)).or(verdicts.first()) {
            Some((place, verdict)) => (*place, verdict.clone()),
            None => (0, Verdict::wait("no rules")),
        };
        let history_digest = inputs.digest(&self.subjects, verdicts);
        let deciding = if stop.is_some() { speaker } else { 0 };
        let (asked, on, _) = &self.rules[deciding];
        let best = inputs.tracks[*on].best(asked.parameters.direction());
        let compared_with = match stop {
            Some((_, verdict)) => verdict.peers.clone(),
            None => verdicts.iter().flat_map(|(_, verdict)| verdict.peers.clone()).collect(),
        };
        let mut peers = inputs.names(compared_with);
        let peer_count = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        peers.truncate(MOST_PEERS);
        let finite = verdict.compared.iter().filter(|(_, number)| number.is_finite());
        Decision {
            id: digest::of_both(&history_digest, &self.policy_digest),
            run: inputs.evidence.run.clone(),
            advice: verdict.advice,
            reason: verdict.reason,
            rule: if stop.is_some() { self.called(speaker) } else { String::new() },
            sentence: self.sentence(speaker, &verdict),
            compared: finite.map(|(name, number)| ((*name).to_owned(), *number)).collect(),
            evaluated: inputs.evaluated(),
            best: best.map(|point| (point.at, point.value)),
            next_check_step: if stop.is_some() { None } else { next(verdicts) },
            peers,
            peer_count,
            mode: self.policy.mode,
            latched: stop.is_some(),
            overridden: inputs.evidence.overridden.cloned(),
            history_digest,
            policy_digest: self.policy_digest.clone(),
        }
    }

    /// `NAME on SUBJECT`.
    fn called(&self, rule: usize) -> String {
        let (asked, ..) = &self.rules[rule];
        format!("{} on {}", asked.name(), asked.on)
    }

    fn sentence(&self, speaker: usize, verdict: &Verdict) -> String {
        let others = self.rules.len() - 1;
        let said = format!("{}: {}", self.called(speaker), verdict.sentence);
        match (verdict.reason, others) {
            (Reason::NoRuleFired, 1..) => format!("None of {} rules says stop. {said}", others + 1),
            (Reason::WarmingUp, 1..) => format!("Each of {} rules waits. {said}", others + 1),
            _ => said,
        }
    }
}

/// The first step at which any rule may say something else; `None` where that is not known of one.
fn next(verdicts: &[(usize, Verdict)]) -> Option<u64> {
    let steps: Option<Vec<u64>> = verdicts.iter().map(|(_, verdict)| verdict.next).collect();
    steps?.into_iter().min()
}
