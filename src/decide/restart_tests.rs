//! A training that starts again from a checkpoint stops where it would have stopped without that.
#![allow(clippy::unwrap_used)]

use super::tests::{ask, compile, on, point, rule};
use clino_domain::{Advice, PolicyEvaluator, RuleRequest, Series, SeriesPoint, SnapshotRef};
use proptest::prelude::*;

/// Rules on a run's own series, with random parameters.
fn rules() -> impl Strategy<Value = RuleRequest> {
    let patience = |(patience, delta): (u32, u32)| {
        rule("patience", &format!("patience={patience} min_delta={}", f64::from(delta) / 4.0))
    };
    prop_oneof![
        4 => (1u32..6, 0u32..3).prop_map(patience),
        2 => (1u32..6).prop_map(|n| rule("patience", &format!("patience={n} counting=optuna"))),
        1 => (3u32..7).prop_map(|n| rule("plateau", &format!("window={n}"))),
        1 => (1u32..8).prop_map(|n| rule("divergence", &format!("factor={}", f64::from(n) / 4.0))),
        1 => (4u32..9).prop_map(|n| rule("threshold", &format!("upper={}", f64::from(n) / 2.0))),
        2 => (3u32..7).prop_map(|n| on("trend_reversal", "loss@de", &format!("window={n} confidence=0.7"))),
    ]
}

/// Values of the snapshots of a training, with ties.
fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec((0i32..10).prop_map(|n| f64::from(n) / 2.0), 1..40)
}

/// Where a training breaks off, how many snapshots it goes back, and whether the daemon reads its series back then.
fn breaks() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    proptest::collection::vec((1usize..40, 0usize..12, any::<bool>()), 1..4)
}

/// Snapshots in the order in which they are measured: at each break some are measured again, as further attempts.
fn measured(values: &[f64], breaks: &[(usize, usize, bool)]) -> Vec<(SeriesPoint, bool)> {
    let mut attempts = vec![0; values.len()];
    let mut order = Vec::new();
    let mut pending = breaks.to_vec();
    let mut place = 0;
    while place < values.len() {
        attempts[place] += 1;
        let step = 10 * (place as u64 + 1);
        let at = SnapshotRef { step, attempt: attempts[place] };
        place += 1;
        let due = pending.iter().position(|(at, ..)| *at == place).map(|index| pending.swap_remove(index));
        let value = values[place - 1];
        order.push((SeriesPoint { at, ..point(step, value) }, due.is_some_and(|(.., read_back)| read_back)));
        place -= due.map_or(0, |(_, back, _)| back.min(place));
    }
    order
}

/// What another subject was then: better where this one is worse, but not always as much.
fn opposed(point: &SeriesPoint) -> SeriesPoint {
    SeriesPoint { value: 5.0 - point.value + (point.at.step / 10 % 3) as f64 / 4.0, ..*point }
}

/// The step at which a policy says STOP.
fn stop(evaluator: &dyn PolicyEvaluator, order: &[(SeriesPoint, bool)]) -> Option<u64> {
    let mut seen = Vec::new();
    let mut own = Series::default();
    let mut against = Series::default();
    for (point, read_back) in order {
        seen.push(*point);
        own.push(*point);
        against.push(opposed(point));
        if *read_back {
            own = Series::of(seen.iter().copied());
            against = Series::of(seen.iter().map(opposed));
        }
        let series = [&own, &against];
        if ask(evaluator, &series[..evaluator.subjects().len()], &[], None).advice == Advice::Stop {
            return Some(point.at.step);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_training_that_starts_again_stops_where_it_would_have(
        rule in rules(),
        values in values(),
        breaks in breaks(),
    ) {
        let evaluator = compile(vec![rule]);
        let whole = measured(&values, &[]);
        let broken = measured(&values, &breaks);
        prop_assert!(broken.len() >= whole.len());
        prop_assert_eq!(stop(&*evaluator, &broken), stop(&*evaluator, &whole));
    }
}

#[test]
fn a_reversal_is_found_in_what_was_measured_again() {
    let evaluator = compile(vec![on("trend_reversal", "loss@de", "window=4 confidence=0.7")]);
    let order = measured(&[1.0, 2.0, 3.0, 4.0], &[(3, 2, true)]);
    assert_eq!(stop(&*evaluator, &order), Some(40), "so that the rule stops some of the trainings above");
}

#[test]
fn a_break_measures_steps_again_as_further_attempts() {
    let order = measured(&[1.0, 2.0, 3.0], &[(2, 2, true)]);
    let steps: Vec<_> = order.iter().map(|(point, _)| (point.at.step, point.at.attempt)).collect();
    assert_eq!(steps, [(10, 1), (20, 1), (10, 2), (20, 2), (30, 1)]);
    assert_eq!(order.iter().filter(|(_, read_back)| *read_back).count(), 1);
}
