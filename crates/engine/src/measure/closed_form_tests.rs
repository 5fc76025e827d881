//! Measures on a quadratic, where each has a closed form: L(w0 + d) = base + g·d + ½ d·diag(h)d.
#![allow(clippy::unwrap_used)]

use super::tests::{bowl, close, norm, number, request, take};
use super::*;
use crate::device::noise::Purpose;
use crate::outputs::Outputs;
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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

fn along(scale: f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| scale * x).collect()
}

fn sizes(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.abs()).collect()
}

#[test]
fn sam_and_asam_are_one_step_in_their_metric() {
    let mut bowl = bowl();
    let step = along(0.05 / norm(&bowl.slope), &bowl.slope);
    close(take(&mut bowl, "sam", &[]).unwrap().value.unwrap(), bowl.rise(&step));

    let all = sizes(&bowl.w0);
    let asam = |t: &[f64], bowl: &Quadratic| {
        let tg = times(t, &bowl.slope);
        bowl.rise(&times(t, &along(0.5 / norm(&tg), &tg)))
    };
    let options = [("eta", number(0.0)), ("scope", word("all"))];
    close(take(&mut bowl, "asam", &options).unwrap().value.unwrap(), asam(&all, &bowl));
    // The first tensor has no weight in its name.
    let mut weights: Vec<f64> = all.iter().map(|w| w + 0.01).collect();
    weights[..bowl.split].fill(1.0);
    close(take(&mut bowl, "asam", &[]).unwrap().value.unwrap(), asam(&weights, &bowl));
}

#[test]
fn a_scope_of_layers_takes_each_tensor_by_itself() {
    let mut bowl = bowl();
    type Half<'a> = &'a dyn Fn(&[f64], &[f64]) -> Vec<f64>;
    let halves = |x: &[f64], f: Half<'_>, bowl: &Quadratic| {
        let (a, b) = x.split_at(bowl.split);
        let (first, second) = bowl.w0.split_at(bowl.split);
        [f(a, first), f(b, second)].concat()
    };
    let layer = ("scope", word("layer"));
    let step = halves(&bowl.slope, &|g, _| along(0.05 / norm(g), g), &bowl);
    close(take(&mut bowl, "sam", std::slice::from_ref(&layer)).unwrap().value.unwrap(), bowl.rise(&step));

    let options = [layer.clone(), ("alpha", number(0.1)), ("noise", number(0.0)), ("draws", number(1.0))];
    let step = halves(&bowl.slope, &|g, w| along(0.1 * norm(w) / norm(g), g), &bowl);
    let found = take(&mut bowl, "sharpness", &options).unwrap();
    close(found.value.unwrap(), bowl.rise(&step));
    close(part_of(&found, "displacement"), 0.1 * norm(&bowl.w0));

    let noise = bowl.noise(3, Purpose::Gauss);
    let throw = halves(&noise, &|n, w| along(0.1 * norm(w) / norm(n), n), &bowl);
    let options = [layer, ("antithetic", Value::Flag(false)), ("draws", number(4.0))];
    close(take(&mut bowl, "average_case", &options).unwrap().draws[3], bowl.rise(&throw));
}

#[test]
fn a_box_is_climbed_to_its_corner() {
    // Up every coordinate by itself, so that the corner is the maximum: rho |w| along the sign of the slope.
    let mut bowl = bowl();
    bowl.curvature.fill(0.01);
    let corner: Vec<f64> =
        bowl.slope.iter().zip(&bowl.w0).map(|(g, w)| 0.01 * w.abs() * g.signum()).collect();
    close(take(&mut bowl, "worst_case", &[]).unwrap().value.unwrap(), bowl.rise(&corner));
    let plain = along(0.01, &bowl.slope.iter().map(|g| g.signum()).collect::<Vec<_>>());
    let options = [("adaptive", Value::Flag(false))];
    close(take(&mut bowl, "worst_case", &options).unwrap().value.unwrap(), bowl.rise(&plain));
    let corner: Vec<f64> =
        bowl.slope.iter().zip(&bowl.w0).map(|(g, w)| 1e-3 * (w.abs() + 1.0) * g.signum()).collect();
    let keskar = 100.0 * bowl.rise(&corner) / (1.0 + bowl.base());
    close(take(&mut bowl, "keskar", &[]).unwrap().value.unwrap(), keskar);
}

