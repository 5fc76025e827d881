//! The layout of a run whose snapshots are brought to GPUs while they arrive.
//!
//! Owns: that a gauge carries as well. May not touch: how bytes are gauged or carried.

use crate::gauge::Arriving;
use crate::network::layout::ParameterLayout;
use crate::placement::Gpus;
use clino_domain::{Fault, Gauge, Layout, Manifest, Precision, References, TensorSpec};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// See the module.
pub struct Carrying {
    /// Where parameters lie.
    pub layout: Arc<ParameterLayout>,
    /// Where they are brought to.
    pub gpus: Arc<Gpus>,
    /// In which precision.
    pub precision: Precision,
}

impl Debug for Carrying {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Carrying").field(&self.layout).finish()
    }
}

impl Layout for Carrying {
    fn parameters(&self) -> &[TensorSpec] {
        self.layout.parameters()
    }

    fn arrange(&self, manifest: &Manifest) -> Result<Vec<usize>, Fault> {
        self.layout.arrange(manifest)
    }

    fn arrange_initialization(&self, manifest: &Manifest) -> Result<Vec<Option<usize>>, Fault> {
        self.layout.arrange_initialization(manifest)
    }

    fn remarks(&self, manifest: &Manifest) -> Vec<String> {
        self.layout.remarks(manifest)
    }

    fn gauge(&self, manifest: &Manifest, places: &[usize], references: References) -> Box<dyn Gauge> {
        let arriving = Arriving::new(&self.layout, manifest, places, references);
        Box::new(arriving.carried(|slots| self.gpus.carry(self.precision, slots)))
    }
}
