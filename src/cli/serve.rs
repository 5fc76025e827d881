//! `clino serve`.
//!
//! Owns: its flags, the line with the bound addresses, its exit code. May not touch: what the daemon does.

use super::{DATA, FAILED, OCCUPIED, USAGE};
use crate::allocator;
use crate::config::{self, Config, LogFormat, Quantity, RawConfig, Words};
use crate::daemon::Daemon;
use crate::shutdown;
use crate::telemetry::{self, Telemetry};
use clino_domain::budget::size;
use clino_domain::{Fault, FaultKind};
use clino_engine::Engine;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Threads of the gRPC side; the engine has its own.
const WORKERS: usize = 2;
/// How long tasks that are left over may hold the process.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// Flags override CLINO_* variables (such as CLINO_THREADS), which override the file.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArguments {
    /// TOML file whose keys are the names of these flags (log_format for --log-format); also CLINO_CONFIG.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TCP address and port; port 0 picks a free port. Beyond loopback this requires TLS, and tokens or client certificates. May be
    /// repeated. [default: none]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Path of the Unix socket. [default without --listen: $XDG_RUNTIME_DIR/clino/clino.sock, else /run/clino/clino.sock for root and
    /// /tmp/clino-UID/clino.sock for others; clients of this user look there]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Threads of the engine; the numbers do not depend on them. [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
    /// Where to compute: cpu, cuda:0, several GPUs as cuda:0,cuda:1, or auto: the first GPU if it can be used, else the
    /// CPU. [default: cpu]
    #[arg(long)]
    device: Option<String>,
    /// How long a shutdown may take. [default: 10s]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Log level: error, warn, info, debug, or a filter by module. [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Format of log lines. [default: text]
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Memory of the process: what does not fit is rejected. A size, or a percentage of what the machine or its control group has.
    /// [default: 50%, and at least 256MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Directory for large snapshots while they wait or are needed for comparison. [default: the system's temporary directory]
    #[arg(long, value_name = "DIRECTORY")]
    spool: Option<PathBuf>,
    /// Maximum number of runs. [default: 1000]
    #[arg(long)]
    runs: Option<usize>,
    /// Time after which an idle upload is aborted. [default: 30s]
    #[arg(long, value_name = "DURATION")]
    idle: Option<String>,
    /// Time on the engine that a snapshot may take if its run sets no budget; 0s: as much as it needs. Measures that do not fit
    /// are skipped. [default: 10m]
    #[arg(long, value_name = "DURATION")]
    budget: Option<String>,
    /// Maximum number of events kept for the watchers of a run. [default: 65536]
    #[arg(long)]
    events: Option<usize>,
    /// Directory of the history, which survives restarts: runs, received snapshots, readings, decisions. [default: none]
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// How long closed runs stay in the history, such as 90d. [default: forever]
    #[arg(long, value_name = "DURATION")]
    retain: Option<String>,
    /// Free disk space in --spool and --data below which new runs and snapshots are rejected. [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    reserve: Option<String>,
    /// PEM file of the certificate chain: enables TLS on TCP. Reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// PEM file of client authorities: clients need a certificate from one of them, or a token if there are tokens.
    #[arg(long, value_name = "FILE")]
    tls_clients: Option<PathBuf>,
    /// TOML file of tokens and their permissions, as `clino token` writes it. Reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// TOML file of quotas by project. Reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    quotas: Option<PathBuf>,
    /// Audit log: a file to which opened, closed, overridden and denied requests are appended, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Allow listening beyond this machine without TLS or without authentication.
    #[arg(long)]
    insecure: bool,
    /// Loopback address and port for HTTP: /metrics, /livez and /readyz; port 0 picks a free port. [default: none]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Host name under which HTTP requests are answered, besides localhost, loopback addresses and the bound address. May be
    /// repeated. [default: none]
    #[arg(long, value_name = "NAME")]
    http_host: Vec<String>,
    /// Number of runs that /metrics/runs reports, the newest first. [default: 0, which turns it off]
    #[arg(long, value_name = "N")]
    run_metrics: Option<usize>,
    /// How long /metrics/runs reports a run without activity. [default: 1h]
    #[arg(long, value_name = "DURATION")]
    run_metrics_expiry: Option<String>,
    /// Collector that receives traces and metrics as OTLP over gRPC, such as http://127.0.0.1:4317. [default: none]
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

