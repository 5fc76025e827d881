//! Rules on series whose answers are known in closed form, policies that are wrong, and what a decision tells.
#![allow(clippy::unwrap_used)]

use super::RuleCompiler;
use super::rule::RULES;
use clino_domain::series::PAGE;
use clino_domain::{
    Advice, Decision, Evidence, Fault, MeasureInfo, MeasureRequest, Mode, Needs, Overridden, PeerRun, Policy,
    PolicyCompiler, PolicyEvaluator, Reason, RuleRequest, RunId, Series, SeriesPoint, SnapshotRef, Value,
    Want,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const NAN: f64 = f64::NAN;

/// A parameter as it is written here.
pub fn value(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::Text(text.into()), Value::Number)
}

/// A rule on `loss` with `name=value` pairs.
pub fn rule(name: &str, parameters: &str) -> RuleRequest {
    on(name, "loss", parameters)
}

pub fn on(name: &str, subject: &str, parameters: &str) -> RuleRequest {
    let pairs = parameters.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let parameters = pairs.map(|(name, text)| (name.to_owned(), value(text))).collect();
    RuleRequest { name: name.into(), on: subject.into(), parameters }
}

fn measured(name: &str) -> MeasureRequest {
    MeasureRequest { name: name.into(), parameters: BTreeMap::new() }
}

fn try_admit(rules: Vec<RuleRequest>) -> Result<Arc<dyn PolicyEvaluator>, Fault> {
    let groups = ["de".to_owned(), "en".to_owned(), "fr".to_owned()];
    let measures =
        [measured("loss"), measured("norm"), measured("sam"), measured("twice"), measured("twice")];
    let info =
        |name: &'static str, parts: &'static [(&'static str, &'static str)], probe: bool| MeasureInfo {
            name,
            summary: "",
            formula: "",
            source: "",
            parts,
            cost: "",
            rescaling: false,
            invariance: "",
            needs: Needs { probe, ..Needs::NONE },
            parameters: Vec::new(),
            standard: false,
        };
    let catalogue = vec![info("loss", &[], true), info("norm", &[("norm", ""), ("max", "")], false)];
    RuleCompiler::new(catalogue).compile(&Policy { mode: Mode::Advise, rules }, &measures, &groups)
}

pub fn compile(rules: Vec<RuleRequest>) -> Arc<dyn PolicyEvaluator> {
    try_admit(rules).unwrap()
}

pub fn point(step: u64, value: f64) -> SeriesPoint {
    SeriesPoint { at: SnapshotRef { step, attempt: 1 }, value, stderr: None, non_finite: false }
}

/// Values at steps 1, 2, …
pub fn series(values: &[f64]) -> Series {
    Series::of(values.iter().zip(1..).map(|(value, step)| point(step, *value)))
}

pub fn decide(rules: Vec<RuleRequest>, own: &[&Series]) -> Decision {
    ask(&*compile(rules), own, &[], None)
}

/// Peers are called by their places, `0` to `9`, and complete.
pub fn ask(
    evaluator: &dyn PolicyEvaluator,
    own: &[&Series],
    peers: &[Series],
    as_of: Option<u64>,
) -> Decision {
    let names: Vec<_> = (0..peers.len()).map(|place| RunId(format!("{place:03}"))).collect();
    let series: Vec<_> = peers.iter().map(|series| vec![series; own.len()]).collect();
    let peer = |((run, series), _): ((_, _), _)| PeerRun { run, series, over: true, stopped: false };
    let peers: Vec<_> = names.iter().zip(series.iter().map(Vec::as_slice)).zip(0..).map(peer).collect();
    let run = RunId("own".into());
    evaluator.decide(&Evidence { run: &run, own, peers: &peers, overridden: None, as_of })
}

fn advice(rules: Vec<RuleRequest>, values: &[f64]) -> Advice {
    decide(rules, &[&series(values)]).advice
}

/// The first number of values after which a rule says stop.
fn stops_after(request: &RuleRequest, values: &[f64]) -> Option<usize> {
    (1..=values.len()).find(|n| advice(vec![request.clone()], &values[..*n]) == Advice::Stop)
}

fn across(request: RuleRequest, own: &[f64], peers: &[&[f64]]) -> Decision {
    let peers: Vec<_> = peers.iter().map(|values| series(values)).collect();
    ask(&*compile(vec![request]), &[&series(own)], &peers, None)
}

