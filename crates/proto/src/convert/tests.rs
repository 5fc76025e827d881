#![allow(clippy::unwrap_used)]

use super::*;
use crate::pb;
use clino_domain::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn none(digest: &str) -> Result<Arc<Vec<Tensor>>, Fault> {
    Err(Fault::field(FaultKind::Precondition, "digest", format!("found {digest}, expected a stored probe")))
}

fn field(fault: &Fault) -> &str {
    &fault.violations[0].field
}

fn pb_spec(dtype: i32, byte_length: Option<u64>) -> pb::TensorSpec {
    pb::TensorSpec { name: "w".into(), dtype, shape: vec![2, 3], byte_length }
}

fn policy() -> Policy {
    let parameters = [("patience".to_owned(), Value::Number(3.0))].into();
    let rule = RuleRequest { name: "patience".into(), on: "loss@de".into(), parameters };
    Policy { mode: Mode::Enforce, rules: vec![rule] }
}

fn decision() -> Decision {
    let at = SnapshotRef { step: 7, attempt: 1 };
    Decision {
        id: "i".into(),
        run: RunId("r".into()),
        advice: Advice::Stop,
        reason: Reason::PatienceExhausted,
        rule: "patience on loss@de".into(),
        sentence: "because".into(),
        compared: vec![("value".into(), 1.5), ("best".into(), 1.25)],
        evaluated: Some(at),
        best: Some((at, 1.25)),
        next_check_step: Some(8),
        peers: vec![RunId("q".into())],
        peer_count: 1,
        mode: Mode::Enforce,
        latched: true,
        overridden: Some(Overridden { at: Some(at), reason: "why".into(), by: "who".into() }),
        history_digest: "h".into(),
        policy_digest: "p".into(),
    }
}

#[test]
fn row_25_an_unknown_dtype_is_named_with_its_tensor() {
    let fault = spec_from_pb(pb_spec(77, None)).unwrap_err();
    assert_eq!((fault.kind, field(&fault)), (FaultKind::Invalid, "dtype"));
    assert!(fault.message.contains("77") && fault.message.contains("DTYPE_BF16"), "{fault}");
    assert!(fault.message.contains("\"w\""), "{fault}");
    assert!(spec_from_pb(pb_spec(0, None)).unwrap_err().message.contains("DTYPE_UNSPECIFIED"));
}

#[test]
fn row_22_a_declared_length_must_be_that_of_shape_and_dtype() {
    let fault = spec_from_pb(pb_spec(1, Some(25))).unwrap_err();
    assert_eq!(field(&fault), "byte_length");
    assert_eq!(fault.message, "byte_length: found 25, expected 24 for F32 of shape [2, 3]");
    assert!(spec_from_pb(pb_spec(1, Some(24))).is_ok());
}

#[test]
fn every_wrong_field_of_a_run_is_named_at_once() {
    let group = pb::ProbeGroup { name: "a\nb".into(), source: None };
    let request = pb::OpenRunRequest { groups: vec![group], delivery: 9, precision: 9, ..Default::default() };
    let fault = open_run_from_pb(request, &none).unwrap_err();
    let fields: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
    let expected = ["idempotency_key", "name", "delivery", "precision", "groups[0].name", "groups[0].source"];
    assert_eq!(fields, expected);
}

#[test]
fn a_probe_that_is_not_stored_is_a_precondition() {
    let source = Some(pb::probe_group::Source::Digest("ab".into()));
    let request = pb::OpenRunRequest {
        idempotency_key: "k".into(),
        name: "run".into(),
        groups: vec![pb::ProbeGroup { name: "en".into(), source }],
        delivery: pb::Delivery::Latest.into(),
        precision: pb::Precision::Auto.into(),
        ..Default::default()
    };
    let fault = open_run_from_pb(request, &none).unwrap_err();
    assert_eq!((fault.kind, field(&fault)), (FaultKind::Precondition, "groups[0].digest"));
}

fn reading() -> Reading {
    let draws = vec![1.0, 2.0, 6.0];
    let part = |name: &str, value| Part { name: name.into(), value };
    Reading {
        measure: "sharpness".into(),
        parameters: BTreeMap::from([
            ("alpha".into(), Value::Number(0.1)),
            ("mode".into(), Value::Text("x".into())),
            ("exact".into(), Value::Flag(true)),
            ("ladder".into(), Value::Numbers(vec![1.0, 2.0])),
        ]),
        group: Some("en".into()),
        snapshot: SnapshotRef { step: 7, attempt: 2 },
        outcome: Outcome::Measured,
        value: Some(3.0),
        estimate: Estimate::of(&draws),
        interval: Interval::of(&draws),
        rungs: vec![Rung { alpha: 0.1, value: 3.0, draws: draws.clone(), stderr: None }],
        draws,
        parts: vec![part("a", Some(1.0)), part("b", None)],
        tensors: vec![TensorParts { tensor: "w".into(), parts: vec![part("norm", Some(2.0))] }],
        runs: vec![Quadrature { nodes: vec![-1.0, 2.0], weights: vec![0.25, 0.75] }],
        surface: Some(Surface { dimensions: 1, axis: vec![-1.0, 0.0], losses: vec![None, Some(0.5)] }),
        ended: Some(Ended::MaxSeconds),
        reason: None,
        remark: Some("not settled".into()),
        seconds: 0.5,
        work: Work { forwards: 3.0, backwards: 2.0, passes: 7.0, operations: 1e9 },
        precision: Precision::F64,
    }
}

