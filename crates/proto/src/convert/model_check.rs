//! The comparison of a trainer's model with its configuration: what is sent for it, and what came of it.
//!
//! Owns: limits on rows. May not touch: which rows a run has (that is the registry's).

use super::{Coded, Complaints, at_from_pb, at_to_pb};
use crate::pb;
use clino_domain::text::check_name;
use clino_domain::{Dtype, Fault, ModelCheck, ModelChecked, TensorMismatch};

/// Most rows of a check: a few tell as much as all.
const MOST_ROWS: usize = 256;
/// Most tensors of a check: as many as a snapshot may have.
const MOST_NORMS: usize = clino_domain::tensor::MAX_TENSORS;

/// What a client sends; field paths are relative.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] with every wrong field.
pub(super) fn check_from_pb(check: pb::ModelCheck) -> Result<ModelCheck, Fault> {
    let mut complaints = Complaints::default();
    complaints.keep("", check_name("group", &check.group));
    complaints.keep("", check_rows(&check.rows));
    complaints.keep("", check_losses(&check.losses, check.rows.len()));
    let dtype = Dtype::from_pb("dtype", check.dtype).and_then(|dtype| match dtype.is_float() {
        true => Ok(dtype),
        false => Err(Fault::invalid("dtype", format!("found {}, expected a float", dtype.name()))),
    });
    let dtype = complaints.keep("", dtype);
    let gradient_norms = complaints.keep("", check_norms(check.gradient_norms));
    complaints.settle()?;
    let dtype = dtype.ok_or_else(|| {
        Fault::internal(
            "a required field is missing after validation, which is a defect \
                                                    of clino",
        )
    })?;
    let gradient_norms = gradient_norms.unwrap_or_default();
    Ok(ModelCheck { group: check.group, rows: check.rows, losses: check.losses, dtype, gradient_norms })
}

fn check_rows(rows: &[u32]) -> Result<(), Fault> {
    let wrong = |found: String, expected: &str| {
        Err(Fault::invalid("rows", format!("found {found}, expected {expected}")))
    };
    match rows.windows(2).find(|pair| pair[0] >= pair[1]) {
        _ if rows.is_empty() || rows.len() > MOST_ROWS => {
            wrong(format!("{} rows", rows.len()), &format!("1 to {MOST_ROWS}"))
        }
        Some(pair) => wrong(format!("{} before {}", pair[0], pair[1]), "increasing rows without repeats"),
        None => Ok(()),
    }
}

fn check_losses(losses: &[f64], rows: usize) -> Result<(), Fault> {
    let wrong = |found: String, expected: String| {
        Err(Fault::invalid("losses", format!("found {found}, expected {expected}")))
    };
    match losses.iter().find(|loss| !loss.is_finite()) {
        _ if losses.len() != rows => wrong(format!("{} losses", losses.len()), format!("{rows}, one a row")),
        Some(loss) => wrong(loss.to_string(), "finite losses: leave model_check out if one is not".into()),
        None => Ok(()),
    }
}

fn check_norms(norms: Vec<pb::TensorNorm>) -> Result<Vec<(String, f64)>, Fault> {
    let wrong = |field: String, description: String| Err(Fault::invalid(field, description));
    if norms.len() > MOST_NORMS {
        let found = norms.len();
        return wrong("gradient_norms".into(), format!("found {found} norms, expected at most {MOST_NORMS}"));
    }
    for (i, pb::TensorNorm { tensor, norm }) in norms.iter().enumerate() {
        if tensor.is_empty() {
            return wrong(
                format!("gradient_norms[{i}].tensor"),
                "found no name, expected that of a tensor".into(),
            );
        }
        if !(norm.is_finite() && *norm >= 0.0) {
            let description =
                format!("found {norm}, expected a finite norm: leave model_check out if one is not");
            return wrong(format!("gradient_norms[{i}].norm"), description);
        }
    }
    Ok(norms.into_iter().map(|norm| (norm.tensor, norm.norm)).collect())
}