#[test]
fn threshold_is_crossed_strictly() {
    let bounds = rule("threshold", "lower=0 upper=1");
    assert_eq!(stops_after(&bounds, &[1.0, 0.0, 0.5, 1.1]), Some(4));
    assert_eq!(stops_after(&bounds, &[0.5, -0.1]), Some(2));
    let late = rule("threshold", "upper=1 start_step=3 interval_steps=2");
    // Checks at 3, 5, …
    assert_eq!(stops_after(&late, &[9.0, 9.0, 0.0, 9.0, 0.0, 9.0, 9.0]), Some(7));
    let found = decide(vec![bounds], &[&series(&[2.0])]);
    assert_eq!(found.reason, Reason::ThresholdCrossed);
    assert_eq!(found.compared, [("value".into(), 2.0), ("threshold".into(), 1.0)]);
    assert_eq!(found.rule, "threshold on loss");
}

#[test]
fn patience_counts_as_keras_does() {
    let three = rule("patience", "patience=3");
    assert_eq!(stops_after(&three, &[5.0, 4.0, 4.0, 4.5, 4.0, 1.0]), Some(5));
    assert_eq!(stops_after(&three, &[5.0, 4.0, 4.0, 4.5, 3.9, 3.9, 3.9]), None);
    // Missing values are no checks.
    assert_eq!(stops_after(&three, &[4.0, NAN, 4.0, NAN, NAN, 4.0, NAN, 4.0]), Some(8));
    // An improvement is more than min_delta, and counts from the best that was one.
    let delta = rule("patience", "patience=2 min_delta=0.5");
    assert_eq!(stops_after(&delta, &[4.0, 3.6, 3.4, 3.0, 2.9]), Some(5));
    let max = rule("patience", "patience=1 mode=max");
    assert_eq!(stops_after(&max, &[1.0, 2.0, 2.0]), Some(3));
    assert_eq!(stops_after(&rule("patience", "patience=0"), &[1.0, 1.0]), Some(2));
    assert_eq!(stops_after(&rule("patience", "patience=1 start_step=3"), &[1.0, 2.0, 3.0, 3.0]), Some(4));
}

#[test]
fn patience_counts_as_optuna_does() {
    // Worse than the best before by more than min_delta, over patience + 1 checks.
    let rule = |parameters: &str| rule("patience", &format!("counting=optuna {parameters}"));
    assert_eq!(stops_after(&rule("patience=1"), &[1.0, 1.0, 1.0, 1.1, 1.2]), Some(5));
    assert_eq!(stops_after(&rule("patience=1 min_delta=0.1"), &[1.0, 1.1, 1.1, 1.2, 1.3]), Some(5));
    assert_eq!(stops_after(&rule("patience=0"), &[1.0, 1.1]), Some(2));
    assert_eq!(stops_after(&rule("patience=0"), &[1.0, 1.0]), None);
}

#[test]
fn divergence_is_measured_from_the_best() {
    let twice = rule("divergence", "");
    assert_eq!(stops_after(&twice, &[9.0, 0.5, 1.0, 1.01]), Some(4));
    let absolute = rule("divergence", "factor=0 absolute=0.25 mode=max");
    assert_eq!(stops_after(&absolute, &[0.5, 0.9, 0.65, 0.64]), Some(4));
}

