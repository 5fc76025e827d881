//! Where a snapshot is held: on GPUs, where the build and the machine have them, or on the CPU.
//!
//! Owns: which GPUs are used, what is brought there. May not touch: what is computed there.

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(feature = "cuda")]
mod gpu_upload;
#[cfg(feature = "cuda")]
mod gpus;
pub mod upload_layout;

use crate::resident::Resident;
use crate::weights::PreparedSnapshot;
use clino_domain::Fault;

#[cfg(feature = "cuda")]
pub use crate::backend::cuda::Accelerated;
#[cfg(not(feature = "cuda"))]
pub use absent::{Accelerated, Gpus, MISSING};
#[cfg(feature = "cuda")]
pub use gpus::Gpus;
/// This build has GPUs.
#[cfg(feature = "cuda")]
pub const MISSING: Option<&str> = None;

/// A snapshot on a device.
pub struct Placement {
    /// Itself; `None` where no device may hold it.
    pub resident: Option<Box<dyn Resident>>,
    /// Why it is not on a GPU though there are some, or should be.
    pub instead: Option<String>,
    /// Whether its parameters were on the GPUs before it was taken up.
    pub carried: bool,
}

/// A snapshot that GPUs have not taken.
pub struct PlacementRefused<T> {
    /// Why no GPU took the snapshot.
    pub fault: Fault,
    /// The snapshot, returned to the caller.
    pub prepared: PreparedSnapshot<T>,
}
