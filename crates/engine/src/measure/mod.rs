//! The catalogue: what clino measures.
//!
//! A measure sees a [`MeasureScope`], never a model or a device, and is first proved on a quadratic with known answers. A new
//! measure is one file and one line of [`MEASURES`]; validation, the plan, the reference page and the contract tests go
//! over the slice.
//!
//! Owns: definitions, parameters and defaults. May not touch: networks, devices, how noise is made.

mod accuracy;
mod asam;
mod average_case;
mod cost;
mod critical;
mod distance;
mod entropy;
mod findings;
mod fisher_trace;
mod flat_radius;
mod gradient_noise;
mod gradient_norm;
mod hessian_density;
mod hessian_top;
mod hessian_trace;
mod keskar;
mod landscape;
mod loss;
mod low_pass;
mod margin;
mod memory;
mod norm_bounds;
mod pac_bayes;
mod param_norm;
mod param_variance;
mod parameters;
mod perplexity;
mod sam;
mod shared;
mod sharpness;
mod sharpness_paper;
mod sharpness_profile;
mod spectrum;
mod update;
mod worst_case;

use crate::scope::MeasureScope;
use clino_domain::text::{quoted, suggestion};
use clino_domain::{Fault, FaultKind, MeasureInfo, MeasureRequest, Needs, Violation};
pub use cost::{Common, Cost, RunSize};
use findings::part;
pub use findings::{Findings, MeasureError};
pub use memory::{Demand, MeasureMemory, Parts, Walks};
pub use parameters::{MeasureParameter, MeasureParameters, ParameterKind};

/// All measures, in the order of the reference page.
pub static MEASURES: &[&dyn Measure] = &[
    &loss::Loss,
    &perplexity::Perplexity,
    &accuracy::Accuracy,
    &entropy::Entropy,
    &margin::Margin,
    &param_norm::ParamNorm,
    &param_variance::ParamVariance,
    &distance::Distance,
    &update::Update,
    &sharpness::Sharpness,
    &sharpness_profile::SharpnessProfile,
    &flat_radius::FlatRadius,
    &sharpness_paper::SharpnessPaper,
    &sam::Sam,
    &asam::Asam,
    &worst_case::WorstCase,
    &average_case::AverageCase,
    &low_pass::LowPass,
    &keskar::Keskar,
    &pac_bayes::PacBayes,
    &critical::Critical,
    &gradient_norm::GradientNorm,
    &gradient_noise::GradientNoise,
    &fisher_trace::FisherTrace,
    &hessian_top::HessianTop,
    &hessian_trace::HessianTrace,
    &hessian_density::HessianDensity,
    &landscape::LandscapeMeasure,
    &spectrum::SpectrumMeasure,
    &norm_bounds::NormBounds,
];

/// A measure's line in the catalogue.
pub struct MeasureDescription {
    /// As users write it.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// What it computes: w0 the snapshot, L the mean cross-entropy of the probe, g its gradient, H its Hessian, n
    /// standard normal noise.
    pub formula: &'static str,
    /// Paper and section, or reference code.
    pub source: &'static str,
    /// Names of the numbers beside the value, and what they are; the first is the value.
    pub parts: &'static [(&'static str, &'static str)],
    /// In forwards (F), backwards (B) and passes over the parameters (P).
    pub cost: &'static str,
    /// Whether its value stays when a layer of a ReLU network is multiplied and the next one divided, which leaves the
    /// function as it is.
    pub rescaling: bool,
    /// The same in words, with what else moves it.
    pub invariance: &'static str,
    /// What must be at hand.
    pub needs: Needs,
    /// With defaults and ranges.
    pub parameters: &'static [MeasureParameter],
    /// Whether it belongs to the default set.
    pub standard: bool,
}

/// Something that can be measured.
pub trait Measure: Sync {
    /// Its line in the catalogue.
    fn description(&self) -> &'static MeasureDescription;

    /// What must be at hand with these parameters.
    fn needs(&self, _: &MeasureParameters) -> Needs {
        self.description().needs
    }

    /// What is wrong with parameters that are each in their range.
    fn check(&self, _: &MeasureParameters) -> Option<Violation> {
        None
    }

    /// What it will do on one group.
    fn cost(&self, parameters: &MeasureParameters, run_size: &RunSize) -> Cost;

    /// Vectors over all parameters that it keeps at once.
    fn vectors(&self, _: &MeasureParameters, _: &RunSize) -> u32 {
        0
    }

    /// What it takes of memory on the CPU beside what its cost says that it shares.
    fn memory(&self, _: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        MeasureMemory::default()
    }

