#![allow(clippy::unwrap_used)]

use super::*;
use clino_domain::{Delivery, Estimate, Precision, RunId, RunLabel};

pub(crate) fn run(measures: Vec<MeasureRequest>) -> RunSummary {
    RunSummary {
        run: RunId("r-1".into()),
        name: "tiny".into(),
        model_type: "mlp".into(),
        parameters: 9,
        groups: vec!["en".into(), "de".into()],
        measures,
        plan: vec![],
        budget: None,
        seed: 0,
        delivery: Delivery::Latest,
        precision: Precision::F64,
        closed: false,
        accepted: 0,
        measured: 0,
        skipped: 0,
        pending: 0,
        next_sequence: 0,
        label: RunLabel::default(),
        policy: None,
        decision: None,
        latest: vec![],
        last_accepted: None,
        last_measured: None,
        opened_at: 0.0,
        checked: None,
        refusals: Refusals::default(),
        waiting: String::new(),
        memory: Vec::new(),
    }
}

fn measure(name: &str, alpha: f64) -> MeasureRequest {
    let parameters =
        BTreeMap::from([("alpha".into(), Value::Number(alpha)), ("draws".into(), Value::Number(2.0))]);
    MeasureRequest { name: name.into(), parameters }
}

fn reading(step: u64, request: &MeasureRequest, group: Option<&str>, draws: &[f64]) -> Event {
    let estimate = Estimate::of(draws);
    let at = SnapshotRef { step, attempt: 1 };
    let blank = Reading::blank(request.clone(), group, at, Precision::F64);
    let value = estimate.map(|e| e.mean);
    Event::Reading(Box::new(Reading { value, draws: draws.to_vec(), estimate, seconds: 0.1, ..blank }))
}

#[test]
fn the_table_shows_the_newest_snapshot_that_is_measured_whole() {
    let narrow = measure("sharpness", 0.001);
    let wide = measure("sharpness", 0.01);
    let norm = measure("param_norm", 0.0);
    let mut view = RunView::new(run(vec![narrow.clone(), wide.clone(), norm.clone()]));
    assert!(view.render(None).contains("waiting for a snapshot"));
    let first = SnapshotRef { step: 10, attempt: 1 };
    view.apply(&Event::Started { snapshot: first, readings: 5 });
    for group in ["en", "de"] {
        view.apply(&reading(10, &narrow, Some(group), &[1.0, 3.0]));
        view.apply(&reading(10, &wide, Some(group), &[0.25, 0.25]));
    }
    assert!(view.render(None).contains("4/5"), "{}", view.render(None));
    view.apply(&reading(10, &norm, None, &[12.5]));
    view.apply(&Event::Finished { snapshot: first, seconds: 1.25 });
    view.apply(&Event::Started { snapshot: SnapshotRef { step: 20, attempt: 2 }, readings: 5 });
    view.apply(&Event::Skipped { snapshot: SnapshotRef { step: 15, attempt: 1 }, reason: "newer".into() });
    view.apply(&Event::Gap { lost: 3 });
    let text = view.render(None);
    for expected in [
        "tiny  r-1",
        "1 measured, 1 skipped; 3 events lost",
        "measuring step 20 (attempt 2)",
        "0/5",
        "step 10, measured in 1.25 s",
        "sharpness alpha=0.001",
        "sharpness alpha=0.01",
        "2.0000 ± 1.0",
        "0.25000 ± 0",
        "param_norm 12.500",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert_eq!(text.lines().filter(|l| l.trim_start().starts_with("en ")).count(), 1, "{text}");
}

#[test]
fn every_event_has_a_json_line_and_reasons_cannot_move_the_cursor() {
    let skipped = Event::Skipped { snapshot: SnapshotRef { step: 1, attempt: 1 }, reason: "\x1b[2J".into() };
    assert!(!line(&skipped).unwrap().contains('\x1b'));
    let json: serde_json::Value =
        serde_json::from_str(&super::json(&Sequenced { sequence: 4, event: skipped }).unwrap()).unwrap();
    assert_eq!((json["sequence"].as_u64(), json["event"].as_str()), (Some(4), Some("skipped")));
    let event = reading(7, &measure("loss", 0.0), Some("en"), &[0.5]);
    let json: serde_json::Value =
        serde_json::from_str(&super::json(&Sequenced { sequence: 5, event }).unwrap()).unwrap();
    assert_eq!((json["event"].as_str(), json["measure"].as_str()), (Some("reading"), Some("loss")));
    assert_eq!((json["step"].as_u64(), json["value"].as_f64()), (Some(7), Some(0.5)));
}

#[test]
fn the_newest_decision_is_one_line() {
    let mut before = run(vec![]);
    before.decision = Some(decision("the loss of de is \x1b[2J better"));
    let mut view = RunView::new(before);
    assert!(
        view.render(None).contains("STOP: the loss of de is \\u{1b}[2J better\n"),
        "{}",
        view.render(None)
    );
    view.apply(&Event::Decided(Box::new(decision("no improvement in 5 checks"))));
    let text = view.render(None);
    assert!(text.contains("\nSTOP: no improvement in 5 checks\n") && !text.contains("better"), "{text}");
}

pub(crate) fn decision(sentence: &str) -> Decision {
    Decision {
        id: String::new(),
        run: RunId("r-1".into()),
        advice: Advice::Stop,
        reason: clino_domain::Reason::PatienceExhausted,
        rule: "patience on loss@de".into(),
        sentence: sentence.into(),
        compared: vec![],
        evaluated: None,
        best: None,
        next_check_step: None,
        peers: vec![],
        peer_count: 0,
        mode: clino_domain::Mode::Advise,
        latched: true,
        overridden: None,
        history_digest: String::new(),
        policy_digest: String::new(),
    }
}

#[test]
fn a_picture_is_no_wider_than_the_terminal() {
    let measures: Vec<MeasureRequest> = [0.001, 0.01, 0.1].map(|alpha| measure("sharpness", alpha)).into();
    let named = RunSummary {
        name: "bert-large-uncased-finetuned-lr-1e-3".into(),
        run: RunId("01a213d0-4951-773d-9a61-3c0d79eafbf6".into()),
        decision: Some(decision("no improvement of the loss on the group de in 5 checks, best at step 120")),
        ..run(measures.clone())
    };
    let mut view = RunView::new(named);
    let at = SnapshotRef { step: 10, attempt: 2 };
    view.apply(&Event::Started { snapshot: at, readings: 3 });
    for measure in &measures {
        view.apply(&reading(10, measure, Some("en"), &[1.0, 3.0]));
    }
    for room in 50..160 {
        let text = view.render(Some(room));
        assert!(text.lines().all(|line| width(line) <= room), "{room}:\n{text}");
        assert_eq!(text.matches("2.0000 ± 1.0").count(), 3, "{room}:\n{text}");
    }
}
