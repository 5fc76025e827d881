//! The ends and the trace of Hessians that are known: spectra on which simpler iterations go wrong, networks in closed
//! form, and gradients that vanish.
#![allow(clippy::unwrap_used)]

use super::tests::{number, request, take};
use super::*;
use crate::quadratic::Quadratic;
use crate::scope::{Hints, SharedCache};
use clino_domain::{Ended, Value};

fn word(text: &str) -> Value {
    Value::Text(text.into())
}

fn part_of(findings: &Findings, name: &str) -> f64 {
    let found = findings.parts.iter().find(|part| part.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).value.unwrap()
}

/// A quadratic with this spectrum and noise of this seed.
fn quadratic(spectrum: &[f64], seed: u64) -> Quadratic {
    let n = spectrum.len();
    let at = |k: f64| (0..n).map(|i| 0.1 * (k * (i + 1) as f64).sin()).collect::<Vec<_>>();
    let mut quadratic = Quadratic::new(at(1.3), at(0.7), spectrum.to_vec());
    quadratic.seed = seed;
    quadratic.compare();
    quadratic
}

/// `n` numbers that fall evenly.
fn even(from: f64, to: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| from + (to - from) * i as f64 / (n - 1).max(1) as f64)
}

/// Spectra by what they are like.
fn spectra() -> Vec<(&'static str, Vec<f64>)> {
    let bulk = |n| even(-0.5, 0.5, n);
    vec![
        (
            "outliers in a cluster",
            [114.63, 114.4, 112.0, 104.14, 104.1].into_iter().chain(bulk(200)).collect(),
        ),
        ("both ends tied", [0.423, 0.423, -0.423, -0.423].into_iter().chain(even(-0.1, 0.1, 60)).collect()),
        ("nothing but a tie", [1.0, -1.0].into_iter().cycle().take(40).collect()),
        ("clusters at both ends", even(9.9, 10.0, 12).chain(even(-8.0, -7.9, 12)).chain(bulk(200)).collect()),
        ("few classes", even(40.0, 80.0, 9).chain(even(0.0, 0.3, 400)).chain(even(-0.6, -0.1, 40)).collect()),
        ("downwards alone", even(-30.0, -1.0, 80).collect()),
        ("a bowl", even(1.0, 50.0, 150).collect()),
        ("no floor", [20.0, 5.0].into_iter().chain((0..300).map(|_| 0.0)).collect()),
    ]
}

fn ends(spectrum: &[f64]) -> [f64; 2] {
    [spectrum.iter().copied().fold(f64::MIN, f64::max), spectrum.iter().copied().fold(f64::MAX, f64::min)]
}

fn near(found: f64, exact: f64, largest: f64) -> bool {
    (found - exact).abs() <= 1e-3 * exact.abs().max(1e-3 * largest)
}

#[test]
fn both_ends_are_right_from_five_seeds_whatever_the_spectrum() {
    for (name, spectrum) in spectra() {
        let [top, bottom] = ends(&spectrum);
        let largest = top.abs().max(bottom.abs());
        for seed in 0..5 {
            let found = take(&mut quadratic(&spectrum, seed), "hessian_top", &[]).unwrap();
            let context = format!("{name}, seed {seed}: {:?} {:?}", found.parts, found.remark);
            assert!(near(found.value.unwrap(), top, largest), "{context}");
            assert!(near(part_of(&found, "bottom"), bottom, largest), "{context}");
            let dominant = part_of(&found, "dominant").abs();
            assert!(near(dominant, largest, largest) && found.remark.is_none(), "{context}");
        }
    }
}