#[test]
fn a_ball_is_climbed_to_where_the_curvature_leads() {
    // Without a slope but in one direction, all curvature in another: the maximum on the ball is known.
    let mut bowl = Quadratic::new(vec![1.0; 6], vec![1e-3, 0.0, 0.0, 0.0, 0.0, 0.0], vec![0.0; 6]);
    let options = [("p", word("l2")), ("adaptive", Value::Flag(false)), ("rho", number(0.5))];
    close(take(&mut bowl, "worst_case", &options).unwrap().value.unwrap(), 0.5e-3);
    let flat = &mut Quadratic::new(vec![1.0; 6], vec![0.0; 6], vec![0.0; 6]);
    assert!(matches!(take(flat, "worst_case", &options), Err(MeasureError::Undefined(_))));
}

#[test]
fn averages_are_their_draws() {
    let mut bowl = bowl();
    let noise = bowl.noise(5, Purpose::Gauss);
    let scaled = along(0.1, &times(&noise, &sizes(&bowl.w0)));
    let antithetic = take(&mut bowl, "average_case", &[]).unwrap();
    let down = along(-1.0, &scaled);
    close(antithetic.draws[5], 0.5 * (bowl.rise(&scaled) + bowl.rise(&down)));
    let one = [("antithetic", Value::Flag(false))];
    close(take(&mut bowl, "average_case", &one).unwrap().draws[5], bowl.rise(&scaled));
    let uniform = [("p", word("linf")), ("adaptive", Value::Flag(false)), one[0].clone()];
    let noise = along(0.1, &bowl.noise(5, Purpose::Uniform));
    close(take(&mut bowl, "average_case", &uniform).unwrap().draws[5], bowl.rise(&noise));

    let low = take(&mut bowl, "low_pass", &[("sigma", number(0.2))]).unwrap();
    close(low.draws[1], bowl.base() + bowl.rise(&along(0.2, &bowl.noise(1, Purpose::Gauss))));
    close(part_of(&low, "rise"), low.value.unwrap() - bowl.base());
    // Antithetic, a draw is base + ½ σ² n·Hn, whose mean is base + ½ σ² tr H.
    let options = [("sigma", number(0.2)), ("antithetic", Value::Flag(true)), ("draws", number(2000.0))];
    let found = take(&mut bowl, "low_pass", &options).unwrap();
    let expected = bowl.base() + 0.5 * 0.04 * bowl.curvature.iter().sum::<f64>();
    assert!((found.value.unwrap() - expected).abs() < 4.0 * found.estimate().unwrap().stderr.unwrap());
}

#[test]
fn draws_end_at_their_target_or_their_limit() {
    let spread = |parameters: &[(&str, Value)]| {
        let found = take(&mut bowl(), "low_pass", parameters).unwrap();
        (found.draws.len(), found.ended.unwrap(), found.estimate().unwrap().stderr.unwrap())
    };
    let sigma = ("sigma", number(0.3));
    assert_eq!(spread(std::slice::from_ref(&sigma)).0, 8);
    let (draws, ended, stderr) =
        spread(&[sigma.clone(), ("stderr", number(0.1)), ("max_draws", number(4096.0))]);
    assert!(ended == Ended::Target && stderr <= 0.1 && draws > 8 && draws % 4 == 0, "{draws} {stderr}");
    let (draws, ended, _) =
        spread(&[sigma.clone(), ("rel_stderr", number(1e-6)), ("max_draws", number(10.0))]);
    assert_eq!((draws, ended), (10, Ended::MaxDraws));
    assert_eq!(spread(&[sigma, ("draws", number(3.0))]).1, Ended::Draws);
}