#[test]
fn plateau_is_what_errors_explain() {
    // A straight way down has no scatter: it improves for sure. A flat line never does.
    let five = rule("plateau", "window=5");
    assert_eq!(advice(vec![five.clone()], &[5.0, 4.0, 3.0, 2.0, 1.0]), Advice::Continue);
    assert_eq!(advice(vec![five.clone()], &[1.0; 5]), Advice::Stop);
    assert_eq!(advice(vec![five.clone()], &[5.0, 4.0, 3.0, 2.0]), Advice::NotEnoughData);
    assert_eq!(advice(vec![rule("plateau", "window=5 mode=max")], &[5.0, 4.0, 3.0, 2.0, 1.0]), Advice::Stop);
    assert_eq!(
        advice(vec![rule("plateau", "window=5 min_delta=4.5")], &[5.0, 4.0, 3.0, 2.0, 1.0]),
        Advice::Stop
    );
    // Three readings with error σ, rise -1 over the window: s = √2 σ, so the bound of 95 % is at σ = 1/(1.6449 √2) = 0.4299.
    let with = |sigma: f64| {
        let points = [1.0, 0.5, 0.0]
            .iter()
            .zip(1..)
            .map(|(v, step)| SeriesPoint { stderr: Some(sigma), ..point(step, *v) });
        decide(vec![rule("plateau", "window=3")], &[&Series::of(points)])
    };
    assert_eq!(with(0.429).advice, Advice::Continue);
    let stop = with(0.431);
    assert_eq!((stop.advice, stop.reason), (Advice::Stop, Reason::Plateau));
    let compared: BTreeMap<_, _> = stop.compared.into_iter().collect();
    assert!((compared["improvement"] - 1.0).abs() < 1e-12);
    assert!((compared["stderr"] - 0.431 * 2f64.sqrt()).abs() < 1e-12);
}

#[test]
fn a_reversal_needs_both_trends() {
    let evaluator = compile(vec![on("trend_reversal", "loss@de", "window=4")]);
    let subjects: Vec<_> = evaluator.subjects().iter().map(ToString::to_string).collect();
    assert_eq!(subjects, ["loss@de", "mean(loss@en, loss@fr)"]);
    assert_eq!(evaluator.policy().rules[0].parameters["against"], Value::Text(subjects[1].clone()));
    let up = series(&[1.0, 2.0, 3.0, 4.0]);
    let down = series(&[4.0, 3.0, 2.0, 1.0]);
    let flat = series(&[1.0; 4]);
    let says = |own: &Series, other: &Series| ask(&*evaluator, &[own, other], &[], None).advice;
    assert_eq!(says(&up, &down), Advice::Stop);
    assert_eq!(says(&down, &down), Advice::Continue);
    assert_eq!(says(&up, &flat), Advice::Continue);
    assert_eq!(says(&up, &up), Advice::Continue);
    // Only snapshots at which both have a value count.
    assert_eq!(says(&up, &series(&[4.0, NAN, 2.0, 1.0])), Advice::NotEnoughData);
}

#[test]
fn row_26_only_non_finite_stops_on_what_is_not() {
    let bad = |step| SeriesPoint { non_finite: true, ..point(step, NAN) };
    let own = Series::of([point(1, 1.0), bad(2)]);
    let says = |request: RuleRequest, own: &Series| decide(vec![request], &[own]);
    let found = says(rule("non_finite", ""), &own);
    assert_eq!((found.advice, found.reason), (Advice::Stop, Reason::NonFinite));
    // Skipped is not non-finite, and does not interrupt a row.
    assert_eq!(says(rule("non_finite", ""), &series(&[1.0, NAN])).advice, Advice::Continue);
    let row = Series::of([bad(1), point(2, NAN), bad(3)]);
    assert_eq!(says(rule("non_finite", "patience=2"), &row).advice, Advice::Stop);
    assert_eq!(says(rule("non_finite", "patience=3"), &row).advice, Advice::Continue);
    // Optuna's threshold and median prune here; ours does with the other rule in the policy.
    assert_eq!(says(rule("threshold", "upper=2"), &own).advice, Advice::Continue);
    let both = vec![rule("non_finite", ""), rule("threshold", "upper=2")];
    let found = decide(both, &[&own]);
    assert_eq!((found.advice, found.rule.as_str()), (Advice::Stop, "non_finite on loss"));
}

