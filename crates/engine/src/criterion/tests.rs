#![allow(clippy::unwrap_used)]
use super::*;
use clino_domain::graph::{AuxiliaryLoss, CrossEntropy as Entropy};

fn spec(kind: LossKind) -> LossSpec {
    LossSpec {
        kind,
        output: "logits".into(),
        labels: "labels".into(),
        auxiliary: Vec::new(),
        batch_coupled: false,
    }
}

fn entropy(smoothing: f64, class_weights: Vec<f64>) -> LossSpec {
    spec(LossKind::CrossEntropy(Entropy { smoothing, class_weights, ..Entropy::default() }))
}

const OUTPUTS: [f64; 3] = [0.3, -1.2, 2.1];
const VALUES: [f64; 3] = [1.0, 0.0, 0.25];

/// Every kind, with a target.
fn all() -> Vec<(LossSpec, Target<'static>)> {
    let aux = |mut spec: LossSpec| {
        spec.auxiliary = vec![AuxiliaryLoss { output: "router".into(), weight: 0.25 }];
        spec
    };
    let values = Target::Values(&VALUES);
    vec![
        (entropy(0.0, vec![]), Target::Class(1)),
        (entropy(0.1, vec![]), Target::Class(1)),
        (entropy(0.0, vec![0.5, 2.0, 1.0]), Target::Class(2)),
        (entropy(0.2, vec![0.5, 2.0, 1.0]), Target::Class(0)),
        (spec(LossKind::SquaredError), values),
        (spec(LossKind::Huber { delta: 1.0, smooth: false }), values),
        (spec(LossKind::Huber { delta: 0.5, smooth: true }), values),
        (spec(LossKind::BinaryCrossEntropy { positive_weights: vec![] }), values),
        (spec(LossKind::BinaryCrossEntropy { positive_weights: vec![2.0, 0.5, 3.0] }), values),
        (spec(LossKind::Given { weights: None }), Target::Values(&[])),
        (aux(spec(LossKind::Given { weights: Some("weights".into()) })), Target::Values(&[])),
    ]
}

#[test]
fn slopes_are_derivatives() {
    for (spec, target) in all() {
        let criterion = of(&spec, OUTPUTS.len()).unwrap();
        let mut slopes = [0.0; 3];
        criterion.slopes(&OUTPUTS, target, &mut slopes);
        for (place, slope) in slopes.into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = OUTPUTS;
                moved[place] += by;
                criterion.loss(&moved, target)
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slope - expected).abs() < 1e-9, "{:?} {place}: {slope} {expected}", spec.kind);
        }
    }
}

/// Golden: torch 2.15 in float64, `functional.*(torch.tensor([[.3, -1.2, 2.1]]), target, …)`.
#[test]
fn losses_are_those_of_torch() {
    let loss = |spec: &LossSpec, target| of(spec, 3).unwrap().loss(&OUTPUTS, target);
    let values = Target::Values(&VALUES);
    for (spec, target, expected) in [
        (entropy(0.0, vec![]), Target::Class(1), 3.484_138_285_228_733_7),
        (entropy(0.1, vec![]), Target::Class(1), 3.324_138_285_228_733_6),
        (entropy(0.2, vec![0.5, 2.0, 1.0]), Target::Class(0), 2.673_241_827_956_396),
        (spec(LossKind::SquaredError), values, 1.784_166_666_666_666_7),
        (spec(LossKind::Huber { delta: 1.0, smooth: false }), values, 0.765),
        (spec(LossKind::Huber { delta: 0.5, smooth: true }), values, 1.0),
        (
            spec(LossKind::BinaryCrossEntropy { positive_weights: vec![2.0, 0.5, 3.0] }),
            values,
            1.040_090_747_014_906_1,
        ),
    ] {
        assert!((loss(&spec, target) - expected).abs() < 1e-14, "{:?}", spec.kind);
    }
}

#[test]
fn weights_are_told_by_the_target_or_by_the_outputs() {
    let weighted = of(&entropy(0.0, vec![0.5, 2.0, 1.0]), 3).unwrap();
    assert_eq!(weighted.weight_by_target(Target::Class(1)), Some(2.0));
    let given = of(&spec(LossKind::Given { weights: Some("weights".into()) }), 2).unwrap();
    assert_eq!(given.weight_by_target(Target::Values(&[])), None);
    assert_eq!(given.weight(&[3.0, 0.25], Target::Values(&[])), 0.25);
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let field = |spec: LossSpec| of(&spec, 3).err().unwrap().violations[0].field.clone();
    assert_eq!(field(entropy(0.0, vec![1.0])), "model.loss.cross_entropy.class_weights");
    let two = LossKind::BinaryCrossEntropy { positive_weights: vec![1.0, 2.0] };
    assert_eq!(field(spec(two)), "model.loss.binary_cross_entropy.positive_weights");
}

#[test]
fn what_has_no_classes_says_so() {
    let reason = |spec: LossSpec| of(&spec, 3).unwrap().no_classes();
    assert_eq!(reason(entropy(0.1, vec![])), None);
    assert_eq!(reason(spec(LossKind::SquaredError)).unwrap(), "the loss squared_error has no classes");
    assert!(of(&entropy(0.1, vec![]), 3).unwrap().no_likelihood().is_some());
}
