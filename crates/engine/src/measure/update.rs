//! `update`: the move since the previous snapshot: l2, relative to ‖w_previous‖, and its cosine with
//! w_previous - w_init: whether training goes on in the direction taken so far.
//!
//! Cost: 1 P over three sets of parameters. The cosine needs the initialization, and a previous snapshot that is
//! not itself the initialization.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use clino_domain::{Move, Needs};

/// The measure `update`; the module has formula, source and cost.
pub struct Update;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "update",
    summary: "The move since the previous snapshot: l2, relative, cosine with the way from initialization.",
    formula: "‖w0 - w_previous‖₂; relative: /‖w_previous‖; cosine with w_previous - w_init",
    source: "definition",
    parts: &[
        ("l2", "‖w0 - w_previous‖₂"),
        ("relative", "over ‖w_previous‖"),
        ("cosine", "with w_previous - w_init"),
    ],
    cost: "1 P",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs { previous: true, init_if_given: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Update {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let moves =
            scope.landscape.position().statistics().iter().map(|t| t.since).collect::<Option<Vec<_>>>();
        let Some(last) = moves.and_then(|moves| moves.into_iter().reduce(Move::join)) else {
            return Err(MeasureError::Unavailable("no previous snapshot was given".into()));
        };
        let step = last.step_square.sqrt();
        let previous = last.previous_square.sqrt();
        let over = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        let cosine = last.before.and_then(|[before, dot]| over(dot, step * before.sqrt()));
        Ok(Findings::parts(vec![
            part("l2", step),
            part("relative", over(step, previous)),
            part("cosine", cosine),
        ]))
    }
}