#[test]
fn median_and_percentile_rank_the_best_value() {
    let peers: [&[f64]; 4] = [&[1.0, 1.0], &[2.0, 2.0], &[3.0, 3.0], &[4.0, 4.0]];
    let startup = "n_startup_trials=4";
    let found = |own: &[f64]| across(rule("median", startup), own, &peers);
    assert_eq!(found(&[2.5]).advice, Advice::Continue);
    assert_eq!(found(&[2.6]).advice, Advice::Stop);
    // The best so far counts, not the newest.
    assert_eq!(found(&[2.5, 9.0]).advice, Advice::Continue);
    let stop = found(&[9.0, 2.6]);
    assert_eq!((stop.reason, stop.peer_count), (Reason::WorseThanMedian, 4));
    assert_eq!(stop.peers[3].0, "003");
    // Nobody has been at step 3.
    assert_eq!(found(&[9.0, 9.0, 9.0]).advice, Advice::NotEnoughData);
    assert_eq!(across(rule("median", ""), &[9.0], &peers).advice, Advice::NotEnoughData);
    let quarter = rule("percentile", "n_startup_trials=4 percentile=25");
    assert_eq!(across(quarter.clone(), &[1.75], &peers).advice, Advice::Continue);
    let stop = across(quarter, &[1.76], &peers);
    assert_eq!((stop.advice, stop.reason), (Advice::Stop, Reason::BelowPercentile));
    let max = rule("percentile", "n_startup_trials=4 percentile=25 mode=max");
    assert_eq!(across(max.clone(), &[3.25], &peers).advice, Advice::Continue);
    assert_eq!(across(max, &[3.24], &peers).advice, Advice::Stop);
    let warm = rule("median", "n_startup_trials=4 n_warmup_steps=2");
    assert_eq!(across(warm.clone(), &[9.0], &peers).advice, Advice::NotEnoughData);
    assert_eq!(across(warm, &[9.0, 9.0], &peers).advice, Advice::Stop);
}

#[test]
fn runs_that_were_stopped_are_not_complete() {
    let evaluator = compile(vec![rule("median", "n_startup_trials=1")]);
    let own = series(&[2.0]);
    let peer = series(&[1.0]);
    let run = RunId("own".into());
    let says = |over, stopped| {
        let peers = [PeerRun { run: &RunId("p".into()), series: &[&peer], over, stopped }];
        let evidence = Evidence { run: &run, own: &[&own], peers: &peers, overridden: None, as_of: None };
        evaluator.decide(&evidence).advice
    };
    assert_eq!(says(true, false), Advice::Stop);
    assert_eq!(says(true, true), Advice::NotEnoughData);
    assert_eq!(says(false, false), Advice::NotEnoughData);
}

#[test]
fn one_in_eta_goes_on() {
    // Rungs at 1, 2, 4, 8.
    let halving =
        |more: &str| rule("successive_halving", &format!("min_resource=1 reduction_factor=2 {more}"));
    let peers: [&[f64]; 3] = [&[1.0], &[2.0], &[3.0]];
    // ⌊4/2⌋ = 2 of four go on.
    assert_eq!(across(halving(""), &[2.0], &peers).advice, Advice::Continue);
    let stop = across(halving(""), &[2.1], &peers);
    assert_eq!((stop.advice, stop.reason, stop.peer_count), (Advice::Stop, Reason::NotPromoted, 3));
    // While n < η the best goes on; alone it always does.
    assert_eq!(across(halving(""), &[9.0], &[]).advice, Advice::Continue);
    assert_eq!(across(halving("bootstrap_count=4"), &[0.0], &peers).advice, Advice::Stop);
    // Step 3 is between rungs; nobody has been on the rung at 4.
    assert_eq!(across(halving(""), &[9.0, 9.0, 9.0], &peers).advice, Advice::Continue);
    assert_eq!(across(halving(""), &[9.0; 4], &peers).advice, Advice::Continue);
    let waits = across(halving("min_early_stopping_rate=2"), &[9.0], &peers);
    assert_eq!((waits.advice, waits.next_check_step), (Advice::NotEnoughData, Some(4)));
    // auto: a hundredth of the longest.
    let long: Vec<f64> = vec![1.0; 300];
    let auto = rule("successive_halving", "reduction_factor=2");
    assert_eq!(across(auto.clone(), &[9.0, 9.0], &[&long]).next_check_step, Some(3));
    assert_eq!(across(auto.clone(), &[9.0; 3], &[&long]).advice, Advice::Stop);
    assert_eq!(across(auto, &[9.0], &[]).advice, Advice::NotEnoughData);
}

