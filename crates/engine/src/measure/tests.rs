//! Contracts that every measure keeps, and each on ground with known answers.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::device::noise::Purpose;
use crate::landscape::Landscape;
use crate::outputs::Outputs;
use crate::quadratic::Quadratic;
use crate::scope::{Hints, SharedCache};
use clino_domain::{Estimate, Value};

pub fn request(name: &str, parameters: &[(&str, Value)]) -> MeasureRequest {
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    MeasureRequest { name: name.into(), parameters }
}

pub fn number(x: f64) -> Value {
    Value::Number(x)
}

pub fn take(
    landscape: &mut dyn Landscape,
    name: &str,
    parameters: &[(&str, Value)],
) -> Result<Findings, MeasureError> {
    let mut cache = SharedCache::default();
    let mut hints = Hints::default();
    let cache = &mut cache;
    let hints = &mut hints;
    let mut scope = MeasureScope { landscape, cache, hints, group: "pooled".into(), clock: &|| 0.0 };
    let chosen = choose(&[request(name, parameters)], &["en"]).unwrap();
    chosen[0].measure(&mut scope).and_then(Findings::settled)
}

pub fn bowl() -> Quadratic {
    let n = 11;
    let at = |k: f64| (0..n).map(|i| (k * (i + 1) as f64).sin()).collect::<Vec<_>>();
    let curvature = (0..n).map(|i| 0.5 + i as f64).collect();
    Quadratic::new(at(1.3), at(0.7), curvature)
}

pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

pub fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-11 * expected.abs().max(1e-3),
        "found {found}, expected {expected}"
    );
}

#[test]
fn names_are_unique_and_descriptions_complete() {
    let mut names: Vec<_> = MEASURES.iter().map(|m| m.description().name).collect();
    names.sort_unstable();
    names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    for description in MEASURES.iter().map(|m| m.description()) {
        assert!(description.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", description.name);
        let texts = [description.summary, description.source, description.cost];
        for text in texts.into_iter().chain([description.formula, description.invariance]) {
            assert!(!text.is_empty(), "{}", description.name);
        }
        assert!(!description.needs.gradient || description.needs.probe, "a gradient needs a probe");
        let mut names: Vec<_> = description.parameters.iter().map(|p| p.name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "{}", description.name));
    }
}

#[test]
fn every_default_is_accepted_and_requests_are_complete() {
    for measure in MEASURES {
        let description = measure.description();
        let chosen = choose(&[request(description.name, &[])], &[]).unwrap();
        let again = choose(&[chosen[0].request()], &[]).unwrap();
        assert_eq!(again[0].request(), chosen[0].request());
        assert_eq!(chosen[0].request().parameters.len(), description.parameters.len());
    }
}

#[test]
fn every_wrong_field_is_named() {
    let requests = [
        request("sharpnes", &[]),
        request("sharpness", &[("alpha", number(-1.0)), ("radius", number(1.0))]),
        request("sharpness", &[("draws", number(2.5))]),
        request("sharpness_paper", &[("radius", Value::Text("local".into()))]),
        request("sharpness_profile", &[("alphas", Value::Numbers(vec![0.2, 0.1]))]),
        request("loss", &[("x", Value::Flag(true))]),
        request("sharpness", &[("draws", number(4.0)), ("rel_stderr", number(0.1))]),
        request("low_pass", &[("draws", number(0.0))]),
        request(
            "critical",
            &[("direction", Value::Text("gradient".into())), ("of", Value::Text("fr".into()))],
        ),
        request("critical", &[("of", Value::Text("en".into()))]),
        request("landscape", &[("dims", number(2.0)), ("points", number(999.0))]),
        request("fisher_trace", &[("exact", number(1.0))]),
    ];
    let fault = choose(&requests, &["en"]).err().unwrap();
    let fields: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
    let expected = [
        "measures[0].name",
        "measures[1].parameters.radius",
        "measures[1].parameters.alpha",
        "measures[2].parameters.draws",
        "measures[3].parameters.radius",
        "measures[4].parameters.alphas",
        "measures[5].parameters.x",
        "measures[6].parameters.draws",
        "measures[7].parameters.draws",
        "measures[8].parameters.of",
        "measures[9].parameters.of",
        "measures[10].parameters.points",
        "measures[11].parameters.exact",
    ];
    assert_eq!(fields, expected);
    for bad in [f64::NAN, f64::INFINITY, 0.0] {
        assert!(choose(&[request("sharpness", &[("alpha", number(bad))])], &[]).is_err(), "{bad}");
    }
}

