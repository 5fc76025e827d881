//! `spectrum`: of every matrix (all tensors with two or more axes, embeddings among them) the spectral norm, the stable
//! rank, and the exponent of a power law fitted to its squared singular values (Martin and Mahoney 2021).
//!
//! alpha needs ten eigenvalues and means little for small matrices; the choice of the lower end makes it jump between
//! snapshots. Needs no data. Cost: the singular values of every matrix. Stable rank and alpha are invariant to a
//! rescaling of layers, norms are not.

use super::cost::Common;
use super::shared::power_law;
use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::landscape::Matrices;
use crate::scope::MeasureScope;
use crate::spectrum::Spectrum as Values;
use clino_domain::{Needs, Part, TensorParts, Work};
use std::sync::Arc;

/// The measure `spectrum`; the module has formula, source and cost.
pub struct SpectrumMeasure;

/// Fewest eigenvalues for a power law.
const LEAST: usize = 10;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "spectrum",
    summary: "Spectral norm, stable rank and power-law exponent of every weight matrix.",
    formula: "of each matrix with singular values σ_i: σ_max, Σ σ_i²/σ_max², and α of a power law on λ_i = σ_i²; stable_rank and alpha are means over the matrices, spectral the greatest",
    source: "Martin and Mahoney 2021 (arXiv 2002.06716); WeightWatcher",
    parts: &[
        ("stable_rank", "mean over the matrices; also by tensor"),
        ("spectral", "the greatest; also by tensor"),
        ("alpha", "mean over the matrices with ten eigenvalues; also by tensor"),
    ],
    cost: "singular values of every matrix",
    rescaling: true,
    invariance: "Stable rank and alpha are invariant to a rescaling of layers; norms are not.",
    needs: Needs { init_if_given: true, elements: true, ..Needs::NONE },
    parameters: &[],
    standard: false,
};

fn of_matrix(values: &Values, moved: Option<&Values>) -> Vec<Part> {
    let squares = &values.squares;
    let top = values.top();
    let log10 = |x: f64| (x > 0.0).then(|| x.log10());
    let law = (squares.len() >= LEAST).then(|| power_law::fit(squares)).flatten();
    vec![
        part("spectral", top.sqrt()),
        part("stable_rank", values.stable_rank()),
        part("alpha", law.map(|law| law.alpha)),
        part("alpha_xmin", law.map(|law| law.from)),
        part("alpha_ks", law.map(|law| law.distance)),
        part("alpha_weighted", law.zip(log10(top)).map(|(law, log)| law.alpha * log)),
        part("nuclear", squares.iter().map(|square| square.sqrt()).sum::<f64>()),
        part("log10_norm", log10(values.frobenius)),
        part("log10_spectral", log10(top)),
        part("distance_spectral", moved.map(|moved| moved.top().sqrt())),
    ]
}

/// With the cost of those that are not there yet.
pub fn with_spectra(cost: Cost, run_size: &RunSize, matrices: Matrices) -> Cost {
    cost.with(Common::Spectra(matrices), Work { operations: run_size.spectra, ..Work::NONE })
}

/// Singular values of every matrix.
///
/// # Errors
/// `Cancelled` if a stop was requested; if the initialization cannot be read back.
pub fn spectra(scope: &MeasureScope<'_>, of: Matrices) -> Result<Arc<Vec<Values>>, MeasureError> {
    Ok(scope.landscape.spectra(of)?)
}

impl Measure for SpectrumMeasure {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, run_size: &RunSize) -> Cost {
        let cost = with_spectra(Cost::default(), run_size, Matrices::Weights);
        if run_size.init { with_spectra(cost, run_size, Matrices::Moves) } else { cost }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let own = spectra(scope, Matrices::Weights)?;
        let moved = spectra(scope, Matrices::Moves)?;
        let slots = scope.landscape.position().slots();
        let tensors: Vec<TensorParts> = own
            .iter()
            .enumerate()
            .map(|(i, values)| TensorParts {
                tensor: slots[values.slot].name.clone(),
                parts: of_matrix(values, moved.get(i)),
            })
            .collect();
        let all = |name: &str| -> Vec<f64> {
            let parts = tensors.iter().flat_map(|tensor| &tensor.parts).filter(|part| part.name == name);
            parts.filter_map(|part| part.value).collect()
        };
        let mean = |xs: Vec<f64>| (!xs.is_empty()).then(|| xs.iter().sum::<f64>() / xs.len() as f64);
        let Some(stable) = mean(all("stable_rank")) else {
            return Err(MeasureError::Undefined("no matrix has an element that is not zero".into()));
        };
        let parts = vec![
            part("stable_rank", stable),
            part("spectral", all("spectral").into_iter().fold(0.0, f64::max)),
            part("alpha", mean(all("alpha"))),
        ];
        Ok(Findings { tensors, ..Findings::parts(parts) })
    }
}
