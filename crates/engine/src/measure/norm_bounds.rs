//! `norm_bounds`: the norm-based measures of Jiang et al. 2020 and Dziugaite et al. 2020, over all matrices (tensors with
//! two or more axes, embeddings among them; biases and normalization vectors are left out), and the path norm of ReLU
//! networks.
//!
//! gamma is the 10th percentile of the logit margins. Products of spectral norms say nothing of residuals and LayerNorm:
//! they are weak for transformers. With `adjust` every row is adjusted to the sample size as in the published tables.
//! Cost: singular values of every matrix and of its move, shared F, and 1 F for the path norm.

use super::shared::initialization::lacking;
use super::spectrum::{spectra, with_spectra};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, part,
};
use crate::landscape::Matrices;
use crate::scope::MeasureScope;
use crate::scores::tenth_percentile;
use crate::spectrum::Spectrum;
use clino_domain::{Needs, Work};

/// The measure `norm_bounds`; the module has formula, source and cost.
pub struct NormBounds;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "norm_bounds",
    summary: "Norm-based bounds: products, sums and ratios of spectral and Frobenius norms, over the margin, and the path norm.",
    formula: "log_prod_spec = Σ log ‖W_l‖₂², log_prod_fro = Σ log ‖W_l‖_F², fro_over_spec = Σ ‖W_l‖_F²/‖W_l‖₂², .._over_margin: - 2 log γ, log_sum: log D + log_prod/D, log_spec_init_main: + log Σ ‖W_l - W_l,init‖_F²/‖W_l‖₂², path_norm = Σ f_{w²}(1)",
    source: "Jiang et al. 2020 (arXiv 1912.02178), appendix; Dziugaite et al. 2020 (arXiv 2010.11924)",
    parts: &[
        ("log_prod_spec_over_margin", "Σ log ‖W_l‖₂² - 2 log γ"),
        ("log_prod_spec", "without the margin"),
        ("log_prod_fro_over_margin", "Σ log ‖W_l‖_F² - 2 log γ"),
        ("log_prod_fro", "without the margin"),
        ("log_sum_spec", "log D + log_prod_spec/D"),
        ("log_sum_spec_over_margin", "the same over the margin"),
        ("log_sum_fro", "log D + log_prod_fro/D"),
        ("log_sum_fro_over_margin", "the same over the margin"),
        ("fro_over_spec", "sum of the stable ranks"),
        ("log_spec_orig_main", "log_prod_spec_over_margin + log fro_over_spec"),
        ("param_norm", "Σ ‖W_l‖_F²"),
        ("inverse_margin", "1/γ²"),
        ("log_spec_init_main", "log_prod_spec_over_margin + log Σ ‖W_l - W_l,init‖_F²/‖W_l‖₂²"),
        ("fro_distance", "Σ ‖W_l - W_l,init‖_F²"),
        ("spec_distance", "Σ ‖W_l - W_l,init‖₂²"),
        ("path_norm", "of ReLU networks"),
        ("path_norm_over_margin", "over γ²"),
    ],
    cost: "singular values of every matrix and of its move, shared F, and an example for the path norm",
    rescaling: true,
    invariance: "log_prod_*, fro_over_spec, the main terms and the path norm are invariant to a rescaling of layers; sums of norms and distances are not. Over the margin: moves with the scale of the logits.",
    needs: Needs { probe: true, classes: true, init: true, elements: true, ..Needs::NONE },
    parameters: &[MeasureParameter {
        name: "adjust",
        summary: "½(x - log n) for logarithms, √(x/n) for the others, n the examples of the probe.",
        kind: ParameterKind::Flag(false),
    }],
    standard: false,
};

fn sum(xs: impl Iterator<Item = f64>) -> f64 {
    xs.sum()
}

