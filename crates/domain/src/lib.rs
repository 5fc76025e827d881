//! Nouns of clino as plain data, and the traits by which stages meet without an import.
//!
//! Owns: identifiers, faults, tensors and manifests, run specifications, snapshots, readings and events; with the feature
//! `tonic`, which status a fault becomes. May not touch: any other crate of clino, prost, tokio, candle; no clock, no
//! environment, no logging.

pub mod answer;
pub mod budget;
pub mod counters;
pub mod decision;
pub mod device;
pub mod diagnosis;
pub mod event;
pub mod fault;
pub mod fleet;
pub mod footprint;
pub mod graph;
pub mod id;
pub mod incident;
pub mod ledger;
pub mod measure;
pub mod memory;
pub mod metrics;
pub mod model_check;
pub mod persisted;
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
pub mod stop;
pub mod student;
pub mod subject;
pub mod tensor;
pub mod text;
pub mod work;

pub use answer::{Latest, MemoryShare, OpenedRun, Receipt, Refusals, Report, RunSummary, Unmeasured};
pub use decision::{
    Advice, Decision, Evidence, Mode, Overridden, PeerRun, Policy, Reason, RuleInfo, RuleRequest, Want,
};
pub use device::{Devices, EnginePlace};
pub use event::{Event, Sequenced};
pub use fault::{Fault, FaultKind, Violation};
pub use fleet::{ComparedRun, Comparison, Moment, RunFilter, RunNews, RunPage};
pub use footprint::{LeftOut, MemoryPart, RunFootprint, SharedPart};
pub use id::{RunId, SnapshotId};
pub use measure::{MeasureInfo, MeasureRequest, Needs, ParameterInfo, Value};
pub use memory::{Admitted, Memory, WorkingClaim};
pub use model_check::{ModelCheck, ModelChecked, TensorMismatch};
pub use persisted::{
    Acceptance, IdempotencyRecord, PersistedGroup, PersistedRun, Reference, RunRecord, Vault,
};
pub use ports::{
    Archive, DecisionContext, InMemory, Journal, Layout, ParameterSource, PolicyCompiler, PolicyEvaluator,
    PreparedModel, ReceivedSnapshot, References, RunValidator, StatisticsBuilder, Stretch, ValidatedRun,
};
pub use reading::{
    Ended, Estimate, Interval, Outcome, Part, Quadrature, Reading, Rung, Surface, TensorParts,
};
pub use run::{Delivery, Precision, ProbeGroup, RunLabel, RunSpec};
pub use series::{Direction, Earlier, Missing, Series, SeriesPoint};
pub use snapshot::{Announcement, Snapshot, SnapshotHeader, SnapshotRef, SnapshotState, WeightKind};
pub use statistics::{Against, Moments, Move, Statistics, TensorStatistics};
pub use stop::{Checkpoint, Stop};
pub use subject::{Subject, Term};
pub use tensor::crc32c;
pub use tensor::{Alias, Dtype, Manifest, Tensor, TensorSpec};
pub use work::{Planned, Work};
