//! What holds of every rule, on histories that nobody thought of.
#![allow(clippy::unwrap_used)]

use super::tests::{NAN, compile, on, point, rule};
use clino_domain::{
    Advice, Decision, Evidence, Overridden, PeerRun, PolicyEvaluator, RuleRequest, RunId, Series,
    SeriesPoint, SnapshotRef,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Every rule, eager to stop.
fn all() -> Vec<RuleRequest> {
    vec![
        rule("threshold", "upper=1.5"),
        rule("patience", "patience=2"),
        rule("patience", "patience=1 counting=optuna"),
        rule("plateau", "window=4"),
        rule("divergence", "factor=0.5"),
        on("trend_reversal", "loss@de", "window=3 confidence=0.6"),
        rule("median", "n_startup_trials=1"),
        rule("percentile", "n_startup_trials=1"),
        rule("successive_halving", "min_resource=1 reduction_factor=2"),
        rule("hyperband", "max_resource=40 reduction_factor=2"),
        rule("wilcoxon", "p_threshold=0.4"),
    ]
}

/// Steps, values on a grid with ties, missing and not finite ones.
fn points() -> impl Strategy<Value = Vec<SeriesPoint>> {
    let value = prop_oneof![
        6 => (0i32..8).prop_map(|n| f64::from(n) / 2.0),
        1 => Just(NAN),
        1 => Just(f64::INFINITY),
    ];
    let stderr = prop_oneof![Just(None), (1u32..5).prop_map(|n| Some(f64::from(n) / 10.0))];
    let one = (1u64..30, value, stderr).prop_map(|(step, value, stderr)| {
        let non_finite = !value.is_finite() && step % 2 == 0;
        SeriesPoint { stderr, non_finite, ..point(step, value) }
    });
    proptest::collection::vec(one, 0..25).prop_map(|mut points| {
        points.sort_by_key(|point| point.at.step);
        points.dedup_by_key(|point| point.at.step);
        points
    })
}

#[derive(Debug, Clone)]
struct PeerHistory {
    own: Vec<SeriesPoint>,
    peers: Vec<(Vec<SeriesPoint>, bool, bool)>,
    overridden: Option<u64>,
    as_of: Option<u64>,
}

fn histories() -> impl Strategy<Value = PeerHistory> {
    let peers = proptest::collection::vec((points(), any::<bool>(), any::<bool>()), 0..6);
    let step = || proptest::option::weighted(0.2, 0u64..30);
    (points(), peers, step(), step()).prop_map(|(own, peers, overridden, as_of)| PeerHistory {
        own,
        peers,
        overridden,
        as_of,
    })
}

/// What may happen to other runs.
#[derive(Debug, Clone)]
enum PeerChange {
    Comes(Vec<SeriesPoint>, bool),
    Goes,
    Ends,
    IsStopped,
    Measures(u64, f64),
    AsOf(u64),
}

impl PeerChange {
    fn of(&self, mut history: PeerHistory) -> PeerHistory {
        let last = history.peers.last_mut();
        match (self, last) {
            (Self::Comes(points, over), _) => history.peers.push((points.clone(), *over, false)),
            (Self::AsOf(step), _) => history.as_of = Some(*step),
            (Self::Goes, _) => drop(history.peers.pop()),
            (Self::Ends, Some((_, over, _))) => *over = !*over,
            (Self::IsStopped, Some((_, _, stopped))) => *stopped = !*stopped,
            (Self::Measures(step, value), Some((points, ..))) => points.push(point(*step, *value)),
            (_, None) => {}
        }
        history
    }
}

fn changes() -> impl Strategy<Value = Vec<PeerChange>> {
    let one = prop_oneof![
        (points(), any::<bool>()).prop_map(|(points, over)| PeerChange::Comes(points, over)),
        Just(PeerChange::Goes),
        Just(PeerChange::Ends),
        Just(PeerChange::IsStopped),
        (30u64..400, 0u32..4).prop_map(|(step, value)| PeerChange::Measures(step, f64::from(value))),
        (0u64..40).prop_map(PeerChange::AsOf),
    ];
    proptest::collection::vec(one, 1..8)
}

fn ask(evaluator: &Arc<dyn PolicyEvaluator>, history: &PeerHistory, reversed: bool) -> Decision {
    let series = |points: &[SeriesPoint]| match reversed {
        true => Series::of(points.iter().rev().copied()),
        false => Series::of(points.iter().copied()),
    };
    let count = evaluator.subjects().len();
    let own = series(&history.own);
    let own = vec![&own; count];
    let others: Vec<_> = history.peers.iter().map(|(points, ..)| series(points)).collect();
    let others: Vec<_> = others.iter().map(|series| vec![series; count]).collect();
    let names: Vec<_> = (0..others.len()).map(|place| RunId(format!("{place}"))).collect();
    let mut peers: Vec<_> = (0..others.len())
        .map(|i| {
            let (_, over, stopped) = history.peers[i];
            PeerRun { run: &names[i], series: &others[i], over, stopped }
        })
        .collect();
    if reversed {
        peers.reverse();
    }
    let at = |step| Overridden {
        at: Some(SnapshotRef { step, attempt: 1 }),
        reason: String::new(),
        by: String::new(),
    };
    let overridden = history.overridden.map(at);
    let run = RunId("own".into());
    let overridden = overridden.as_ref();
    let as_of = history.as_of;
    evaluator.decide(&Evidence { run: &run, own: &own, peers: &peers, overridden, as_of })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_same_history_gives_the_same_bytes_in_any_order(history in histories()) {
        for request in all() {
            let evaluator = compile(vec![request]);
            let one = ask(&evaluator, &history, false);
            let other = ask(&evaluator, &history, true);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(serde_json::to_vec(&one).unwrap(), serde_json::to_vec(&other).unwrap());
        }
    }

    #[test]
    fn what_is_missing_is_as_if_it_were_not_there(history in histories()) {
        let without = PeerHistory { own: history.own.iter().copied().filter(SeriesPoint::counts).collect(), ..history.clone() };
        for request in all() {
            let evaluator = compile(vec![request]);
            let one = ask(&evaluator, &history, false);
            let other = ask(&evaluator, &without, false);
            prop_assert_eq!((one.advice, one.compared, one.best), (other.advice, other.compared, other.best));
        }
    }

    #[test]
    fn nothing_finite_stops_nothing(mut history in histories()) {
        history.own.iter_mut().for_each(|point| point.value = if point.at.step % 2 == 0 { NAN } else { f64::INFINITY });
        for request in all() {
            let decision = ask(&compile(vec![request]), &history, false);
            prop_assert_eq!(decision.advice, Advice::NotEnoughData);
            prop_assert_eq!(decision.best, None);
        }
    }

    #[test]
    fn what_is_told_can_be_sent(history in histories()) {
        let everything = compile(all());
        let decision = ask(&everything, &history, false);
        prop_assert!(decision.compared.iter().all(|(_, number)| number.is_finite()));
        prop_assert!(!decision.sentence.is_empty());
        prop_assert_eq!(decision.latched, decision.advice == Advice::Stop);
        prop_assert_eq!(decision.rule.is_empty(), decision.advice != Advice::Stop);
        // A rule alone says the same as the policy that stops by it.
        if let Some(request) = all().into_iter().find(|_| decision.advice == Advice::Stop) {
            let first = all().into_iter().map(|request| compile(vec![request])).map(|one| ask(&one, &history, false));
            let stops = first.filter(|found| found.advice == Advice::Stop).map(|found| found.rule).next();
            prop_assert_eq!(stops, Some(decision.rule.clone()), "{}", request.name);
        }
        if let (Some(next), Some(at)) = (decision.next_check_step, decision.evaluated) {
            prop_assert!(next > at.step || history.own.iter().any(|point| !point.counts()));
        }
    }

    #[test]
    fn the_same_digests_mean_the_same_bytes(history in histories(), changes in changes()) {
        // Other runs and an earlier end change what rules say: never without another digest.
        for request in all().into_iter().chain([rule("successive_halving", ""), rule("hyperband", "")]) {
            let evaluator = compile(vec![request]);
            let before = ask(&evaluator, &history, false);
            for change in &changes {
                let after = ask(&evaluator, &change.of(history.clone()), false);
                if before.id == after.id {
                    prop_assert_eq!(serde_json::to_vec(&before).unwrap(), serde_json::to_vec(&after).unwrap());
                }
            }
        }
    }

    #[test]
    fn digests_tell_histories_apart(history in histories(), value in 0i32..8) {
        let evaluator = compile(vec![rule("patience", "")]);
        let before = ask(&evaluator, &history, false);
        let mut other = history.clone();
        let Some(last) = other.own.last_mut() else { return Ok(()) };
        last.value = f64::from(value) + 0.25;
        let seen = |step: u64| history.as_of.is_none_or(|as_of| step <= as_of) && history.overridden.is_none_or(|at| at < step);
        let changed = seen(last.at.step);
        let after = ask(&evaluator, &other, false);
        prop_assert_eq!(before.history_digest != after.history_digest, changed);
        prop_assert_eq!(before.id != after.id, changed);
        prop_assert_eq!(before.policy_digest, after.policy_digest);
    }
}