#[test]
fn an_override_promotes() {
    let evaluator = compile(vec![rule("successive_halving", "min_resource=1 reduction_factor=2")]);
    let own = series(&[9.0, 9.0]);
    let peer = series(&[1.0, 1.0, 1.0, 1.0]);
    let run = RunId("own".into());
    let says = |own: &Series, at: Option<u64>| {
        let peers = [PeerRun { run: &RunId("p".into()), series: &[&peer], over: true, stopped: false }];
        let at = at.map(|step| SnapshotRef { step, attempt: 1 });
        let overridden = Overridden { at, reason: "r".into(), by: "b".into() };
        let overridden = at.map(|_| &overridden);
        evaluator.decide(&Evidence { run: &run, own: &[own], peers: &peers, overridden, as_of: None })
    };
    assert_eq!(says(&own, None).advice, Advice::Stop);
    assert_eq!(says(&own, Some(2)).advice, Advice::NotEnoughData);
    assert_eq!(says(&series(&[9.0; 3]), Some(2)).advice, Advice::Continue);
    assert_eq!(says(&series(&[9.0; 4]), Some(2)).advice, Advice::Stop);
}

#[test]
fn hyperband_compares_within_a_bracket() {
    let band = rule("hyperband", "max_resource=9 reduction_factor=3 study=s");
    let peers = vec![series(&[1.0; 9]); 40];
    let decision = ask(&*compile(vec![band]), &[&series(&[9.0; 9])], &peers, None);
    let compared: BTreeMap<_, _> = decision.compared.iter().cloned().collect();
    assert_eq!(compared["brackets"], 3.0);
    assert!(decision.peer_count < 40, "{decision:?}");
    assert!(decision.sentence.contains("bracket "));
}

#[test]
fn wilcoxon_tests_pairs_against_the_best() {
    let peers: [&[f64]; 2] = [&[1.0, 1.0, 1.0, 1.0], &[5.0, 5.0, 5.0, 5.0]];
    // Four positive differences: p = 1/16.
    let own = [1.1, 1.2, 1.3, 1.4];
    let stop = across(rule("wilcoxon", ""), &own, &peers);
    assert_eq!((stop.advice, stop.reason), (Advice::Stop, Reason::SignificantlyWorse));
    assert_eq!(stop.compared[0], ("p".into(), 0.0625));
    assert_eq!(across(rule("wilcoxon", "p_threshold=0.0625"), &own, &peers).advice, Advice::Continue);
    assert_eq!(across(rule("wilcoxon", ""), &own[..1], &peers).advice, Advice::NotEnoughData);
    assert_eq!(across(rule("wilcoxon", "mode=max"), &own, &peers).advice, Advice::Stop);
    // The best by the last value is another than the best by the mean.
    let peers: [&[f64]; 2] = [&[1.0, 1.0, 1.0, 9.0], &[5.0, 5.0, 5.0, 5.0]];
    assert_eq!(across(rule("wilcoxon", "best_by=mean"), &own, &peers).compared[3].1, 3.0);
    assert_eq!(across(rule("wilcoxon", "best_by=last"), &own, &peers).compared[3].1, 5.0);
    // Whoever is better on average is not stopped, however the test goes.
    let own = [1.1, 1.1, 1.1, 1.1, -99.0];
    let peers: [&[f64]; 1] = [&[1.0, 1.0, 1.0, 1.0, 1.0]];
    assert_eq!(across(rule("wilcoxon", "p_threshold=1"), &own, &peers).advice, Advice::Continue);
}

#[test]
fn the_first_rule_that_says_stop_decides() {
    let rules = vec![
        rule("patience", "patience=9"),
        on("threshold", "norm.max", "upper=1"),
        rule("threshold", "upper=1"),
    ];
    let evaluator = compile(rules);
    assert_eq!(evaluator.subjects().len(), 2);
    let loss = series(&[3.0, 2.0]);
    let norm = series(&[0.5, 2.0]);
    let found = ask(&*evaluator, &[&loss, &norm], &[], None);
    assert_eq!((found.advice, found.rule.as_str()), (Advice::Stop, "threshold on norm.max"));
    // The best of the deciding rule's subject; of the first rule's where none says stop.
    assert_eq!(found.best.unwrap(), (SnapshotRef { step: 1, attempt: 1 }, 0.5));
    assert_eq!(found.evaluated.unwrap().step, 2);
    let found = ask(&*evaluator, &[&series(&[0.5, 0.7]), &series(&[0.5, 0.4])], &[], None);
    assert_eq!(
        (found.advice, found.reason, found.rule.as_str()),
        (Advice::Continue, Reason::NoRuleFired, "")
    );
    assert_eq!(found.best.unwrap().1, 0.5);
    let waiting = ask(&*evaluator, &[&series(&[]), &series(&[])], &[], None);
    assert_eq!((waiting.advice, waiting.reason), (Advice::NotEnoughData, Reason::WarmingUp));
    assert_eq!((waiting.evaluated, waiting.best, waiting.next_check_step), (None, None, None));
}