#[test]
fn time_ends_draws() {
    let mut bowl = bowl();
    let mut cache = SharedCache::default();
    let mut hints = Hints::default();
    let calls = std::sync::atomic::AtomicU32::new(0);
    let clock = || f64::from(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let cache = &mut cache;
    let hints = &mut hints;
    let group = String::new();
    let mut scope = MeasureScope { landscape: &mut bowl, cache, hints, group, clock: &clock };
    let options = [("rel_stderr", number(1e-9)), ("max_draws", number(4096.0)), ("max_seconds", number(3.0))];
    let found = choose(&[request("low_pass", &options)], &[]).unwrap()[0].measure(&mut scope).unwrap();
    assert_eq!((found.draws.len(), found.ended), (8 + 3 * 4, Some(Ended::MaxSeconds)));
}

#[test]
fn curvature_is_that_of_the_bowl() {
    let mut bowl = bowl();
    let trace: f64 = bowl.curvature.iter().sum();
    // Along signs, a diagonal Hessian gives its trace in every draw.
    let found = take(&mut bowl, "hessian_trace", &[("method", word("hutchinson"))]).unwrap();
    found.draws.iter().for_each(|draw| assert!((draw - trace).abs() < 1e-6 * trace, "{draw} {trace}"));
    assert_eq!((found.draws.len(), found.ended), (8, Some(Ended::Target)));

    let top = *bowl.curvature.last().unwrap();
    let bottom = bowl.curvature[0];
    for (method, tolerance) in [("power", 1e-3), ("lanczos", 1e-6)] {
        let options = [("method", word(method)), ("tol", number(1e-6)), ("iters", number(400.0))];
        let found = take(&mut bowl, "hessian_top", &options).unwrap();
        assert!((found.value.unwrap() - top).abs() < tolerance * top, "{method}: {:?}", found.value);
        let residual = part_of(&found, "residual");
        assert!((found.value.unwrap() - top).abs() <= residual + 1e-6, "{method}: {residual}");
        assert_eq!(found.remark, None);
        close(part_of(&found, "dominant"), found.value.unwrap());
        if method == "lanczos" {
            assert!((part_of(&found, "bottom") - bottom).abs() < 1e-6, "{:?}", found.parts);
        }
    }

    let density = take(&mut bowl, "hessian_density", &[]).unwrap();
    let squares: f64 = bowl.curvature.iter().map(|h| h * h).sum();
    assert!((part_of(&density, "trace") - trace).abs() < 1e-6 * trace);
    assert!((part_of(&density, "frobenius_sq") - squares).abs() < 1e-5 * squares);
    // Eleven eigenvalues: the iteration has seen all after eleven steps.
    for run in &density.runs {
        let far = run.nodes.iter().zip(&bowl.curvature).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(run.nodes.len() == 11 && far < 1e-4, "{:?}", run.nodes);
    }
}

#[test]
fn flat_ground_has_no_curvature() {
    // A plain that rises: its gradient is not zero, and its curvature is.
    let mut flat = Quadratic::new(vec![1.0; 6], vec![0.5; 6], vec![0.0; 6]);
    for name in ["hessian_trace", "hessian_top", "hessian_density"] {
        let found = take(&mut flat, name, &[]).unwrap();
        assert!(found.value.unwrap().abs() < 1e-9, "{name}: {:?}", found.value);
    }
}

#[test]
fn gradients_of_examples_give_fisher_and_noise() {
    let mut bowl = bowl();
    let square = norm(&bowl.slope) * norm(&bowl.slope);
    let gradient = take(&mut bowl, "gradient_norm", &[]).unwrap();
    close(gradient.value.unwrap(), square.sqrt());
    close(gradient.tensors[0].parts[0].value.unwrap(), norm(&bowl.slope[..bowl.split]));

    let two = 2f64.ln();
    // Four examples over three classes with probabilities ¼, ½ and ¼; a class c of example i has the square 10 i + c.
    let logits = (0..4).flat_map(|_| [0.0, two, 0.0]).collect();
    bowl.logits = Outputs::of_scores(logits, vec![0, 1, 1, 1], 3);
    bowl.square = |part| part.label.map(|label| 10.0 * part.examples[0] as f64 + label as f64);
    let exact = take(&mut bowl, "fisher_trace", &[("exact", Value::Flag(true))]).unwrap();
    close(exact.value.unwrap(), 15.0 + 1.0);
    close(part_of(&exact, "empirical"), 15.0 + 0.75);
    let sampled = take(&mut bowl, "fisher_trace", &[("draws", number(400.0))]).unwrap();
    let off = sampled.value.unwrap() - exact.value.unwrap();
    assert!(off.abs() < 4.0 * sampled.estimate().unwrap().stderr.unwrap(), "{off}");
    // The label's share is known, and one of two others is drawn: 1 or 2 beside a label of 0, else 0 or 2.
    let least = sampled.estimate().unwrap().min - 15.0;
    assert!(least >= (0.75 * 1.0 + 3.0 * 0.5) / 4.0 - 1e-12, "{least}");
}

/// Mean gradient of a few examples along an axis: those of even places are longer than 1 by SPREAD tenths, the others
/// shorter.
fn mean_on_axis<const SPREAD: u32>(examples: &[usize]) -> f64 {
    let along = |i: &usize| 1.0 + f64::from(SPREAD) * if i.is_multiple_of(2) { 0.1 } else { -0.1 };
    examples.iter().map(along).sum::<f64>() / examples.len() as f64
}

fn on_an_axis<const SPREAD: u32>(examples: usize) -> Quadratic {
    let mut quadratic = Quadratic::new(vec![1.0; 6], vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0], vec![1.0; 6]);
    quadratic.logits = Outputs::of_scores(vec![0.0; 2 * examples], vec![0; examples], 2);
    quadratic.square = |part| Some(mean_on_axis::<SPREAD>(&part.examples).powi(2));
    quadratic.product = |part| Some(mean_on_axis::<SPREAD>(&part.examples));
    quadratic
}

