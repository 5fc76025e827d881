//! The trainer's model against its configuration: the same rows and parameters through two programs.
//!
//! Owns: how large a difference rounding can make. May not touch: what becomes of a run whose model is another one.
//!
//! Rounding with unit roundoff u moves a loss by so many u max|z|, z being the scores of the row (PyTorch's BERT against
//! itself in f64): in f32 by 6 to 24 in ordinary networks and by 52 in 12 layers with weights ten times as large as usual,
//! in f16 by 13 and in bf16 by 8 there. Five times the worst of these is allowed. In f32 another activation or LayerNorm's
//! epsilon makes ten times the tolerance, and in f64 more.

use crate::outputs::{Outputs, cross_entropy};
use clino_domain::{Dtype, ModelCheck, ModelChecked, Precision, SnapshotRef};

/// Of the scores, in each format: how much rounding may change a loss.
const F64: f64 = 256.0 * (f64::EPSILON / 2.0);
const F32: f64 = 256.0 * (f32::EPSILON as f64 / 2.0);
const F16: f64 = 64.0 / 2048.0;
const BF16: f64 = 40.0 / 256.0;
/// Functions of the two programs differ in their last places, which sums make more of.
const LEAST: f64 = 1e-11;

/// Holds what the trainer's model says of a few rows against their scores here; `None` where a loss is not finite.
pub fn compare(
    check: &ModelCheck,
    outputs: &Outputs,
    precision: Precision,
    snapshot: SnapshotRef,
) -> Option<ModelChecked> {
    let share = share(check.dtype).max(if precision == Precision::F32 { F32 } else { F64 });
    let losses: Vec<f64> = outputs.examples().map(|(row, label)| cross_entropy(row, label)).collect();
    if !losses.iter().chain(&check.losses).all(|loss| loss.is_finite()) {
        return None;
    }
    let rows = outputs.examples().zip(losses.iter().zip(&check.losses));
    let differences = rows.map(|((row, _), (ours, theirs))| {
        let size = row.iter().fold(0.0, |size: f64, z| size.max(z.abs()));
        ((ours - theirs).abs(), share * size + LEAST * (1.0 + size))
    });
    let worst =
        |one: (f64, f64), other: (f64, f64)| if other.0 * one.1 > one.0 * other.1 { other } else { one };
    let (difference, tolerance) = differences.reduce(worst)?;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    Some(ModelChecked {
        snapshot,
        group: check.group.clone(),
        rows: losses.len() as u32,
        trainer_loss: mean(&check.losses),
        configured_loss: mean(&losses),
        difference,
        tolerance,
        agrees: difference <= tolerance,
    })
}

fn share(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F64 => F64,
        Dtype::F16 => F16,
        Dtype::Bf16 => BF16,
        _ => F32,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outputs() -> Outputs {
        Outputs { logits: vec![2.0, 0.0, -1.0, 1.0], labels: vec![0, 1], classes: 2 }
    }

    fn checked(by: [f64; 2], dtype: Dtype, precision: Precision) -> Option<ModelChecked> {
        let outputs = outputs();
        let losses = outputs.examples().map(|(row, label)| cross_entropy(row, label)).zip(by);
        let losses = losses.map(|(loss, by)| loss + by).collect();
        let check = ModelCheck { group: "en".into(), rows: vec![3, 5], losses, dtype };
        compare(&check, &outputs, precision, SnapshotRef { step: 1, attempt: 1 })
    }

    #[test]
    fn a_difference_is_held_against_the_coarser_of_the_two_formats() {
        let agrees = |by, dtype, precision| checked([0.0, by], dtype, precision).unwrap().agrees;
        for (dtype, precision, below, above) in [
            (Dtype::F64, Precision::F64, 1e-11, 4e-11),
            (Dtype::F32, Precision::F64, 1e-5, 2e-5),
            (Dtype::F64, Precision::F32, 1e-5, 2e-5),
            (Dtype::F16, Precision::F32, 0.03, 0.032),
            (Dtype::Bf16, Precision::F64, 0.15, 0.16),
        ] {
            assert!(
                agrees(below, dtype, precision) && !agrees(above, dtype, precision),
                "{dtype:?} {precision:?}"
            );
            assert!(agrees(-below, dtype, precision) && !agrees(-above, dtype, precision));
        }
    }

    #[test]
    fn the_row_that_differs_most_is_told_beside_both_means() {
        // Differences of opposite signs leave the mean as it was.
        let found = checked([0.3, -0.3], Dtype::F32, Precision::F64).unwrap();
        assert!(!found.agrees && (found.trainer_loss - found.configured_loss).abs() < 1e-12);
        assert!((found.difference - 0.3).abs() < 1e-12 && found.tolerance < 1e-4);
        let reason = found.reason();
        assert!(reason.contains("2 rows of \"en\"") && reason.contains("0.126928"), "{reason}");
        assert!(found.refusal().contains("open a new run"), "{}", found.refusal());
    }

    #[test]
    fn what_is_not_finite_is_not_compared() {
        assert_eq!(checked([f64::NAN, 0.0], Dtype::F32, Precision::F64), None);
        assert_eq!(checked([0.0, f64::INFINITY], Dtype::F32, Precision::F64), None);
    }
}
