//! Statistics of a snapshot: made as its bytes arrive, or from all of them at once, with the same bits.
//!
//! Owns: which bytes belong to which piece of which parameter, and the layout's face to the daemon. May not touch: the
//! sums themselves.

use crate::device::moments::TensorBytes;
use crate::device::pieces::PIECE;
use crate::device::slot::Slot;
use crate::network::layout::{MOST_LISTED, ParameterLayout, Untied};
use clino_domain::text::{listed, quoted};
use clino_domain::{
    Dtype, Fault, Layout, Manifest, References, Snapshot, Statistics, StatisticsBuilder, TensorSpec,
    TensorStatistics,
};
use rayon::prelude::*;

/// One tensor of the manifest.
#[derive(Debug)]
struct Expected {
    bytes: usize,
    /// Which of the untied parameters it is; `None` for a buffer.
    slot: Option<usize>,
}

/// Whoever brings the pieces of a snapshot to a device as they arrive.
pub trait DeviceUpload: Send + std::fmt::Debug {
    /// The bytes of elements of a slot, from `start` on: one piece.
    ///
    /// # Errors
    /// A device that cannot take them: nothing more is carried.
    fn piece(&mut self, slot: usize, start: usize, dtype: Dtype, bytes: &[u8]) -> Result<(), Fault>;

    /// Under which number the engine finds all of it, if it is there.
    fn finish(self: Box<Self>) -> Option<u64>;
}

/// Computes statistics while bytes arrive; see [`clino_domain::Layout::statistics_builder`].
#[derive(Debug)]
pub struct StreamingStatistics {
    carry: Option<Box<dyn DeviceUpload>>,
    manifest: Manifest,
    expected: Vec<Expected>,
    slots: Vec<Slot>,
    indices: Vec<usize>,
    references: References,
    found: Vec<Option<TensorStatistics>>,
    /// Tensor that is arriving, and bytes of it that have been used.
    tensor: usize,
    used: usize,
    /// Bytes of a piece that has not arrived whole.
    pending: Vec<u8>,
}

impl StreamingStatistics {
    pub fn new(
        layout: &ParameterLayout,
        manifest: &Manifest,
        places: &[usize],
        references: References,
    ) -> Self {
        let Untied { slots, indices, .. } = layout.untie(places, manifest);
        let bytes = |spec: &clino_domain::TensorSpec| spec.byte_length().unwrap_or(0) as usize;
        let mut expected: Vec<Expected> =
            manifest.tensors().iter().map(|spec| Expected { bytes: bytes(spec), slot: None }).collect();
        for (slot, index) in indices.iter().enumerate() {
            expected[places[*index]].slot = Some(slot);
        }
        let found = vec![None; slots.len()];
        let manifest = manifest.clone();
        let pending = Vec::new();
        Self {
            carry: None,
            manifest,
            expected,
            slots,
            indices,
            references,
            found,
            tensor: 0,
            used: 0,
            pending,
        }
    }

    /// Has the pieces carried to a device as well, by what `carrier` makes for the slots.
    pub fn carried(self, carrier: impl FnOnce(&[Slot]) -> Option<Box<dyn DeviceUpload>>) -> Self {
        Self { carry: carrier(&self.slots), ..self }
    }

    /// Uses the bytes of one piece of the slot `slot`.
    fn piece(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Fault> {
        let dtype = self.manifest.tensors()[self.tensor].dtype;
        let tensor = TensorBytes { index: self.indices[slot], dtype, references: &self.references };
        let piece = tensor.piece(self.used / dtype.size() as usize, bytes)?;
        join(&mut self.found[slot], piece, &self.slots[slot]);
        let start = self.used / dtype.size() as usize;
        if self.carry.as_mut().is_some_and(|carry| carry.piece(slot, start, dtype, bytes).is_err()) {
            self.carry = None;
        }
        self.used += bytes.len();
        Ok(())
    }

    /// Takes bytes of the tensor that is arriving; returns those that are behind it.
    fn within<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let Expected { bytes: all, slot } = self.expected[self.tensor];
        let left = all - self.used - self.pending.len();
        let (mut mine, behind) = bytes.split_at(left.min(bytes.len()));
        let Some(slot) = slot else {
            self.used += mine.len();
            return Ok(behind);
        };
        let piece = PIECE * self.manifest.tensors()[self.tensor].dtype.size() as usize;
        while !mine.is_empty() {
            let due = piece.min(all - self.used);
            let (now, later) = mine.split_at((due - self.pending.len()).min(mine.len()));
            mine = later;
            if now.len() == due {
                self.piece(slot, now)?;
                continue;
            }
            self.pending.extend_from_slice(now);
            if self.pending.len() == due {
                let mut whole = std::mem::take(&mut self.pending);
                self.piece(slot, &whole)?;
                whole.clear();
                self.pending = whole;
            }
        }
        Ok(behind)
    }
}