#[test]
fn gradient_noise_is_a_ratio_without_bias_and_its_error_is_that_over_examples() {
    let exact = [("exact", Value::Flag(true))];
    let found = take(&mut on_an_axis::<3>(16), "gradient_noise", &exact).unwrap();
    // The sample variance of ±0.3, and the square of the mean less its own variance.
    let gradients: Vec<f64> = (0..16).map(|i| if i % 2 == 0 { 1.3 } else { 0.7 }).collect();
    let unbiased = |gradients: &[f64]| {
        let n = gradients.len() as f64;
        let mean = gradients.iter().sum::<f64>() / n;
        let variance = gradients.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (n - 1.0);
        [variance, mean * mean - variance / n]
    };
    let [variance, square] = unbiased(&gradients);
    close(part_of(&found, "covariance_trace"), variance);
    close(part_of(&found, "gradient_sq"), square);
    close(part_of(&found, "scale"), variance);
    close(found.value.unwrap(), variance / square);
    // The jackknife, with every example left out in turn.
    let without = |i: usize| [&gradients[..i], &gradients[i + 1..]].concat();
    let left: Vec<f64> = (0..16).map(|i| unbiased(&without(i))[1]).collect();
    let mean = left.iter().sum::<f64>() / 16.0;
    let spread = left.iter().map(|x| (x - mean).powi(2)).sum::<f64>() * 15.0 / 16.0;
    close(part_of(&found, "gradient_sq_stderr"), spread.sqrt());
    let interval = found.interval().unwrap();
    assert!(interval.low < found.value.unwrap() && found.value.unwrap() < interval.high);
    assert!(found.estimate().unwrap().stderr.unwrap() > 0.0);

    // Batches of two tell the same of other sums: 8 of them, of which some are of one kind.
    let batches = take(&mut on_an_axis::<3>(16), "gradient_noise", &[("batch", number(2.0))]).unwrap();
    assert!(part_of(&batches, "covariance_trace") > 0.0 && batches.interval().is_some());
}

#[test]
fn a_noise_scale_that_cannot_be_told_is_no_number() {
    // Gradients of 10 and -8: their mean is 1, and 81/16 of its square is noise.
    let found = take(&mut on_an_axis::<90>(16), "gradient_noise", &[("exact", Value::Flag(true))]).unwrap();
    assert!(found.undetermined.as_ref().unwrap().contains("over 16 batches of the 16 examples"));
    assert_eq!((found.value, found.interval()), (None, None));
    assert!(part_of(&found, "gradient_sq") < 0.0 && part_of(&found, "covariance_trace") > 80.0);
    let few = take(&mut on_an_axis::<3>(2), "gradient_noise", &[]).unwrap();
    assert!(few.undetermined.unwrap().contains("found 2 examples, expected at least 3"));
    let one = take(&mut on_an_axis::<3>(1), "gradient_noise", &[]);
    assert!(matches!(one, Err(MeasureError::Undefined(_))));
}

#[test]
fn critical_steps_end_where_the_loss_is_back() {
    // L(w0 - eta g) - L = -eta g² + ½ eta² h g²: back at eta = 2 / h, whatever the slope.
    let mut bowl = Quadratic::new(vec![1.0; 6], vec![0.3; 6], vec![5.0; 6]);
    let options = [("direction", word("gradient")), ("tolerance", number(1e-6))];
    let found = take(&mut bowl, "critical", &options).unwrap();
    assert!((found.value.unwrap() - 5.0).abs() < 1e-5, "{:?}", found.value);
    assert!(part_of(&found, "low") <= 0.4 && part_of(&found, "high") >= 0.4);

    // One series, one meaning: without a previous snapshot it never goes along something else.
    let first = take(&mut bowl, "critical", &[]);
    assert!(matches!(first, Err(MeasureError::Unavailable(reason)) if reason.contains("previous")));
    // An update of twice the gradient's length has half the step.
    bowl.previous = Some(bowl.w0.iter().zip(&bowl.slope).map(|(w, g)| w + 2.0 * g).collect());
    bowl.compare();
    let found = take(&mut bowl, "critical", &[("tolerance", number(1e-6))]).unwrap();
    assert!((found.value.unwrap() - 10.0).abs() < 1e-4 && found.remark.is_none(), "{:?}", found.value);

    let mut downhill = Quadratic::new(vec![1.0; 6], vec![0.3; 6], vec![0.0; 6]);
    let never = take(&mut downhill, "critical", &options);
    assert!(matches!(never, Err(MeasureError::Undefined(reason)) if reason.contains("not found")));
}

