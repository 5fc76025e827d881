//! Nouns of clino as plain data, and the traits by which stages meet without an import.
//!
//! Owns: identifiers, faults, tensors and manifests, run specifications, snapshots, readings and events; with the feature
//! `tonic`, which status a fault becomes. May not touch: any other crate of clino, prost, tokio, candle; no clock, no
//! environment, no logging.

pub mod answer;
pub mod budget;
pub mod decision;
pub mod device;
pub mod event;
pub mod fault;
pub mod fleet;
pub mod id;
pub mod kept;
pub mod measure;
pub mod meters;
pub mod model_check;
pub mod ports;
pub mod quota;
pub mod readiness;
pub mod reading;
pub mod run;
pub mod series;
pub mod snapshot;
pub mod statistics;
#[cfg(feature = "tonic")]
pub mod status;
pub mod student;
pub mod subject;
pub mod tally;
pub mod tensor;
pub mod text;
pub mod work;

pub use answer::{Latest, OpenedRun, Receipt, Refusals, Report, RunSummary, Unmeasured};
pub use decision::{
    Advice, Decision, Evidence, Mode, Overridden, Peer, Policy, Reason, RuleInfo, RuleRequest, Want,
};
pub use device::{Devices, Place};
pub use event::{Event, Sequenced};
pub use fault::{Fault, FaultKind, Violation};
pub use fleet::{ComparedRun, Comparison, Moment, Page, RunFilter, RunNews};
pub use id::{RunId, SnapshotId};
pub use kept::{Acceptance, KeptGroup, KeptRun, Ledger, Reference, RunRecord, Vault};
pub use measure::{MeasureInfo, MeasureRequest, Needs, ParameterInfo, Value};
pub use model_check::{ModelCheck, ModelChecked};
pub use ports::{
    Admitted, Archive, Case, Counsel, Examiner, Gauge, Held, InMemory, Journal, Judge, Layout,
    ParameterSource, Prepared, References, Stretch,
};
pub use reading::{
    Ended, Estimate, Interval, Outcome, Part, Quadrature, Reading, Rung, Surface, TensorParts,
};
pub use run::{Delivery, Precision, ProbeGroup, RunLabel, RunSpec};
pub use series::{Direction, Earlier, Missing, Point, Series};
pub use snapshot::{Announcement, Snapshot, SnapshotHeader, SnapshotRef, SnapshotState, WeightKind};
pub use statistics::{Against, Moments, Move, Statistics, TensorStatistics};
pub use subject::{Subject, Term};
pub use tensor::crc32c;
pub use tensor::{Alias, Dtype, Manifest, Tensor, TensorSpec};
pub use work::{Planned, Work};