impl StatisticsBuilder for StreamingStatistics {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut bytes = bytes;
        while !bytes.is_empty() && self.tensor < self.expected.len() {
            bytes = self.within(bytes)?;
            if self.used == self.expected[self.tensor].bytes {
                self.tensor += 1;
                self.used = 0;
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Statistics {
        // Every parameter has elements, so all of them have been found.
        let mut found = Statistics::new(self.found.into_iter().flatten().collect(), &self.references);
        found.carried = self.carry.and_then(DeviceUpload::finish);
        found
    }
}

/// Adds the next piece of a parameter.
fn join(found: &mut Option<TensorStatistics>, piece: TensorStatistics, slot: &Slot) {
    *found = Some(match found.take() {
        Some(before) => before.join(piece),
        None => TensorStatistics { name: slot.name.clone(), ..piece },
    });
}

/// Statistics of a snapshot that is in memory.
///
/// # Errors
/// If a reference cannot be read back.
pub fn of_all(
    untied: &Untied,
    places: &[usize],
    snapshot: &Snapshot,
    references: &References,
) -> Result<Statistics, Fault> {
    let pieces = untied.indices.iter().enumerate().flat_map(|(slot, index)| {
        let len = untied.slots[slot].len;
        (0..len).step_by(PIECE).map(move |start| (slot, *index, start, PIECE.min(len - start)))
    });
    let pieces: Vec<_> = pieces.collect();
    let one = |(slot, index, start, len): (usize, usize, usize, usize)| {
        let place = places[index];
        let dtype = snapshot.manifest().tensors()[place].dtype;
        let size = dtype.size() as usize;
        let bytes = &snapshot.data()[place][start * size..(start + len) * size];
        Ok((slot, TensorBytes { index, dtype, references }.piece(start, bytes)?))
    };
    let made: Vec<(usize, TensorStatistics)> =
        pieces.into_par_iter().map(one).collect::<Result<_, Fault>>()?;
    let mut found: Vec<Option<TensorStatistics>> = vec![None; untied.slots.len()];
    for (slot, piece) in made {
        join(&mut found[slot], piece, &untied.slots[slot]);
    }
    Ok(Statistics::new(found.into_iter().flatten().collect(), references))
}

impl Layout for ParameterLayout {
    fn parameters(&self) -> &[TensorSpec] {
        self.specs()
    }

    fn arrange(&self, manifest: &Manifest) -> Result<Vec<usize>, Fault> {
        self.places(manifest)
    }

    fn arrange_initialization(&self, manifest: &Manifest) -> Result<Vec<Option<usize>>, Fault> {
        self.places_but_head(manifest)
    }

    fn remarks(&self, manifest: &Manifest) -> Vec<String> {
        let left_out = self.left_out(manifest);
        let sentence = || {
            let names = listed(left_out.iter().map(|name| quoted(name)), MOST_LISTED);
            format!("left out because this model does not read them: {names}")
        };
        if left_out.is_empty() { Vec::new() } else { vec![sentence()] }
    }

    fn statistics_builder(
        &self,
        manifest: &Manifest,
        places: &[usize],
        references: References,
    ) -> Box<dyn StatisticsBuilder> {
        Box::new(StreamingStatistics::new(self, manifest, places, references))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::layout::Habits;
    use clino_domain::{Alias, InMemory, Layout, SnapshotHeader, SnapshotRef, TensorSpec, WeightKind};
    use proptest::prelude::*;
    use std::sync::Arc;

    const HEADER: SnapshotHeader = SnapshotHeader {
        at: SnapshotRef { step: 0, attempt: 1 },
        kind: WeightKind::Live,
        initialization: false,
    };

    fn layout() -> ParameterLayout {
        let shapes = [("b", 40_001), ("a", 3), ("tied", 40_001), ("c", 16_384)];
        let shapes = shapes.map(|(name, len)| (name.to_owned(), vec![len]));
        ParameterLayout::new(shapes.to_vec(), Habits::default()).expect("small")
    }

    /// With a buffer between the parameters, one of which is tied to another.
    fn manifest(dtype: Dtype) -> Manifest {
        let spec = |name: &str, dtype, len| TensorSpec { name: name.into(), dtype, shape: vec![len] };
        let tensors = vec![
            spec("c", dtype, 16_384),
            spec("ids", Dtype::I64, 5),
            spec("b", dtype, 40_001),
            spec("a", Dtype::F32, 3),
        ];
        let alias = Alias { name: "tied".into(), target: "b".into() };
        Manifest::new(tensors, vec![alias]).expect("sound")
    }

    fn snapshot(dtype: Dtype, seed: usize) -> Snapshot {
        let manifest = manifest(dtype);
        let data = manifest.tensors().iter().map(|spec| {
            let byte = |i: u64| match i % spec.dtype.size() {
                // The byte with the exponent: finite numbers of a moderate size.
                last if last + 1 == spec.dtype.size() => 0x3f,
                _ => ((i as usize * 131 + seed * 977) % 251) as u8,
            };
            (0..spec.byte_length().unwrap_or(0)).map(byte).collect::<Vec<u8>>().into()
        });
        Snapshot::new(HEADER, manifest.clone(), data.collect()).expect("whole")
    }

    fn held(snapshot: Snapshot) -> Arc<InMemory> {
        Arc::new(InMemory::new(snapshot, &layout()).expect("fits"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chunks_change_no_bit(
            cuts in proptest::collection::vec(1usize..90_000, 1..12),
            wide: bool,
            with_init: bool,
            with_previous: bool,
        ) {
            let dtype = if wide { Dtype::F64 } else { Dtype::F32 };
            let references = References {
                init: with_init.then(|| held(snapshot(dtype, 1)) as _),
                previous: with_previous.then(|| held(snapshot(Dtype::F32, 2)) as _),
            };
            let layout = layout();
            let whole = snapshot(dtype, 3);
            let places = layout.arrange(whole.manifest()).expect("fits");
            let untied = layout.untie(&places, whole.manifest());
            let want = of_all(&untied, &places, &whole, &references).expect("in memory");
            let mut statistics_builder = layout.statistics_builder(whole.manifest(), &places, references.clone());
            let bytes = whole.data().concat();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (chunk, later) = rest.split_at((*cut).min(rest.len()));
                statistics_builder.take(chunk).expect("in memory");
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let found = statistics_builder.finish();
            prop_assert_eq!(&found.tensors, &want.tensors);
            prop_assert_eq!(found.tensors.len(), 3);
            prop_assert!(found.fit(&references));
            let others = References { init: Some(held(snapshot(dtype, 1))), previous: None };
            prop_assert!(!found.fit(&others));
        }
    }

    #[test]
    fn a_reference_is_not_kept_alive() {
        let layout = layout();
        let init = held(snapshot(Dtype::F32, 1));
        let references = References { init: Some(init.clone()), previous: None };
        let places = layout.arrange(&manifest(Dtype::F32)).expect("fits");
        let statistics_builder =
            layout.statistics_builder(&manifest(Dtype::F32), &places, references.clone());
        let statistics = statistics_builder.finish();
        drop(references);
        assert_eq!(Arc::strong_count(&init), 1);
        drop(init);
        assert!(!statistics.fit(&References::default()));
    }
}
