//! `accuracy` = share of the examples whose greatest score is that of their label; the first of equal scores counts.
//!
//! Cost: shared F. A step function: its resolution is one over the number of examples.

use super::{Description, Findings, Measure, Parameters, Shortfall};
use crate::domain::Needs;
use crate::engine::landscape::Scope;

/// See the module.
pub struct Accuracy;

static DESCRIPTION: Description = Description {
    name: "accuracy",
    summary: "Share of the examples that are classified right.",
    source: "definition",
    cost: "shared F",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Accuracy {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, _: &Parameters) -> Result<Findings, Shortfall> {
        let outputs = scope.outputs()?;
        if outputs.logits.iter().any(|z| z.is_nan()) {
            return Err(Shortfall::Undefined("a score is not a number".into()));
        }
        let right = outputs.examples().filter(|(row, label)| greatest(row) == *label).count();
        Ok(Findings::value(right as f64 / outputs.labels.len() as f64))
    }
}

fn greatest(row: &[f64]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, z)| if *z > row[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::greatest;

    #[test]
    fn the_first_of_equal_scores_counts() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), 1);
    }
}
