//! `gradient_noise`: the simple noise scale tr(Sigma) / ‖G‖² (McCandlish et al. 2018), Sigma the covariance of the
//! gradients of single examples, G the gradient of all that the probe was drawn from.
//!
//! From two batch sizes, b and B: E‖g_b‖² = ‖G‖² + tr(Sigma) / b. Small batches are drawn by chance; the noise that
//! draws them is named by the content of the examples, so that their order in the probe does not matter. With `exact`
//! each batch is one example. Both tr(Sigma) and ‖G‖² are without bias; their ratio is not. Error bar and interval are
//! over which examples are in the probe: by the jackknife, leaving out each small batch in turn, and by Fieller's
//! theorem. Where ‖G‖² is not told from 0, as near interpolation, there is no number. Cost: F + B, in small batches. Not
//! invariant to a rescaling of layers.

use super::shared::ratio::Ratio;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, Parts, RunSize, part,
};
use crate::landscape::ExampleShare;
use crate::scope::MeasureScope;
use clino_domain::{Needs, Work};
use std::ops::Range;

/// The measure `gradient_noise`; the module has formula, source and cost.
pub struct GradientNoise;

/// Minimum number of small batches, if the probe has as many examples: errors are taken over them.
const BATCHES: usize = 8;
/// Fewest that tell an error: without one of them there must be two sizes of batches.
const FEWEST: usize = 3;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "gradient_noise",
    summary: "Gradient noise scale: trace of the covariance of the examples' gradients over the squared gradient.",
    formula: "tr Σ/‖G‖² with tr Σ = (mean_j ‖g_j‖² - ‖g‖²)/(mean_j 1/b_j - 1/B) over small batches j of b_j of the B examples, drawn by chance, and ‖G‖² = ‖g‖² - tr Σ/B. Both are unbiased, their ratio is not: by about its squared relative error. stderr: jackknife over the batches; interval: Fieller's; undefined where ‖G‖² is not told from 0",
    source: "McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1; Fieller 1954",
    parts: &[
        ("scale_unbiased", "tr Σ/‖G‖²"),
        ("scale", "tr Σ/‖g‖², which is of this probe alone: ‖g‖² has tr Σ/B of noise in it"),
        ("covariance_trace", "tr Σ"),
        ("gradient_sq", "‖G‖²; may be negative"),
        ("gradient_sq_stderr", "its standard error"),
    ],
    cost: "shared F + B, and F + B in small batches",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs { probe: true, examples: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "exact",
            summary: "Each example a batch.",
            kind: ParameterKind::Flag(false),
        },
        MeasureParameter {
            name: "batch",
            summary: "Maximum examples in a small batch; at most an eighth of the probe is used.",
            kind: ParameterKind::Count { default: 8, least: 1, most: 1 << 20 },
        },
    ],
    standard: false,
};

/// How many small batches.
fn count(p: &MeasureParameters, examples: usize) -> usize {
    let most = if p.flag("exact") { 1 } else { p.count("batch") as usize };
    examples.div_ceil(most.min(examples / BATCHES).max(1))
}

/// Examples in an order of chance, by their units, cut into parts whose sizes differ by one at most.
fn parts(scope: &MeasureScope<'_>, examples: &[Range<usize>], count: usize) -> Vec<Vec<Range<usize>>> {
    let position = scope.landscape.position();
    let units = scope.landscape.keys();
    let key = |example: &Range<usize>| units[example.start];
    let mut order = examples.to_vec();
    order.sort_by_key(|example| (position.place(key(example)), key(example)));
    let end = |i: usize| i * order.len() / count;
    (0..count).map(|i| order[end(i)..end(i + 1)].to_vec()).collect()
}

fn share(part: &[Range<usize>]) -> ExampleShare {
    ExampleShare { examples: part.iter().cloned().flatten().collect(), label: None }
}

/// A batch of a number of examples.
#[derive(Debug, Clone, Copy)]
struct DrawnBatch {
    examples: f64,
    /// Squared norm of the gradient of batch j: ‖g_j‖².
    square: f64,
    /// Its product with the whole gradient: g_j · g.
    along: f64,
}

/// All examples, and sums over small batches.
#[derive(Debug, Clone, Copy)]
struct Whole {
    examples: f64,
    square: f64,
    batches: f64,
    squares: f64,
    inverses: f64,
}

