//! The daemon: built and bound first, which may fail, then run until it is told to end.
//!
//! Owns: who knows whom. May not touch: what any part does; it is the only file that sees all of them.

mod doors;
mod keeper;

use crate::access::{Gate, WINDOW};
use crate::assembly::Spool;
use crate::config::{Access, Config};
use crate::decide::Bench;
use crate::http::{Http, RunMetrics, Sources};
use crate::pipeline::{Neighbours, Pipeline, Watchman};
use crate::publish::{Bounds, Hub};
use crate::registry::{ProbeStore, Registry};
use crate::shutdown::Ending;
use crate::store::sqlite::SqliteStore;
use crate::store::{EventStore, StoredRun, Watermark};
use crate::systemd::{self, Watchdog};
use crate::wire::{Certificates, Desk, Drain, Reception, Servers, routes};
use clino_domain::budget::Budget;
use clino_domain::meters::{Metric, Window};
use clino_domain::readiness::{DEVICE, DRAINING, ENGINE, Readiness, SPOOL, STARTING};
use clino_domain::tally::Tally;
use clino_domain::{Devices, Examiner, Fault};
use clino_engine::{Bounded, Device};
use doors::{SocketFile, bind_tcp, bind_unix};
use keeper::{Keeper, LAST_LINES, gate};
use std::future::Future;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{oneshot, watch};

/// A daemon whose sockets are bound and that serves nobody yet.
pub struct Daemon {
    config: Config,
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
    history: Option<History>,
    certificates: Option<Arc<Certificates>>,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
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
        let tally = Arc::new(Tally::default());
        // First of all: nothing is made in a folder that is somebody else's.
        let open = |data: &Path| History::open(data, &config);
        let history = config.data.as_deref().map(open).transpose()?;
        let (gate, certificates) = gate(&config.access, &tally)?;
        let unix = bind_unix(&config, gate.has_tokens())?;
        let tcp = config.listen.iter().map(|address| bind_tcp(*address)).collect::<Result<_, _>>()?;
        let http = config.http.map(Http::bind).transpose()?;
        Ok(Self { config, tcp, unix, history, certificates, gate, tally, http, window: Window::default() })
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
        let Self { config, tcp, unix, history, certificates, gate, tally, http, window } = self;
        let readiness = Arc::new(Readiness::default());
        let (watch, mut sound) = DeviceWatch::new(&config.place.devices, &tally, &readiness);
        let desk = desk(&config, history, gate.clone(), tally.clone(), watch.examiner.clone())?;
        let _keeper = Keeper::start(gate.clone(), &config.access).map_err(internal)?;
        let sources = Arc::new(sources(&config, &desk, &readiness));
        window.open(sources.clone());
        // It answers until the very end.
        let _http = http.map(|http| http.serve(sources)).transpose().map_err(internal)?;
        let _watchdog = Watchdog::start(readiness.clone());
        let (routes, health) = routes(&desk).await.map_err(internal)?;
        let Access { connections, handshake, .. } = config.access;
        let reception = Reception::new(connections, handshake, tally.clone());
        let mut servers = Servers::new(routes, reception, tally.clone());
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
        let (pipeline, checked) = start_engine(&config, &desk, watch)?;
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
                    tracing::warn!("no longer ready: a GPU was lost");
                    shutdown.await;
                }
            }
        }
        readiness.hold(DRAINING, "the daemon shuts down");
        systemd::stopping();
        let Desk { drain, registry, hub, .. } = desk;
        let ending = Ending { health, drain, registry, pipeline, hub, servers, grace: config.grace };
        let clean = ending.run().await;
        tokio::task::block_in_place(|| gate.audit.flush(LAST_LINES));
        tracing::info!(counts = tally.line(), clean, "ended");
        Ok(clean)
    }
}

/// Reports the engine's devices to the examiner of runs, and to those who wait for a device to be lost.
struct DeviceWatch {
    examiner: Bounded,
    sound: watch::Sender<bool>,
    tally: Arc<Tally>,
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
        devices: &Devices,
        tally: &Arc<Tally>,
        readiness: &Arc<Readiness>,
    ) -> (Self, watch::Receiver<bool>) {
        let (sound, hears) = watch::channel(true);
        let strict = matches!(devices, Devices::Cuda(_));
        let examiner = Bounded { strict, ..Bounded::default() };
        let tally = tally.clone();
        let readiness = readiness.clone();
        (Self { examiner, sound, tally, readiness, name: devices.to_string() }, hears)
    }
}

impl Watchman for DeviceWatch {
    fn opened(&self, device: Option<Device>) {
        let name = if device.is_some() { self.name.as_str() } else { "cpu" };
        self.tally.meters.set(Metric::DeviceInfo, &[name], 1.0);
        self.tally.meters.set(Metric::GpusLost, &[], 0.0);
        if let Some(device) = device {
            // The first engine's word counts; there is only one.
            let _ = self.examiner.device.set(device);
        }
    }

