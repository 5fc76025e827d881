//! `gradient_norm`: ‖g‖₂ of the mean loss of the probe, over all parameters and by tensor.
//!
//! Cost: the shared F + B. Not invariant to a rescaling of layers.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use clino_domain::{Needs, TensorParts};

/// The measure `gradient_norm`; the module has formula, source and cost.
pub struct GradientNorm;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "gradient_norm",
    summary: "l2 norm of the gradient of the loss, of all parameters and by tensor.",
    formula: "‖g‖₂, and ‖g_t‖₂ of each tensor t",
    source: "definition",
    parts: &[],
    cost: "shared F + B",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[],
    standard: false,
};

impl Measure for GradientNorm {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().slope()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let norms = scope.slope()?.norms;
        let tensors = scope.landscape.position().slots().iter().zip(&norms.squares);
        let tensors = tensors.map(|(slot, square)| TensorParts {
            tensor: slot.name.clone(),
            parts: vec![part("l2", square.sqrt())],
        });
        Ok(Findings { tensors: tensors.collect(), ..Findings::value(norms.global()) })
    }
}
