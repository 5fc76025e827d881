//! Runs, snapshots and readings for tests, and somebody who hands them to a store.
//!
//! Owns: what tests keep. May not touch: any one store.
#![allow(clippy::unwrap_used)]

use super::{Audience, Committed, Entry, EventStore, RunChange, StoredRun};
use clino_domain::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(id: &str) -> RunId {
    RunId(id.into())
}

pub(crate) fn record(run: &RunId) -> RunRecord {
    RunRecord {
        id: run.clone(),
        key: run.0.clone(),
        fingerprint: "print".into(),
        name: "a run".into(),
        label: RunLabel { project: "p".into(), ..RunLabel::default() },
        model_type: "mlp".into(),
        parameters: 3,
        config_json: "{}".into(),
        model: None,
        groups: vec![],
        measures: vec![MeasureRequest { name: "loss".into(), parameters: BTreeMap::new() }],
        plan: vec![Planned { work: Work::NONE, counted: false, seconds: None }],
        seed: u64::MAX,
        delivery: Delivery::Latest,
        precision: Precision::F64,
        budget: None,
        gpu_only: false,
        policy: None,
        opened_at: 1.5e9,
    }
}

pub(crate) fn checked(step: u64, agrees: bool) -> ModelChecked {
    let tolerance = 1e-6;
    let difference = if agrees { 1e-9 } else { 0.5 };
    let trainer_loss = 1.702;
    let configured_loss = 1.702 + difference;
    let snapshot = at(step);
    let group = "en".to_owned();
    let tensors = Vec::new();
    let graph = false;
    ModelChecked {
        snapshot,
        group,
        rows: 8,
        trainer_loss,
        configured_loss,
        difference,
        tolerance,
        agrees,
        tensors,
        graph,
    }
}

pub(crate) fn at(step: u64) -> SnapshotRef {
    SnapshotRef { step, attempt: 1 }
}

pub(crate) fn loss(step: u64, value: f64) -> Event {
    let loss = MeasureRequest { name: "loss".into(), parameters: BTreeMap::new() };
    let reading = Reading { value: Some(value), ..Reading::blank(loss, None, at(step), Precision::F64) };
    Event::Reading(Box::new(reading))
}

pub(crate) fn acceptance(step: u64) -> Acceptance {
    let receipt = Receipt {
        id: SnapshotId(format!("s{step}")),
        at: at(step),
        digest: "d".into(),
        measures: vec!["loss".into()],
        unmeasured: vec![],
        replaced: None,
        repeated: false,
        warnings: Vec::new(),
        decision: None,
    };
    let header = SnapshotHeader { at: at(step), kind: WeightKind::Ema, initialization: false };
    let key = Some((format!("key {step}"), "print".to_owned()));
    Acceptance { header, receipt, key, reference: None }
}

/// A probe group of one tensor, whose digest is that pair of digits many times.
pub(crate) fn group(digits: &str) -> PersistedGroup {
    let spec = TensorSpec { name: "x".into(), dtype: Dtype::F32, shape: vec![1] };
    let tensors = Arc::new(vec![Tensor::new(spec, vec![7; 4].into()).unwrap()]);
    PersistedGroup { name: "en".into(), digest: digits.repeat(32), tensors: Some(tensors) }
}

/// Whom a store asks about runs that are too old.
#[derive(Debug, Default)]
pub(crate) struct RunHolder {
    pub refuses: AtomicBool,
    pub asked: AtomicUsize,
}

impl Audience for RunHolder {
    fn expire(&self, _: &RunId) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        !self.refuses.load(Ordering::SeqCst)
    }

    fn changed(&self) {}
}

/// Numbers of events that were told, of each run in the order in which they were.
pub(crate) type Told = Arc<Mutex<BTreeMap<RunId, Vec<u64>>>>;

/// Pushes what happens in runs, as a bus does.
#[derive(Debug)]
pub(crate) struct StoreDriver {
    pub store: Arc<dyn EventStore>,
    pub listener: Arc<RunHolder>,
    pub found: Vec<StoredRun>,
    pub told: Told,
    next: HashMap<RunId, u64>,
}

impl StoreDriver {
    /// Takes up the runs of a store, and starts it.
    pub fn start(store: Arc<dyn EventStore>) -> Self {
        let found = store.runs(1_000).unwrap();
        let next =
            |stored: &StoredRun| (stored.run.record.id.clone(), stored.standing.progress.next_sequence);
        let next = found.iter().map(next).collect();
        let listener = Arc::new(RunHolder::default());
        let audience = Arc::downgrade(&listener);
        store.clone().start(audience, Arc::default()).unwrap();
        Self { store, listener, found, told: Told::default(), next }
    }

    pub fn push(&self, run: &RunId, change: RunChange, committed: Committed) {
        self.store.push(Entry::new(run.clone(), change, committed));
    }

    /// Pushes what has a number, and notes when it is told.
    pub fn number(&mut self, run: &RunId, event: Event, change: impl FnOnce(Arc<Sequenced>) -> RunChange) {
        let next = self.next.entry(run.clone()).or_default();
        let sequence = *next;
        *next += 1;
        let told = self.told.clone();
        let whose = run.clone();
        let committed = move || told.lock().unwrap().entry(whose).or_default().push(sequence);
        self.push(run, change(Arc::new(Sequenced { sequence, event })), Box::new(committed));
    }

    pub fn open(&self, record: RunRecord) {
        self.push(&record.id.clone(), RunChange::Open(Box::new(record)), Box::new(|| ()));
    }

    pub fn append(&mut self, run: &RunId, event: Event) {
        self.number(run, event, RunChange::Event);
    }

    pub fn accept(&mut self, run: &RunId, acceptance: Acceptance) {
        let SnapshotHeader { at, kind, initialization } = acceptance.header;
        let event = Event::Accepted { snapshot: at, kind, initialization };
        self.number(run, event, |event| RunChange::Accept(Box::new(acceptance), event));
    }

    /// Five events of a snapshot that is received and measured, with two readings.
    pub fn measured(&mut self, run: &RunId, step: u64) {
        self.accept(run, acceptance(step));
        self.append(run, Event::Started { snapshot: at(step), readings: 2 });
        self.append(run, loss(step, step as f64));
        self.append(run, loss(step, -1.0));
        self.append(run, Event::Finished { snapshot: at(step), seconds: 0.5 });
    }

    /// A run comes to its end.
    pub fn close(&mut self, run: &RunId) {
        self.push(run, RunChange::Close { resumable: false }, Box::new(|| ()));
        self.append(run, Event::Closed);
    }

    /// Whatever was pushed is pushed again from now on.
    pub fn rewind(&mut self) {
        self.next.clear();
    }

    pub async fn settled(&self) {
        tokio::time::timeout(PATIENCE, self.store.settled()).await.unwrap().unwrap();
    }

    pub fn end(self) {
        assert!(self.store.end(PATIENCE));
    }
}
