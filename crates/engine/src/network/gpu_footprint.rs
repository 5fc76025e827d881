//! What a run takes of a GPU's memory, before any of it is taken.
//!
//! Owns: the sum and its sentence. May not touch: devices.

use crate::network::batch::{Batch, PLACES};
use crate::network::{Network, Product};
use clino_domain::{Fault, FaultKind};

/// Vectors as long as the parameters: w0, the perturbed tensors, the gradient, u, the gradient at w0, what candle's
/// autograd leaves, and its greatest temporary copy; and snapshots that arrive: one that waits, one on its way.
const VECTORS: u64 = 9;

/// Tensors of a graph for each product of the network, each as large as the product: the product itself, its bias,
/// what lies between it and the next (a LayerNorm leaves eight, an erf-GELU five, a softmax five), and their gradients.
const TENSORS: u64 = 12;

/// Bytes of one run on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuFootprint {
    /// Vectors over all parameters.
    pub parameters: u64,
    /// Those that measures keep besides.
    pub kept: u64,
    /// The graph of the greatest forward.
    pub graph: u64,
}

impl GpuFootprint {
    /// Of a network in elements of `size` bytes, with `kept` vectors for measures, and batches that are joined up to
    /// [`PLACES`].
    pub fn new<'a>(
        network: &dyn Network,
        size: u64,
        kept: u64,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Self {
        let vector = network.layout().total() as u64 * size;
        let graph = batches.map(|batch| {
            let products = network.products(batch);
            let elements: usize = products.iter().map(|Product { m, n, times, .. }| m * n * times).sum();
            let joined = (PLACES as f64 / batch.places() as f64).max(1.0);
            (elements as f64 * joined * (TENSORS * size) as f64) as u64
        });
        Self { parameters: VECTORS * vector, kept: kept * vector, graph: graph.max().unwrap_or(0) }
    }

    /// Bytes of all parts together.
    pub fn bytes(&self) -> u64 {
        self.parameters + self.kept + self.graph
    }

    /// Refuses what does not fit.
    ///
    /// # Errors
    /// [`FaultKind::Exhausted`] with the sum.
    pub fn admit(&self, room: u64) -> Result<(), Fault> {
        if self.bytes() <= room {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!(
            "the run needs {} MiB on the GPU ({} for parameters, {} for vectors that measures keep, {} for a forward \
            and backward), which has {} MiB for it: choose fewer measures or shorter probes, or use the CPU",
            mib(self.bytes()),
            mib(self.parameters),
            mib(self.kept),
            mib(self.graph),
            room >> 20,
        );
        Err(Fault::new(FaultKind::Exhausted, message))
    }
}
