//! Traits by which stages meet: the daemon connects them, no stage imports another for them.
//!
//! Owns: the shape of these meetings. May not touch: who stands behind them.

use super::{
    Acceptance, Decision, Dtype, Event, Evidence, Fault, Manifest, MeasureInfo, MeasureRequest, Needs,
    Planned, Policy, Precision, Reading, RuleInfo, RunFootprint, RunId, RunLabel, RunRecord, RunSpec,
    Snapshot, SnapshotHeader, SnapshotRef, Statistics, Subject, TensorSpec, Want,
};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// Whoever knows models and measures: checks a run before it opens. Implemented by the engine.
pub trait RunValidator: Send + Sync {
    /// Checks the whole specification: configuration, probe groups, measures.
    ///
    /// # Errors
    /// [`super::FaultKind::Invalid`] with a violation for every wrong field.
    fn validate(&self, spec: &RunSpec) -> Result<ValidatedRun, Fault>;

    /// Bytes that [`RunValidator::validate`] takes at most, with what it leaves of them, as far as the sizes alone of the
    /// specification tell: to be claimed before it looks.
    fn preparation(&self, _spec: &RunSpec) -> u64 {
        0
    }

    /// Descriptions of all measures.
    fn catalogue(&self) -> Vec<MeasureInfo>;
}

/// A run that passed the examination.
#[derive(Debug, Clone)]
pub struct ValidatedRun {
    /// Architecture of the model, such as `bert`.
    pub model_type: String,
    /// What a snapshot must hold.
    pub layout: Arc<dyn Layout>,
    /// What will be measured, defaults filled in, from the cheapest to the most expensive.
    pub measures: Vec<MeasureRequest>,
    /// What each of them needs.
    pub needs: Vec<Needs>,
    /// What each of them will cost.
    pub plan: Vec<Planned>,
    /// How many examples each probe group has, in the order of the groups.
    pub examples: Vec<usize>,
    /// Precision in which the run is measured; never [`Precision::Auto`].
    pub precision: Precision,
    /// What of the specification may differ from what its author expects, a sentence each.
    pub warnings: Vec<String>,
    /// What it takes of memory on the CPU.
    pub footprint: RunFootprint,
    /// Whether any measure needs the initialization.
    pub needs_init: bool,
    /// Whether any measure needs the previous snapshot.
    pub needs_previous: bool,
    /// What the engine prepared (probe batches, network); only the engine looks inside.
    pub prepared: PreparedModel,
}

impl ValidatedRun {
    /// Number of parameters of the model.
    pub fn parameter_count(&self) -> u64 {
        self.layout.parameters().iter().filter_map(|spec| spec.numel()).sum()
    }
}

/// Something that only its maker looks into.
#[derive(Clone)]
pub struct PreparedModel(pub Arc<dyn Any + Send + Sync>);

impl Debug for PreparedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparedModel(..)")
    }
}

/// Whoever knows rules: checks a policy before a run opens. Implemented by `decide`.
pub trait PolicyCompiler: Send + Sync + Debug {
    /// Checks a policy for a run that measures `measures` on `groups`, and fills in what is absent.
    ///
    /// # Errors
    /// [`super::FaultKind::Invalid`] with a violation for every wrong field, under `policy.rules[i].`.
    fn compile(
        &self,
        policy: &Policy,
        measures: &[MeasureRequest],
        groups: &[String],
    ) -> Result<Arc<dyn PolicyEvaluator>, Fault>;

    /// Descriptions of all rules.
    fn rules(&self) -> Vec<RuleInfo>;
}

/// A policy that passed: decides, and remembers nothing.
pub trait PolicyEvaluator: Send + Sync + Debug {
    /// The policy with all defaults filled in.
    fn policy(&self) -> &Policy;

    /// What it looks at, each once.
    fn subjects(&self) -> &[Subject];

    /// Whether any rule compares with other runs.
    fn across(&self) -> bool;

