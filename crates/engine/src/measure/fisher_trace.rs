//! `fisher_trace`: mean over the examples of Σ_c p_c ‖∇ log p_c‖², the trace of the true Fisher matrix, which for
//! cross-entropy is that of the Gauss-Newton matrix; and of the empirical one, with the labels of the probe.
//!
//! By default the sum over classes is sampled: the gradient under the label is known, and a draw takes one of the other
//! classes of each example, with chances as their probabilities have it. (A model that is sure of itself would hardly
//! ever draw another class than the label from all of them, though the trace is mostly made of those.) The noise that
//! draws is named by the content of the example. What samples and labels have in common is computed once. Cost: a gradient
//! for each example and class that comes up. The empirical trace goes to zero with the loss. Not invariant to a rescaling
//! of layers.

use super::cost::Common;
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, Parts, RunSize, part,
};
use crate::landscape::ExampleShare;
use crate::outputs::Scores;
use crate::scope::MeasureScope;
use clino_domain::{Fault, Needs, Work};

/// The measure `fisher_trace`; the module has formula, source and cost.
pub struct FisherTrace;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "fisher_trace",
    summary: "Trace of the Fisher matrix, sampled or exact over the classes, and of the empirical one.",
    formula: "mean_i Σ_c p_c(x_i) ‖∇ log p_c(x_i)‖²; sampled: p_y ‖∇ log p_y‖² + (1 - p_y) ‖∇ log p_c‖² with the label y = y_i, c ≠ y and c ~ p(x_i)/(1 - p_y); empirical: c = y_i",
    source: "Martens 2020 (arXiv 1412.1193), section 5; Kunstner et al. 2019 (arXiv 1905.12558) on the empirical one",
    parts: &[("trace", "of the true Fisher matrix"), ("empirical", "with the labels of the probe")],
    cost: "F + B example by example for the labels, and as often for the samples that differ from what was made (exact: for each other class)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs {
        probe: true,
        likelihood: true,
        scores: true,
        examples: true,
        gradient: true,
        ..Needs::NONE
    },
    parameters: &[
        MeasureParameter {
            name: "exact",
            summary: "All classes instead of samples.",
            kind: ParameterKind::Flag(false),
        },
        draws::draws(4),
        STDERR,
        draws::rel_stderr(0.0),
        MAX_DRAWS,
        MAX_SECONDS,
    ],
    standard: false,
};

/// ‖gradient‖² of examples with labels, each computed once a snapshot.
fn squares(scope: &mut MeasureScope<'_>, wanted: &[(usize, usize)]) -> Result<Vec<f64>, MeasureError> {
    let mut missing: Vec<(usize, usize)> =
        wanted.iter().filter(|key| !scope.cache.squares.contains_key(key)).copied().collect();
    missing.sort_unstable();
    missing.dedup();
    let share =
        |(example, label): &(usize, usize)| ExampleShare { examples: vec![*example], label: Some(*label) };
    let parts: Vec<ExampleShare> = missing.iter().map(share).collect();
    let found = scope.landscape.squares(&parts)?;
    scope.cache.squares.extend(missing.into_iter().zip(found));
    Ok(wanted.iter().map(|key| scope.cache.squares[key]).collect())
}

/// What a run without scores says; a plan with this measure keeps them.
fn unscored() -> MeasureError {
    MeasureError::Fault(Fault::internal("found no scores, expected those of every unit"))
}

/// ‖gradient‖² of every example with its own label.
fn own_squares(scope: &mut MeasureScope<'_>) -> Result<Vec<f64>, MeasureError> {
    let outputs = scope.outputs()?;
    let Some(scores) = &outputs.scores else { return Err(unscored()) };
    let wanted: Vec<_> = scores.labels.iter().copied().enumerate().collect();
    squares(scope, &wanted)
}

/// Adds the cost of [`own_squares`].
fn examples_cost(cost: Cost, run_size: &RunSize) -> Cost {
    cost.outputs().with(Common::Examples, Work::of(1.0, 1.0, run_size.examples as f64))
}

/// A class of one example in a draw.
struct ClassSample {
    example: usize,
    class: usize,
    /// Probability of the example's label, and of all other classes together.
    shares: [f64; 2],
}

