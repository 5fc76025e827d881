//! `margin`: m_i = s(y_i) - max_{c ≠ y_i} s(c), with s the probabilities (Bassi, Ataman, Cho 2024) or the logits
//! (Jiang et al. 2019: 10th percentile, here with its sign: the max(1, n / 10)-th smallest).
//!
//! Cost: shared F. Probability margins saturate at 1 late in training; logit margins grow with the scale of the logits
//! without any change of prediction.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use crate::scores::tenth_percentile;
use clino_domain::Needs;

/// The measure `margin`; the module has formula, source and cost.
pub struct Margin;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "margin",
    summary: "Score of the label minus the best other score: probability mean and minimum; logit mean, \
             minimum and 10th percentile.",
    formula: "m_i = s(y_i) - max over c ≠ y_i of s(c), s the probabilities or the logits; p10: the max(1, n/10)-th smallest",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928); Jiang et al. 2019 (arXiv 1912.02178)",
    parts: &[
        ("prob_mean", "mean margin of the probabilities"),
        ("prob_min", "the least"),
        ("logit_mean", "mean margin of the logits"),
        ("logit_min", "the least"),
        ("logit_p10", "their 10th percentile"),
    ],
    cost: "shared F",
    rescaling: true,
    invariance: "Invariant to whatever keeps the function; logit margins grow with the scale of the logits, probability margins saturate.",
    needs: Needs { probe: true, classes: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Margin {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().outputs()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        if outputs.classified().any(|scores| !scores.finite) {
            return Err(MeasureError::Undefined("a logit is not finite".into()));
        }
        let logit: Vec<f64> = outputs.classified().map(|scores| scores.logit_margin).collect();
        let prob: Vec<f64> = outputs.classified().map(|scores| scores.probability_margin).collect();
        let n = logit.len();
        let mean = |xs: &[f64]| xs.iter().sum::<f64>() / n as f64;
        let least = |xs: &[f64]| xs.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Findings::parts(vec![
            part("prob_mean", mean(&prob)),
            part("prob_min", least(&prob)),
            part("logit_mean", mean(&logit)),
            part("logit_min", least(&logit)),
            part("logit_p10", tenth_percentile(&logit)),
        ]))
    }
}
