//! The GPUs of one engine.
//!
//! Owns: which are used and which are lost. May not touch: what is computed there.

use super::gpu_upload::GpuUpload;
use super::{Accelerated, Placement, PlacementRefused};
use crate::backend::cuda::Cuda;
use crate::device::check::{Check, Speed};
use crate::device::cuda::arena::{Arena, Vector};
use crate::device::cuda::check;
use crate::device::cuda::gpu::{Element, Gpu};
use crate::device::cuda::libraries;
use crate::device::slot::Slot;
use crate::model::WorkerPool;
use crate::perturbation::PointBuffers;
use crate::plan::PreparedRun;
use crate::resident::OnDevice;
use crate::streaming::DeviceUpload;
use crate::weights::AnyPrecision;
use crate::weights::PreparedSnapshot;
use clino_domain::{Dtype, Fault, FaultKind, Precision};
use std::any::Any;
use std::fmt::{Debug, Formatter};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Share of a GPU's memory that is left to the driver, to cuBLAS and to what fragments.
const RESERVE: f64 = 0.05;

/// The GPUs of an engine, and the snapshot that was last brought to them.
#[derive(Default)]
pub struct Gpus {
    all: Vec<Arc<Gpu>>,
    waiting: WaitingSnapshot,
}

/// The snapshot that was carried last and is not measured yet: a newer one takes its place.
#[derive(Default)]
struct WaitingSnapshot {
    /// Its number, and its parameters on each GPU.
    last: Mutex<Option<(u64, Box<dyn Any + Send>)>>,
    count: AtomicU64,
}

impl WaitingSnapshot {
    fn put<T: Element>(&self, vectors: Vec<Vector<T>>) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        *self.lock() = Some((number, Box::new(vectors)));
        number
    }

    fn take<T: Element>(&self, number: Option<u64>) -> Option<Vec<Vector<T>>> {
        let mut last = self.lock();
        let (_, vectors) = last.take_if(|(waiting, _)| Some(*waiting) == number)?;
        vectors.downcast().ok().map(|vectors| *vectors)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, Box<dyn Any + Send>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A snapshot on its way to all GPUs.
struct GpuUploads<T: Element> {
    gpus: Arc<Gpus>,
    all: Vec<GpuUpload<T>>,
}

impl<T: Element> Debug for GpuUploads<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GpuUploads").field(&self.all.len()).finish()
    }
}

impl<T: Element> DeviceUpload for GpuUploads<T> {
    fn piece(&mut self, slot: usize, start: usize, dtype: Dtype, bytes: &[u8]) -> Result<(), Fault> {
        self.all.iter_mut().try_for_each(|carrier| carrier.piece(slot, start, dtype, bytes))
    }

    fn finish(self: Box<Self>) -> Option<u64> {
        let vectors: Result<Vec<Vector<T>>, Fault> = self.all.into_iter().map(GpuUpload::finish).collect();
        Some(self.gpus.waiting.put(vectors.ok()?))
    }
}

impl Gpus {
    /// Opens the GPUs with these numbers; NVIDIA's libraries are looked for in `folders` before the system's.
    ///
    /// # Errors
    /// [`FaultKind::Unavailable`] with the first reason why one of them cannot be used.
    pub fn open(ordinals: &[usize], folders: &[PathBuf]) -> Result<Self, Fault> {
        libraries::look_in(folders.to_vec());
        let all = ordinals.iter().map(|ordinal| Gpu::open(*ordinal).map(Arc::new));
        Ok(Self { all: all.collect::<Result<_, _>>()?, waiting: WaitingSnapshot::default() })
    }

    fn sound(&self) -> Vec<&Arc<Gpu>> {
        self.all.iter().filter(|gpu| !gpu.is_lost()).collect()
    }

    /// Their names; `None` without any that can be used.
    pub fn description(&self) -> Option<String> {
        let names: Vec<String> = self.sound().iter().map(|gpu| gpu.description()).collect();
        (!names.is_empty()).then(|| names.join("; "))
    }

