//! Graphs by chance: each is a fault or a result, never a panic; a forward that keeps values gives what one that does not
//! gives; threads change no bit; a pass never takes more than its plan says.
//!
//! `PROPTEST_CASES=200000 cargo test --release -p clino-graph --test fuzz` is a long run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
mod counting;
mod growth;

use clino_graph::Limits;
use common::{Chance, Run, cotangents};
use counting::peak;
use growth::grow;
use proptest::prelude::*;

fn bits(outputs: &[Vec<f64>]) -> Vec<u64> {
    outputs.iter().flatten().map(|x| x.to_bits()).collect()
}

fn check(seed: u64) {
    let mut chance = Chance(seed);
    let limits = Limits { elements: 1 << 12, all_elements: 1 << 16, work: 1e7 };
    let Some(builder) = grow(&mut chance, &limits) else { return };
    let model = builder.model().unwrap();
    let params: Vec<f64> = (0..model.total()).map(|_| 2.0 * chance.number()).collect();
    // Indices that point nowhere, and divisions by zero.
    let Ok(mut run) = Run::<f64>::new(&builder, &params, 1) else { return };
    let plan = model.shapes(&builder.shapes(), &limits).unwrap();
    let (light, forward) = peak(|| run.pass(false));
    if light.is_err() {
        assert!(run.forward(true).is_err());
        return;
    }
    let light = run.forward(false).unwrap();
    let told = || format!("{:?} of {:?}, {plan:?}", builder.parts.nodes, builder.parts.tensors);
    let planned = plan.memory(&model, false, 8, 1) as usize;
    assert!(forward <= planned, "{forward} > {planned}: {}", told());
    let (kept, made) = peak(|| run.forward(true).unwrap());
    assert_eq!(bits(&light), bits(&kept));
    let d = cotangents(&run, &mut chance);
    let (gradient, back) = peak(|| run.backward(&d).unwrap());
    let planned = plan.memory(&model, true, 8, 1) as usize;
    let aside = 2 * (gradient.len() + kept.iter().map(|y| 2 * y.len()).sum::<usize>()) * 8 + 4096;
    assert!(made.max(back) <= planned + aside, "{made} {back} > {planned} + {aside}: {}", told());
    let mut other = Run::<f64>::new(&builder, &params, 3).unwrap();
    assert_eq!(bits(&kept), bits(&other.forward(true).unwrap()));
    assert_eq!(bits(&[gradient]), bits(&[other.backward(&d).unwrap()]));
    let mut short = Run::<f32>::new(&builder, &params, 1).unwrap();
    if short.forward(true).is_ok() {
        short.backward(&d).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn graphs_by_chance_never_panic(seed: u64) {
        clino_graph::gemm::warm();
        // One that has failed, again.
        check(std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed));
    }
}
