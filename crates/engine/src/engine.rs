//! The devices: a pool of threads, and GPUs where there are some.
//!
//! Owns: on which device a snapshot is held. May not touch: which readings are made.

use crate::backend::host::Host;
use crate::device::check::{Check, Speed};
use crate::device::gemm;
use crate::model::WorkerPool;
use crate::placement::{Accelerated, Gpus, MISSING, Placement, PlacementRefused};
use crate::plan::PreparedRun;
use crate::resident::OnDevice;
use crate::validate::GpuDevices;
use crate::weights::{AnyPrecision, PreparedSnapshot, Weights};
use clino_domain::{Devices, EnginePlace, Fault, Precision, References, Snapshot, Statistics, ValidatedRun};
use std::sync::Arc;

/// Stack of the threads of the pool: deep enough for any layer's arithmetic.
const STACK_BYTES: usize = 8 << 20;

/// Owner of the device: on the CPU, a pool of threads. One named thread of the pipeline owns it.
pub struct Engine {
    pool: rayon::ThreadPool,
    gpus: Arc<Gpus>,
}

/// A snapshot for the engine.
#[derive(Debug)]
pub struct Arrived {
    /// All of it; its bytes are freed as they are converted.
    pub snapshot: Snapshot,
    /// What it is compared with.
    pub references: References,
    /// Made while it arrived; used if they were made against the same references.
    pub statistics: Option<Arc<Statistics>>,
}

impl Engine {
    /// An engine on the CPU; the numbers do not depend on `threads`.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when the system gives no threads.
    pub fn new(threads: usize) -> Result<Self, Fault> {
        let name = |i| format!("clino-cpu-{i}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(name);
        let pool = pool.stack_size(STACK_BYTES).build();
        let pool = pool.map_err(|error| Fault::internal(format!("no threads: {error}")))?;
        // What a thread keeps for good is taken now, so that no run takes it.
        pool.broadcast(|_| gemm::warm());
        Ok(Self { pool, gpus: Arc::default() })
    }

    /// Another engine on the same GPUs, and with as many threads: each measures a snapshot of its own.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when the system gives no threads.
    pub fn beside(&self) -> Result<Self, Fault> {
        Ok(Self { gpus: self.gpus.clone(), ..Self::new(self.pool.current_num_threads())? })
    }

    /// Share of a GPU's memory that a snapshot of a run takes, between 0 (the CPU) and 1.
    pub fn gpu_share(&self, run: &ValidatedRun) -> f64 {
        let needed = |room: u64| Some(PreparedRun::of(run).ok()?.gpu_bytes() as f64 / room.max(1) as f64);
        self.gpus.room().and_then(needed).unwrap_or(0.0).min(1.0)
    }

    /// Whether this build can compute at a place at all; whether the machine can is told when the engine opens there.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `device` for a GPU in a build without GPUs.
    pub fn check(place: &EnginePlace) -> Result<(), Fault> {
        match (&place.devices, MISSING) {
            (Devices::Cuda(_), Some(missing)) => {
                Err(Fault::invalid("device", format!("found {}, but {missing}", place.devices)))
            }
            _ => Ok(()),
        }
    }

    /// An engine at a place; the second value says why it is on the CPU after all, when that was left to it.
    ///
    /// # Errors
    /// Those of [`Engine::check`] and [`Engine::new`], and [`clino_domain::FaultKind::Unavailable`] when a GPU that was named cannot be used.
    pub fn open(place: &EnginePlace) -> Result<(Self, Option<String>), Fault> {
        Self::check(place)?;
        let mut engine = Self::new(place.threads)?;
        match &place.devices {
            Devices::Cpu => {}
            Devices::Cuda(ordinals) => engine.gpus = Arc::new(Gpus::open(ordinals, &place.libraries)?),
            Devices::Auto => match Gpus::open(&[0], &place.libraries) {
                Ok(gpus) => engine.gpus = Arc::new(gpus),
                Err(fault) => return Ok((engine, Some(fault.message))),
            },
        }
        Ok((engine, None))
    }

    /// GPUs if there are any, threads, and the vectors in which they compute.
    pub fn description(&self) -> String {
        let threads = self.pool.current_num_threads();
        let cpu = format!("{threads} threads, {} vectors", crate::device::widest::name());
        self.gpus.description().map_or(cpu.clone(), |gpus| format!("{gpus}; {cpu}"))
    }

    /// Holds every kernel of the GPUs against the CPU.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn check_kernels(&self) -> Result<Vec<Check>, Fault> {
        self.pool.install(|| self.gpus.check())
    }

    /// Times the kernels of the first GPU on a number of elements; `clock` returns seconds.
    ///
    /// # Errors
    /// If the GPU fails.
    pub fn kernel_speeds(
        &self,
        elements: usize,
        clock: &(dyn Fn() -> f64 + Sync),
    ) -> Result<Vec<Speed>, Fault> {
        self.pool.install(|| self.gpus.speeds(elements, &|| clock()))
    }