    /// What to do. The same evidence gives the same decision.
    fn decide(&self, evidence: &Evidence<'_>) -> Decision {
        self.consider(evidence).0
    }

    /// The same, and what was looked for in vain: with that read back, the decision may be another one.
    fn consider(&self, evidence: &Evidence<'_>) -> (Decision, Vec<Want>);
}

/// What a model's parameters are called and how they are shaped.
pub trait Layout: Send + Sync + Debug {
    /// Canonical names and shapes, in the order of the names' bytes.
    fn parameters(&self) -> &[TensorSpec];

    /// Finds every parameter in a manifest: element `i` is the index of the manifest's tensor that holds parameter
    /// `i`, and behind all parameters are those that are read besides. Two parameters with the same index are tied. Wrappers (`module.`, `_orig_mod.`) and whatever else all names
    /// begin with are taken off; integer tensors are buffers and pass unmeasured.
    ///
    /// # Errors
    /// [`super::FaultKind::Precondition`] with a violation for each missing, unknown or misshapen tensor.
    fn arrange(&self, manifest: &Manifest) -> Result<Vec<usize>, Fault>;

    /// The same of an initialization, which may lack the head or have one of other shapes, as a pretrained model does:
    /// `None` for a parameter of the head that is not in it.
    ///
    /// # Errors
    /// Those of [`Layout::arrange`] for all other parameters.
    fn arrange_initialization(&self, manifest: &Manifest) -> Result<Vec<Option<usize>>, Fault>;

    /// What of a manifest that can be arranged may differ from what its author expects, a sentence each.
    fn remarks(&self, _manifest: &Manifest) -> Vec<String> {
        Vec::new()
    }

    /// Makes the statistics of a snapshot while its bytes arrive; `places` is what [`Layout::arrange`] answered.
    fn statistics_builder(
        &self,
        manifest: &Manifest,
        places: &[usize],
        references: References,
    ) -> Box<dyn StatisticsBuilder>;
}

/// Statistics of a snapshot in the making.
pub trait StatisticsBuilder: Send + Debug {
    /// Takes the next bytes of all tensors laid end to end, in the order of the manifest.
    ///
    /// # Errors
    /// [`super::FaultKind::Internal`] when a reference cannot be read back.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// All bytes have been taken.
    fn finish(self: Box<Self>) -> Statistics;
}

/// What a snapshot is compared with.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// Parameters at initialization, if they were sent.
    pub init: Option<Arc<dyn ParameterSource>>,
    /// The snapshot that was received before this one.
    pub previous: Option<Arc<dyn ParameterSource>>,
}

/// Parameters that are read piece by piece: from memory, or from a file while they wait to be compared with.
pub trait ParameterSource: Send + Sync + Debug {
    /// Whether it has parameter `index` of the layout: an initialization may lack those of the head.
    fn has(&self, _index: usize) -> bool {
        true
    }

    /// Hands over the bytes of elements `start..start + len` of parameter `index` of the layout, and their dtype.
    ///
    /// # Errors
    /// [`super::FaultKind::Internal`] when the bytes cannot be read back.
    fn read(
        &self,
        index: usize,
        start: usize,
        len: usize,
        with: &mut dyn FnMut(Dtype, &[u8]),
    ) -> Result<(), Fault>;
}

/// A snapshot that was received whole and waits, in memory or on disk: it can be taken up, and be compared with.
/// Its bytes are given back when the last owner drops it.
pub trait ReceivedSnapshot: ParameterSource {
    /// Step, attempt and kind of the snapshot.
    fn header(&self) -> &SnapshotHeader;

    /// What was made of it as it arrived.
    fn statistics(&self) -> Option<Arc<Statistics>>;

    /// All of it in memory.
    ///
    /// # Errors
    /// [`super::FaultKind::Internal`] when the bytes cannot be read back.
    fn load(&self) -> Result<Snapshot, Fault>;
}