    /// Computes it.
    ///
    /// # Errors
    /// If there is no number, with the reason.
    fn measure(
        &self,
        scope: &mut MeasureScope<'_>,
        parameters: &MeasureParameters,
    ) -> Result<Findings, MeasureError>;
}

/// A measure with its parameters, checked and complete.
pub struct Chosen {
    measure: &'static dyn Measure,
    parameters: MeasureParameters,
}

impl Chosen {
    /// What must be at hand.
    pub fn needs(&self) -> Needs {
        self.measure.needs(&self.parameters)
    }

    /// What it will do on one group.
    pub fn cost(&self, run_size: &RunSize) -> Cost {
        self.measure.cost(&self.parameters, run_size)
    }

    /// Vectors over all parameters that it keeps at once.
    pub fn vectors(&self, run_size: &RunSize) -> u32 {
        self.measure.vectors(&self.parameters, run_size)
    }

    /// What it takes of memory on the CPU, where this is its cost.
    pub fn demand(&self, cost: &Cost, run_size: &RunSize) -> Demand {
        let own = self.measure.memory(&self.parameters, run_size);
        Demand::new(self.measure.description().name, cost, own)
    }

    /// The request that gives the same, with every parameter written out.
    pub fn request(&self) -> MeasureRequest {
        let name = self.measure.description().name.to_owned();
        MeasureRequest { name, parameters: self.parameters.all().clone() }
    }

    /// Computes it.
    ///
    /// # Errors
    /// If there is no number, with the reason.
    pub fn measure(&self, scope: &mut MeasureScope<'_>) -> Result<Findings, MeasureError> {
        self.measure.measure(scope, &self.parameters)
    }
}

/// Checks requests against the catalogue and fills in defaults, in the order of the catalogue (the same measure may be
/// asked for several times with different parameters). No requests: the default set. `groups` are those of the run.
///
/// # Errors
/// [`FaultKind::Invalid`] with a violation for each unknown measure or parameter and each value out of range
/// (`measures[0].parameters.alpha`).
pub fn choose(requests: &[MeasureRequest], groups: &[&str]) -> Result<Vec<Chosen>, Fault> {
    let standard: Vec<MeasureRequest>;
    let requests = if requests.is_empty() {
        standard =
            MEASURES.iter().map(|m| m.description()).filter(|d| d.standard).map(default_request).collect();
        &standard
    } else {
        requests
    };
    let mut violations = Vec::new();
    let mut chosen = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        match one(request, groups) {
            Ok(found) => chosen.push(found),
            Err(fault) => violations.extend(fault.within(&format!("measures[{i}].")).violations),
        }
    }
    if !violations.is_empty() {
        violations.truncate(16);
        return Err(Fault::of(FaultKind::Invalid, violations));
    }
    chosen.sort_by_key(|(place, _)| *place);
    Ok(chosen.into_iter().map(|(_, chosen)| chosen).collect())
}

fn default_request(description: &MeasureDescription) -> MeasureRequest {
    MeasureRequest { name: description.name.into(), parameters: Default::default() }
}

fn one(request: &MeasureRequest, groups: &[&str]) -> Result<(usize, Chosen), Fault> {
    let place = MEASURES.iter().position(|measure| measure.description().name == request.name);
    let Some(place) = place else {
        let known: Vec<&str> = MEASURES.iter().map(|measure| measure.description().name).collect();
        let found = quoted(&request.name);
        let near = suggestion(&request.name, known.iter().copied());
        let expected = format!("found {found}{near}, expected one of {}", known.join(", "));
        return Err(Fault::invalid("name", expected));
    };
    let measure = MEASURES[place];
    let parameters = MeasureParameters::new(measure.description().parameters, &request.parameters, groups)?;
    if let Some(violation) = measure.check(&parameters) {
        return Err(Fault::of(FaultKind::Invalid, vec![violation]));
    }
    Ok((place, Chosen { measure, parameters }))
}

/// Every measure as data.
pub fn catalogue() -> Vec<MeasureInfo> {
    let info = |d: &MeasureDescription| MeasureInfo {
        name: d.name,
        summary: d.summary,
        formula: d.formula,
        source: d.source,
        parts: d.parts,
        cost: d.cost,
        rescaling: d.rescaling,
        invariance: d.invariance,
        needs: d.needs,
        parameters: d.parameters.iter().map(MeasureParameter::info).collect(),
        standard: d.standard,
    };
    MEASURES.iter().map(|measure| info(measure.description())).collect()
}

#[cfg(test)]
mod closed_form_tests;
#[cfg(test)]
mod curvature_tests;
#[cfg(test)]
mod tests;
