//! The client for trainers that must never be held up: a slot of one snapshot, and a thread that sends it.
//!
//! Owns: the slot, the thread, what became of every snapshot. May not touch: the trainer, which is never blocked for
//! longer than a lock (unless its run asks for every snapshot) and never sees an error.

mod sender_thread;
mod slot;

use crate::{Access, Label, Plan};
use clino_domain::text::harmless;
use clino_domain::{Advice, Decision, Delivery, RunId, Tensor};
use slot::{PendingSnapshot, SendSlot};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What became of the snapshots of a [`Sender`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Handed over by the trainer, the initialization included.
    pub offered: u64,
    /// Received by the daemon.
    pub sent: u64,
    /// Never sent, because a newer one took their place in the slot.
    pub replaced: u64,
    /// Refused by the daemon.
    pub refused: u64,
    /// Still in the slot at the end.
    pub left: u64,
    /// Times that the daemon was away.
    pub outages: u64,
}

/// Function that is called with each warning.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Sends snapshots of a trainer from a thread of its own.
///
/// A daemon that is away costs one warning: the newest snapshot is kept until it answers. One that comes back without
/// the run gets the run and its initialization again. Memory: the newest snapshot, the one being sent, and the
/// initialization.
///
/// ```no_run
/// # fn tensors() -> Vec<clino_domain::Tensor> { Vec::new() }
/// # fn train(step: u64) {}
/// use clino_client::{Label, Plan, background::Sender};
/// use std::time::Duration;
/// let config = r#"{"model_type":"mlp","sizes":[8,16,3]}"#;
/// let sender = Sender::start("unix:///run/clino.sock", Plan::new("my run", config));
/// for step in 0..1000 {
///     train(step);
///     sender.snapshot(Label::step(step), tensors());
/// }
/// sender.finish(Duration::from_secs(30));
/// ```
pub struct Sender {
    slot: Arc<SendSlot>,
}

impl Sender {
    /// Begins to connect and to open the run, in the background. Warnings go to standard error.
    pub fn start(address: &str, plan: Plan) -> Self {
        Self::start_with(address, plan, Arc::new(|warning| eprintln!("clino: {}", harmless(warning))))
    }

    /// [`Sender::start`] with warnings to `warn`: at most one that the daemon is away, and one that it refuses.
    pub fn start_with(address: &str, plan: Plan, warn: Warn) -> Self {
        Self::start_as(address, &Access::default(), plan, warn)
    }

    /// [`Sender::start_with`], known by a token or certificate.
    pub fn start_as(address: &str, access: &Access, plan: Plan, warn: Warn) -> Self {
        let slot = Arc::new(SendSlot::new(plan.spec.delivery == Delivery::Every, warn));
        let theirs = slot.clone();
        let address = address.to_owned();
        let access = access.clone();
        let work = move || sender_thread::run(&theirs, &address, &access, &plan);
        if let Err(error) = std::thread::Builder::new().name("clino-sender".into()).spawn(work) {
            slot.give_up(&format!("no thread for sending: {error}"));
        }
        Self { slot }
    }

    /// Hands over a host copy of the parameters; a snapshot that still waits is replaced. The initialization has a
    /// place of its own and is never replaced. Where the run asks for every snapshot, this waits for the slot as long
    /// as the daemon is there.
    pub fn snapshot(&self, mut label: Label, tensors: Vec<Tensor>) {
        label.key.get_or_insert_with(|| Uuid::now_v7().to_string());
        self.slot.offer(Arc::new(PendingSnapshot::new(label, tensors)));
    }

    /// The run, once the daemon has opened it.
    pub fn run(&self) -> Option<RunId> {
        self.slot.run()
    }

    /// Waits up to `patience` for the run to be opened, so that it can be followed.
    pub fn opened(&self, patience: Duration) -> Option<RunId> {
        self.slot.opened(patience)
    }

    /// Whether the run's policy has said STOP, as far as is known here from the answers to snapshots. False when nothing
    /// is known: a daemon that is away stops nobody. Asks nobody, so it never waits.
    pub fn should_stop(&self) -> bool {
        self.decision().is_some_and(|decision| decision.advice == Advice::Stop)
    }

    /// What the run's policy said last, as far as is known here.
    pub fn decision(&self) -> Option<Decision> {
        self.slot.decision()
    }

    /// Sends what is left, closes the run, and tells what became of the snapshots. Waits at most `patience`.
    pub fn finish(self, patience: Duration) -> Summary {
        self.slot.finish(patience)
    }
}

impl Drop for Sender {
    /// Lets go without waiting; what was not sent is lost. [`Sender::finish`] is the orderly end.
    fn drop(&mut self) {
        self.slot.abandon();
    }
}