#[test]
fn a_warm_critical_search_walks_the_same_grid_in_few_forwards() {
    let mut hints = Hints::default();
    let mut found = Vec::new();
    for _ in 0..2 {
        let mut bowl = Quadratic::new(vec![1.0; 6], vec![0.3; 6], vec![0.005; 6]);
        let mut cache = SharedCache::default();
        let group = "en".into();
        let mut scope = MeasureScope {
            landscape: &mut bowl,
            cache: &mut cache,
            hints: &mut hints,
            group,
            clock: &|| 0.0,
        };
        let options = [("direction", word("gradient"))];
        let chosen = choose(&[request("critical", &options)], &[]).unwrap();
        found.push(chosen[0].measure(&mut scope).unwrap());
    }
    assert_eq!(found[0].value, found[1].value);
    let [cold, warm] = [&found[0], &found[1]].map(|found| part_of(found, "forwards"));
    assert!(warm < cold && warm <= 8.0, "{cold} {warm}");
}

#[test]
fn a_landscape_is_the_loss_along_its_directions() {
    let mut bowl = bowl();
    let line = take(&mut bowl, "landscape", &[]).unwrap();
    let surface = line.surface.unwrap();
    assert_eq!((surface.dimensions, surface.axis.len(), surface.losses.len()), (1, 21, 21));
    assert_eq!(surface.losses[10], Some(bowl.base()));

    // The direction by its definition: rows of the matrix at the length of the weights', the vector at rest.
    let direction = |draw: u32, bowl: &Quadratic| {
        let noise = bowl.noise(draw, Purpose::Direction);
        let columns = (bowl.w0.len() - bowl.split) / bowl.rows;
        let mut d = vec![0.0; bowl.w0.len()];
        for row in 0..bowl.rows {
            let at = bowl.split + row * columns..bowl.split + (row + 1) * columns;
            let scale = norm(&bowl.w0[at.clone()]) / norm(&noise[at.clone()]);
            d[at.clone()].copy_from_slice(&along(scale, &noise[at]));
        }
        d
    };
    let first = direction(0, &bowl);
    let second = direction(1, &bowl);
    let at = |i: usize, j: Option<usize>, axis: &[f64]| {
        let mut d = along(axis[i], &first);
        j.into_iter().for_each(|j| d.iter_mut().zip(&second).for_each(|(d, s)| *d += axis[j] * s));
        bowl.base() + bowl.rise(&d)
    };
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-8, "{found} {expected}");
    close(surface.losses[3].unwrap(), at(3, None, &surface.axis));
    let options = [("dims", number(2.0)), ("points", number(7.0)), ("span", number(0.5))];
    let mut plane = bowl.clone();
    let plane = take(&mut plane, "landscape", &options).unwrap().surface.unwrap();
    assert_eq!((plane.dimensions, plane.losses.len()), (2, 49));
    close(plane.losses[2 * 7 + 6].unwrap(), at(2, Some(6), &plane.axis));
}

#[test]
fn a_slope_has_its_steepness_in_units_of_distance() {
    // Uniform slope along one direction: what a ray climbs over its length.
    let mut ramp = Quadratic::new(vec![1.0; 8], vec![0.7; 8], vec![0.0; 8]);
    let found = take(&mut ramp, "landscape", &[("points", number(11.0))]).unwrap();
    let surface = found.surface.as_ref().unwrap();
    let climb = (surface.losses[10].unwrap() - surface.losses[0].unwrap()).abs() / 2.0;
    // The matrix is all that moves: its norm is 2.
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-8, "{found} {expected}");
    near(part_of(&found, "score_distance"), climb / 2.0);
    near(part_of(&found, "score"), climb / 5.0);
}