/// Rows that need the weights and the margin `2 log gamma` alone.
fn of_weights(own: &[Spectrum], gamma: f64) -> Vec<(&'static str, f64)> {
    let n = own.len() as f64;
    let g = 2.0 * gamma.abs().ln();
    let spec = sum(own.iter().map(|s| s.top().ln()));
    let fro = sum(own.iter().map(|s| s.frobenius.ln()));
    let ranks = sum(own.iter().map(|s| s.frobenius / s.top()));
    vec![
        ("log_prod_spec_over_margin", spec - g),
        ("log_prod_spec", spec),
        ("log_prod_fro_over_margin", fro - g),
        ("log_prod_fro", fro),
        ("log_sum_spec", n.ln() + spec / n),
        ("log_sum_spec_over_margin", n.ln() + (spec - g) / n),
        ("log_sum_fro", n.ln() + fro / n),
        ("log_sum_fro_over_margin", n.ln() + (fro - g) / n),
        ("fro_over_spec", ranks),
        ("log_spec_orig_main", spec - g + ranks.ln()),
        ("param_norm", sum(own.iter().map(|s| s.frobenius))),
        ("inverse_margin", 1.0 / (gamma * gamma)),
    ]
}

/// Rows that need the initialization.
fn of_moves(own: &[Spectrum], moved: &[Spectrum], gamma: f64) -> Vec<(&'static str, f64)> {
    let spec = sum(own.iter().map(|s| s.top().ln()));
    let g = 2.0 * gamma.abs().ln();
    let ratios = sum(own.iter().zip(moved).map(|(s, d)| d.frobenius / s.top()));
    vec![
        ("log_spec_init_main", spec - g + ratios.ln()),
        ("fro_distance", sum(moved.iter().map(|d| d.frobenius))),
        ("spec_distance", sum(moved.iter().map(Spectrum::top))),
    ]
}

/// The adjustment of the published tables to `examples`.
fn adjusted(name: &str, value: f64, examples: f64) -> f64 {
    match name.starts_with("log_") {
        true => 0.5 * (value - examples.ln()),
        false => (value / examples).sqrt(),
    }
}

impl Measure for NormBounds {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, run_size: &RunSize) -> Cost {
        let path = Work::of(1.0 / run_size.examples.max(1) as f64, 0.0, 1.0);
        let cost = Cost::own(if run_size.path_norm { path } else { Work::NONE }).outputs();
        with_spectra(with_spectra(cost, run_size, Matrices::Weights), run_size, Matrices::Moves)
    }

    fn memory(&self, _: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        MeasureMemory { squared: run_size.path_norm, ..MeasureMemory::default() }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        let margins: Vec<f64> = outputs.classified().map(|scores| scores.logit_margin).collect();
        let gamma = tenth_percentile(&margins);
        if !gamma.is_finite() || gamma == 0.0 {
            return Err(MeasureError::Undefined(format!("the 10th percentile of the margins is {gamma}")));
        }
        let own = spectra(scope, Matrices::Weights)?;
        let moved = spectra(scope, Matrices::Moves)?;
        if moved.is_empty() {
            return Err(lacking(scope.landscape.position()));
        }
        if let Some(zero) = own.iter().find(|spectrum| spectrum.top() == 0.0) {
            let name = &scope.landscape.position().slots()[zero.slot].name;
            return Err(MeasureError::Undefined(format!("{name} is zero, so its logarithm is undefined")));
        }
        let mut rows = of_weights(&own, gamma);
        rows.extend(of_moves(&own, &moved, gamma));
        if let Some(path) = scope.landscape.path_norm()? {
            rows.extend([("path_norm", path), ("path_norm_over_margin", path / (gamma * gamma))]);
        }
        let examples = outputs.units.len() as f64;
        let adjust = |(name, value): (&str, f64)| {
            part(name, if p.flag("adjust") { adjusted(name, value, examples) } else { value })
        };
        Ok(Findings::parts(rows.into_iter().map(adjust).collect()))
    }
}
