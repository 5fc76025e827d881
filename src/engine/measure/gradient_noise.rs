//! `gradient_noise`: the simple noise scale tr(Sigma) / ‖g‖² (McCandlish et al. 2018), Sigma the covariance of the
//! gradients of single examples.
//!
//! From two batch sizes, b and B: E‖g_b‖² = ‖G‖² + tr(Sigma) / b. The small batches are consecutive examples of the
//! probe; with `exact` each is one example. The unbiased ‖G‖² is negative near interpolation, and the unbiased scale with
//! it. Cost: F + B, in small batches. Not invariant to a rescaling of layers.

use super::fisher_trace;
use super::{Cost, Description, Findings, Ground, Kind, Measure, Parameter, Parameters, Shortfall, part};
use crate::domain::{Needs, Work};
use crate::engine::landscape::Share;
use crate::engine::scope::Scope;

/// See the module.
pub struct GradientNoise;

static DESCRIPTION: Description = Description {
    name: "gradient_noise",
    summary: "Gradient noise scale: trace of the covariance of the examples' gradients over the squared gradient.",
    formula: "tr Σ/‖g‖², tr Σ = (mean_j ‖g_j‖² - ‖g‖²)/(mean_j 1/b_j - 1/B) over small batches j of b_j of the B examples; unbiased: ‖g‖² less tr Σ/B",
    source: "McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1",
    parts: &[
        ("scale", "tr Σ/‖g‖²"),
        ("covariance_trace", "tr Σ"),
        ("scale_unbiased", "with ‖g‖² less its own noise; negative near interpolation"),
    ],
    cost: "shared F + B, and F + B in small batches",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter { name: "exact", summary: "Each example a batch.", kind: Kind::Flag(false) },
        Parameter {
            name: "batch",
            summary: "Examples of a small batch, at most half of the probe.",
            kind: Kind::Count { default: 8, least: 1, most: 1 << 20 },
        },
    ],
    standard: false,
};

fn parts(p: &Parameters, examples: usize) -> Vec<Share> {
    let most = if p.flag("exact") { 1 } else { p.count("batch") as usize };
    let size = most.min(examples / 2).max(1);
    let end = |start: usize| (start + size).min(examples);
    (0..examples).step_by(size).map(|start| Share { examples: start..end(start), label: None }).collect()
}

impl Measure for GradientNoise {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn cost(&self, p: &Parameters, ground: &Ground) -> Cost {
        match p.flag("exact") {
            true => fisher_trace::examples_cost(Cost::default(), ground).slope(),
            false => {
                let batches = parts(p, ground.examples).len() as f64;
                Cost::own(Work::of(1.0, 1.0, batches)).slope()
            }
        }
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let examples = scope.outputs()?.labels.len();
        if examples < 2 {
            return Err(Shortfall::Undefined("the probe has a single example".into()));
        }
        let square = scope.slope()?.norms.squares.iter().sum::<f64>();
        let parts = parts(p, examples);
        let squares = match p.flag("exact") {
            true => fisher_trace::own_squares(scope)?,
            false => scope.landscape.squares(&parts)?,
        };
        let mean = |xs: &mut dyn Iterator<Item = f64>| xs.sum::<f64>() / parts.len() as f64;
        let small = mean(&mut squares.iter().copied());
        let inverse = mean(&mut parts.iter().map(|part| 1.0 / part.examples.len() as f64));
        let all = examples as f64;
        let trace = (small - square) / (inverse - 1.0 / all);
        let over = |below: f64| (below != 0.0).then(|| trace / below);
        if square == 0.0 {
            return Err(Shortfall::Undefined("the gradient is zero".into()));
        }
        Ok(Findings::parts(vec![
            part("scale", over(square)),
            part("covariance_trace", trace),
            part("scale_unbiased", over(square - trace / all)),
        ]))
    }
}
