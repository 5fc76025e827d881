//! `distance`: ‖w - w_init‖₂ over all parameters; relative to ‖w_init‖; sum and mean over the tensors' Frobenius norms;
//! cosine between w and w_init; the greatest |w - w_init|.
//!
//! For fine-tuning, initialization is the pretrained checkpoint. Freshly initialized heads dominate the relative form;
//! tensors that the initialization lacks, such as the head's in a pretrained body, are left out of all forms.
//! Cost: 1 P over two sets of parameters.

use super::shared::initialization::lacking;
use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use clino_domain::{Against, Needs, TensorParts, TensorStatistics};

/// The measure `distance`; the module has formula, source and cost.
pub struct Distance;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "distance",
    summary: "Distance from initialization: l2, relative, Frobenius by tensor, cosine.",
    formula: "‖w0 - w_init‖₂; relative: /‖w_init‖; sum and mean of ‖W_t - W_t,init‖_F; cosine: w0·w_init/(‖w0‖ ‖w_init‖)",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928); Nagarajan and Kolter 2019 (arXiv 1901.01672)",
    parts: &[
        ("l2", "‖w0 - w_init‖₂; also by tensor"),
        ("relative", "over ‖w_init‖"),
        ("sum_frobenius", "sum over the tensors"),
        ("mean_frobenius", "mean over the tensors"),
        ("cosine", "between w0 and w_init"),
        ("max", "the greatest |w0_i - w_init,i|"),
    ],
    cost: "1 P",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs { init: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Distance {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let position = scope.landscape.position();
        let compared: Vec<(&TensorStatistics, Against)> =
            position.statistics().iter().filter_map(|tensor| Some((tensor, tensor.init?))).collect();
        if compared.is_empty() {
            return Err(lacking(position));
        }
        let total = |one: fn(&Against) -> f64| compared.iter().map(|(_, against)| one(against)).sum::<f64>();
        let square = total(|a| a.delta.square);
        let init = total(|a| a.init_square);
        let dot = total(|a| a.dot);
        let frobenius: Vec<f64> = compared.iter().map(|(_, a)| a.delta.square.sqrt()).collect();
        let sum = frobenius.iter().sum::<f64>();
        let count = frobenius.len() as f64;
        let own: f64 = compared.iter().map(|(tensor, _)| tensor.w.square).sum();
        let over = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        let mut findings = Findings::parts(vec![
            part("l2", square.sqrt()),
            part("relative", over(square.sqrt(), init.sqrt())),
            part("sum_frobenius", sum),
            part("mean_frobenius", sum / count),
            part("cosine", over(dot, own.sqrt() * init.sqrt())),
            part("max", compared.iter().map(|(_, a)| a.farthest).fold(0.0, f64::max)),
        ]);
        let tensor = |((tensor, _), norm): (&(&TensorStatistics, Against), &f64)| TensorParts {
            tensor: tensor.name.clone(),
            parts: vec![part("l2", *norm)],
        };
        findings.tensors = compared.iter().zip(&frobenius).map(tensor).collect();
        Ok(findings)
    }
}