#[test]
fn a_bounded_basis_begins_anew_and_finds_the_same_ends() {
    // 20,000 parameters of 8 bytes: thirteen vectors in two MiB, so that it begins anew after eight.
    for (name, mut spectrum) in spectra() {
        spectrum.resize(20_000, spectrum[spectrum.len() / 2]);
        let [top, bottom] = ends(&spectrum);
        let options = [("max_mib", number(2.0)), ("iters", number(600.0))];
        let found = take(&mut quadratic(&spectrum, 3), "hessian_top", &options).unwrap();
        let context = format!("{name}: {:?} {:?}", found.parts, found.remark);
        let largest = top.abs().max(bottom.abs());
        assert!(near(found.value.unwrap(), top, largest), "{context}");
        assert!(near(part_of(&found, "bottom"), bottom, largest), "{context}");
    }
    let mut large = quadratic(&even(-1.0, 9.0, 40_000).collect::<Vec<_>>(), 3);
    let refused = take(&mut large, "hessian_top", &[("max_mib", number(1.0))]);
    let Err(MeasureError::Unavailable(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("max_mib to 3") && reason.contains("power"), "{reason}");
}

#[test]
fn what_is_not_settled_is_never_a_plain_value() {
    let spectrum: Vec<f64> = even(-1.0, 9.0, 300).collect();
    // Two products see neither end: a residual above a tenth is no value.
    let cut = take(&mut quadratic(&spectrum, 1), "hessian_top", &[("iters", number(2.0))]);
    let Err(MeasureError::Undefined(reason)) = cut else { panic!("{cut:?}") };
    assert!(reason.contains("has not converged") && reason.contains("products"), "{reason}");
    let cut = take(&mut quadratic(&spectrum, 1), "hessian_top", &[("iters", number(12.0))]).unwrap();
    let remark = cut.remark.clone().unwrap();
    assert!(remark.contains("has not converged after 14 products"), "{remark}");
    // Power iteration stands still between two ends of one size, or leans to one of them: never without a word.
    let tie: Vec<f64> = [0.423, -0.423].into_iter().chain(even(-0.1, 0.1, 60)).collect();
    for seed in 0..5 {
        let found = take(&mut quadratic(&tie, seed), "hessian_top", &[("method", word("power"))]);
        let plain = found.as_ref().is_ok_and(|found| found.remark.is_none());
        assert!(!plain, "seed {seed}: {found:?}");
    }
}

#[test]
fn power_iteration_goes_on_to_the_top_from_a_dominant_bottom() {
    let spectrum: Vec<f64> = [6.0, -20.0].into_iter().chain(even(-1.0, 1.0, 60)).collect();
    let options = [("method", word("power")), ("tol", number(1e-7)), ("iters", number(400.0))];
    let found = take(&mut quadratic(&spectrum, 2), "hessian_top", &options).unwrap();
    assert!((found.value.unwrap() - 6.0).abs() < 6e-3, "{:?}", found.parts);
    assert!((part_of(&found, "dominant") + 20.0).abs() < 2e-2, "{:?}", found.parts);
}

#[test]
fn the_same_snapshot_has_the_same_ends_whatever_came_before() {
    let mut hints = Hints::default();
    let mut bits = Vec::new();
    let spectrum: Vec<f64> = even(-3.0, 9.0, 80).collect();
    for scale in [1.0, 2.0, 1.0] {
        let scaled: Vec<f64> = spectrum.iter().map(|x| scale * x).collect();
        let mut landscape = quadratic(&scaled, 5);
        let mut cache = SharedCache::default();
        let cache = &mut cache;
        let hints = &mut hints;
        let group = "en".into();
        let mut scope = MeasureScope { landscape: &mut landscape, cache, hints, group, clock: &|| 0.0 };
        let chosen = choose(&[request("hessian_top", &[])], &[]).unwrap();
        bits.push(chosen[0].measure(&mut scope).unwrap().value.unwrap().to_bits());
    }
    assert_eq!(bits[0], bits[2]);
}

#[test]
fn a_sketch_takes_the_large_eigenvalues_out_of_the_error() {
    // A diagonal Hessian has no error along signs; between the two halves of each pair this one has.
    for (name, spectrum) in spectra() {
        let exact: f64 = spectrum.iter().sum();
        let size = spectrum.iter().map(|x| x.abs()).sum::<f64>();
        for seed in 0..5 {
            let found =
                take(&mut quadratic(&spectrum, seed), "hessian_trace", &[("draws", number(16.0))]).unwrap();
            let stderr = found.estimate().unwrap().stderr.unwrap();
            let off = (found.value.unwrap() - exact).abs();
            let context = format!("{name}, seed {seed}: {} {exact} {stderr}", found.value.unwrap());
            assert!(off <= 5.0 * stderr + 1e-5 * size, "{context}");
            assert_eq!(found.ended, Some(Ended::Draws));
        }
    }
    // All that there is in the sketch: the trace itself, without an error.
    let found = take(&mut quadratic(&[5.0, 3.0, -1.0, 0.5], 1), "hessian_trace", &[]).unwrap();
    assert!((found.value.unwrap() - 7.5).abs() < 1e-5, "{:?}", found.parts);
    assert!((part_of(&found, "sketched") - 7.5).abs() < 1e-5, "{:?}", found.parts);
}

#[test]
fn a_sketch_that_does_not_fit_is_left_out_and_told() {
    let spectrum: Vec<f64> = even(-1.0, 9.0, 40_000).collect();
    let exact: f64 = spectrum.iter().sum();
    let small = take(&mut quadratic(&spectrum, 1), "hessian_trace", &[("max_mib", number(2.0))]).unwrap();
    assert!(small.remark.as_ref().unwrap().contains("max_mib 2"), "{:?}", small.remark);
    assert_eq!((part_of(&small, "sketched"), part_of(&small, "products")), (0.0, 8.0));
    assert!((small.value.unwrap() - exact).abs() < 1e-4 * exact);
    let asked = [("max_mib", number(2.0)), ("method", word("hutchinson"))];
    let asked = take(&mut quadratic(&spectrum, 1), "hessian_trace", &asked).unwrap();
    assert_eq!((asked.value, asked.remark), (small.value, None));
}

#[test]
fn a_zero_gradient_is_not_flatness() {
    let zero = || Quadratic::new(vec![0.5; 6], vec![0.0; 6], vec![0.0; 6]);
    let l2 = [("p", word("l2"))];
    let along = [("direction", word("gradient"))];
    let layer = [("scope", word("layer"))];
    let draws = [("method", word("hutchinson"))];
    let all: [(&str, &[(&str, Value)]); 16] = [
        ("sam", &[]),
        ("sam", &layer),
        ("asam", &[]),
        ("worst_case", &[]),
        ("worst_case", &l2),
        ("keskar", &[]),
        ("sharpness", &[]),
        ("sharpness", &layer),
        ("sharpness_paper", &[]),
        ("sharpness_profile", &[]),
        ("flat_radius", &[]),
        ("critical", &along),
        ("hessian_top", &[]),
        ("hessian_trace", &[]),
        ("hessian_trace", &draws),
        ("hessian_density", &[]),
    ];
    for (name, options) in all {
        let found = take(&mut zero(), name, options);
        let Err(MeasureError::Undefined(reason)) = found else { panic!("{name} {options:?}: {found:?}") };
        assert!(reason.contains("is zero, so there is no direction to follow"), "{name}: {reason}");
    }
    // Where it is zero at a minimum, the loss rises around it, and what needs no direction at w0 has a value.
    let minimum = || Quadratic::new(vec![0.5; 6], vec![0.0; 6], vec![2.0; 6]);
    for name in ["sharpness", "sharpness_paper", "sharpness_profile", "hessian_top", "hessian_trace"] {
        assert!(take(&mut minimum(), name, &[]).unwrap().value.unwrap() > 0.0, "{name}");
    }
    for name in ["sam", "asam", "worst_case", "keskar"] {
        assert!(matches!(take(&mut minimum(), name, &[]), Err(MeasureError::Undefined(_))), "{name}");
    }
}

#[test]
fn parameters_of_zero_have_no_adaptive_measure() {
    let zeros = || Quadratic::new(vec![0.0; 6], vec![0.5; 6], vec![2.0; 6]);
    for (name, options) in
        [("worst_case", vec![]), ("worst_case", vec![("p", word("l2"))]), ("average_case", vec![])]
    {
        let found = take(&mut zeros(), name, &options);
        assert!(matches!(found, Err(MeasureError::Undefined(_))), "{name}: {found:?}");
    }
    let plain = [("adaptive", Value::Flag(false))];
    for name in ["worst_case", "average_case"] {
        assert!(take(&mut zeros(), name, &plain).unwrap().value.unwrap() > 0.0, "{name}");
    }
}