#[test]
fn as_of_is_the_past() {
    let evaluator = compile(vec![rule("patience", "patience=2")]);
    let whole = series(&[1.0, 2.0, 2.0, 0.5]);
    let then = ask(&*evaluator, &[&whole], &[], Some(3));
    assert_eq!(then.advice, Advice::Stop);
    assert_eq!(then, ask(&*evaluator, &[&series(&[1.0, 2.0, 2.0])], &[], None));
    assert_eq!(ask(&*evaluator, &[&whole], &[], None).advice, Advice::Continue);
}

#[test]
fn an_override_begins_anew() {
    let evaluator = compile(vec![rule("patience", "patience=2")]);
    let run = RunId("own".into());
    let own = series(&[1.0, 2.0, 2.0, 2.0, 2.0]);
    let overridden =
        Overridden { at: Some(SnapshotRef { step: 3, attempt: 1 }), reason: "r".into(), by: "b".into() };
    let ask = |overridden, as_of| {
        evaluator.decide(&Evidence { run: &run, own: &[&own], peers: &[], overridden, as_of })
    };
    assert_eq!(ask(None, None).advice, Advice::Stop);
    let again = ask(Some(&overridden), None);
    assert_eq!((again.advice, again.best.unwrap().0.step), (Advice::Continue, 4));
    assert_eq!(again.overridden, Some(overridden.clone()));
    assert_eq!(ask(Some(&overridden), Some(3)).advice, Advice::NotEnoughData);
}

#[test]
fn the_next_check_is_foretold() {
    let own = Series::of([point(100, 1.0), point(200, 2.0), point(250, 2.0)]);
    let next = |parameters: &str| decide(vec![rule("patience", parameters)], &[&own]).next_check_step;
    // The least gap of late is 50; two checks without improvement so far.
    assert_eq!(next("patience=5"), Some(400));
    assert_eq!(next("patience=3"), Some(300));
    assert_eq!(next("patience=2"), None);
    assert_eq!(next("patience=5 start_step=1000"), Some(1000));
    let two =
        vec![rule("patience", "patience=5"), rule("threshold", "upper=9 interval_steps=1000 start_step=100")];
    assert_eq!(decide(two, &[&own]).next_check_step, Some(400));
    assert_eq!(decide(vec![rule("plateau", "window=6")], &[&own]).next_check_step, Some(400));
    assert_eq!(decide(vec![rule("plateau", "")], &[&series(&[1.0])]).next_check_step, None);
}

#[test]
fn every_wrong_field_is_named() {
    let rules = vec![
        rule("patients", ""),
        on("patience", "los", "patience=-1 patients=1"),
        on("threshold", "loss@es", ""),
        on("threshold", "norm@de", "upper=1"),
        on("threshold", "norm.least", "upper=x lower=2"),
        on("median", "mean(loss@*, twice)", "mode=least"),
        on("trend_reversal", "loss", ""),
        on("trend_reversal", "loss@de", "against=nothing"),
        rule("threshold", "lower=2 upper=1"),
        rule("divergence", "factor=0"),
        rule("successive_halving", "bootstrap_count=1"),
        rule("hyperband", "bootstrap_count=1 min_resource=2 max_resource=1 reduction_factor=1"),
        rule("hyperband", "min_resource=2 max_resource=1"),
        on("patience", "loss@", ""),
    ];
    let fault = try_admit(rules).unwrap_err();
    let fields: Vec<_> =
        fault.violations.iter().map(|v| v.field.trim_start_matches("policy.rules").to_owned()).collect();
    assert_eq!(
        fields,
        [
            "[0].name",
            "[1].on",
            "[1].parameters.patients",
            "[1].parameters.patience",
            "[2].on",
            "[2].parameters.upper",
            "[3].on",
            "[4].on",
            "[4].parameters.upper",
            "[5].on",
            "[5].parameters.mode",
            "[6].parameters.against",
            "[7].parameters.against",
            "[8].parameters.lower",
            "[9].parameters.factor",
            "[10].parameters.bootstrap_count",
            "[11].parameters.reduction_factor",
            "[12].parameters.max_resource",
            "[13].on",
        ]
    );
    for violation in &fault.violations {
        let told = violation.description.contains("expected");
        assert!(told, "{}: {}", violation.field, violation.description);
    }
    let none = try_admit(Vec::new()).unwrap_err();
    assert_eq!(none.violations[0].field, "policy.rules");
    assert!(try_admit(vec![rule("non_finite", ""); 65]).is_err());
}