/// What a client sends.
pub(super) fn check_to_pb(check: &ModelCheck) -> pb::ModelCheck {
    let norm = |(tensor, norm): &(String, f64)| pb::TensorNorm { tensor: tensor.clone(), norm: *norm };
    let norms = check.gradient_norms.iter().map(norm).collect();
    pb::ModelCheck {
        group: check.group.clone(),
        rows: check.rows.clone(),
        losses: check.losses.clone(),
        dtype: check.dtype.to_pb(),
        gradient_norms: norms,
    }
}

fn mismatch_to_pb(wrong: &TensorMismatch) -> pb::TensorMismatch {
    let TensorMismatch { tensor, trainer_norm, own_norm } = wrong.clone();
    pb::TensorMismatch { tensor, trainer_norm, own_norm }
}

fn mismatch_from_pb(wrong: pb::TensorMismatch) -> TensorMismatch {
    let pb::TensorMismatch { tensor, trainer_norm, own_norm } = wrong;
    TensorMismatch { tensor, trainer_norm, own_norm }
}

/// What came of it.
pub(super) fn checked_to_pb(checked: &ModelChecked) -> pb::ModelChecked {
    pb::ModelChecked {
        snapshot: Some(at_to_pb(checked.snapshot)),
        group: checked.group.clone(),
        rows: checked.rows,
        trainer_loss: checked.trainer_loss,
        configured_loss: checked.configured_loss,
        difference: checked.difference,
        tolerance: checked.tolerance,
        agrees: checked.agrees,
        sentence: checked.sentence(),
        tensors: checked.tensors.iter().map(mismatch_to_pb).collect(),
        graph: checked.graph,
    }
}

/// What came of it.
///
/// # Errors
/// When it names no snapshot.
pub(super) fn checked_from_pb(checked: pb::ModelChecked) -> Result<ModelChecked, Fault> {
    Ok(ModelChecked {
        snapshot: at_from_pb(checked.snapshot)?,
        group: checked.group,
        rows: checked.rows,
        trainer_loss: checked.trainer_loss,
        configured_loss: checked.configured_loss,
        difference: checked.difference,
        tolerance: checked.tolerance,
        agrees: checked.agrees,
        tensors: checked.tensors.into_iter().map(mismatch_from_pb).collect(),
        graph: checked.graph,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::SnapshotRef;

    fn check() -> ModelCheck {
        ModelCheck {
            group: "en".into(),
            rows: vec![0, 7],
            losses: vec![0.5, 1.5],
            dtype: Dtype::Bf16,
            gradient_norms: vec![("w".into(), 0.25)],
        }
    }

    #[test]
    fn they_come_back_as_they_went() {
        assert_eq!(check_from_pb(check_to_pb(&check())).unwrap(), check());
        let checked = ModelChecked {
            snapshot: SnapshotRef { step: 3, attempt: 2 },
            group: "en".into(),
            rows: 2,
            trainer_loss: 1.7,
            configured_loss: 2.1,
            difference: 0.9,
            tolerance: 1e-5,
            agrees: false,
            tensors: vec![TensorMismatch { tensor: "w".into(), trainer_norm: 1.0, own_norm: 4.5 }],
            graph: true,
        };
        assert_eq!(checked_from_pb(checked_to_pb(&checked)).unwrap(), checked);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let wrong = |change: fn(&mut pb::ModelCheck)| {
            let mut message = check_to_pb(&check());
            change(&mut message);
            let fault = check_from_pb(message).unwrap_err();
            fault.violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(wrong(|check| check.group.clear()), "group");
        assert_eq!(wrong(|check| check.rows = vec![7, 7]), "rows");
        assert_eq!(wrong(|check| (check.rows, check.losses) = (vec![], vec![])), "rows");
        assert_eq!(wrong(|check| check.rows = (0..300).collect()), "rows losses");
        assert_eq!(wrong(|check| check.losses[1] = f64::NAN), "losses");
        assert_eq!(wrong(|check| check.dtype = pb::Dtype::I64.into()), "dtype");
        assert_eq!(wrong(|check| check.dtype = 0), "dtype");
        assert_eq!(wrong(|check| check.gradient_norms[0].norm = f64::NAN), "gradient_norms[0].norm");
        assert_eq!(wrong(|check| check.gradient_norms[0].tensor.clear()), "gradient_norms[0].tensor");
    }
}
