//! `gradient_norm`: ‖g‖₂ of the mean loss of the probe, over all parameters and by tensor.
//!
//! Cost: the shared F + B. Not invariant to a rescaling of layers.

use super::{Cost, Description, Findings, Ground, Measure, Parameters, Shortfall, part};
use crate::scope::Scope;
use clino_domain::{Needs, TensorParts};

/// The measure `gradient_norm`; the module has formula, source and cost.
pub struct GradientNorm;

static DESCRIPTION: Description = Description {
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
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn cost(&self, _: &Parameters, _: &Ground) -> Cost {
        Cost::default().slope()
    }

    fn measure(&self, scope: &mut Scope<'_>, _: &Parameters) -> Result<Findings, Shortfall> {
        let norms = scope.slope()?.norms;
        let tensors = scope.landscape.position().slots().iter().zip(&norms.squares);
        let tensors = tensors.map(|(slot, square)| TensorParts {
            tensor: slot.name.clone(),
            parts: vec![part("l2", square.sqrt())],
        });
        Ok(Findings { tensors: tensors.collect(), ..Findings::value(norms.global()) })
    }
}
