//! Fingerprints: whether two requests with the same key ask for the same.
//!
//! Owns: what counts as content. May not touch: the keys.

use super::probe_digest;
use clino_domain::id::hex;
use clino_domain::{Announcement, RunSpec};
use sha2::{Digest, Sha256};

/// Adds one text so that no two lists of texts give the same bytes.
fn add(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text);
}

/// Of every probe group, in their order.
pub(super) fn digests(spec: &RunSpec) -> Vec<String> {
    spec.groups.iter().map(|group| probe_digest(&group.tensors)).collect()
}

/// Of everything that a client says when it opens a run; `digests` are those of its probe groups.
pub(super) fn fingerprint(spec: &RunSpec, digests: &[String]) -> String {
    let mut digest = Sha256::new();
    add(&mut digest, &spec.name);
    add(&mut digest, &spec.config_json);
    if let Some(model) = &spec.model {
        add(&mut digest, "model");
        add(&mut digest, &hex(Sha256::digest(&model.bytes)));
    }
    for (group, probe) in spec.groups.iter().zip(digests) {
        add(&mut digest, "group");
        add(&mut digest, &group.name);
        add(&mut digest, probe);
    }
    for measure in &spec.measures {
        add(&mut digest, "measure");
        add(&mut digest, &format!("{:?} {:?}", measure.name, measure.parameters));
    }
    add(&mut digest, &format!("{} {:?} {:?} {:?}", spec.seed, spec.delivery, spec.precision, spec.budget));
    add(&mut digest, &format!("{} {:?} {:?}", spec.gpu_only, spec.label, spec.policy));
    hex(digest.finalize())
}

/// Of a snapshot's first frame without its key and run.
pub(super) fn announced(announcement: &Announcement) -> String {
    let mut digest = Sha256::new();
    let Announcement { step, attempt, kind, initialization, manifest, .. } = announcement;
    add(&mut digest, &format!("{step} {attempt:?} {kind:?} {initialization}"));
    for spec in manifest.tensors() {
        add(&mut digest, &spec.name);
        add(&mut digest, &format!("{} {:?}", spec.dtype.name(), spec.shape));
    }
    for alias in manifest.aliases() {
        add(&mut digest, "alias");
        add(&mut digest, &alias.name);
        add(&mut digest, &alias.target);
    }
    hex(digest.finalize())
}
