//! Enums: one table each, read in both directions. UNSPECIFIED is the default of an enum that has one; without one it is
//! refused by name, as unknown numbers are.
//!
//! Owns: the tables. May not touch: messages.

use crate::pb;
use clino_domain::{
    Advice, Delivery, Dtype, Ended, Fault, Mode, Outcome, Precision, Reason, SnapshotState, WeightKind,
};

/// A domain enum with numbers on the wire.
pub trait Coded: Copy + PartialEq + 'static {
    /// The generated protobuf enum for this type.
    type Pb: Copy + Into<i32> + TryFrom<i32> + 'static;
    /// All pairs; UNSPECIFIED has none.
    const TABLE: &'static [(Self::Pb, Self)];

    /// Name in the proto file.
    fn name(pb: &Self::Pb) -> &'static str;

    /// The number on the wire.
    fn to_pb(self) -> i32 {
        let entry = Self::TABLE.iter().find(|(_, domain)| *domain == self);
        entry.map_or(0, |(pb, _)| (*pb).into())
    }

    /// What a number means in a request, where UNSPECIFIED is the default.
    ///
    /// # Errors
    /// Those of [`Coded::from_pb`].
    fn or_default(field: &str, number: i32) -> Result<Self, Fault>
    where
        Self: Default,
    {
        if number == 0 { Ok(Self::default()) } else { Self::from_pb(field, number) }
    }

    /// What a number means.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `field`, what was found and what is accepted.
    fn from_pb(field: &str, number: i32) -> Result<Self, Fault> {
        let entry = Self::TABLE.iter().find(|(pb, _)| (*pb).into() == number);
        entry.map(|(_, domain)| *domain).ok_or_else(|| {
            let found = match Self::Pb::try_from(number) {
                Ok(pb) => Self::name(&pb).to_owned(),
                Err(_) => number.to_string(),
            };
            let names: Vec<_> = Self::TABLE.iter().map(|(pb, _)| Self::name(pb)).collect();
            Fault::invalid(field, format!("found {found}, expected one of {}", names.join(", ")))
        })
    }
}

impl Coded for Dtype {
    type Pb = pb::Dtype;
    const TABLE: &'static [(pb::Dtype, Self)] = &[
        (pb::Dtype::F32, Self::F32),
        (pb::Dtype::F16, Self::F16),
        (pb::Dtype::Bf16, Self::Bf16),
        (pb::Dtype::F64, Self::F64),
        (pb::Dtype::I64, Self::I64),
        (pb::Dtype::I32, Self::I32),
        (pb::Dtype::Bool, Self::Bool),
        (pb::Dtype::U8, Self::U8),
        (pb::Dtype::I8, Self::I8),
        (pb::Dtype::I16, Self::I16),
        (pb::Dtype::U16, Self::U16),
    ];
    fn name(pb: &pb::Dtype) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Delivery {
    type Pb = pb::Delivery;
    const TABLE: &'static [(pb::Delivery, Self)] =
        &[(pb::Delivery::Latest, Self::Latest), (pb::Delivery::Every, Self::Every)];
    fn name(pb: &pb::Delivery) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Precision {
    type Pb = pb::Precision;
    const TABLE: &'static [(pb::Precision, Self)] = &[
        (pb::Precision::Auto, Self::Auto),
        (pb::Precision::F32, Self::F32),
        (pb::Precision::F64, Self::F64),
    ];
    fn name(pb: &pb::Precision) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for WeightKind {
    type Pb = pb::WeightKind;
    const TABLE: &'static [(pb::WeightKind, Self)] = &[
        (pb::WeightKind::Live, Self::Live),
        (pb::WeightKind::Master, Self::Master),
        (pb::WeightKind::Ema, Self::Ema),
        (pb::WeightKind::Swa, Self::Swa),
    ];
    fn name(pb: &pb::WeightKind) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Outcome {
    type Pb = pb::Outcome;
    const TABLE: &'static [(pb::Outcome, Self)] = &[
        (pb::Outcome::Measured, Self::Measured),
        (pb::Outcome::Undefined, Self::Undefined),
        (pb::Outcome::Unavailable, Self::Unavailable),
        (pb::Outcome::Failed, Self::Failed),
        (pb::Outcome::Skipped, Self::Skipped),
    ];
    fn name(pb: &pb::Outcome) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Ended {
    type Pb = pb::Ended;
    const TABLE: &'static [(pb::Ended, Self)] = &[
        (pb::Ended::Draws, Self::Draws),
        (pb::Ended::Target, Self::Target),
        (pb::Ended::MaxDraws, Self::MaxDraws),
        (pb::Ended::MaxSeconds, Self::MaxSeconds),
    ];
    fn name(pb: &pb::Ended) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for SnapshotState {
    type Pb = pb::SnapshotState;
    const TABLE: &'static [(pb::SnapshotState, Self)] = &[
        (pb::SnapshotState::Waiting, Self::Waiting),
        (pb::SnapshotState::Measuring, Self::Measuring),
        (pb::SnapshotState::Measured, Self::Measured),
        (pb::SnapshotState::Skipped, Self::Skipped),
    ];
    fn name(pb: &pb::SnapshotState) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Mode {
    type Pb = pb::PolicyMode;
    const TABLE: &'static [(pb::PolicyMode, Self)] =
        &[(pb::PolicyMode::Advise, Self::Advise), (pb::PolicyMode::Enforce, Self::Enforce)];
    fn name(pb: &pb::PolicyMode) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Advice {
    type Pb = pb::Advice;
    const TABLE: &'static [(pb::Advice, Self)] = &[
        (pb::Advice::Continue, Self::Continue),
        (pb::Advice::Stop, Self::Stop),
        (pb::Advice::NotEnoughData, Self::NotEnoughData),
    ];
    fn name(pb: &pb::Advice) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Reason {
    type Pb = pb::Reason;
    const TABLE: &'static [(pb::Reason, Self)] = &[
        (pb::Reason::NoRuleFired, Self::NoRuleFired),
        (pb::Reason::WarmingUp, Self::WarmingUp),
        (pb::Reason::ThresholdCrossed, Self::ThresholdCrossed),
        (pb::Reason::PatienceExhausted, Self::PatienceExhausted),
        (pb::Reason::Diverged, Self::Diverged),
        (pb::Reason::Plateau, Self::Plateau),
        (pb::Reason::TrendReversed, Self::TrendReversed),
        (pb::Reason::NonFinite, Self::NonFinite),
        (pb::Reason::WorseThanMedian, Self::WorseThanMedian),
        (pb::Reason::BelowPercentile, Self::BelowPercentile),
        (pb::Reason::NotPromoted, Self::NotPromoted),
        (pb::Reason::SignificantlyWorse, Self::SignificantlyWorse),
    ];
    fn name(pb: &pb::Reason) -> &'static str {
        pb.as_str_name()
    }
}