#[test]
fn readings_reports_and_events_come_back_as_they_went() {
    let snapshot = SnapshotRef { step: 7, attempt: 2 };
    let events = [
        Event::Accepted { snapshot, kind: WeightKind::Ema, initialization: true },
        Event::Skipped { snapshot, reason: "newer".into() },
        Event::Started { snapshot, readings: 3 },
        Event::Reading(Box::new(reading())),
        Event::Finished { snapshot, seconds: 1.5 },
        Event::Gap { lost: 9 },
        Event::Closed,
        Event::Draining,
    ];
    for (sequence, event) in (5..).zip(events) {
        let there = Sequenced { sequence, event };
        assert_eq!(event_from_pb(event_to_pb(&there)).unwrap(), there);
    }
    let report = Report {
        snapshot,
        kind: WeightKind::Live,
        state: SnapshotState::Measured,
        readings: vec![reading()],
        reason: Some("why".into()),
    };
    assert_eq!(report_from_pb(report_to_pb(&report)).unwrap(), report);
}

fn tensor_spec(name: &str) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: Dtype::F32, shape: vec![2] }
}

#[test]
fn runs_and_snapshots_come_back_as_they_went() {
    let tensor = Tensor::new(tensor_spec("labels"), bytes::Bytes::from(vec![0; 8])).unwrap();
    let spec = RunSpec {
        name: "run".into(),
        config_json: "{}".into(),
        model: None,
        groups: vec![ProbeGroup { name: "en".into(), tensors: Arc::new(vec![tensor]) }],
        measures: vec![MeasureRequest { name: "loss".into(), parameters: BTreeMap::new() }],
        seed: 7,
        delivery: Delivery::Every,
        precision: Precision::Auto,
        budget: Some(2.5),
        gpu_only: true,
        label: RunLabel {
            project: "p".into(),
            experiment: "e".into(),
            tags: [("a".into(), "b".into())].into(),
        },
        policy: Some(policy()),
    };
    let probe = pb::probe_group::Source::Probe(probe_to_pb(&spec.groups[0].tensors));
    let groups = vec![pb::ProbeGroup { name: "en".into(), source: Some(probe) }];
    let back = open_run_from_pb(open_run_to_pb("key".into(), &spec, groups), &none).unwrap();
    assert_eq!(back, ("key".into(), spec));

    let alias = Alias { name: "tied".into(), target: "w".into() };
    let announcement = Announcement {
        digest: Some("ab".repeat(32)),
        run: RunId("r".into()),
        key: Some("k".into()),
        step: 3,
        attempt: Some(2),
        kind: WeightKind::Swa,
        initialization: true,
        manifest: Manifest::new(vec![tensor_spec("w")], vec![alias]).unwrap(),
        check: None,
    };
    assert_eq!(announcement_from_pb(announcement_to_pb(&announcement)).unwrap(), announcement);

    let receipt = Receipt {
        id: SnapshotId("s".into()),
        at: SnapshotRef { step: 3, attempt: 2 },
        digest: "00".into(),
        measures: vec!["loss".into()],
        unmeasured: vec![Unmeasured { measure: "distance".into(), reason: "no initialization".into() }],
        replaced: Some(SnapshotRef { step: 2, attempt: 1 }),
        repeated: true,
        warnings: vec!["left out".into()],
        decision: Some(Box::new(decision())),
    };
    assert_eq!(receipt_from_pb(receipt_to_pb(&receipt)).unwrap(), receipt);
}

#[test]
fn summaries_come_back_as_they_went() {
    let run = RunSummary {
        run: RunId("r".into()),
        name: "n".into(),
        model_type: "mlp".into(),
        parameters: 9,
        groups: vec!["en".into()],
        measures: vec![MeasureRequest { name: "loss".into(), parameters: BTreeMap::new() }],
        plan: vec![Planned { work: Work::of(1.0, 2.0, 3.0), counted: true, seconds: Some(0.5) }],
        budget: Some(1.5),
        seed: 1,
        delivery: Delivery::Latest,
        precision: Precision::F32,
        closed: true,
        accepted: 4,
        measured: 2,
        skipped: 1,
        pending: 1,
        next_sequence: 17,
        label: RunLabel::default(),
        policy: Some(policy()),
        decision: Some(decision()),
        latest: vec![Latest {
            measure: "loss".into(),
            group: Some("en".into()),
            value: Some(1.0),
            stderr: Some(0.5),
        }],
        last_accepted: Some(SnapshotRef { step: 9, attempt: 2 }),
        last_measured: None,
        opened_at: 0.0,
        checked: None,
        refusals: Refusals { count: 2, last: "tensors: found none".into() },
        waiting: "its turn".into(),
        memory: vec![
            MemoryShare { purpose: "probes".into(), bytes: 7 << 30, measuring: false, shared: true },
            MemoryShare { purpose: "the gradient".into(), bytes: 9, measuring: true, shared: false },
        ],
    };
    assert_eq!(summary_from_pb(summary_to_pb(&run)).unwrap(), run);
    let opened = OpenedRun {
        run: RunId("r".into()),
        measures: run.measures.clone(),
        plan: vec![Planned { work: Work::of(1.0, 2.0, 3.0), counted: false, seconds: None }],
        precision: Precision::F64,
        parameters: vec![tensor_spec("w")],
        created: true,
        warnings: vec!["column \"idx\" is left out".into()],
    };
    assert_eq!(opened_from_pb(opened_to_pb(&opened)).unwrap(), opened);
}
