//! `pac_bayes`: the largest noise under which the accuracy falls by `drop`, plain (standard deviation sigma) and in
//! proportion to the parameters (√(sigma² w² + 1e-6)), and the PAC-Bayes bounds that follow (Jiang et al. 2020, Dziugaite
//! et al. 2020).
//!
//! Bisection over [0, 2] with the same draws at every step, so that it is repeatable. Two published implementations draw
//! with the square of the intended deviation; here the deviation is what it says. Accuracy is a step function: one
//! example of one draw is 1 / (n draws). Bounds go over matrices, before the adjustment to the sample size.
//! Cost: at most 2 * 15 * draws F. The magnitude-aware form is invariant to a rescaling of layers but for its floor.

use super::shared::climb::base_loss;
use super::shared::initialization::lacking;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use crate::landscape::Position;
use crate::scope::MeasureScope;
use clino_domain::{Estimate, Interval, Needs, Work};

/// The measure `pac_bayes`; the module has formula, source and cost.
pub struct PacBayes;

/// Largest sigma that the search tries.
const UPPER: f64 = 2.0;
/// Most steps of bisection.
const DEPTH: u32 = 15;
/// How far from a sigma its slope is taken.
const AWAY: f64 = 4.0 / 3.0;
/// How near the drop must come.
const NEAR: f64 = 1e-2;
/// Deviation of the magnitude-aware noise where a parameter is zero.
const FLOOR: f64 = 1e-3;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "pac_bayes",
    summary: "Noise under which the accuracy falls by a stated amount, plain and magnitude-aware, and the PAC-Bayes bounds.",
    formula: "σ: |acc(w0) - mean acc(w0 + σ n)| = drop; σ_mag: noise √(σ² w² + ε²); init: ‖w - w_init‖²/4σ² + log(m/σ) + 10; orig: the same of w; flatness: 1/σ²; mag_*: ¼ Σ log[(ε² + (σ² + 1)‖v‖²/d)/(ε² + σ²(w_i - w_init,i)²)] + log(m/σ) + 10, ε = 1e-3",
    source: "Jiang et al. 2020 (arXiv 1912.02178), appendix; Dziugaite et al. 2020 (arXiv 2010.11924), with their noise mended",
    parts: &[
        ("sigma", "plain noise"),
        ("sigma_magnitude", "magnitude-aware noise"),
        ("sigma_magnitude_stderr", "its standard error"),
        ("init", "bound by the move"),
        ("orig", "bound by the parameters"),
        ("flatness", "1/σ²"),
        ("mag_init", "magnitude-aware bound by the move"),
        ("mag_orig", "by the parameters"),
        ("mag_flatness", "1/σ_mag²"),
    ],
    cost: "at most 30 draws F",
    rescaling: false,
    invariance: "Plain: moves with a rescaling of layers. Magnitude-aware sigma: invariant but for the floor. Neither moves with the scale of the logits.",
    needs: Needs { probe: true, classes: true, init: true, elements: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "drop",
            summary: "Fall of the accuracy.",
            kind: ParameterKind::Real { default: 0.1, zero: false, most: 1.0 },
        },
        MeasureParameter {
            name: "draws",
            summary: "Draws of noise, the same at every step.",
            kind: ParameterKind::Count { default: 10, least: 1, most: super::shared::draws::MOST },
        },
    ],
    standard: false,
};

/// A noise that was searched for.
struct Sigma {
    sigma: f64,
    /// Of the fall of the accuracy there.
    spread: Option<f64>,
    /// Of the fall along sigma.
    steepness: Option<f64>,
    reached: bool,
}

impl Sigma {
    /// Standard error: that of the fall, and beside it how near the search came, as if the fall lay anywhere within with
    /// equal chance; both over the steepness.
    fn stderr(&self) -> Option<f64> {
        self.spread
            .zip(self.steepness)
            .filter(|(_, slope)| *slope > 0.0)
            .map(|(spread, slope)| spread.hypot(NEAR / 3f64.sqrt()) / slope)
    }
}

/// Of the fall at a sigma, from what was looked at a good way below and above it: nearer, the steps of the accuracy are
/// steeper or flatter than it is on the whole.
fn steepness(looked: &[[f64; 2]], at: [f64; 2]) -> f64 {
    let by_sigma = |a: &&[f64; 2], b: &&[f64; 2]| a[0].total_cmp(&b[0]);
    let below = looked.iter().filter(|[sigma, _]| *sigma <= at[0] / AWAY).max_by(by_sigma).unwrap_or(&at);
    let above = looked.iter().filter(|[sigma, _]| *sigma >= at[0] * AWAY).min_by(by_sigma).unwrap_or(&at);
    (above[1] - below[1]) / (above[0] - below[0])
}

struct SigmaSearch {
    clean: f64,
    drop: f64,
    draws: Vec<u32>,
    magnitude: bool,
}

impl SigmaSearch {
    /// Accuracies under each draw.
    fn accuracies(&self, scope: &mut MeasureScope<'_>, sigma: f64) -> Result<Vec<f64>, MeasureError> {
        let tensors = scope.landscape.position().slots().len();
        let (metric, scale) = match self.magnitude {
            true => (ParameterMetric::Root { slope: sigma, floor: FLOOR }, 1.0),
            false => (ParameterMetric::Plain, sigma),
        };
        Ok(scope.explore(&self.draws, |point, draw| {
            point.measure_in(metric.clone());
            point.perturb(draw, Purpose::Gauss, &vec![scale; tensors]);
            Ok(point.look()?.accuracy)
        })?)
    }