impl ServeArguments {
    fn raw(self) -> (RawConfig, Option<PathBuf>) {
        let raw = RawConfig {
            listen: Some(self.listen).filter(|list| !list.is_empty()).map(Words::Many),
            socket: self.socket,
            threads: self.threads,
            device: self.device.map(Words::One),
            grace: self.grace.map(Quantity::Text),
            log: self.log,
            log_format: self.log_format,
            memory: self.memory.map(Quantity::Text),
            spool: self.spool,
            runs: self.runs,
            idle: self.idle.map(Quantity::Text),
            budget: self.budget.map(Quantity::Text),
            events: self.events,
            data: self.data,
            retain: self.retain.map(Quantity::Text),
            reserve: self.reserve.map(Quantity::Text),
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_clients: self.tls_clients,
            tokens: self.tokens,
            quotas: self.quotas,
            audit: self.audit,
            insecure: self.insecure.then_some(true),
            http: self.http,
            http_host: Some(self.http_host).filter(|list| !list.is_empty()).map(Words::Many),
            run_metrics: self.run_metrics,
            run_metrics_expiry: self.run_metrics_expiry.map(Quantity::Text),
            otlp: self.otlp,
            ..RawConfig::default()
        };
        (raw, self.config)
    }
}

pub(super) fn run(arguments: ServeArguments) -> ExitCode {
    let (raw, file) = arguments.raw();
    let config = match config::load(raw, file.as_deref()) {
        Ok(config) => config,
        Err(fault) => return told(USAGE, &fault),
    };
    // Before anybody is told an address.
    if let Err(fault) = Engine::check(&config.place) {
        return told(USAGE, &fault);
    }
    let telemetry = match telemetry::install(&config.log, config.log_format, config.otlp.as_deref()) {
        Ok(telemetry) => telemetry,
        Err(message) => return told(USAGE, &Fault::new(FaultKind::Invalid, message)),
    };
    allocator::keep_little();
    match Daemon::bind(config.clone()).and_then(|daemon| serve(daemon, &config, telemetry)) {
        Ok(true) => ExitCode::SUCCESS,
        // Its cause has been logged.
        Ok(false) => FAILED.into(),
        Err(fault) => match fault.kind {
            FaultKind::Exists => told(OCCUPIED, &fault),
            FaultKind::Invalid => told(USAGE, &fault),
            FaultKind::Precondition => told(DATA, &fault),
            _ => told(FAILED, &fault),
        },
    }
}

fn told(code: u8, fault: &Fault) -> ExitCode {
    super::complain(&fault.message);
    code.into()
}

fn serve(daemon: Daemon, config: &Config, telemetry: Telemetry) -> Result<bool, Fault> {
    let failed = |error: std::io::Error| Fault::internal(error.to_string());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        builder.worker_threads(WORKERS).thread_name("clino-wire").enable_all().build().map_err(failed)?;
    // Whoever reads the line below may send a signal at once.
    let mut signals = runtime.block_on(async { shutdown::Signals::hear() }).map_err(failed)?;
    let addresses = daemon.addresses().map_err(failed)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening {addresses}").and_then(|()| stdout.flush()).map_err(failed)?;
    let memory = size(config.memory.bytes);
    tracing::info!(addresses, memory, of = config.memory.origin, spool = %config.spool.display(), "listening");
    telemetry.watch(daemon.window());
    let told = OnceLock::new();
    let clean = runtime.block_on(daemon.run(async {
        let signal = signals.next().await;
        let _ = told.set(Instant::now());
        tracing::info!(signal, "draining");
    }));
    runtime.shutdown_timeout(LEFTOVERS);
    // What is left of the grace; a little always is, so that the last spans of a long drain are not lost.
    let spent = told.get().map_or(Duration::ZERO, Instant::elapsed);
    telemetry.end(config.grace.saturating_sub(spent).max(LEFTOVERS));
    clean
}