    /// What a report of an error should name, a line for each.
    pub fn details(&self) -> Vec<String> {
        self.all.iter().map(|gpu| gpu.details()).collect()
    }

    /// Those that failed for good.
    pub fn lost(&self) -> Vec<String> {
        self.all.iter().filter(|gpu| gpu.is_lost()).map(|gpu| gpu.name()).collect()
    }

    /// Bytes that a run may take on each; `None` without any.
    pub fn room(&self) -> Option<u64> {
        let room = |gpu: &&Arc<Gpu>| (gpu.total() as f64 * (1.0 - RESERVE)) as u64;
        self.sound().iter().map(room).min()
    }

    /// Brings a snapshot there, if it fits; says whether it was carried there before, under the number `carried`.
    ///
    /// # Errors
    /// The reason why it cannot be held, with the snapshot.
    pub fn hold<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        prepared: PreparedSnapshot<T>,
        carried: Option<u64>,
    ) -> Result<Placement, Box<PlacementRefused<T>>>
    where
        AnyPrecision: From<PreparedSnapshot<T>>,
    {
        let carried = self.waiting.take(carried);
        let was_there = carried.is_some();
        match self.worker_pool(plan, &prepared, carried) {
            Ok(worker_pool) => Ok(Placement {
                resident: Some(Box::new(OnDevice::new(prepared, worker_pool))),
                instead: None,
                carried: was_there,
            }),
            Err(fault) => Err(Box::new(PlacementRefused { fault, prepared })),
        }
    }

    /// Holds every kernel of every GPU against the CPU.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn check(&self) -> Result<Vec<Check>, Fault> {
        Ok(self.sound().into_iter().map(check::kernels).collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Times the kernels of the first GPU on a number of elements.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn speeds(&self, elements: usize, clock: &dyn Fn() -> f64) -> Result<Vec<Speed>, Fault> {
        self.sound().first().map_or_else(|| Ok(Vec::new()), |gpu| check::speeds(gpu, elements, clock))
    }

    /// Whoever brings a snapshot to all of them while it arrives; `None` when one has no memory for it now.
    pub fn carry(self: &Arc<Self>, precision: Precision, slots: &[Slot]) -> Option<Box<dyn DeviceUpload>> {
        match precision {
            Precision::F32 => Some(Box::new(self.carriers::<f32>(slots)?)),
            _ => Some(Box::new(self.carriers::<f64>(slots)?)),
        }
    }

    fn carriers<T: Element>(self: &Arc<Self>, slots: &[Slot]) -> Option<GpuUploads<T>> {
        let all = self.sound().into_iter().map(|gpu| GpuUpload::new(gpu, slots).ok());
        let all: Vec<GpuUpload<T>> = all.collect::<Option<_>>()?;
        (!all.is_empty()).then(|| GpuUploads { gpus: self.clone(), all })
    }

    fn worker_pool<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        prepared: &PreparedSnapshot<T>,
        carried: Option<Vec<Vector<T>>>,
    ) -> Result<WorkerPool<Cuda<T>>, Fault> {
        // One for each GPU, unless one was lost meanwhile.
        let carried = carried.filter(|carried| carried.len() == self.sound().len()).unwrap_or_default();
        let mut carried = carried.into_iter();
        let (_, total) = Arena::lay_out(&prepared.weights.slots);
        let worker = |gpu: &Arc<Gpu>| {
            // From before its memory is asked for.
            let _measured = gpu.permits().stay((total * size_of::<T>()) as u64);
            let model = plan.fits(gpu.free()?)?.clone();
            let layout = plan.network.layout();
            Ok(PointBuffers::new(Cuda::new(gpu, model, layout, prepared, carried.next())?))
        };
        let workers: Vec<_> = self.sound().into_iter().map(worker).collect::<Result<_, Fault>>()?;
        if workers.is_empty() {
            return Err(Fault::new(FaultKind::Unavailable, "no GPU is left"));
        }
        Ok(WorkerPool::of(plan.network.clone(), workers))
    }
}
