//! The daemon: built and bound first, which may fail, then run until it is told to end.
//!
//! Owns: who knows whom. May not touch: what any part does; it is the only file that sees all of them.

mod reload;
mod sockets;

use crate::access::{Authenticator, WINDOW};
use crate::assembly::Spool;
use crate::config::{AccessConfig, Config};
use crate::decide::RuleCompiler;
use crate::doctor::Doctor;
use crate::http::{Http, RunMetrics, Sources};
use crate::pipeline::{DeviceObserver, Neighbours, Pipeline};
use crate::publish::{Bounds, EventBus};
use crate::registry::{ProbeStore, Registry};
use crate::shutdown::Ending;
use crate::store::sqlite::SqliteStore;
use crate::store::{EventStore, StoredRun, Watermark};
use crate::systemd::{self, Watchdog};
pub(crate) use crate::wire::model_from_bytes;
use crate::wire::{Certificates, ConnectionLimits, Drain, Servers, Services, UploadWorkers, routes};
use clino_domain::budget::{Budget, BudgetPart};
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::metrics::{Metric, Window};
use clino_domain::readiness::{DEVICE, DRAINING, ENGINE, Readiness, SPOOL, STARTING};
use clino_domain::{Devices, Fault, Memory, RunValidator};
use clino_engine::{GpuDevices, GpuValidator};
use reload::{LAST_LINES, Reloader, authenticator};
use sockets::{SocketFile, bind_tcp, bind_unix};
use std::future::Future;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{oneshot, watch};

/// A daemon whose sockets are bound and that serves nobody yet.
pub struct Daemon {
    config: Config,
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
    history: Option<OpenedStore>,
    certificates: Option<Arc<Certificates>>,
    authenticator: Arc<Authenticator>,
    counters: Arc<Counters>,
    http: Option<Http>,
    window: Window,
}

impl Daemon {
    /// Opens the history and binds every socket.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Exists`] when another process listens or works there,
    /// [`clino_domain::FaultKind::Invalid`] when an address or directory cannot be used,
    /// [`clino_domain::FaultKind::Precondition`] for a history that a newer clino has made.
    pub fn bind(config: Config) -> Result<Self, Fault> {
        if !config.spool.is_dir() {
            let found = config.spool.display();
            return Err(Fault::invalid("spool", format!("found {found}, expected a directory")));
        }
        let counters = Arc::new(Counters::timed(unix_seconds));
        // First of all: nothing is made in a folder that is somebody else's.
        let open = |data: &Path| OpenedStore::open(data, &config);
        let history = config.data.as_deref().map(open).transpose()?;
        let (authenticator, certificates) = authenticator(&config.access, &counters)?;
        let unix = bind_unix(&config, authenticator.has_tokens())?;
        let tcp = config.listen.iter().map(|address| bind_tcp(*address)).collect::<Result<_, _>>()?;
        let http = config.http.map(|address| Http::bind(address, config.http_hosts.clone())).transpose()?;
        Ok(Self {
            config,
            tcp,
            unix,
            history,
            certificates,
            authenticator,
            counters,
            http,
            window: Window::default(),
        })
    }

    /// Through which its metrics are seen once it runs.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Every bound address: `unix:///path`, `http://address:port` (`https://` with TLS) and `metrics=http://address:port`,
    /// with a space between.
    ///
    /// # Errors
    /// When the system does not tell a port.
    pub fn addresses(&self) -> std::io::Result<String> {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let unix = self.unix.iter().map(|(_, file)| Ok(format!("unix://{}", file.path.display())));
        let tcp = self.tcp.iter().map(|listener| Ok(format!("{scheme}://{}", listener.local_addr()?)));
        let http = self.http.iter().map(|http| Ok(format!("metrics=http://{}", http.address()?)));
        Ok(unix.chain(tcp).chain(http).collect::<std::io::Result<Vec<_>>>()?.join(" "))
    }

