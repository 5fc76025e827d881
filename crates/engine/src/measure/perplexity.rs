//! `perplexity` = exp of the mean cross-entropy: of all tokens with a label, and of sequences that count the same.
//!
//! Of a classifier an example is a token. The error is over which sequences are in the probe: tokens of one are not
//! independent. The mean is a ratio, losses over tokens, and has the error of one (linearized); that of its exponential is
//! by the delta method. Cost: shared F. Not invariant to the scale of the logits.

use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameters, RunSize,
    part,
};
use crate::outputs::UnitStatistics;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `perplexity`; the module has formula, source and cost.
pub struct Perplexity;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "perplexity",
    summary: "Exponential of the mean cross-entropy, over all tokens and over sequences.",
    formula: "token: exp(Σ_s L_s / Σ_s n_s), sequence: exp(mean_s L_s / n_s), L_s the cross-entropy of the n_s tokens of sequence s. stderr: token · sqrt(S/(S - 1) Σ_s (L_s - m n_s)²) / Σ_s n_s over the S sequences, m = Σ L_s / Σ n_s",
    source: "Jelinek et al. 1977; stderr: Cochran 1977, section 6.4 (ratio estimate) and the delta method",
    parts: &[
        ("token", "every token with a label counts the same"),
        ("sequence", "every sequence counts the same"),
    ],
    cost: "shared F",
    rescaling: true,
    invariance: "Invariant to whatever keeps the function; moves with the scale of the logits.",
    needs: Needs { probe: true, likelihood: true, ..Needs::NONE },
    parameters: &[],
    standard: false,
};

/// Sum of losses and number of tokens of one sequence.
type Sequence = [f64; 2];

fn sequence(units: &[UnitStatistics]) -> Sequence {
    [units.iter().map(|unit| unit.loss).sum(), units.len() as f64]
}

/// Mean loss of all tokens, and its standard error over sequences; `None` of a single one.
fn mean(sequences: &[Sequence]) -> (f64, Option<f64>) {
    let sum = |i: usize| sequences.iter().map(|sequence| sequence[i]).sum::<f64>();
    let tokens = sum(1);
    let mean = sum(0) / tokens;
    let count = sequences.len() as f64;
    let square: f64 = sequences.iter().map(|[loss, tokens]| (loss - mean * tokens).powi(2)).sum();
    (mean, (count > 1.0).then(|| (square * count / (count - 1.0)).sqrt() / tokens))
}

impl Measure for Perplexity {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().outputs()
    }

    fn memory(&self, _: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        // Units and sums of each sequence.
        MeasureMemory { lists: 48.0 * run_size.sequences as f64, ..MeasureMemory::default() }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        let examples = scope.landscape.examples();
        let sequences: Vec<Sequence> =
            examples.into_iter().map(|units| sequence(&outputs.units[units])).collect();
        let (mean, stderr) = mean(&sequences);
        let of_sequences = sequences.iter().map(|[loss, tokens]| loss / tokens).sum::<f64>();
        let token = libm::exp(mean);
        let parts =
            vec![part("token", token), part("sequence", libm::exp(of_sequences / sequences.len() as f64))];
        Ok(Findings { stderr: stderr.map(|stderr| token * stderr), ..Findings::parts(parts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_over_sequences() {
        // Two sequences of 1 and 3 tokens: m = 2, and both are 1 from m n.
        let (found, stderr) = mean(&[[3.0, 1.0], [5.0, 3.0]]);
        assert_eq!(found, 2.0);
        assert!((stderr.unwrap_or_default() - (2.0f64 * 2.0).sqrt() / 4.0).abs() < 1e-15);
        assert_eq!(mean(&[[3.0, 1.0]]).1, None);
    }
}
