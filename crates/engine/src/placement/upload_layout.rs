//! The layout of a run whose snapshots are brought to GPUs while they arrive.
//!
//! Owns: that statistics are made and bytes are uploaded in one pass. May not touch: how either is done.

use crate::network::layout::ParameterLayout;
use crate::placement::Gpus;
use crate::streaming::StreamingStatistics;
use clino_domain::{Fault, Layout, Manifest, Precision, References, StatisticsBuilder, TensorSpec};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// The layout of a run whose snapshots are brought to GPUs while they arrive.
pub struct UploadLayout {
    /// The place of each parameter in the arena.
    pub layout: Arc<ParameterLayout>,
    /// Where they are brought to.
    pub gpus: Arc<Gpus>,
    /// The precision of the elements on the GPUs.
    pub precision: Precision,
}

impl Debug for UploadLayout {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UploadLayout").field(&self.layout).finish()
    }
}

impl Layout for UploadLayout {
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

    fn statistics_builder(
        &self,
        manifest: &Manifest,
        places: &[usize],
        references: References,
    ) -> Box<dyn StatisticsBuilder> {
        let streaming = StreamingStatistics::new(&self.layout, manifest, places, references);
        Box::new(streaming.carried(|slots| self.gpus.carry(self.precision, slots)))
    }
}