#[test]
fn norms_of_a_matrix_give_spectrum_and_bounds() {
    let mut bowl = bowl();
    // The matrix is [[3, 0, 0], [0, 4, 0]], and was half of it.
    bowl.w0 = vec![1.0, 1.0, 3.0, 0.0, 0.0, 0.0, 4.0, 0.0];
    bowl.split = 2;
    bowl.init = Some(along(0.5, &bowl.w0));
    bowl.compare();
    bowl.logits = Outputs::of_scores(vec![0.5, 0.0, 0.0, 2.0], vec![0, 1], 2);
    let spectrum = take(&mut bowl, "spectrum", &[]).unwrap();
    close(spectrum.value.unwrap(), 25.0 / 16.0);
    close(part_of(&spectrum, "spectral"), 4.0);
    let of = |name: &str| spectrum.tensors[0].parts.iter().find(|part| part.name == name).unwrap().value;
    close(of("nuclear").unwrap(), 7.0);
    close(of("distance_spectral").unwrap(), 2.0);
    assert_eq!(of("alpha"), None, "two eigenvalues have no law");

    let bounds = take(&mut bowl, "norm_bounds", &[]).unwrap();
    let g = 2.0 * 0.5f64.ln();
    close(part_of(&bounds, "log_prod_spec_over_margin"), 16f64.ln() - g);
    close(part_of(&bounds, "fro_over_spec"), 25.0 / 16.0);
    close(part_of(&bounds, "fro_distance"), 6.25);
    close(part_of(&bounds, "spec_distance"), 4.0);
    close(part_of(&bounds, "inverse_margin"), 4.0);
    close(part_of(&bounds, "log_spec_init_main"), 16f64.ln() - g + (6.25f64 / 16.0).ln());
    let adjusted = take(&mut bowl, "norm_bounds", &[("adjust", Value::Flag(true))]).unwrap();
    close(part_of(&adjusted, "log_prod_spec"), 0.5 * (16f64.ln() - 2f64.ln()));
    close(part_of(&adjusted, "inverse_margin"), 2f64.sqrt());
    bowl.init = None;
    bowl.compare();
    assert!(matches!(take(&mut bowl, "norm_bounds", &[]), Err(MeasureError::Unavailable(_))));
}

#[test]
fn pac_bayes_finds_the_noise_and_writes_its_bounds() {
    let mut bowl = bowl();
    bowl.curvature.fill(2.0);
    bowl.slope.fill(0.0);
    bowl.logits = Outputs::of_scores(vec![0.0, 1.0], vec![1], 2);
    assert!(matches!(take(&mut bowl, "pac_bayes", &[]), Err(MeasureError::Unavailable(_))));
    bowl.init = Some(vec![0.25; bowl.w0.len()]);
    bowl.compare();
    let found = take(&mut bowl, "pac_bayes", &[]).unwrap();
    // The accuracy of this landscape is exp(-|rise|): its mean falls by a tenth, give or take a hundredth.
    let sigma = found.value.unwrap();
    let mean = (0..10).map(|k| (-bowl.rise(&along(sigma, &bowl.noise(k, Purpose::Gauss))).abs()).exp());
    let mean: f64 = mean.sum::<f64>() / 10.0;
    assert!((1.0 - mean - 0.1).abs() < 0.01, "{sigma}: {mean}");
    assert!(found.stderr.unwrap() > 0.0 && found.remark.is_none());

    let w = &bowl.w0[bowl.split..];
    let init = &bowl.init.as_ref().unwrap()[bowl.split..];
    let d: Vec<f64> = w.iter().zip(init).map(|(w, i)| w - i).collect();
    let rest = |s: f64| (1.0 / s).ln() + 10.0;
    close(part_of(&found, "init"), dot(&d, &d) / (4.0 * sigma * sigma) + rest(sigma));
    close(part_of(&found, "orig"), dot(w, w) / (4.0 * sigma * sigma) + rest(sigma));
    let s = part_of(&found, "sigma_magnitude");
    let top = 1e-6 + (s * s + 1.0) * dot(w, w) / w.len() as f64;
    let logs: f64 = d.iter().map(|d| (top / (1e-6 + s * s * d * d)).ln()).sum();
    close(part_of(&found, "mag_orig"), 0.25 * logs + rest(s));

    // A model that no noise harms: the search ends at its limit and says so.
    let mut flat = Quadratic::new(vec![1.0; 6], vec![0.0; 6], vec![0.0; 6]);
    (flat.init, flat.logits) = (Some(vec![0.5; 6]), bowl.logits.clone());
    flat.compare();
    let unharmed = take(&mut flat, "pac_bayes", &[]).unwrap();
    assert!(unharmed.remark.unwrap().contains("does not fall"));
}
