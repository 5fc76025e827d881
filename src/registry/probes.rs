//! Probes by the SHA-256 of their content, so that many runs can name the same examples.
//!
//! Owns: the bytes of probes that came by `PutProbe`. May not touch: what the tensors mean to a model.

use clino_domain::budget::{Budget, BudgetPart, Claim, Reclaim};
use clino_domain::id::hex;
use clino_domain::{Fault, FaultKind, Tensor};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// SHA-256, in lower-case hexadecimal, over the tensors in the order of their names' bytes: of each the name, a zero
/// byte, the dtype as safetensors spells it, a zero byte, the axes in decimal joined by `x`, a zero byte, the data.
pub fn probe_digest(tensors: &[Tensor]) -> String {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let mut digest = Sha256::new();
    for tensor in sorted {
        let axes: Vec<_> = tensor.spec.shape.iter().map(u64::to_string).collect();
        for text in [tensor.spec.name.as_str(), tensor.spec.dtype.name(), &axes.join("x")] {
            digest.update(text);
            digest.update([0]);
        }
        digest.update(&tensor.data);
    }
    hex(digest.finalize())
}

#[derive(Debug)]
struct StoredProbe {
    tensors: Arc<Vec<Tensor>>,
    /// Whose it was first.
    project: String,
    /// When it was last put or named, by a counter.
    used: u64,
    _claim: Claim,
}

#[derive(Debug, Default)]
struct ProbeTable {
    probes: HashMap<String, StoredProbe>,
    clock: u64,
}

/// Probes that were put. Those that nobody uses make room, oldest first, for whatever needs memory.
#[derive(Debug)]
pub struct ProbeStore {
    budget: Budget,
    table: Mutex<ProbeTable>,
}

impl ProbeStore {
    /// A store that claims its bytes from a budget, and is asked for those that nobody uses when it is full.
    pub fn new(budget: &Budget) -> Arc<Self> {
        let store = Arc::new(Self { budget: budget.part(BudgetPart::Probes), table: Mutex::default() });
        let spare: Weak<Self> = Arc::downgrade(&store);
        budget.reclaim_from(spare);
        store
    }

    fn lock(&self) -> MutexGuard<'_, ProbeTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim for a probe that will arrive, which grows with it.
    pub fn claim(&self) -> Claim {
        self.budget.nothing()
    }

    /// Forgets the oldest probe of a project that nobody uses; false when there is none.
    pub fn forget_unused(&self, project: &str) -> bool {
        let mut table = self.lock();
        let oldest = table.oldest_unused(Some(project));
        oldest.is_some_and(|digest| table.probes.remove(&digest).is_some())
    }

    /// Keeps a probe and tells its digest.
    pub fn put(&self, project: &str, tensors: Vec<Tensor>, claim: Claim) -> String {
        let digest = probe_digest(&tensors);
        let mut table = self.lock();
        let used = table.tick();
        match table.probes.get_mut(&digest) {
            Some(stored) => stored.used = used,
            None => {
                let tensors = Arc::new(tensors);
                let project = project.to_owned();
                let stored = StoredProbe { tensors, project, used, _claim: claim };
                table.probes.insert(digest.clone(), stored);
            }
        }
        digest
    }

    /// The probe with a digest.
    ///
    /// # Errors
    /// [`FaultKind::Precondition`] naming `digest` when it is not here: the client must put it again.
    pub fn get(&self, digest: &str) -> Result<Arc<Vec<Tensor>>, Fault> {
        let mut table = self.lock();
        let used = table.tick();
        let stored = table.probes.get_mut(digest).ok_or_else(|| {
            let found = clino_domain::text::quoted(digest);
            let description =
                format!("found {found}, which this daemon does not have: upload the probe again");
            Fault::field(FaultKind::Precondition, "digest", description)
        })?;
        stored.used = used;
        Ok(stored.tensors.clone())
    }
}

impl Reclaim for ProbeStore {
    fn reclaim(&self) -> bool {
        let mut table = self.lock();
        let oldest = table.oldest_unused(None);
        let forgotten = oldest.and_then(|digest| table.probes.remove(&digest));
        drop(table);
        forgotten.is_some()
    }
}

impl ProbeTable {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Of a project, or of any.
    fn oldest_unused(&self, project: Option<&str>) -> Option<String> {
        let unused = self.probes.iter().filter(|(_, stored)| {
            Arc::strong_count(&stored.tensors) == 1 && project.is_none_or(|project| stored.project == project)
        });
        unused.min_by_key(|(_, stored)| stored.used).map(|(digest, _)| digest.clone())
    }
}