    fn lost(&self, gpus: &[String]) {
        self.tally.meters.set(Metric::GpusLost, &[], gpus.len() as f64);
        self.readiness.hold(DEVICE, format!("lost {}", gpus.join(", ")));
        self.sound.send_replace(false);
    }
}

fn desk(
    config: &Config,
    history: Option<History>,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
    examiner: Bounded,
) -> Result<Desk, Fault> {
    let (hub, registry) = memory(config, history, &gate, tally.clone(), examiner)?;
    Ok(Desk {
        gate,
        registry,
        hub,
        probes: Arc::new(ProbeStore::new(config.memory)),
        budget: Budget::new(config.memory),
        spool: Spool::new(&config.spool),
        drain: Drain::default(),
        tally,
        patience: config.idle,
    })
}

/// The store of a directory, with the runs that it holds.
struct History {
    store: Arc<dyn EventStore>,
    runs: Vec<StoredRun>,
}

impl History {
    fn open(data: &Path, config: &Config) -> Result<Self, Fault> {
        let store = SqliteStore::open(data, config.retain)?;
        let runs = store.runs(config.runs)?;
        Ok(Self { store, runs })
    }
}

/// Most events, and about how many bytes of them, held in memory for a run whose older ones are in its history.
const WITH_HISTORY: Bounds = Bounds { events: 128, bytes: 1 << 18, records: 64, reports: 4 };

/// Whoever remembers what happened, in memory or in a history with the runs that it holds.
fn memory(
    config: &Config,
    history: Option<History>,
    gate: &Gate,
    tally: Arc<Tally>,
    examiner: Bounded,
) -> Result<(Arc<Hub>, Arc<Registry>), Fault> {
    let folders = config.data.iter().chain([&config.spool]).cloned().collect();
    let watermark = Watermark::new(folders, config.reserve);
    let counts = tally.clone();
    let quotas = Arc::new(gate.quotas.clone());
    let registry = |hub: &Arc<Hub>| {
        let bench = Arc::new(Bench::new(examiner.catalogue()));
        Registry::new(Arc::new(examiner), bench, hub.clone(), counts, config.runs).limited(quotas)
    };
    let Some(History { store, runs }) = history else {
        tracing::info!("no --data: runs and readings are lost when the daemon stops");
        let hub = Hub::new(Bounds { events: config.events, ..Bounds::default() });
        let hub = hub.above(watermark).counted(tally.clone()).started().map_err(internal)?;
        let registry = registry(&hub);
        return Ok((hub, Arc::new(registry)));
    };
    for (project, seconds, ago) in store.worked(WINDOW)? {
        gate.quotas.remember(&project, seconds, ago);
    }
    let kept = runs.iter().map(|stored| stored.run.clone()).collect();
    let bounds = Bounds { events: config.events.min(WITH_HISTORY.events), ..WITH_HISTORY };
    tracing::info!(runs = runs.len(), "the history is open");
    let hub = Hub::new(bounds).above(watermark).counted(tally).durable(store, runs).map_err(internal)?;
    let registry = Arc::new(registry(&hub).with_vault(hub.clone()));
    registry.resume(kept);
    let forgetful = Arc::downgrade(&registry);
    hub.on_expiry(move |run| forgetful.upgrade().is_none_or(|registry| registry.forget(run)));
    Ok((hub, registry))
}

/// What metrics and readiness are asked of.
fn sources(config: &Config, desk: &Desk, readiness: &Arc<Readiness>) -> Sources {
    let data = config.data.clone().map(|data| ("data", data));
    Sources {
        registry: desk.registry.clone(),
        hub: desk.hub.clone(),
        tally: desk.tally.clone(),
        readiness: readiness.clone(),
        budget: desk.budget.clone(),
        probes: desk.probes.clone(),
        directories: [(SPOOL, config.spool.clone())].into_iter().chain(data).collect(),
        runs: RunMetrics { most: config.run_metrics, expiry: config.run_metrics_expiry },
        started: SystemTime::now(),
        looked: Mutex::default(),
    }
}

type Checked = oneshot::Receiver<Result<(), Fault>>;

fn start_engine(config: &Config, desk: &Desk, devices: DeviceWatch) -> Result<(Pipeline, Checked), Fault> {
    let (sender, checked) = oneshot::channel();
    let registry = desk.registry.clone();
    let journal = desk.hub.clone();
    let tally = desk.tally.clone();
    let quota = Arc::new(desk.gate.quotas.clone());
    let neighbours = Neighbours { registry, journal, tally, quota, devices: Arc::new(devices) };
    // Nobody listens any more when the daemon is told to end before the check is made.
    let ready = move |checked| drop(sender.send(checked));
    Ok((Pipeline::start(config.place.clone(), neighbours, ready).map_err(internal)?, checked))
}

fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::internal(error.to_string())
}