#[test]
fn the_list_of_rules_holds() {
    let list = RuleCompiler::default().rules();
    let mut names: Vec<_> = list.iter().map(|info| info.name).collect();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
    for info in &list {
        assert!(info.summary.ends_with('.') && !info.source.is_empty(), "{}", info.name);
        // Every rule tells which way is better: decisions name the best snapshot by it.
        assert!(info.parameters.iter().any(|parameter| parameter.name == "mode"), "{}", info.name);
        for parameter in &info.parameters {
            assert!(parameter.summary.ends_with('.') && !parameter.range.is_empty(), "{}", parameter.name);
        }
    }
    // Defaults are those of the libraries they come from.
    let default = |rule: &str, name: &str| {
        let info = list.iter().find(|info| info.name == rule).unwrap();
        info.parameters.iter().find(|parameter| parameter.name == name).unwrap().default.clone()
    };
    for (rule, name, expected) in [
        ("median", "n_startup_trials", 5.0),
        ("median", "n_warmup_steps", 0.0),
        ("median", "interval_steps", 1.0),
        ("percentile", "n_min_trials", 1.0),
        ("successive_halving", "reduction_factor", 4.0),
        ("successive_halving", "min_early_stopping_rate", 0.0),
        ("hyperband", "reduction_factor", 3.0),
        ("hyperband", "min_resource", 1.0),
        ("wilcoxon", "p_threshold", 0.1),
        ("wilcoxon", "n_startup_steps", 2.0),
        ("patience", "patience", 3.0),
    ] {
        assert_eq!(default(rule, name), Value::Number(expected), "{rule} {name}");
    }
}

#[test]
fn what_is_held_no_more_still_counts() {
    let many = clino_domain::series::MOST_POINTS as u64 * 2;
    let value = |step: u64| if step == 5 { 0.1 } else { 1.0 };
    let own = Series::of((1..=many).map(|step| point(step, value(step))));
    assert!(own.points()[0].at.step > 5);
    let found = decide(vec![rule("divergence", "")], &[&own]);
    assert_eq!(found.advice, Advice::Stop);
    assert_eq!(found.best.unwrap(), (SnapshotRef { step: 5, attempt: 1 }, 0.1));
}

#[test]
fn what_peers_said_long_ago_is_wanted_once() {
    let many = clino_domain::series::MOST_POINTS as u64 * 2;
    let long = Series::of((1..=many).map(|step| point(step, step as f64)));
    let rules = vec![
        rule("median", "n_startup_trials=1"),
        rule("percentile", "n_startup_trials=1 percentile=10"),
        rule("successive_halving", "min_resource=7 reduction_factor=2"),
        rule("wilcoxon", ""),
    ];
    let evaluator = compile(rules);
    let own = series(&[0.5; 7]);
    let run = RunId("own".into());
    let peer = RunId("peer".into());
    let consider = |long: &Series| {
        let peers = [PeerRun { run: &peer, series: &[long], over: true, stopped: false }];
        evaluator.consider(&Evidence {
            run: &run,
            own: &[&own],
            peers: &peers,
            overridden: None,
            as_of: None,
        })
    };
    let (before, wants) = consider(&long);
    assert_eq!(wants, [Want { peer: 0, subject: 0, step: 7 }]);
    let mut long = long;
    long.turn(7, (7..7 + PAGE as u64).map(|step| point(step, step as f64)).collect());
    let (after, wants) = consider(&long);
    assert!(wants.is_empty());
    assert_eq!((after.advice, after.peers), (Advice::Continue, vec![peer.clone()]));
    assert_ne!(before.history_digest, after.history_digest);
}