    /// Serves until `shutdown`, then drains. False when the engine had to be left behind at the end of the grace.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when a part cannot start or the engine computes wrongly.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<bool, Fault> {
        let Self { config, tcp, unix, history, certificates, authenticator, counters, http, window } = self;
        let readiness = Arc::new(Readiness::default());
        let (watch, mut sound) = DeviceWatch::new(&config, &counters, &readiness);
        let services = services(&config, history, authenticator.clone(), counters.clone(), &watch)?;
        let _reloader = Reloader::start(authenticator.clone(), &config.access).map_err(internal)?;
        let sources = Arc::new(sources(&config, &services, &readiness));
        window.open(sources.clone());
        // It answers until the very end.
        let _http = http.map(|http| http.serve(sources)).transpose().map_err(internal)?;
        let _watchdog = Watchdog::start(readiness.clone(), &counters);
        let (routes, health) = routes(&services).await.map_err(internal)?;
        let AccessConfig { connections, handshake, .. } = config.access;
        let limits = ConnectionLimits::new(connections, handshake, counters.clone());
        let mut servers = Servers::new(routes, limits, services.clone());
        certificates.into_iter().for_each(|certificates| servers.secure(certificates));
        for listener in tcp {
            listener.set_nonblocking(true).map_err(internal)?;
            servers.tcp(tokio::net::TcpListener::from_std(listener).map_err(internal)?);
        }
        let _socket_file = match unix {
            None => None,
            Some((listener, file)) => {
                listener.set_nonblocking(true).map_err(internal)?;
                servers.unix(tokio::net::UnixListener::from_std(listener).map_err(internal)?);
                Some(file)
            }
        };
        let (pipeline, checked) = start_engine(&config, &services, watch)?;
        tokio::pin!(shutdown);
        let told = tokio::select! {
            checked = checked => checked.map_err(internal).flatten().map(|()| false)?,
            () = &mut shutdown => true,
        };
        if !told {
            health.set(true).await;
            readiness.release(STARTING);
            systemd::ready();
            tracing::info!(threads = config.place.threads, "ready");
            tokio::select! {
                () = &mut shutdown => {}
                // Runs go on without the GPU, but whoever chooses among daemons chooses another.
                Ok(_) = sound.wait_for(|sound| !sound) => {
                    health.set(false).await;
                    tracing::warn!(code = Incident::DeviceLost.code(), "no longer ready: a GPU was lost");
                    shutdown.await;
                }
            }
        }
        readiness.hold(DRAINING, "the daemon shuts down");
        systemd::stopping();
        let Services { drain, registry, bus, .. } = services;
        let grace = config.grace;
        let counts = counters.clone();
        let ending = Ending { health, drain, registry, pipeline, bus, counters: counts, servers, grace };
        let clean = ending.run().await;
        tokio::task::block_in_place(|| authenticator.audit.flush(LAST_LINES));
        tracing::info!(counts = counters.line(), clean, "ended");
        Ok(clean)
    }
}

/// Reports the engine's devices to the validator of runs, and to those who wait for a device to be lost.
struct DeviceWatch {
    validator: GpuValidator,
    sound: watch::Sender<bool>,
    counters: Arc<Counters>,
    readiness: Arc<Readiness>,
    /// Of devices as people write them.
    name: String,
}

impl Drop for DeviceWatch {
    /// The engine's thread has it, and drops it when it ends, however it ends.
    fn drop(&mut self) {
        self.readiness.hold(ENGINE, "the engine's thread has ended");
    }
}

impl DeviceWatch {
    fn new(
        config: &Config,
        counters: &Arc<Counters>,
        readiness: &Arc<Readiness>,
    ) -> (Self, watch::Receiver<bool>) {
        let (sound, hears) = watch::channel(true);
        let place = &config.place;
        let strict = matches!(place.devices, Devices::Cuda(_));
        let room = config.memory.bytes;
        let validator = GpuValidator { strict, threads: place.threads, room, ..GpuValidator::default() };
        let counters = counters.clone();
        let readiness = readiness.clone();
        (Self { validator, sound, counters, readiness, name: place.devices.to_string() }, hears)
    }
}

impl DeviceObserver for DeviceWatch {
    fn opened(&self, device: Option<GpuDevices>) {
        let name = if device.is_some() { self.name.as_str() } else { "cpu" };
        self.counters.metrics.set(Metric::DeviceInfo, &[name], 1.0);
        self.counters.metrics.set(Metric::GpusLost, &[], 0.0);
        if let Some(device) = device {
            // The first engine's word counts; there is only one.
            let _ = self.validator.device.set(device);
        }
    }

    fn lost(&self, gpus: &[String]) {
        self.counters.metrics.set(Metric::GpusLost, &[], gpus.len() as f64);
        self.readiness.hold(DEVICE, format!("lost {}", gpus.join(", ")));
        self.sound.send_replace(false);
    }
}

fn services(
    config: &Config,
    history: Option<OpenedStore>,
    authenticator: Arc<Authenticator>,
    counters: Arc<Counters>,
    watch: &DeviceWatch,
) -> Result<Services, Fault> {
    let budget = Budget::new(config.memory.bytes);
    let shared = Shared { authenticator: &authenticator, counters: &counters, budget: &budget };
    let (bus, registry) = memory(config, history, watch.validator.clone(), shared)?;
    let doctor = Doctor {
        registry: registry.clone(),
        bus: bus.clone(),
        budget: budget.clone(),
        counters: counters.clone(),
        readiness: watch.readiness.clone(),
        spool: config.spool.clone(),
        data: config.data.clone(),
        reserve: config.reserve,
        started: Instant::now(),
    };
    Ok(Services {
        authenticator,
        registry,
        bus,
        doctor: Arc::new(doctor),
        probes: ProbeStore::new(&budget),
        budget,
        spool: Spool::new(&config.spool).keeping(config.reserve).counted(counters.clone()),
        upload_workers: UploadWorkers::start().map_err(internal)?,
        drain: Drain::default(),
        counters,
        patience: config.idle,
    })
}

/// The store of a directory, with the runs that it holds.
struct OpenedStore {
    store: Arc<dyn EventStore>,
    runs: Vec<StoredRun>,
}