impl Whole {
    fn new(square: f64, batches: &[DrawnBatch]) -> Self {
        let sum = |of: fn(&DrawnBatch) -> f64| batches.iter().map(of).sum::<f64>();
        Self {
            examples: sum(|batch| batch.examples),
            square,
            batches: batches.len() as f64,
            squares: sum(|batch| batch.square),
            inverses: sum(|batch| 1.0 / batch.examples),
        }
    }

    fn without(self, batch: &DrawnBatch) -> Self {
        let left = self.examples - batch.examples;
        let all = self.examples / left;
        let own = batch.examples / left;
        Self {
            examples: left,
            square: all * all * self.square - 2.0 * all * own * batch.along + own * own * batch.square,
            batches: self.batches - 1.0,
            squares: self.squares - batch.square,
            inverses: self.inverses - 1.0 / batch.examples,
        }
    }

    /// tr Σ and ‖G‖².
    fn unbiased(&self) -> [f64; 2] {
        let gap = self.inverses / self.batches - 1.0 / self.examples;
        let trace = (self.squares / self.batches - self.square) / gap;
        [trace, self.square - trace / self.examples]
    }
}

fn findings(whole: &Whole, batches: &[DrawnBatch]) -> Findings {
    let [trace, square] = whole.unbiased();
    let plain = part("scale", trace / whole.square);
    if batches.len() < FEWEST {
        let reason =
            format!("found {} examples, expected at least {FEWEST}: no error can be told", whole.examples);
        let parts = vec![part("scale_unbiased", None), plain, part("covariance_trace", trace)];
        let parts = parts.into_iter().chain([part("gradient_sq", square), part("gradient_sq_stderr", None)]);
        return Findings { undetermined: Some(reason), ..Findings::parts(parts.collect()) };
    }
    let without: Vec<[f64; 2]> = batches.iter().map(|batch| whole.without(batch).unbiased()).collect();
    let ratio = Ratio::jackknife([trace, square], &without);
    let undetermined = (!ratio.is_told()).then(|| {
        format!(
            "undetermined: the squared gradient less its noise is {square:.3e} ± {:.1e} over {} batches of the {} \
            examples, which cannot be told from 0; use a larger probe",
            ratio.below_stderr(),
            batches.len(),
            whole.examples
        )
    });
    let scale = undetermined.is_none().then(|| ratio.value());
    let parts = vec![
        part("scale_unbiased", scale),
        plain,
        part("covariance_trace", trace),
        part("gradient_sq", square),
        part("gradient_sq_stderr", ratio.below_stderr()),
    ];
    let stderr = scale.map(|_| ratio.stderr());
    let interval = ratio.interval();
    Findings { stderr, interval, undetermined, ..Findings::parts(parts) }
}

impl Measure for GradientNoise {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, run_size: &RunSize) -> Cost {
        let batches = count(p, run_size.sequences.max(1)) as f64;
        Cost::own(Work::of(1.0, 1.0, 2.0 * batches)).slope()
    }

    fn vectors(&self, _: &MeasureParameters, _: &RunSize) -> u32 {
        1
    }

    fn memory(&self, p: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        let examples = run_size.sequences;
        let parts = count(p, examples.max(1));
        // Keys with the table that makes them, the order, and for each part what is found of it.
        let lists = 112.0 * run_size.examples as f64 + 48.0 * examples as f64 + 160.0 * parts as f64;
        let units = examples.div_ceil(parts.max(1)).saturating_mul(run_size.longest);
        let parts = Parts { examples: units, with_whole: true };
        MeasureMemory { parts: Some(parts), lists, ..MeasureMemory::default() }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let examples = scope.landscape.examples();
        if examples.len() < 2 {
            return Err(MeasureError::Undefined(
                "the probe has only one example, expected at least 2".into(),
            ));
        }
        let square = scope.slope()?.norms.squares.iter().sum::<f64>();
        if square == 0.0 {
            return Err(MeasureError::Undefined("the gradient is zero".into()));
        }
        let parts = parts(scope, &examples, count(p, examples.len()));
        let shares: Vec<ExampleShare> = parts.iter().map(|part| share(part)).collect();
        let found = scope.landscape.squares_and_products(&shares)?;
        let batch = |(part, [square, along]): (&Vec<Range<usize>>, [f64; 2])| DrawnBatch {
            examples: part.len() as f64,
            square,
            along,
        };
        let batches: Vec<DrawnBatch> = parts.iter().zip(found).map(batch).collect();
        Ok(findings(&Whole::new(square, &batches), &batches))
    }
}
