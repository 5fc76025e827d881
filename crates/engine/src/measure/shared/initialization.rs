//! Why a measure that needs the initialization has none.
//!
//! Owns: the sentence. May not touch: which measures need it.

use crate::landscape::Position;
use crate::measure::MeasureError;

/// Said where parameters are not in the initialization: all of them when none was given, those of the head when it is a
/// pretrained body.
pub fn lacking(position: &dyn Position) -> MeasureError {
    let statistics = position.statistics();
    let lacking = statistics.iter().filter(|tensor| tensor.init.is_none()).count();
    MeasureError::Unavailable(match statistics.len() {
        all if all == lacking => "no initialization was given".into(),
        all => format!("the initialization lacks {lacking} of {all} parameters"),
    })
}
