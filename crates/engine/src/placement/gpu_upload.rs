//! A snapshot's way to the GPUs while it arrives: converted into pinned buffers, copied from there on a stream of its
//! own, so that whatever is measured meanwhile goes on.
//!
//! One at a time on each GPU, see `upload_permits.rs`: whatever else arrives meanwhile is brought over when its turn comes.
//!
//! Owns: the pinned buffers, the copy stream, when a buffer may be filled again. May not touch: the stream on which
//! everything else is launched.
#![allow(unsafe_code)]

use crate::device::cuda::arena::{Arena, Vector};
use crate::device::cuda::gpu::{Element, Gpu};
use crate::device::cuda::upload_permits::UploadPermit;
use crate::device::pieces::PIECE;
use crate::device::slot::Slot;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, DriverError, PinnedHostSlice};
use clino_domain::{Dtype, Fault, FaultKind};
use std::sync::Arc;

/// Pinned buffers: one is filled while the other is copied.
const BUFFERS: usize = 2;

/// Elements that are widened at once.
const WIDE: usize = 4096;

/// One GPU's copy in the making.
pub struct GpuUpload<T: Element> {
    gpu: Arc<Gpu>,
    stream: Arc<CudaStream>,
    /// With the end of its last copy.
    buffers: Vec<(PinnedHostSlice<T>, Option<CudaEvent>)>,
    next: usize,
    /// First element of each slot on the device.
    offsets: Vec<usize>,
    /// Until it is whole and given away.
    vector: Option<Vector<T>>,
    _permit: UploadPermit,
}

impl<T: Element> GpuUpload<T> {
    /// Takes memory for the parameters, there and here.
    ///
    /// # Errors
    /// Another on its way, no memory, or a lost device.
    pub fn new(gpu: &Arc<Gpu>, slots: &[Slot]) -> Result<Self, Fault> {
        let (offsets, total) = Arena::lay_out(slots);
        let bytes = (total * size_of::<T>()) as u64;
        let refused = || Fault::new(FaultKind::Exhausted, "no room on the GPU for the incoming snapshot");
        let _permit = gpu.permits().enter(bytes).ok_or_else(refused)?;
        let made = || {
            let stream = gpu.new_stream()?;
            let context = stream.context();
            // SAFETY: a buffer is written before anything is copied from it.
            let buffer = || Ok((unsafe { context.alloc_pinned::<T>(PIECE) }?, None));
            let buffers = (0..BUFFERS).map(|_| buffer()).collect::<Result<Vec<_>, _>>()?;
            let vector = stream.alloc_zeros::<T>(total.max(1))?;
            Ok((stream.clone(), buffers, vector))
        };
        let (stream, buffers, vector) = made().map_err(|error: DriverError| gpu.fault(&error))?;
        Ok(Self { gpu: gpu.clone(), stream, buffers, next: 0, offsets, vector: Some(vector), _permit })
    }

    /// Starts to copy elements of a slot from `start` on: at most [`PIECE`].
    ///
    /// # Errors
    /// A lost device.
    pub fn piece(&mut self, slot: usize, start: usize, dtype: Dtype, bytes: &[u8]) -> Result<(), Fault> {
        let len = bytes.len() / dtype.size() as usize;
        let Some(vector) = &mut self.vector else { return Err(Fault::internal("a piece behind the last")) };
        let (buffer, copied) = &mut self.buffers[self.next];
        let mut copy = || {
            // Events are not tracked on this device, so the buffer does not know of its own copy.
            if let Some(copied) = copied.take() {
                copied.synchronize()?;
            }
            let here = &mut buffer.as_mut_slice()?[..len];
            let mut wide = [0.0; WIDE];
            for (here, bytes) in here.chunks_mut(WIDE).zip(bytes.chunks(WIDE * dtype.size() as usize)) {
                let wide = &mut wide[..here.len()];
                dtype.widen(bytes, wide);
                here.iter_mut().zip(wide).for_each(|(here, x)| *here = T::of(*x));
            }
            let first = self.offsets[slot] + start;
            let mut there = vector.slice_mut(first..first + len);
            // The stream is our own, and the buffer is not touched before the event.
            self.stream.memcpy_htod(&*here, &mut there)?;
            *copied = Some(self.stream.record_event(None)?);
            Ok(())
        };
        copy().map_err(|error: DriverError| self.gpu.fault(&error))?;
        self.next = (self.next + 1) % BUFFERS;
        Ok(())
    }

    /// The parameters, all of them there.
    ///
    /// # Errors
    /// A lost device.
    pub fn finish(mut self) -> Result<Vector<T>, Fault> {
        self.stream.synchronize().map_err(|error| self.gpu.fault(&error))?;
        self.vector.take().ok_or_else(|| Fault::internal("a snapshot was carried twice"))
    }
}

impl<T: Element> Drop for GpuUpload<T> {
    fn drop(&mut self) {
        // The buffers of an upload that was given up are freed behind their last copies.
        let _ = self.stream.synchronize();
    }
}