/// Whoever can read back what happened.
pub trait Archive: Send + Sync + Debug {
    /// Hands over the readings of some measures of a run, snapshot by snapshot in the order in which they were measured;
    /// those of a stretch in the order of their steps.
    ///
    /// # Errors
    /// If it cannot be read back.
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        stretch: Option<Stretch>,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault>;
}

/// A number of snapshots at the next steps; for each the attempt that was measured last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// From this step on.
    pub from: u64,
    /// Maximum number of snapshots.
    pub most: usize,
}

/// What decisions on a run depend on beside its readings.
#[derive(Debug, Clone, Default)]
pub struct DecisionContext {
    /// Whose run it is, and which are its peers.
    pub label: RunLabel,
    /// Evaluates the run's policy; `None` if the run has no policy.
    pub evaluator: Option<Arc<dyn PolicyEvaluator>>,
}

/// Whoever keeps what happens in runs. Called with locks held: it must not block.
pub trait Journal: Send + Sync + Debug {
    /// Stores a run that begins now.
    fn open(&self, record: RunRecord, context: DecisionContext);

    /// A run of an earlier process goes on.
    fn resume(&self, _run: &RunId, _case: DecisionContext) {}

    /// Whether runs and snapshots can be taken on now; looks at disks.
    ///
    /// # Errors
    /// [`super::FaultKind::Exhausted`] or [`super::FaultKind::Unavailable`] with the cause.
    fn room(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Why the run takes no more snapshots, beside being closed: what was found and what to do.
    fn refusal(&self, run: &RunId) -> Option<String>;

    /// A snapshot was received whole.
    fn accept(&self, run: &RunId, acceptance: Acceptance) {
        let SnapshotHeader { at, kind, initialization } = acceptance.header;
        self.append(run, Event::Accepted { snapshot: at, kind, initialization });
    }

    /// Something happened in it; ignored for runs that are not open here.
    fn append(&self, run: &RunId, event: Event);

    /// The run takes no more snapshots; what waits is still measured. Whether it may be opened again.
    fn close(&self, _run: &RunId, _resumable: bool) {}

    /// A run that was closed takes snapshots again.
    fn reopen(&self, _run: &RunId) {}

    /// The run is forgotten.
    fn forget(&self, run: &RunId);
}

/// Parameters of a snapshot that is held in memory.
#[derive(Debug)]
pub struct InMemory {
    snapshot: Snapshot,
    places: Vec<Option<usize>>,
}

impl InMemory {
    /// A snapshot in the order of a layout.
    ///
    /// # Errors
    /// Those of [`Layout::arrange`].
    pub fn new(snapshot: Snapshot, layout: &dyn Layout) -> Result<Self, Fault> {
        let places = layout.arrange(snapshot.manifest())?.into_iter().map(Some).collect();
        Ok(Self { snapshot, places })
    }

    /// An initialization, which may be a pretrained model whose head is another one.
    ///
    /// # Errors
    /// Those of [`Layout::arrange_initialization`].
    pub fn initialization(snapshot: Snapshot, layout: &dyn Layout) -> Result<Self, Fault> {
        let places = layout.arrange_initialization(snapshot.manifest())?;
        Ok(Self { snapshot, places })
    }
}

impl ParameterSource for InMemory {
    fn has(&self, index: usize) -> bool {
        self.places[index].is_some()
    }

    fn read(
        &self,
        index: usize,
        start: usize,
        len: usize,
        with: &mut dyn FnMut(Dtype, &[u8]),
    ) -> Result<(), Fault> {
        let Some(place) = self.places[index] else {
            return Err(Fault::internal(format!("parameter {index} is not in these")));
        };
        let dtype = self.snapshot.manifest().tensors()[place].dtype;
        let size = dtype.size() as usize;
        with(dtype, &self.snapshot.data()[place][start * size..(start + len) * size]);
        Ok(())
    }
}
