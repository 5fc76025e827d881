//! How far the draws of an ascent get, and the interval of their mean rise.
//!
//! A step of one radius along the gradient ends on the sphere where the noise before it points along the gradient, and
//! inside the ball where it points far enough against: of a model of 467 parameters in 14 draws of 100, of a large one
//! never. Such a draw rises less, in proportion. Eight draws often hold none of them, and then their spread says nothing
//! of those that are missing: an interval by Student's t held the mean in 55 of 100 repetitions. How far draws get on
//! average is known beforehand, as the noise has no direction of its own; so each rise is corrected by how much farther
//! than that its draw got, and the interval is that of the corrected rises (a control variate).
//!
//! Owns: that mean, and the correction. May not touch: values, which are means of the draws as they are.

use super::ascent::{Ascent, AscentDraws, Region, StepUnit};
use clino_domain::Interval;

/// Steps of the integral, and how many deviations it goes from the middle.
const STEPS: u32 = 4096;
const WIDTH: f64 = 12.0;

/// Mean of min(1, |step g + noise n|) over directions n, for a fixed direction g and a number of parameters.
///
/// The cosine between n and g is sin θ with a density of cos^(parameters - 2) θ.
fn expected(parameters: usize, noise: f64, step: f64) -> f64 {
    let power = parameters as f64 - 2.0;
    let half = std::f64::consts::FRAC_PI_2;
    let width = (WIDTH / (parameters as f64).sqrt()).min(half);
    let mut sum = 0.0;
    let mut total = 0.0;
    for i in 0..STEPS {
        let angle = width * (2.0 * (f64::from(i) + 0.5) / f64::from(STEPS) - 1.0);
        let weight = libm::exp(power * libm::log(libm::cos(angle)));
        let square = step * step + noise * noise + 2.0 * step * noise * libm::sin(angle);
        sum += weight * libm::sqrt(square).min(1.0);
        total += weight;
    }
    sum / total
}

/// Of the mean rise of draws. Where more is done than one step in one ball, that of the rises as they are.
pub fn interval(drawn: &AscentDraws, ascent: &Ascent, parameters: usize) -> Option<Interval> {
    let rises = drawn.rises();
    let one_step = ascent.steps == 1 && ascent.unit == StepUnit::Radius && ascent.region == Region::Global;
    if !one_step || parameters < 3 {
        return Interval::of(&rises);
    }
    let expected = expected(parameters, ascent.noise, ascent.step);
    let mean = drawn.mean();
    let farther = drawn.samples.iter().map(|sample| sample.displacement / drawn.radius - expected);
    let corrected: Vec<f64> =
        rises.iter().zip(farther).map(|(rise, farther)| rise - mean * farther).collect();
    Interval::of(&corrected)
}

#[cfg(test)]
mod tests {
    use super::super::ascent::Ascent;
    use super::*;
    use crate::scope::AscentResult;

    #[test]
    fn the_mean_distance_has_its_closed_forms() {
        // Without noise, or where all lies inside or outside.
        assert_eq!(expected(100, 0.0, 0.5), 0.5);
        assert!((expected(100, 0.0, 1.0) - 1.0).abs() < 1e-12);
        assert_eq!(expected(50, 0.1, 2.0), 1.0);
        // In three dimensions the cosine is uniform on [-1, 1]: ∫ √(a + b u) du = 2/3b (a + bu)^1.5, with the kink at
        // u = -noise/2.
        let noise = 0.1;
        let kink = -0.05;
        let power = |u: f64| (1.0 + noise * noise + 2.0 * noise * u).powf(1.5) / (3.0 * noise);
        let wanted = 0.5 * (power(kink) - power(-1.0) + 1.0 - kink);
        assert!((expected(3, noise, 1.0) - wanted).abs() < 1e-6, "{} {wanted}", expected(3, noise, 1.0));
        // An independent integral for 467 parameters.
        assert!((expected(467, 0.1, 1.0) - 0.999_669_456_6).abs() < 1e-8);
    }

    #[test]
    fn a_sample_without_the_rare_draws_is_centered_where_they_would_bring_it() {
        let ascent = Ascent::at_radius(0.1);
        let sample = |reach: f64| AscentResult { rise: 2.0 * reach, displacement: 0.5 * reach };
        let drawn = |reaches: &[f64]| AscentDraws {
            samples: reaches.iter().map(|reach| sample(*reach)).collect(),
            radius: 0.5,
            base_loss: 1.0,
        };
        let expected = expected(467, 0.1, 1.0);
        let all_out = interval(&drawn(&[1.0; 4]), &ascent, 467).expect("four draws");
        assert!((all_out.low - 2.0 * expected).abs() < 1e-12 && all_out.high - all_out.low < 1e-12);
        let one_in = interval(&drawn(&[1.0, 1.0, 1.0, 0.99]), &ascent, 467).expect("four draws");
        assert!(one_in.low < 2.0 * expected && 2.0 * expected < one_in.high);
        let layers = Ascent { region: Region::Layer, ..ascent };
        let plain = interval(&drawn(&[1.0; 4]), &layers, 467).expect("four draws");
        assert_eq!([plain.low, plain.high], [2.0, 2.0]);
    }
}
