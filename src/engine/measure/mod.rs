//! The catalogue: what clino measures.
//!
//! A measure sees a [`Scope`], never a model or a device, and is first proved on a quadratic with known answers. A new
//! measure is one file and one line of [`MEASURES`]; validation, the catalogue and the contract tests go over the slice.
//!
//! Owns: definitions, parameters and defaults. May not touch: networks, devices, how noise is made.

mod accuracy;
mod ascent;
mod distance;
mod entropy;
mod flat_radius;
mod loss;
mod margin;
mod param_norm;
mod param_variance;
mod parameters;
mod sharpness;
mod sharpness_paper;
mod sharpness_profile;
mod update;

use super::landscape::Scope;
use crate::domain::id::quoted;
use crate::domain::{Fault, FaultKind, MeasureInfo, MeasureRequest, Needs, Part, Rung, TensorParts};
pub use parameters::{Kind, Parameter, Parameters};

/// All measures, cheapest first.
pub static MEASURES: &[&dyn Measure] = &[
    &param_norm::ParamNorm,
    &param_variance::ParamVariance,
    &distance::Distance,
    &update::Update,
    &loss::Loss,
    &accuracy::Accuracy,
    &entropy::Entropy,
    &margin::Margin,
    &sharpness::Sharpness,
    &sharpness_profile::SharpnessProfile,
    &flat_radius::FlatRadius,
    &sharpness_paper::SharpnessPaper,
];

/// A measure's line in the catalogue.
pub struct Description {
    /// As users write it.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Paper and section, or reference code.
    pub source: &'static str,
    /// In forwards (F), backwards (B) and passes over the parameters (P).
    pub cost: &'static str,
    /// What must be at hand.
    pub needs: Needs,
    /// With defaults and ranges.
    pub parameters: &'static [Parameter],
    /// Whether it belongs to the default set.
    pub standard: bool,
}

/// Something that can be measured.
pub trait Measure: Sync {
    /// Its line in the catalogue.
    fn description(&self) -> &'static Description;

    /// Computes it.
    ///
    /// # Errors
    /// When there is no number to give, with the reason.
    fn measure(&self, scope: &mut Scope<'_>, parameters: &Parameters) -> Result<Findings, Shortfall>;
}

/// Why there is no number.
#[derive(Debug, Clone, PartialEq)]
pub enum Shortfall {
    /// It is not defined here.
    Undefined(String),
    /// Something that it needs is absent.
    Unavailable(String),
    /// The engine failed or was stopped.
    Fault(Fault),
}

impl From<Fault> for Shortfall {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The numbers of a reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The principal one.
    pub value: Option<f64>,
    /// In draw order.
    pub draws: Vec<f64>,
    /// Where there are several; the first is the value.
    pub parts: Vec<Part>,
    /// By tensor.
    pub tensors: Vec<TensorParts>,
    /// Of a profile.
    pub rungs: Vec<Rung>,
}

fn part(name: &str, value: impl Into<Option<f64>>) -> Part {
    Part { name: name.into(), value: value.into() }
}

impl Findings {
    /// A single number.
    fn value(value: f64) -> Self {
        Self { value: Some(value), ..Self::default() }
    }

    /// Several numbers, the first of which is the value.
    fn parts(parts: Vec<Part>) -> Self {
        Self { value: parts.first().and_then(|part| part.value), parts, ..Self::default() }
    }

    /// Draws, whose mean is the value.
    fn draws(draws: Vec<f64>, parts: Vec<Part>) -> Self {
        let value = crate::domain::Estimate::of(&draws).map(|estimate| estimate.mean);
        Self { value, draws, parts, ..Self::default() }
    }

    /// Takes numbers that are not finite out: as a part they are absent, as a value they make the reading undefined.
    pub fn settled(mut self) -> Result<Self, Shortfall> {
        let finite = |value: &mut Option<f64>| *value = value.filter(|x| x.is_finite());
        self.parts.iter_mut().for_each(|part| finite(&mut part.value));
        self.tensors.iter_mut().flat_map(|tensor| &mut tensor.parts).for_each(|part| finite(&mut part.value));
        if let Some(draw) = self.draws.iter().position(|x| !x.is_finite()) {
            return Err(Shortfall::Undefined(format!("draw {draw} is not finite: the loss overflows there")));
        }
        match self.value {
            Some(value) if value.is_finite() => Ok(self),
            _ => Err(Shortfall::Undefined("the value is not finite".into())),
        }
    }
}

/// A measure with its parameters, checked and complete.
pub struct Chosen {
    measure: &'static dyn Measure,
    parameters: Parameters,
}

impl Chosen {
    /// What must be at hand.
    pub fn needs(&self) -> Needs {
        self.measure.description().needs
    }

    /// The request that gives the same, with every parameter written out.
    pub fn request(&self) -> MeasureRequest {
        let name = self.measure.description().name.to_owned();
        MeasureRequest { name, parameters: self.parameters.all().clone() }
    }

    /// Computes it.
    ///
    /// # Errors
    /// When there is no number to give, with the reason.
    pub fn measure(&self, scope: &mut Scope<'_>) -> Result<Findings, Shortfall> {
        self.measure.measure(scope, &self.parameters)
    }
}

/// Checks requests against the catalogue, fills in defaults, and puts them in the catalogue's order (the same measure
/// may be asked for several times with different parameters). No requests: the default set.
///
/// # Errors
/// [`FaultKind::Invalid`] with a violation for each unknown measure or parameter and each value out of range
/// (`measures[0].parameters.alpha`).
pub fn choose(requests: &[MeasureRequest]) -> Result<Vec<Chosen>, Fault> {
    let standard: Vec<MeasureRequest>;
    let requests = if requests.is_empty() {
        standard =
            MEASURES.iter().map(|m| m.description()).filter(|d| d.standard).map(default_request).collect();
        &standard
    } else {
        requests
    };
    let (mut violations, mut chosen) = (Vec::new(), Vec::new());
    for (i, request) in requests.iter().enumerate() {
        match one(request) {
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

fn default_request(description: &Description) -> MeasureRequest {
    MeasureRequest { name: description.name.into(), parameters: Default::default() }
}

fn one(request: &MeasureRequest) -> Result<(usize, Chosen), Fault> {
    let place = MEASURES.iter().position(|measure| measure.description().name == request.name);
    let Some(place) = place else {
        let known: Vec<&str> = MEASURES.iter().map(|measure| measure.description().name).collect();
        let found = quoted(&request.name);
        return Err(Fault::invalid("name", format!("found {found}, expected one of {}", known.join(", "))));
    };
    let measure = MEASURES[place];
    let parameters = Parameters::new(measure.description().parameters, &request.parameters)?;
    Ok((place, Chosen { measure, parameters }))
}

/// Every measure as data.
pub fn catalogue() -> Vec<MeasureInfo> {
    let info = |d: &Description| MeasureInfo {
        name: d.name,
        summary: d.summary,
        source: d.source,
        cost: d.cost,
        needs: d.needs,
        parameters: d.parameters.iter().map(Parameter::info).collect(),
        standard: d.standard,
    };
    MEASURES.iter().map(|measure| info(measure.description())).collect()
}

#[cfg(test)]
mod tests;
