//! Probe groups as networks read them, held once by all runs that read the same.
//!
//! Owns: who holds which. May not touch: how a group is cut (the networks know), measures.

use crate::network::Network;
use crate::network::batch::Batch;
use crate::network::examples::{self, Content};
use clino_domain::graph::ModelKind;
use clino_domain::run::COLUMNS;
use clino_domain::{Fault, ProbeGroup, RunSpec, Tensor};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The examples of a probe group, checked and cut.
#[derive(Debug, Default)]
pub struct PreparedProbe {
    /// What it was made of: equal keys, equal batches.
    pub key: String,
    /// Batches of the examples of the group.
    pub batches: Vec<Batch>,
    /// What each of the examples is.
    pub contents: Vec<Content>,
}

impl PreparedProbe {
    /// These batches.
    pub fn new(key: String, batches: Vec<Batch>) -> Self {
        let contents = examples::contents(&batches);
        Self { key, batches, contents }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        let batches = self.batches.iter().map(Batch::bytes).sum::<usize>();
        let lists =
            self.batches.capacity() * size_of::<Batch>() + self.contents.capacity() * size_of::<Content>();
        (batches + lists + self.key.len()) as u64
    }
}

/// Bytes that reading the groups of a run takes at most, with what is left of them: of each element as an integer, as a
/// number of 64 bits, and in its batch; for each label its class, its content and where it lies. A graph may read any tensor.
pub fn preparation(spec: &RunSpec) -> u64 {
    const ELEMENT: u64 = 16;
    const LABEL: u64 = 192;
    let labels = match spec.model.as_ref().map(|model| &model.kind) {
        Some(ModelKind::Graph(_, loss)) => &loss.labels,
        _ => "labels",
    };
    let is_read = |tensor: &&Tensor| spec.model.is_some() || COLUMNS.contains(&&*tensor.spec.name);
    let of = |tensor: &Tensor| {
        let elements = tensor.data.len() as u64 / tensor.spec.dtype.size();
        elements.saturating_mul(if tensor.spec.name == labels { LABEL } else { ELEMENT })
    };
    let tensors = spec.groups.iter().flat_map(|group| group.tensors.iter());
    tensors.filter(is_read).map(of).fold(0, u64::saturating_add)
}

/// Known by what it is made of; the lock of one is held while it is made, so that nobody else makes it.
type Known = Arc<Mutex<Weak<PreparedProbe>>>;

/// The probes of all runs that a validator has seen and that somebody still has.
#[derive(Debug, Clone, Default)]
pub struct PreparedProbes(Arc<Mutex<HashMap<String, Known>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PreparedProbes {
    /// The batches of a group for a network: those that another run has, or new ones.
    ///
    /// # Errors
    /// Those of `Network::batches`.
    pub fn get(&self, network: &dyn Network, group: &ProbeGroup) -> Result<Arc<PreparedProbe>, Fault> {
        let key = key(network, group);
        let made = self.known_or_made(key, network, group);
        self.forget();
        made
    }

    fn known_or_made(
        &self,
        key: String,
        network: &dyn Network,
        group: &ProbeGroup,
    ) -> Result<Arc<PreparedProbe>, Fault> {
        let known = lock(&self.0).entry(key.clone()).or_default().clone();
        let mut known = lock(&known);
        if let Some(probe) = known.upgrade() {
            return Ok(probe);
        }
        let probe = Arc::new(PreparedProbe::new(key, network.batches(group)?));
        *known = Arc::downgrade(&probe);
        Ok(probe)
    }

    /// Forgets those that nobody has any more, and is not waiting for either.
    fn forget(&self) {
        lock(&self.0).retain(|_, known| Arc::strong_count(known) > 1 || lock(known).strong_count() > 0);
    }
}

/// SHA-256 of what the network reads of a group, and of how it reads it.
fn key(network: &dyn Network, group: &ProbeGroup) -> String {
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    add(network.reads().as_bytes());
    let columns = network.columns();
    for tensor in group.tensors.iter().filter(|tensor| columns.contains(&tensor.spec.name.as_str())) {
        add(tensor.spec.name.as_bytes());
        add(format!("{} {:?}", tensor.spec.dtype.name(), tensor.spec.shape).as_bytes());
        add(&tensor.data);
    }
    clino_domain::id::hex(digest.finalize())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::network;
    use clino_domain::Dtype;

    fn group(name: &str, label: u8) -> ProbeGroup {
        let inputs = [1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        ProbeGroup::new(
            name,
            vec![
                Tensor::named("inputs", Dtype::F32, &[1, 2], inputs).unwrap(),
                Tensor::named("labels", Dtype::U8, &[1], vec![label]).unwrap(),
            ],
        )
    }

    fn mlp(sizes: &str) -> Arc<dyn Network> {
        network::build(&format!(r#"{{"model_type":"mlp","sizes":[{sizes}]}}"#)).unwrap().0
    }

    #[test]
    fn runs_that_read_the_same_hold_it_once_and_the_last_one_frees_it() {
        let probes = PreparedProbes::default();
        let first = probes.get(&*mlp("2,3"), &group("a", 1)).unwrap();
        let again = probes.get(&*mlp("2,5,3"), &group("b", 1)).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "neither the name nor what is behind the first layer matters");
        let others = [
            probes.get(&*mlp("2,4"), &group("a", 1)).unwrap(),
            probes.get(&*mlp("2,3"), &group("a", 2)).unwrap(),
        ];
        assert!(others.iter().all(|other| other.key != first.key), "other classes, another label");
        drop((first, again));
        probes.get(&*mlp("2,3"), &group("a", 0)).unwrap();
        assert_eq!(lock(&probes.0).len(), 3, "the two others, and that which was made last");
    }

    #[test]
    fn a_group_that_cannot_be_read_is_not_kept() {
        let probes = PreparedProbes::default();
        assert!(probes.get(&*mlp("2,3"), &group("a", 9)).is_err());
        assert!(lock(&probes.0).is_empty());
    }
}
