//! The trainer's model against its configuration: the same rows and parameters through two programs.
//!
//! Owns: how large a difference rounding can make. May not touch: what becomes of a run whose model is another one.
//!
//! Rounding with unit roundoff u moves a loss by so many u max|z|, z being the scores of the row (PyTorch's BERT against
//! itself in f64): in f32 by 6 to 24 in ordinary networks and by 52 in 12 layers with weights ten times as large as usual,
//! in f16 by 13 and in bf16 by 8 there. Five times the worst of these is allowed. In f32 another activation or LayerNorm's
//! epsilon makes ten times the tolerance, and in f64 more.

//!
//! Gradients are compared tensor by tensor: a wrong one of a single tensor hardly moves the norm of all. Rounding moves the
//! norm of a tensor by some share of it, and by a share of a small part of the whole gradient: that of a bias to which a
//! softmax is blind is nothing but rounding.

use crate::outputs::{CheckedRow, CheckedRows};
use crate::plan::PreparedRun;
use clino_domain::{Dtype, ModelCheck, ModelChecked, Precision, SnapshotRef, TensorMismatch};
use std::collections::HashMap;

/// Of the scores, in each format: how much rounding may change a loss.
const F64: f64 = 256.0 * (f64::EPSILON / 2.0);
const F32: f64 = 256.0 * (f32::EPSILON as f64 / 2.0);
const F16: f64 = 64.0 / 2048.0;
const BF16: f64 = 40.0 / 256.0;
/// Functions of the two programs differ in their last places, which sums make more of.
const LEAST: f64 = 1e-11;
/// Beside f64: casts to f32 are part of some models, and a graph has them in its own precision.
const BAKED: f64 = 4e-6;
/// Of the norm of a gradient, for each unit of the share of scores: sums over many products.
const GRADIENT: f64 = 32.0;
/// Share of the whole gradient below which a tensor's is rounding.
const FLOOR: f64 = 1e-2;
/// Most tensors that are named.
const MOST_TENSORS: usize = 4;

/// Holds what the trainer's model says of a few rows against the same here; `None` where a loss is not finite.
pub fn compare(
    check: &ModelCheck,
    found: &CheckedRows,
    plan: &PreparedRun,
    snapshot: SnapshotRef,
) -> Option<ModelChecked> {
    let graph = plan.network.is_graph();
    let own = if plan.precision == Precision::F32 { F32 } else { F64 };
    let share = share(check.dtype).max(own).max(if graph { BAKED } else { 0.0 });
    let losses: Vec<f64> = found.rows.iter().map(CheckedRow::loss).collect();
    if !losses.iter().chain(&check.losses).all(|loss| loss.is_finite()) {
        return None;
    }
    let rows = found.rows.iter().zip(losses.iter().zip(&check.losses));
    let differences = rows
        .map(|(row, (ours, theirs))| ((ours - theirs).abs(), share * row.size + LEAST * (1.0 + row.size)));
    let worst =
        |one: (f64, f64), other: (f64, f64)| if other.0 * one.1 > one.0 * other.1 { other } else { one };
    let (difference, tolerance) = differences.reduce(worst)?;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let tensors = wrong_tensors(check, found, share);
    Some(ModelChecked {
        snapshot,
        group: check.group.clone(),
        rows: losses.len() as u32,
        trainer_loss: mean(&check.losses),
        configured_loss: mean(&losses),
        difference,
        tolerance,
        agrees: difference <= tolerance && tensors.is_empty(),
        tensors,
        graph,
    })
}

/// Tensors whose gradients differ, the worst first.
fn wrong_tensors(check: &ModelCheck, found: &CheckedRows, share: f64) -> Vec<TensorMismatch> {
    let theirs: HashMap<&str, f64> =
        check.gradient_norms.iter().map(|(name, norm)| (name.as_str(), *norm)).collect();
    let whole = found.norms.iter().map(|(_, norm)| norm * norm).sum::<f64>().sqrt();
    let share = (GRADIENT * share).min(0.5);
    let one = |(name, ours): &(String, f64)| {
        let trainer_norm = *theirs.get(name.as_str())?;
        let tolerance = share * (ours.max(trainer_norm) + FLOOR * whole);
        let difference = (ours - trainer_norm).abs();
        let wrong = TensorMismatch { tensor: name.clone(), trainer_norm, own_norm: *ours };
        // What is not finite differs, too.
        (difference.is_nan() || difference > tolerance).then_some((difference / tolerance, wrong))
    };
    let mut wrong: Vec<(f64, TensorMismatch)> = found.norms.iter().filter_map(one).collect();
    wrong.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    wrong.into_iter().take(MOST_TENSORS).map(|(_, tensor)| tensor).collect()
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
    use crate::criterion::{CrossEntropy, Target};
    use crate::network;

    /// Two rows of two scores, and a gradient along two tensors.
    fn found() -> CheckedRows {
        let row = |scores: &[f64], label| {
            let mut row = CheckedRow::default();
            row.add(&CrossEntropy::default(), scores, Target::Class(label));
            row
        };
        let norms = vec![("a".into(), 2.0), ("b".into(), 1e-9)];
        CheckedRows { rows: vec![row(&[2.0, 0.0], 0), row(&[-1.0, 1.0], 1)], norms }
    }

    fn plan(precision: Precision) -> PreparedRun {
        let (network, _) = network::build(r#"{"model_type":"mlp","sizes":[2,2]}"#).unwrap();
        PreparedRun::new(network, None, Vec::new(), Vec::new(), precision)
    }

    fn checked(by: [f64; 2], dtype: Dtype, precision: Precision) -> Option<ModelChecked> {
        let found = found();
        let losses = found.rows.iter().zip(by).map(|(row, by)| row.loss() + by).collect();
        let gradient_norms = found.norms.clone();
        let check = ModelCheck { group: "en".into(), rows: vec![3, 5], losses, dtype, gradient_norms };
        compare(&check, &found, &plan(precision), SnapshotRef { step: 1, attempt: 1 })
    }

    #[test]
    fn a_tensor_that_differs_is_named_and_rounding_is_not() {
        let found = found();
        let losses: Vec<f64> = found.rows.iter().map(CheckedRow::loss).collect();
        let with = |a: f64| {
            let gradient_norms = vec![("a".into(), a), ("b".into(), 3e-9), ("strange".into(), 7.0)];
            let check = ModelCheck {
                group: "en".into(),
                rows: vec![3, 5],
                losses: losses.clone(),
                dtype: Dtype::F32,
                gradient_norms,
            };
            compare(&check, &found, &plan(Precision::F64), SnapshotRef { step: 1, attempt: 1 }).unwrap()
        };
        assert!(with(2.0).agrees && with(2.0005).agrees);
        let wrong = with(2.01);
        assert!(!wrong.agrees && wrong.tensors.len() == 1, "{:?}", wrong.tensors);
        assert!(
            wrong.refusal().contains("\"a\" 2.0100e0 by the trainer, 2.0000e0 here"),
            "{}",
            wrong.refusal()
        );
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
