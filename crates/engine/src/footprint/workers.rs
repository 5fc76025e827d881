//! What the workers of a snapshot hold: each a point, what is left of its vectors, and activations.
//!
//! Owns: how buffers grow with the batches that come by. May not touch: which measure uses which worker.

use crate::network::Network;
use crate::network::batch::{Batch, Extent};

/// Of each batch: of every group, and of all groups together where they are several.
pub fn lists(groups: &[&[Batch]]) -> Vec<Vec<Extent>> {
    let mut lists: Vec<Vec<Extent>> =
        groups.iter().map(|batches| batches.iter().map(Extent::of).collect()).collect();
    if lists.len() > 1 {
        lists.push(lists.concat());
    }
    lists
}

/// One worker.
#[derive(Clone)]
pub struct Worker {
    /// Whether it has a perturbed copy of the parameters.
    pub placed: bool,
    /// Vectors that it has kept the room of: gradient and direction.
    pub left: u32,
    /// Its activations.
    pub spaces: Spaces,
}

impl Worker {
    /// One that does a number of batches side by side.
    pub fn new(width: usize) -> Self {
        let none = vec![Extent::default(); width];
        let spaces = Spaces { forward: none.clone(), backward: none, rows: 0, rows_back: 0 };
        Self { placed: false, left: 0, spaces }
    }
}

/// Activations of the batches that a worker does side by side.
#[derive(Clone)]
pub struct Spaces {
    forward: Vec<Extent>,
    backward: Vec<Extent>,
    /// Examples of the batches that go together, most.
    rows: usize,
    rows_back: usize,
}

impl Spaces {
    /// How many batches go side by side.
    pub fn width(&self) -> usize {
        self.forward.len()
    }

    /// Batches go through, in their order.
    pub fn forward(&mut self, batches: &[Extent]) {
        for some in batches.chunks(self.width()) {
            self.rows = self.rows.max(some.iter().map(|batch| batch.examples).sum());
            self.forward.iter_mut().zip(some).for_each(|(space, batch)| *space = space.union(*batch));
        }
    }

    /// The same, and back.
    pub fn backward(&mut self, batches: &[Extent]) {
        self.forward(batches);
        for some in batches.chunks(self.width()) {
            self.rows_back = self.rows_back.max(some.iter().map(|batch| batch.examples).sum());
            self.backward.iter_mut().zip(some).for_each(|(space, batch)| *space = space.union(*batch));
        }
    }

    /// Bytes of all of it, in elements of `size` bytes, with `width` numbers for each unit.
    pub fn bytes(&self, network: &dyn Network, width: usize, size: usize) -> f64 {
        let of = |(forward, backward): (&Extent, &Extent)| match (*forward, *backward) {
            (forward, _) if forward == Extent::default() => 0.0,
            (forward, backward) if backward == Extent::default() => network.workspace(forward, false, size),
            (forward, backward) if backward == forward => network.workspace(forward, true, size),
            (forward, backward) => {
                let more = network.workspace(backward, true, size) - network.workspace(backward, false, size);
                network.workspace(forward, false, size) + more
            }
        };
        let spaces: f64 = self.forward.iter().zip(&self.backward).map(of).sum();
        let rows = (self.rows + self.rows_back) as f64;
        spaces + rows * width as f64 * size as f64
    }
}
