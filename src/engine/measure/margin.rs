//! `margin`: m_i = s(y_i) - max_{c ≠ y_i} s(c), with s the probabilities (Bassi, Ataman, Cho 2024) or the logits
//! (Jiang et al. 2019: 10th percentile, here with its sign: the max(1, n / 10)-th smallest).
//!
//! Cost: shared F. Probability margins saturate at 1 late in training; logit margins grow with the scale of the logits
//! without any change of prediction.

use super::{Description, Findings, Measure, Parameters, Shortfall, part};
use crate::domain::Needs;
use crate::engine::landscape::{Outputs, Scope, log_sum_exp};

/// See the module.
pub struct Margin;

static DESCRIPTION: Description = Description {
    name: "margin",
    summary: "Score of the label less the best other score: probability mean and least; logit mean, least and 10th percentile.",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928); Jiang et al. 2019 (arXiv 1912.02178)",
    cost: "shared F",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Margin {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, _: &Parameters) -> Result<Findings, Shortfall> {
        let outputs = scope.outputs()?;
        if outputs.classes < 2 {
            return Err(Shortfall::Undefined("the model has a single class".into()));
        }
        if outputs.logits.iter().any(|z| !z.is_finite()) {
            return Err(Shortfall::Undefined("a score is not finite".into()));
        }
        let (logit, prob) = margins(&outputs);
        let n = logit.len();
        let mean = |xs: &[f64]| xs.iter().sum::<f64>() / n as f64;
        let least = |xs: &[f64]| xs.iter().copied().fold(f64::INFINITY, f64::min);
        let mut sorted = logit.clone();
        sorted.sort_by(f64::total_cmp);
        Ok(Findings::parts(vec![
            part("prob_mean", mean(&prob)),
            part("prob_min", least(&prob)),
            part("logit_mean", mean(&logit)),
            part("logit_min", least(&logit)),
            part("logit_p10", sorted[(n / 10).max(1) - 1]),
        ]))
    }
}

/// Logit and probability margins of every example.
fn margins(outputs: &Outputs) -> (Vec<f64>, Vec<f64>) {
    let one = |(row, label): (&[f64], usize)| {
        let others = row.iter().enumerate().filter(|(class, _)| *class != label);
        let best = others.map(|(_, z)| *z).fold(f64::NEG_INFINITY, f64::max);
        let total = log_sum_exp(row);
        (row[label] - best, libm::exp(row[label] - total) - libm::exp(best - total))
    };
    outputs.examples().map(one).unzip()
}
