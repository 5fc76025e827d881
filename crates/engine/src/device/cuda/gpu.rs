//! One GPU: memory, launches of the kernels, and what its errors mean.
//!
//! Everything goes to one stream that is made for it, in the order in which it is asked for, whichever thread asks; only
//! [`Gpu::download`] and [`Gpu::wait`] wait for it. Snapshots that arrive are copied on another, see `carry.rs`.
//!
//! Owns: candle's device, the text of the kernels, pointers. May not touch: what a kernel computes.
#![allow(unsafe_code)]

use super::upload_permits::UploadPermits;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, LaunchConfig, PushKernelArg, ValidAsZeroBits,
    sys,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice};
use candle_core::{Device, Storage, Tensor, WithDType};
use clino_domain::{Fault, FaultKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// All kernels, for every GPU from compute capability 7.5 on.
const KERNELS: &str = include_str!(concat!(env!("OUT_DIR"), "/clino.ptx"));

/// What the driver, cuBLAS and cuRAND call having no memory: nothing is lost by it.
const NO_MEMORY: [&str; 3] =
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED", "CURAND_STATUS_ALLOCATION_FAILED"];

/// Threads of a block.
const THREADS: u32 = 256;

/// What vectors on a GPU are made of.
pub trait Element: crate::device::real::Real + WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {
    /// End of the names of its kernels.
    const SUFFIX: &str;
}

impl Element for f32 {
    const SUFFIX: &str = "f32";
}

impl Element for f64 {
    const SUFFIX: &str = "f64";
}

/// A GPU that was opened.
pub struct Gpu {
    ordinal: usize,
    device: Device,
    cuda: CudaDevice,
    /// An error after which its context answers nothing else.
    lost: AtomicBool,
    permits: UploadPermits,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// Address on the device; 0 for none.
    At(u64),
    /// An unsigned integer of 32 bits.
    U32(u32),
    /// An unsigned integer of 64 bits.
    U64(u64),
    /// A floating-point number of 64 bits.
    F64(f64),
}

impl Gpu {
    /// Opens the GPU with this number.
    ///
    /// # Errors
    /// [`FaultKind::Unavailable`] without a driver or such a device.
    pub fn open(ordinal: usize) -> Result<Self, Fault> {
        if let Some(file) = super::libraries::missing() {
            let message = format!("cuda:{ordinal} cannot be used: {file} cannot be loaded");
            return Err(Fault::new(FaultKind::Unavailable, message));
        }
        // candle's other way takes a stream of each thread of the host: those are not ordered among each other.
        let device = Device::new_cuda_with_stream(ordinal).map_err(|error| unavailable(ordinal, &error))?;
        let cuda = device.as_cuda_device().map_err(|error| unavailable(ordinal, &error))?.clone();
        // SAFETY: everything is launched on one stream, and what `carry.rs` copies on another is complete before it is used.
        unsafe { cuda.disable_event_tracking() };
        Ok(Self { ordinal, device, cuda, lost: AtomicBool::new(false), permits: UploadPermits::default() })
    }

    /// Another stream, for copies.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn new_stream(&self) -> Result<Arc<CudaStream>, DriverError> {
        self.cuda.cuda_stream().context().new_stream()
    }

    /// The device as candle's tensors need it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether it has failed for good.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The name of the GPU, such as `cuda:0`.
    pub fn name(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }

    /// Its number, and name and memory as the driver tells them.
    pub fn description(&self) -> String {
        let model = self.cuda.cuda_stream().context().name().unwrap_or_else(|_| "unknown GPU".into());
        format!("{} ({model}, {:.1} GiB)", self.name(), self.total() as f64 / f64::from(1 << 30))
    }

    /// What a report of an error should name: it, its driver, and what clino was built with.
    pub fn details(&self) -> String {
        let stream = self.cuda.cuda_stream();
        let (major, minor) = stream.context().compute_capability().unwrap_or_default();
        let mut version = 0;
        // SAFETY: it writes one number.
        let told = unsafe { sys::cuDriverGetVersion(&mut version) };
        let driver = match told {
            sys::CUresult::CUDA_SUCCESS => format!("{}.{}", version / 1000, version % 1000 / 10),
            _ => "unknown".into(),
        };
        format!(
            "{}: compute capability {major}.{minor}, {} bytes of memory, driver for CUDA {driver}, clino built with CUDA {}",
            self.description(),
            self.total(),
            env!("CLINO_CUDA_TOOLKIT"),
        )
    }

    /// Bytes of its memory.
    pub fn total(&self) -> u64 {
        self.cuda.cuda_stream().context().total_mem().unwrap_or(0) as u64
    }

    /// Bytes that are free, once everything on the device is done: memory is given back in the order of the streams, and
    /// leaves the driver's pool only then. Not for within a draw.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn free(&self) -> Result<u64, Fault> {
        let stream = self.cuda.cuda_stream();
        let asked = stream.context().synchronize().and_then(|()| stream.context().mem_get_info());
        Ok(asked.map_err(|error| self.fault(&error))?.0 as u64)
    }

    /// Who may bring snapshots there.
    pub fn permits(&self) -> &UploadPermits {
        &self.permits
    }

    /// What an error of candle or the driver means; marks the device where it can no longer be used.
    pub fn fault(&self, error: &dyn std::fmt::Display) -> Fault {
        let text = error.to_string();
        let text = text.lines().next().unwrap_or("no message").to_owned();
        if NO_MEMORY.iter().any(|name| text.contains(name)) {
            return Fault::new(FaultKind::Exhausted, format!("the GPU has no memory left: {text}"));
        }
        self.lost.store(true, Ordering::Relaxed);
        Fault::new(FaultKind::Unavailable, format!("the GPU failed: {text}"))
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> Result<CudaSlice<T>, Fault> {
        self.cuda.alloc_zeros(len.max(1)).map_err(|error| self.fault(&error))
    }

    /// A copy of host memory.
    ///
    /// # Errors
    /// If memory runs out or the device is lost.
    pub fn upload<T: DeviceRepr + Clone + Default + 'static>(
        &self,
        data: &[T],
    ) -> Result<CudaSlice<T>, Fault> {
        let copied =
            if data.is_empty() { self.cuda.clone_htod(&[T::default()]) } else { self.cuda.clone_htod(data) };
        copied.map_err(|error| self.fault(&error))
    }

    /// Copies host memory over the elements from `start` on.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn write<T: DeviceRepr + 'static>(
        &self,
        to: &mut CudaSlice<T>,
        start: usize,
        data: &[T],
    ) -> Result<(), Fault> {
        if data.is_empty() {
            return Ok(());
        }
        let mut part = to.slice_mut(start..start + data.len());
        self.cuda.memcpy_htod(data, &mut part).map_err(|error| self.fault(&error))
    }

    /// A copy on the host, once everything that was asked for is done: the only call that waits.
    ///
    /// # Errors
    /// If the device is lost or an earlier launch failed.
    pub fn download<T: DeviceRepr>(&self, from: &CudaSlice<T>) -> Result<Vec<T>, Fault> {
        self.cuda.clone_dtoh(from).map_err(|error| self.fault(&error))
    }

    /// Copies on the device.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn copy<T: DeviceRepr>(&self, from: &CudaSlice<T>, to: &mut CudaSlice<T>) -> Result<(), Fault> {
        self.cuda.memcpy_dtod(from, to).map_err(|error| self.fault(&error))
    }

    /// Address of memory on the device, as an argument.
    pub fn at<T>(&self, slice: &CudaSlice<T>) -> Arg {
        Arg::At(self.address(slice))
    }

    /// Address of memory on the device.
    pub fn address<T>(&self, slice: &CudaSlice<T>) -> u64 {
        // The guard only matters with several streams.
        slice.device_ptr(&self.cuda.cuda_stream()).0
    }

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// If the device is lost or an earlier launch failed.
    pub fn wait(&self) -> Result<(), Fault> {
        self.cuda.cuda_stream().synchronize().map_err(|error| self.fault(&error))
    }

    /// Address of the elements of a contiguous tensor on this device.
    ///
    /// # Errors
    /// A tensor of another type or device: a defect.
    pub fn tensor<T: Element>(&self, tensor: &Tensor) -> Result<u64, Fault> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            return Err(Fault::internal("a tensor is not on the GPU"));
        };
        let slice = storage.as_cuda_slice::<T>().map_err(|error| self.fault(&error))?;
        let first = slice.device_ptr(&self.cuda.cuda_stream()).0;
        if !layout.is_contiguous() {
            return Err(Fault::internal("a tensor on the GPU is not contiguous"));
        }
        Ok(first + (layout.start_offset() * size_of::<T>()) as u64)
    }

    /// Starts `blocks` blocks of a kernel.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn launch(&self, name: &str, blocks: usize, arguments: &[Arg]) -> Result<(), Fault> {
        self.start(name, blocks, THREADS, arguments)
    }

    fn start(&self, name: &str, blocks: usize, threads: u32, arguments: &[Arg]) -> Result<(), Fault> {
        if blocks == 0 {
            return Ok(());
        }
        let kernel =
            self.cuda.get_or_load_custom_func(name, "clino", KERNELS).map_err(|error| self.fault(&error))?;
        let mut builder = kernel.builder();
        for argument in arguments {
            match argument {
                Arg::At(address) | Arg::U64(address) => builder.arg(address),
                Arg::U32(number) => builder.arg(number),
                Arg::F64(number) => builder.arg(number),
            };
        }
        let grid_dim = (blocks as u32, 1, 1);
        let block_dim = (threads, 1, 1);
        let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes: 0 };
        // SAFETY: callers give the arguments that the kernel's file names, with memory as long as its table of pieces
        // says; the tests hold each of them against the CPU under an interpreter that checks every access.
        unsafe { builder.launch(config) }.map_err(|error| self.fault(&error))?;
        Ok(())
    }

    /// Starts a kernel that has a form for each type of element.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn launch_for<T: Element>(&self, name: &str, blocks: usize, arguments: &[Arg]) -> Result<(), Fault> {
        self.launch(&format!("clino_{name}_{}", T::SUFFIX), blocks, arguments)
    }

    /// The same with a block of `threads` for each row.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn launch_rows<T: Element>(
        &self,
        name: &str,
        rows: usize,
        threads: u32,
        arguments: &[Arg],
    ) -> Result<(), Fault> {
        self.start(&format!("clino_{name}_{}", T::SUFFIX), rows, threads, arguments)
    }
}

fn unavailable(ordinal: usize, error: &candle_core::Error) -> Fault {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    Fault::new(FaultKind::Unavailable, format!("cuda:{ordinal} cannot be used: {text}"))
}
