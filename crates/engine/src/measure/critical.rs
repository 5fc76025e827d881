//! `critical`: 2 / eta_c, eta_c the least eta found at which a step along an update raises the loss:
//! L(w0 - eta d) > L(w0) (Kalra et al. 2026). Forwards only.
//!
//! d is the last update, w_previous - w0, or the gradient; which of the two is the same in every snapshot of a run, and
//! along the update the first one has no reading. It is the critical sharpness of Kalra et al. along the optimizer's own
//! step alone: along the update where every step is a snapshot, along the gradient for plain gradient descent, where it
//! tracks the top eigenvalue of the Hessian. Between snapshots farther apart the update is the sum of many steps.
//! With `of` the gradient is that of another probe group: the relative form, how far one
//! task's step goes before it harms another.
//!
//! Doubled or halved from a start until the rise is bracketed, then bisected in log(eta). The last snapshot's bracket is
//! where the next search begins, on the same grid, so that a warm search ends where a cold one does. Cost: about 6 F.

use super::shared::climb::{base_loss, no_gradient};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::landscape::{Along, Point};
use crate::scope::MeasureScope;
use clino_domain::{Fault, Needs, Violation, Work};

/// The measure `critical`; the module has formula, source and cost.
pub struct Critical;

/// Least and greatest eta that are tried.
const RANGE: [f64; 2] = [1e-8, 1e8];

const NO_PREVIOUS: &str = "no previous snapshot was given: the first snapshot of a run has no update to follow \
                          (direction gradient needs none)";

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "critical",
    summary: "Critical sharpness: 2 over the least step along the update, or the gradient, that raises the loss.",
    formula: "λ_c = 2/η_c, η_c the least η found with L(w0 - η d) > L(w0); d = w_previous - w0, or g, or g of another group",
    source: "Kalra et al. 2026 (arXiv 2601.16979). It is their number only along the optimizer's own step: along the update where every step is a snapshot, or along the gradient for plain gradient descent",
    parts: &[
        ("lambda", "2/η_c"),
        ("eta", "η_c"),
        ("forwards", "looks that the search took"),
        ("low", "the greatest η that did not raise the loss"),
        ("high", "the least that did"),
    ],
    cost: "about 6 F, and for the gradient the shared F + B",
    rescaling: true,
    invariance: "Along the update: invariant to a rescaling of layers that the previous snapshot shares. Along the gradient: not. Moves with the length of the update.",
    needs: Needs { probe: true, previous: true, elements: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "direction",
            summary: "The last update, which the first snapshot of a run does not have, or the gradient.",
            kind: ParameterKind::Choice(&["update", "gradient"]),
        },
        MeasureParameter {
            name: "of",
            summary: "Group of the gradient, for direction gradient.",
            kind: ParameterKind::Group,
        },
        MeasureParameter {
            name: "start",
            summary: "Step at which a cold search begins.",
            kind: ParameterKind::Real { default: 1.0, zero: false, most: 1e8 },
        },
        MeasureParameter {
            name: "tolerance",
            summary: "Ratio of the last bracket, less one.",
            kind: ParameterKind::Real { default: 0.1, zero: false, most: 1.0 },
        },
    ],
    standard: false,
};

/// A search for where the loss rises again.
struct RiseSearch {
    base: f64,
    start: f64,
    /// Powers of two times the start that bracketed the rise last time.
    guess: Option<i32>,
    tolerance: f64,
}

/// Two sizes between which the loss rose enough.
struct Bracket {
    low: f64,
    high: f64,
    /// Of the lower end before bisection, as a power of two times the start.
    power: i32,
}

