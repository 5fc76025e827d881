//! What a measure found, or why it found nothing.
//!
//! Owns: the numbers before they become a reading, and what numbers that are not finite mean. May not touch: where they
//! go.

use clino_domain::{Ended, Estimate, Fault, Interval, Part, Quadrature, Rung, Surface, TensorParts};

/// Why there is no number.
#[derive(Debug, Clone, PartialEq)]
pub enum MeasureError {
    /// It is not defined here.
    Undefined(String),
    /// Something that it needs is absent.
    Unavailable(String),
    /// The engine failed or was stopped.
    Fault(Fault),
}

impl From<Fault> for MeasureError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The numbers of a reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// The main number of the reading.
    pub value: Option<f64>,
    /// The values of the draws, in draw order.
    pub draws: Vec<f64>,
    /// Standard error of the value, where it is not that of the mean of the draws.
    pub stderr: Option<f64>,
    /// Where it is not that of a mean of draws that are near normal.
    pub interval: Option<Interval>,
    /// Why the value cannot be told though the parts are known: the reading is undefined for that reason.
    pub undetermined: Option<String>,
    /// What ended the draws.
    pub ended: Option<Ended>,
    /// Where there are several; the first is the value.
    pub parts: Vec<Part>,
    /// The numbers of single tensors.
    pub tensors: Vec<TensorParts>,
    /// The points of a sharpness profile, one for each radius.
    pub rungs: Vec<Rung>,
    /// Of a spectral density.
    pub runs: Vec<Quadrature>,
    /// The losses of a landscape.
    pub surface: Option<Surface>,
    /// What is to be known of the value.
    pub remark: Option<String>,
}

/// A number under its name.
pub fn part(name: &str, value: impl Into<Option<f64>>) -> Part {
    Part { name: name.into(), value: value.into() }
}

impl Findings {
    /// A reading that is a single number.
    pub fn value(value: f64) -> Self {
        Self { value: Some(value), ..Self::default() }
    }

    /// Several numbers, the first of which is the value.
    pub fn parts(parts: Vec<Part>) -> Self {
        Self { value: parts.first().and_then(|part| part.value), parts, ..Self::default() }
    }

    /// Draws, whose mean is the value.
    pub fn draws(draws: Vec<f64>, ended: Ended, parts: Vec<Part>) -> Self {
        let value = Estimate::of(&draws).map(|estimate| estimate.mean);
        Self { value, draws, ended: Some(ended), parts, ..Self::default() }
    }

    /// Takes numbers that are not finite out: as a part they are absent, as a value they make the reading undefined.
    ///
    /// # Errors
    /// [`MeasureError::Undefined`].
    pub fn settled(mut self) -> Result<Self, MeasureError> {
        let finite = |value: &mut Option<f64>| *value = value.filter(|x| x.is_finite());
        self.parts.iter_mut().for_each(|part| finite(&mut part.value));
        self.tensors.iter_mut().flat_map(|tensor| &mut tensor.parts).for_each(|part| finite(&mut part.value));
        self.surface.iter_mut().flat_map(|surface| &mut surface.losses).for_each(finite);
        finite(&mut self.stderr);
        self.interval =
            self.interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite());
        if let Some(draw) = self.draws.iter().position(|x| !x.is_finite()) {
            return Err(MeasureError::Undefined(format!(
                "draw {draw} is not finite: the loss overflows there"
            )));
        }
        match self.value {
            None if self.undetermined.is_some() => Ok(self),
            Some(value) if value.is_finite() => Ok(self),
            _ => Err(MeasureError::Undefined("the value is not finite".into())),
        }
    }

    /// Between which numbers the value lies, if that is known.
    pub fn interval(&self) -> Option<Interval> {
        let of_draws = || Interval::of(&self.draws).filter(|_| self.stderr.is_none());
        self.value.and_then(|_| self.interval.or_else(of_draws))
    }

    /// The spread of the value, if it is known.
    pub fn estimate(&self) -> Option<Estimate> {
        let of_draws = Estimate::of(&self.draws);
        match (self.value, self.stderr) {
            (Some(mean), Some(stderr)) => {
                let [min, max] = of_draws.map_or([mean; 2], |draws| [draws.min, draws.max]);
                Some(Estimate { mean, stderr: Some(stderr), min, max })
            }
            _ => of_draws,
        }
    }
}