#[test]
fn sharpness_without_noise_is_the_rise_along_the_gradient() {
    let mut bowl = bowl();
    let radius = 0.05 * norm(&bowl.w0);
    let direction: Vec<f64> = bowl.slope.iter().map(|g| radius * g / norm(&bowl.slope)).collect();
    let expected = bowl.rise(&direction);
    let options = [("alpha", number(0.05)), ("noise", number(0.0)), ("draws", number(3.0))];
    let found = take(&mut bowl, "sharpness", &options).unwrap();
    found.draws.iter().for_each(|draw| close(*draw, expected));
    let part = |name: &str| found.parts.iter().find(|part| part.name == name).unwrap().value.unwrap();
    close(part("radius"), radius);
    close(part("displacement"), radius);
    close(part("base_loss"), 2f64.ln());
}

/// One draw of the stable form, written out from its definition.
fn stable_draw(bowl: &Quadratic, draw: u32, alpha: f64, steps: usize) -> f64 {
    let radius = alpha * norm(&bowl.w0);
    let noise = bowl.noise(draw, Purpose::Gauss);
    let mut delta: Vec<f64> = noise.iter().map(|n| 0.1 * radius * n / norm(&noise)).collect();
    for _ in 0..steps {
        let slope: Vec<f64> =
            (0..delta.len()).map(|i| bowl.slope[i] + bowl.curvature[i] * delta[i]).collect();
        delta = delta.iter().zip(&slope).map(|(d, g)| d + radius * g / norm(&slope)).collect();
        let size = norm(&delta);
        if size >= radius {
            delta.iter_mut().for_each(|d| *d *= radius / size);
        }
    }
    bowl.rise(&delta)
}

#[test]
fn sharpness_is_its_definition_draw_by_draw() {
    for steps in [1, 3] {
        let mut bowl = bowl();
        let options = [("alpha", number(0.2)), ("steps", number(steps as f64)), ("draws", number(5.0))];
        let found = take(&mut bowl, "sharpness", &options).unwrap();
        for (k, draw) in found.draws.iter().enumerate() {
            close(*draw, stable_draw(&bowl, k as u32, 0.2, steps));
        }
    }
}

#[test]
fn the_paper_form_projects_globally_or_by_tensor() {
    let mut bowl = bowl();
    let noise = bowl.noise(0, Purpose::Gauss);
    let raw: Vec<f64> = (0..noise.len())
        .map(|i| {
            let e = 0.1 * noise[i];
            e + 0.05 * (bowl.slope[i] + bowl.curvature[i] * e)
        })
        .collect();
    let one = [("draws", number(1.0))];
    let global = take(&mut bowl, "sharpness_paper", &one).unwrap();
    let radius = 0.05 * norm(&bowl.w0);
    let scale = (radius / norm(&raw)).min(1.0);
    close(global.draws[0], bowl.rise(&raw.iter().map(|d| d * scale).collect::<Vec<_>>()));

    let (first, second) = bowl.w0.split_at(bowl.split);
    let radius = 0.05 * (norm(first) + norm(second));
    let (a, b) = raw.split_at(bowl.split);
    let pulled: Vec<f64> =
        [a, b].iter().flat_map(|t| t.iter().map(|d| d * (radius / norm(t)).min(1.0))).collect();
    let tensor = Value::Text("tensor".into());
    let options = [("draws", number(1.0)), ("radius", Value::Text("sum".into())), ("projection", tensor)];
    let found = take(&mut bowl, "sharpness_paper", &options).unwrap();
    close(found.draws[0], bowl.rise(&pulled));
}