impl RiseSearch {
    fn run(&self, point: &mut dyn Point, sign: f64) -> Result<(Option<Bracket>, u32), Fault> {
        let mut forwards = 0;
        let mut rises = |eta: f64| {
            forwards += 1;
            point.stretch(sign * eta);
            // A loss that is no number has risen.
            point.look().map(|view| view.loss.is_nan() || view.loss > self.base)
        };
        let Some(power) = self.bracket(&mut rises)? else { return Ok((None, forwards)) };
        let mut low = self.start * f64::from(power).exp2();
        let mut high = 2.0 * low;
        while high / low > 1.0 + self.tolerance {
            let middle = (low * high).sqrt();
            if rises(middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok((Some(Bracket { low, high, power }), forwards))
    }

    /// The power of two times the start below which the loss does not rise and above which it does.
    fn bracket(&self, rises: &mut dyn FnMut(f64) -> Result<bool, Fault>) -> Result<Option<i32>, Fault> {
        let at = |power: i32| self.start * f64::from(power).exp2();
        let mut power = self.guess.unwrap_or(0);
        if rises(at(power))? {
            while at(power) >= RANGE[0] {
                power -= 1;
                if !rises(at(power))? {
                    return Ok(Some(power));
                }
            }
        } else {
            while at(power) <= RANGE[1] {
                power += 1;
                if rises(at(power))? {
                    return Ok(Some(power - 1));
                }
            }
        }
        Ok(None)
    }
}

impl Critical {
    /// What the search goes along, if it leads anywhere.
    fn along(scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Along, MeasureError> {
        if p.word("direction") == "update" {
            let statistics = scope.landscape.position().statistics().iter();
            let moved: Option<f64> = statistics.map(|tensor| Some(tensor.since?.step_square)).sum();
            return match moved {
                None => Err(MeasureError::Unavailable(NO_PREVIOUS.into())),
                Some(0.0) => Err(MeasureError::Undefined("the update is zero".into())),
                Some(_) => Ok(Along::Update),
            };
        }
        let slope = scope.landscape.slope(Some(p.word("of")).filter(|group| !group.is_empty()))?;
        match slope.norms.global() {
            0.0 => Err(no_gradient("the gradient")),
            _ => Ok(Along::Gradient),
        }
    }
}

impl Measure for Critical {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn needs(&self, p: &MeasureParameters) -> Needs {
        let update = p.word("direction") == "update";
        Needs { gradient: !update, previous: update, elements: update, ..DESCRIPTION.needs }
    }

    fn check(&self, p: &MeasureParameters) -> Option<Violation> {
        let idle = !p.word("of").is_empty() && p.word("direction") == "update";
        let description = "found a group with direction update, expected direction gradient".into();
        idle.then(|| Violation { field: "parameters.of".into(), description })
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let bisections = (std::f64::consts::LN_2 / p.real("tolerance").ln_1p()).log2().ceil().max(0.0);
        let looks = 2.0 + bisections;
        let cost = Cost::own(Work::of(looks, 0.0, looks + 1.0)).outputs();
        match (p.word("direction"), p.word("of")) {
            ("update", _) => cost,
            (_, "") => cost.slope(),
            (_, group) => {
                cost.with(super::cost::Common::GradientSummary(Some(group.into())), Work::of(1.0, 1.0, 1.0))
            }
        }
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        // The move since the previous snapshot is made beside the direction that it becomes.
        let brief = u32::from(p.word("direction") == "update");
        Walks { gradients: false, brief, ..Walks::STEP }.into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let base = base_loss(scope)?;
        let along = Self::along(scope, p)?;
        let hint = format!("critical {} {along:?} {} {:e}", scope.group, p.word("of"), p.real("start"));
        let guess = scope.hints.0.get(&hint).map(|power| *power as i32);
        let search = RiseSearch { base, start: p.real("start"), guess, tolerance: p.real("tolerance") };
        // w0 less the previous snapshot is -d.
        let sign = if along == Along::Update { 1.0 } else { -1.0 };
        let found = scope.walk(|point| match point.follow(along)? {
            true => search.run(point, sign).map(Some),
            false => Ok(None),
        })?;
        let Some((bracket, forwards)) = found else {
            return Err(MeasureError::Unavailable(NO_PREVIOUS.into()));
        };
        let Some(Bracket { low, high, power }) = bracket else {
            let [least, most] = RANGE;
            let reason = format!("not found: the loss does not rise between eta {least} and {most}");
            return Err(MeasureError::Undefined(reason));
        };
        scope.hints.0.insert(hint, f64::from(power));
        let eta = (low * high).sqrt();
        let parts = [
            ("lambda", 2.0 / eta),
            ("eta", eta),
            ("forwards", f64::from(forwards)),
            ("low", low),
            ("high", high),
        ];
        let parts = parts.map(|(name, value)| part(name, value)).to_vec();
        Ok(Findings::parts(parts))
    }
}