    /// What a report of an error should name of each GPU.
    pub fn gpu_details(&self) -> Vec<String> {
        self.gpus.details()
    }

    /// GPUs that failed for good.
    pub fn lost(&self) -> Vec<String> {
        self.gpus.lost()
    }

    /// Its GPUs; `None` on the CPU.
    pub fn device(&self) -> Option<GpuDevices> {
        Some(GpuDevices { gpus: self.gpus.clone(), room: self.gpus.room()? })
    }

    /// Brings a snapshot to the GPUs, or to the CPU where there are none or it does not fit; then with the reason.
    /// `carried` is the number under which its parameters are there already.
    fn hold<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        prepared: PreparedSnapshot<T>,
        carried: Option<u64>,
    ) -> Placement
    where
        AnyPrecision: From<PreparedSnapshot<T>>,
    {
        if self.gpus.description().is_none() && !plan.gpu_only {
            return self.hold_on_cpu(plan, prepared, None);
        }
        match self.gpus.hold(plan, prepared, carried) {
            Ok(placement) => placement,
            Err(refused) => {
                let PlacementRefused { fault, prepared } = *refused;
                self.hold_on_cpu(plan, prepared, Some(fault.message))
            }
        }
    }

    /// Holds a snapshot on the CPU, though there are GPUs if `instead` says why.
    fn hold_on_cpu<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        prepared: PreparedSnapshot<T>,
        instead: Option<String>,
    ) -> Placement
    where
        AnyPrecision: From<PreparedSnapshot<T>>,
    {
        if plan.gpu_only {
            let reason = instead.unwrap_or_else(|| "there is no GPU".into());
            return Placement {
                resident: None,
                instead: Some(format!("{reason}; the run is for GPUs only")),
                carried: false,
            };
        }
        let worker_pool = WorkerPool::<Host<T>>::new(plan.network.clone(), self.pool.current_num_threads());
        Placement { resident: Some(Box::new(OnDevice::new(prepared, worker_pool))), instead, carried: false }
    }

    /// Runs `work` on the threads of the engine.
    pub(crate) fn install<A: Send>(&self, work: impl FnOnce() -> A + Send) -> A {
        self.pool.install(work)
    }

    /// A tiny computation with a known answer, on the threads that will do the work.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when the answer is wrong.
    pub fn self_check(&self) -> Result<(), Fault> {
        let words = self.pool.install(|| crate::device::noise::philox([0; 4], [0; 2]));
        let rows = [1.0f64, 2.0, 3.0];
        let loss = self.pool.install(|| crate::scores::cross_entropy(&rows, 2));
        if words[0] == 0x6627_E8D5 && (loss - 0.407_605_964_444_380_1).abs() < 1e-12 {
            return Ok(());
        }
        Err(Fault::internal(format!("the engine computes {words:?} and {loss}")))
    }

    /// Converts a snapshot to the precision of its run and brings it to a device.
    ///
    /// # Errors
    /// Those of [`clino_domain::Layout::arrange`].
    pub(crate) fn place(&self, plan: &PreparedRun, arrived: Arrived, seed: u64) -> Result<Placement, Fault> {
        self.pool.install(|| match plan.precision {
            Precision::F32 => self.convert::<f32>(plan, arrived, seed),
            _ => self.convert::<f64>(plan, arrived, seed),
        })
    }

    /// Brings a snapshot to the next best device: to what is left of the GPUs, or to the CPU.
    pub(crate) fn place_again(&self, plan: &PreparedRun, snapshot: AnyPrecision, to_cpu: bool) -> Placement {
        match snapshot {
            AnyPrecision::F32(prepared) => self.hold_again(plan, prepared, to_cpu),
            AnyPrecision::F64(prepared) => self.hold_again(plan, prepared, to_cpu),
        }
    }

    fn hold_again<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        prepared: PreparedSnapshot<T>,
        to_cpu: bool,
    ) -> Placement
    where
        AnyPrecision: From<PreparedSnapshot<T>>,
    {
        self.pool.install(|| match to_cpu {
            true => self.hold_on_cpu(plan, prepared, Some("a reading had no memory on the GPU".into())),
            false => self.hold(plan, prepared, None),
        })
    }

    fn convert<T: Accelerated>(
        &self,
        plan: &PreparedRun,
        arrived: Arrived,
        seed: u64,
    ) -> Result<Placement, Fault>
    where
        AnyPrecision: From<PreparedSnapshot<T>>,
    {
        let Arrived { snapshot, references, statistics } = arrived;
        let carried = statistics.as_ref().and_then(|statistics| statistics.carried);
        let weights = Weights::<T>::new(plan.network.layout(), snapshot, &references, statistics)?;
        // What no measure looks into is given back.
        let references = if plan.elements { references } else { References::default() };
        let prepared = PreparedSnapshot::<T>::new(weights, plan.network.criterion(), seed, references);
        Ok(self.hold(plan, prepared, carried))
    }
}
