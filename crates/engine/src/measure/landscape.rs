//! `landscape`: losses on a line or a square plane through w0 along random directions normalized by filter (Li et al.
//! 2018), and how steep they are.
//!
//! `score` is that of landscapelaser: rays from the middle cells to the border, |slope| of the loss against the point's
//! number on the ray, summed over strides, averaged over rays and cells. It grows with the number of points;
//! `score_distance` divides each slope by the length of the ray's step in parameter space and averages over strides, so
//! that it does not. Cost: points F, or points² F. Invariant to a rescaling of layers.

use super::cost::Common;
use super::shared::climb::{base_loss, some_size};
use super::shared::score::{self, StepMetric};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::scope::MeasureScope;
use clino_domain::{Ended, Needs, Surface, Violation, Work};

/// The measure `landscape`; the module has formula, source and cost.
pub struct LandscapeMeasure;

/// Most points along each direction of a plane: a reading travels in one message.
const MOST_OF_A_PLANE: u32 = 201;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "landscape",
    summary: "Losses on a filter-normalized line or plane through the snapshot, and the slope of their rays.",
    formula: "L(w0 + a d₁ [+ b d₂]), a, b in [-span, span]; d normal noise, each row of a matrix brought to ‖w0 row‖, vectors 0; score: mean over the middle cells and their rays of |slope| of the loss",
    source: "Li et al. 2018 (arXiv 1712.09913), section 4; score: landscapelaser 0.1.1",
    parts: &[
        ("score", "as landscapelaser has it"),
        ("score_distance", "mean slope per length in parameter space"),
    ],
    cost: "draws * points F, or draws * points² F",
    rescaling: true,
    invariance: "Losses and score are invariant to a rescaling of layers; score_distance is a slope per length in parameter space, and is not.",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "dims",
            summary: "A line or a plane.",
            kind: ParameterKind::Count { default: 1, least: 1, most: 2 },
        },
        MeasureParameter {
            name: "points",
            summary: "Points along each direction; an odd number has one at the snapshot.",
            kind: ParameterKind::Count { default: 21, least: 3, most: 1001 },
        },
        MeasureParameter {
            name: "span",
            summary: "Greatest coordinate.",
            kind: ParameterKind::Real { default: 1.0, zero: false, most: 1e6 },
        },
        MeasureParameter {
            name: "draws",
            summary: "Lines or planes; the score is their mean, the losses are those of the first.",
            kind: ParameterKind::Count { default: 1, least: 1, most: 64 },
        },
    ],
    standard: false,
};

/// The points of one line or plane.
struct Points {
    axis: Vec<f64>,
    plane: bool,
    /// Numbers of the directions.
    directions: [u32; 2],
}

impl Points {
    fn count(&self) -> usize {
        if self.plane { self.axis.len() * self.axis.len() } else { self.axis.len() }
    }

    fn terms(&self, point: usize) -> Vec<(u32, f64)> {
        let n = self.axis.len();
        let [first, second] = self.directions;
        let terms = match self.plane {
            true => vec![(first, self.axis[point / n]), (second, self.axis[point % n])],
            false => vec![(first, self.axis[point])],
        };
        terms.into_iter().filter(|(_, coefficient)| *coefficient != 0.0).collect()
    }

    /// Losses in row-major order; the one at w0 is known.
    fn losses(&self, scope: &mut MeasureScope<'_>, base: f64) -> Result<Vec<f64>, MeasureError> {
        let numbers: Vec<u32> =
            (0..self.count() as u32).filter(|i| !self.terms(*i as usize).is_empty()).collect();
        let found = scope.explore(&numbers, |point, number| {
            point.on_plane(&self.terms(number as usize));
            Ok(point.look()?.loss)
        })?;
        let mut losses = vec![base; self.count()];
        numbers.iter().zip(found).for_each(|(number, loss)| losses[*number as usize] = loss);
        Ok(losses)
    }

    /// Lengths of and the angle between the directions.
    fn metric(&self, scope: &mut MeasureScope<'_>) -> Result<StepMetric, MeasureError> {
        let [a, b] = self.directions;
        let pairs: &[[u32; 2]] = if self.plane { &[[a, a], [b, b], [a, b]] } else { &[[a, a]] };
        let products = scope.walk(|point| pairs.iter().map(|pair| point.plane_product(*pair)).collect())?;
        let products: Vec<f64> = products;
        let spacing = self.axis[1] - self.axis[0];
        let at = |i: usize| products.get(i).copied().unwrap_or(0.0) * spacing * spacing;
        Ok(StepMetric { first: at(0), second: at(1), mixed: at(2) })
    }
}

/// `points` numbers from -span to span; the middle one of an odd number is exactly 0.
fn axis(points: u32, span: f64) -> Vec<f64> {
    let last = f64::from(points - 1);
    (0..points).map(|i| span * ((2.0 * f64::from(i) - last) / last)).collect()
}

impl Measure for LandscapeMeasure {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn check(&self, p: &MeasureParameters) -> Option<Violation> {
        let found = p.count("points");
        let description = format!("found {found} with two dims, expected at most {MOST_OF_A_PLANE}");
        let field = "parameters.points".into();
        (p.count("dims") == 2 && found > MOST_OF_A_PLANE).then_some(Violation { field, description })
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let points = f64::from(p.count("points"));
        let dims = p.count("dims");
        let draws = p.count("draws");
        let all = points.powi(dims as i32);
        // The point at the snapshot is known, and a coordinate of zero needs no direction.
        let middle = points % 2.0;
        let directions = f64::from(dims) * (points - middle) * all / points;
        // At the end, the lengths of the directions and the angle between them.
        let products = if dims == 2 { 3.0 } else { 1.0 };
        let own = Work::of(all - middle, 0.0, directions + all - middle + 2.0 * products) * f64::from(draws);
        let numbers = (0..draws).flat_map(|draw| (0..dims).map(move |i| 2 * draw + i));
        let filter = |cost: Cost, draw| cost.with(Common::Filter(draw), Work::of(0.0, 0.0, 1.0));
        numbers.fold(Cost::own(own).outputs(), filter)
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        let points = f64::from(p.count("points")).powi(p.count("dims") as i32);
        // Places, losses by place and in their order, the surface.
        let lists = points * (4.0 + 16.0 + 8.0 + 8.0 + 16.0);
        let places = points * f64::from(p.count("draws")) - f64::from(p.count("points") % 2);
        let walks = Walks { points: places as u32, ..Walks::PLANE };
        MeasureMemory { lists, ..walks.into() }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let base = base_loss(scope)?;
        some_size(scope)?;
        let plane = p.count("dims") == 2;
        let axis = axis(p.count("points"), p.real("span"));
        let mut scores = Vec::new();
        let mut distances = Vec::new();
        let mut surface = None;
        for draw in 0..p.count("draws") {
            let points = Points { axis: axis.clone(), plane, directions: [2 * draw, 2 * draw + 1] };
            // First what all points of the line or plane have in common.
            let metric = points.metric(scope)?;
            let losses = points.losses(scope, base)?;
            let [score, distance] = score::of(&losses, axis.len(), metric);
            scores.push(score);
            distances.push(distance);
            let losses = losses.into_iter().map(Some).collect();
            surface.get_or_insert(Surface {
                dimensions: if plane { 2 } else { 1 },
                axis: points.axis,
                losses,
            });
        }
        let distance = distances.iter().sum::<f64>() / distances.len() as f64;
        let mut findings = Findings::draws(scores, Ended::Draws, Vec::new());
        findings.parts = vec![part("score", findings.value), part("score_distance", distance)];
        Ok(Findings { surface, ..findings })
    }
}