/// Another class than the label for every example in a draw: where a uniform number, named by the example's key, falls
/// among their probabilities.
fn sampled(scope: &MeasureScope<'_>, scores: &Scores, keys: &[u64], draw: u32) -> Vec<ClassSample> {
    let position = scope.landscape.position();
    let class = |((example, p), label): ((usize, Vec<f64>), &usize)| {
        let others = || p.iter().copied().enumerate().filter(|(class, _)| class != label);
        let rest: f64 = others().map(|(_, p)| p).sum();
        let mut left = rest * position.uniform(draw, keys[example]);
        let passed = others().find(|(_, p)| {
            left -= p;
            left < 0.0
        });
        let class = passed.or_else(|| others().next_back()).map_or(*label, |(class, _)| class);
        ClassSample { example, class, shares: [p[*label], rest] }
    };
    scores.probabilities().enumerate().zip(&scores.labels).map(class).collect()
}

/// The trace as a draw has it; `own` are the squares under the labels.
fn of_draw(scope: &mut MeasureScope<'_>, samples: &[ClassSample], own: &[f64]) -> Result<f64, MeasureError> {
    let wanted: Vec<(usize, usize)> = samples.iter().map(|sample| (sample.example, sample.class)).collect();
    let squares = squares(scope, &wanted)?;
    let sum = |((sample, own), square): ((&ClassSample, &f64), &f64)| {
        let [label, rest] = sample.shares;
        label * own + rest * square
    };
    Ok(mean(samples.iter().zip(own).zip(&squares).map(sum)))
}

fn mean(xs: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = xs.len() as f64;
    xs.sum::<f64>() / n
}

fn exact(scope: &mut MeasureScope<'_>, scores: &Scores) -> Result<Findings, MeasureError> {
    let n = scores.labels.len();
    let classes = scores.classes;
    let all: Vec<(usize, usize)> = (0..n).flat_map(|i| (0..classes).map(move |class| (i, class))).collect();
    let squares = squares(scope, &all)?;
    let rows = scores.probabilities().zip(squares.chunks(classes));
    let sums: Vec<f64> =
        rows.map(|(p, squares)| p.iter().zip(squares).map(|(p, square)| p * square).sum()).collect();
    Ok(Findings::value(mean(sums.into_iter())))
}

impl Measure for FisherTrace {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, run_size: &RunSize) -> Cost {
        let others = run_size.classes.saturating_sub(1) as f64;
        let draws = if p.flag("exact") { others } else { (0.5 * draws::likely(p)).min(others) };
        let work = Work::of(draws, draws, draws * run_size.examples as f64);
        examples_cost(Cost::own(work), run_size)
    }

    fn memory(&self, p: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        let examples = run_size.examples as f64;
        let others = run_size.classes.saturating_sub(1) as f64;
        let exact = p.flag("exact");
        let known = 1.0 + if exact { others } else { draws::likely(p).min(others) };
        // For each square that is asked for at once: where it is, the part, what is found; the tables of all of them,
        // of the group and of all groups, one of which grows. Keys and samples of a draw.
        let asked = if exact { known } else { 1.0 };
        let lists = examples * (200.0 * asked + 2.5 * 64.0 * known + 160.0);
        MeasureMemory {
            parts: Some(Parts { examples: 1, with_whole: false }),
            lists,
            ..MeasureMemory::default()
        }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        let Some(scores) = &outputs.scores else { return Err(unscored()) };
        if scores.logits.iter().any(|z| !z.is_finite()) {
            return Err(MeasureError::Undefined("a logit is not finite".into()));
        }
        let own = own_squares(scope)?;
        let empirical = mean(own.iter().copied());
        let mut findings = match p.flag("exact") {
            true => exact(scope, scores)?,
            false => {
                let keys = scope.landscape.keys();
                let made = draws::make(scope, p, |scope, draws| {
                    let of = |draw: &u32| {
                        let samples = sampled(scope, scores, &keys, *draw);
                        of_draw(scope, &samples, &own)
                    };
                    draws.iter().map(of).collect()
                })?;
                Findings::draws(made.values, made.ended, Vec::new())
            }
        };
        findings.parts = vec![part("trace", findings.value), part("empirical", empirical)];
        Ok(findings)
    }
}