    fn run(&self, scope: &mut MeasureScope<'_>) -> Result<Sigma, MeasureError> {
        let mut low = 0.0;
        let mut high = UPPER;
        let mut looked = vec![[0.0, 0.0]];
        let mut found = Sigma { sigma: 0.0, spread: None, steepness: None, reached: false };
        for _ in 0..DEPTH {
            let sigma = 0.5 * (low + high);
            let accuracies = self.accuracies(scope, sigma)?;
            let estimate = Estimate::of(&accuracies);
            let drop = estimate.map_or(f64::NAN, |estimate| (self.clean - estimate.mean).abs());
            (found.sigma, found.spread) = (sigma, estimate.and_then(|estimate| estimate.stderr));
            if (drop - self.drop).abs() < NEAR {
                found.reached = true;
                found.steepness = Some(steepness(&looked, [sigma, drop]));
                break;
            }
            looked.push([sigma, drop]);
            if drop > self.drop {
                high = sigma;
            } else {
                low = sigma;
            }
        }
        Ok(found)
    }
}

/// Squares over all matrices: of w, of the move, and how many elements there are.
struct MatrixSums {
    own: f64,
    moved: f64,
    elements: f64,
    /// Σ log(floor² + sigma² (w - init)²).
    logs: f64,
}

fn matrices(position: &dyn Position, sigma: f64) -> Result<Option<MatrixSums>, MeasureError> {
    let Some(logs) = position.log_sums(sigma, FLOOR)? else { return Ok(None) };
    let mut all = MatrixSums { own: 0.0, moved: 0.0, elements: 0.0, logs: 0.0 };
    let each = position.slots().iter().zip(position.statistics()).zip(logs);
    for ((_, tensor), logs) in each.filter(|((slot, _), _)| slot.rows > 0) {
        all.own += tensor.w.square;
        all.moved += tensor.init.map_or(f64::NAN, |init| init.delta.square);
        all.elements += tensor.w.count;
        all.logs += logs;
    }
    Ok(Some(all))
}

/// The bounds: of the move and of w, plain and magnitude-aware.
fn bounds(all: &MatrixSums, [sigma, magnitude]: [f64; 2], examples: f64) -> [f64; 4] {
    let rest = |sigma: f64| (examples / sigma).ln() + 10.0;
    let plain = |square: f64| square / (4.0 * sigma * sigma) + rest(sigma);
    let aware = |square: f64| {
        let top = FLOOR * FLOOR + (magnitude * magnitude + 1.0) * square / all.elements;
        0.25 * (all.elements * top.ln() - all.logs) + rest(magnitude)
    };
    [plain(all.moved), plain(all.own), aware(all.moved), aware(all.own)]
}

impl Measure for PacBayes {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        // A search usually ends after half of its steps.
        let looks = 2.0 * 7.0 * f64::from(p.count("draws"));
        Cost::own(Work::of(looks, 0.0, looks + 1.0)).outputs()
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Walks::LOOK.draws(p.count("draws")).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        base_loss(scope)?;
        let position = scope.landscape.position();
        if position.statistics().iter().any(|tensor| tensor.init.is_none()) {
            return Err(lacking(position));
        }
        let outputs = scope.outputs()?;
        let clean = outputs.accuracy();
        let examples = outputs.units.len() as f64;
        let draws: Vec<u32> = (0..p.count("draws")).collect();
        let search = |magnitude| SigmaSearch { clean, drop: p.real("drop"), draws: draws.clone(), magnitude };
        let plain = search(false).run(scope)?;
        let aware = search(true).run(scope)?;
        let Some(all) = matrices(scope.landscape.position(), aware.sigma)? else {
            return Err(lacking(scope.landscape.position()));
        };
        let [init, orig, mag_init, mag_orig] = bounds(&all, [plain.sigma, aware.sigma], examples);
        let flat = |sigma: f64| 1.0 / (sigma * sigma);
        let unreached = [(&plain, "sigma"), (&aware, "sigma_magnitude")]
            .into_iter()
            .filter(|(found, _)| !found.reached)
            .map(|(_, name)| {
                format!(
                    "{name}: the accuracy does not fall by {} ± {NEAR} where it was looked at",
                    p.real("drop")
                )
            });
        let remark: Vec<String> = unreached.collect();
        let parts = vec![
            part("sigma", plain.sigma),
            part("sigma_magnitude", aware.sigma),
            part("sigma_magnitude_stderr", aware.stderr()),
            part("init", init),
            part("orig", orig),
            part("flatness", flat(plain.sigma)),
            part("mag_init", mag_init),
            part("mag_orig", mag_orig),
            part("mag_flatness", flat(aware.sigma)),
        ];
        let remark = (!remark.is_empty()).then(|| remark.join("; "));
        let stderr = plain.stderr();
        let interval = stderr.and_then(|stderr| Interval::around(plain.sigma, stderr, draws.len() - 1));
        Ok(Findings { stderr, interval, remark, ..Findings::parts(parts) })
    }
}