impl OpenedStore {
    fn open(data: &Path, config: &Config) -> Result<Self, Fault> {
        let store = SqliteStore::open(data, config.retain)?;
        let runs = store.runs(config.runs)?;
        Ok(Self { store, runs })
    }
}

/// Most events, and about how many bytes of them, held in memory for a run whose older ones are in its history.
const WITH_HISTORY: Bounds = Bounds { events: 128, bytes: 1 << 18, records: 64, reports: 4 };

/// What runs share with all else.
struct Shared<'a> {
    authenticator: &'a Authenticator,
    counters: &'a Arc<Counters>,
    budget: &'a Budget,
}

/// Of the memory, the share that events and readings take at most: a fourth. Each run drops its oldest ones beyond it.
const FOR_HISTORY: u64 = 4;

/// Whoever remembers what happened, in memory or in a history with the runs that it holds.
fn memory(
    config: &Config,
    stored: Option<OpenedStore>,
    validator: GpuValidator,
    shared: Shared<'_>,
) -> Result<(Arc<EventBus>, Arc<Registry>), Fault> {
    let Shared { authenticator, counters, budget } = shared;
    let folders = config.data.iter().chain([&config.spool]).cloned().collect();
    let watermark = Watermark::new(folders, config.reserve);
    let counts = counters.clone();
    let quotas = Arc::new(authenticator.quotas.clone());
    let registry = |bus: &Arc<EventBus>| {
        let compiler = Arc::new(RuleCompiler::new(validator.catalogue()));
        let registry = Registry::new(Arc::new(validator), compiler, bus.clone(), counts, config.runs);
        registry.limited(quotas).within(Memory::new(budget)).reading_models(model_from_bytes)
    };
    let history = budget.part(BudgetPart::History).at_most(budget.limit() / FOR_HISTORY);
    let Some(OpenedStore { store, runs }) = stored else {
        tracing::info!("no --data: runs and readings are lost when the daemon stops");
        let bus = EventBus::new(Bounds { events: config.events, ..Bounds::default() });
        let bus = bus.within(history).above(watermark).counted(counters.clone());
        let bus = bus.started().map_err(internal)?;
        let registry = Arc::new(registry(&bus));
        end_stopped_runs(&bus, &registry);
        return Ok((bus, registry));
    };
    for (project, seconds, ago) in store.worked(WINDOW)? {
        authenticator.quotas.remember(&project, seconds, ago);
    }
    let kept = runs.iter().map(|stored| stored.run.clone()).collect();
    let bounds = Bounds { events: config.events.min(WITH_HISTORY.events), ..WITH_HISTORY };
    tracing::info!(runs = runs.len(), "the history is open");
    let bus = EventBus::new(bounds).within(history).above(watermark).counted(counters.clone());
    let bus = bus.durable(store, runs).map_err(internal)?;
    let registry = Arc::new(registry(&bus).with_vault(bus.clone()));
    registry.resume(kept);
    end_stopped_runs(&bus, &registry);
    let forgetful = Arc::downgrade(&registry);
    bus.on_expiry(move |run| forgetful.upgrade().is_none_or(|registry| registry.forget(run)));
    Ok((bus, registry))
}

/// What a policy that is enforced has stopped is not measured any further.
fn end_stopped_runs(bus: &EventBus, registry: &Arc<Registry>) {
    let registry = Arc::downgrade(registry);
    bus.on_stop(move |run| {
        if let Some(registry) = registry.upgrade() {
            registry.abandon(run, "its policy said STOP, which is enforced");
        }
    });
}

/// What metrics and readiness are asked of.
fn sources(config: &Config, services: &Services, readiness: &Arc<Readiness>) -> Sources {
    let data = config.data.clone().map(|data| ("data", data));
    Sources {
        registry: services.registry.clone(),
        bus: services.bus.clone(),
        counters: services.counters.clone(),
        readiness: readiness.clone(),
        budget: services.budget.clone(),
        directories: [(SPOOL, config.spool.clone())].into_iter().chain(data).collect(),
        runs: RunMetrics { most: config.run_metrics, expiry: config.run_metrics_expiry },
        started: SystemTime::now(),
        looked: Mutex::default(),
    }
}

type Checked = oneshot::Receiver<Result<(), Fault>>;

fn start_engine(
    config: &Config,
    services: &Services,
    devices: DeviceWatch,
) -> Result<(Pipeline, Checked), Fault> {
    let (sender, checked) = oneshot::channel();
    let registry = services.registry.clone();
    let journal = services.bus.clone();
    let counters = services.counters.clone();
    let quota = Arc::new(services.authenticator.quotas.clone());
    let devices = Arc::new(devices);
    let budget = config.snapshot_budget;
    let neighbours = Neighbours { registry, journal, counters, quota, devices, budget };
    // Nobody listens any more when the daemon is told to end before the check is made.
    let ready = move |checked| drop(sender.send(checked));
    Ok((Pipeline::start(config.place.clone(), neighbours, ready).map_err(internal)?, checked))
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::internal(error.to_string())
}