#[test]
fn a_profile_climbs_and_the_flat_radius_lies_where_it_crosses() {
    let mut bowl = bowl();
    let profile = take(&mut bowl, "sharpness_profile", &[]).unwrap();
    profile.rungs.windows(2).for_each(|pair| assert!(pair[0].value < pair[1].value));
    close(profile.rungs[4].draws[1], stable_draw(&bowl, 1, 0.01, 1));

    let found = take(&mut bowl, "flat_radius", &[("tolerance", number(1e-9))]).unwrap();
    let alpha = found.value.unwrap();
    let mean = |alpha| (0..4).map(|draw| stable_draw(&bowl, draw, alpha, 1)).sum::<f64>() / 4.0;
    assert!((mean(alpha) - 0.1).abs() < 1e-8, "{alpha}: {}", mean(alpha));
}

#[test]
fn a_wide_bracket_of_the_flat_radius_is_in_its_error_and_not_in_its_value() {
    let mut bowl = bowl();
    let fine = take(&mut bowl, "flat_radius", &[("tolerance", number(1e-9))]).unwrap();
    let wide = take(&mut bowl, "flat_radius", &[("tolerance", number(0.01))]).unwrap();
    let fine_alpha = fine.value.unwrap();
    let alpha = wide.value.unwrap();
    // The bracket is 0.54 % wide; a line in it misses a square by an eighth of the width squared.
    assert!((alpha / fine_alpha - 1.0).abs() < 5.5e-3 * 5.5e-3 / 4.0, "{alpha} {fine_alpha}");
    let error = wide.estimate().unwrap().stderr.unwrap();
    let without = Estimate::of(&wide.draws).unwrap().stderr.unwrap();
    let bracket = (error * error - without * without).sqrt() * 12f64.sqrt() / alpha;
    assert!((bracket - (2f64.powf(1.0 / 128.0) - 1.0)).abs() < 1e-4, "{bracket}");
    let interval = wide.interval().unwrap();
    assert!(interval.low < fine_alpha && fine_alpha < interval.high);
}

#[test]
fn a_warm_flat_radius_walks_the_same_grid() {
    let mut hints = Hints::default();
    let mut evaluations = Vec::new();
    let mut values = Vec::new();
    for _ in 0..2 {
        let mut bowl = bowl();
        let mut cache = SharedCache::default();
        let mut scope = MeasureScope {
            landscape: &mut bowl,
            cache: &mut cache,
            hints: &mut hints,
            group: "en".into(),
            clock: &|| 0.0,
        };
        let chosen = choose(&[request("flat_radius", &[])], &[]).unwrap();
        let found = chosen[0].measure(&mut scope).unwrap();
        values.push(found.value.unwrap().to_bits());
        evaluations.push((found.parts[1].value.unwrap(), found.parts[2].value.unwrap()));
    }
    assert_eq!(values[0], values[1]);
    assert_eq!(evaluations[0].0, evaluations[1].0, "the questions of the definition");
    assert!(evaluations[1].1 < evaluations[0].1, "{evaluations:?}");
    assert!(evaluations[1].1 <= 3.0, "{evaluations:?}");
}

#[test]
fn flat_ground_has_no_flat_radius_and_no_sharpness() {
    let mut flat = Quadratic::new(vec![1.0; 6], vec![0.0; 6], vec![0.0; 6]);
    for name in ["sharpness", "flat_radius"] {
        let found = take(&mut flat, name, &[]);
        assert!(
            matches!(&found, Err(MeasureError::Undefined(reason)) if reason.contains("not flatness")),
            "{found:?}"
        );
    }
}

#[test]
fn row_27_parameters_of_zero_have_a_reason() {
    let mut zero = Quadratic::new(vec![0.0; 6], vec![1.0; 6], vec![1.0; 6]);
    zero.init = Some(vec![0.0; 6]);
    zero.compare();
    // In units of parameters that are zero nothing moves, which is not flatness.
    let relative = ["worst_case", "average_case", "landscape"];
    let others =
        ["sharpness", "sharpness_paper", "sharpness_profile", "flat_radius", "spectrum", "norm_bounds"];
    for name in relative.into_iter().chain(others) {
        assert!(matches!(take(&mut zero, name, &[]), Err(MeasureError::Undefined(_))), "{name}");
    }
    assert_eq!(take(&mut zero, "param_variance", &[]).unwrap().value, Some(0.0));
    let distance = take(&mut zero, "distance", &[]).unwrap();
    assert_eq!((distance.value, distance.parts[1].value, distance.parts[4].value), (Some(0.0), None, None));
}

#[test]
fn weights_are_compared_with_their_past() {
    let mut bowl = bowl();
    assert!(matches!(take(&mut bowl, "distance", &[]), Err(MeasureError::Unavailable(_))));
    assert!(matches!(take(&mut bowl, "update", &[]), Err(MeasureError::Unavailable(_))));
    bowl.w0 = vec![3.0, 4.0];
    bowl.split = 1;
    bowl.init = Some(vec![3.0, 0.0]);
    bowl.previous = Some(vec![3.0, 2.0]);
    bowl.compare();
    let distance = take(&mut bowl, "distance", &[]).unwrap();
    let parts: Vec<_> = distance.parts.iter().map(|part| part.value.unwrap()).collect();
    let expected = [4.0, 4.0 / 3.0, 4.0, 2.0, 0.6, 4.0];
    assert_eq!(parts.len(), expected.len());
    parts.iter().zip(expected).for_each(|(found, expected)| close(*found, expected));
    let norm = take(&mut bowl, "param_norm", &[]).unwrap();
    close(norm.value.unwrap(), 5.0);
    close(norm.parts[1].value.unwrap(), 4.0);
    let update = take(&mut bowl, "update", &[]).unwrap();
    let parts: Vec<_> = update.parts.iter().map(|part| part.value.unwrap()).collect();
    parts.iter().zip([2.0, 2.0 / 13f64.sqrt(), 1.0]).for_each(|(found, expected)| close(*found, expected));
    let variance = take(&mut bowl, "param_variance", &[]).unwrap();
    close(variance.value.unwrap(), 0.25);
    close(variance.parts[1].value.unwrap(), 4.0);
}

#[test]
fn outputs_of_three_examples() {
    let mut bowl = bowl();
    bowl.logits = Outputs::of_scores(vec![2.0, 0.0, 0.0, 1.0, -1.0, -3.0], vec![0, 0, 1], 2);
    let p = |gap: f64| 1.0 / (1.0 + (-gap).exp());
    close(take(&mut bowl, "accuracy", &[]).unwrap().value.unwrap(), 1.0 / 3.0);
    close(
        take(&mut bowl, "loss", &[]).unwrap().value.unwrap(),
        -(p(2.0).ln() + p(-1.0).ln() + p(-2.0).ln()) / 3.0,
    );
    let parts = take(&mut bowl, "margin", &[]).unwrap().parts;
    let gaps = [2.0, -1.0, -2.0].map(|gap| 2.0 * p(gap) - 1.0);
    let expected = [gaps.iter().sum::<f64>() / 3.0, gaps[2], -1.0 / 3.0, -2.0, -2.0];
    parts.iter().zip(expected).for_each(|(part, expected)| close(part.value.unwrap(), expected));
}

#[test]
fn row_26_scores_that_are_not_numbers_have_a_reason() {
    let mut bowl = bowl();
    bowl.init = Some(vec![0.0; bowl.w0.len()]);
    bowl.slope[3] = f64::NAN;
    bowl.compare();
    bowl.square = |_| Some(f64::NAN);
    bowl.logits = Outputs::of_scores(vec![f64::NAN, 0.0], vec![0], 2);
    for measure in MEASURES.iter().filter(|m| m.description().needs.probe) {
        let name = measure.description().name;
        assert!(matches!(take(&mut bowl, name, &[]), Err(MeasureError::Undefined(_))), "{name}");
    }
}
