//! Configuration: what was written becomes what is meant.
//!
//! Owns: the only reading of the daemon's environment and files; limits and defaults. May not touch: sockets.
//!
//! Flags go over `CLINO_*` variables, these over a TOML file, this over the defaults. Unknown keys are refused.

mod access;
mod memory;
mod variables;

pub use access::{AccessConfig, ClientAccess, client_access};
pub use memory::MemoryLimit;
pub use variables::unknown_variables;

use clino_client::endpoint::standard_socket;
use clino_domain::{Devices, EnginePlace, Fault};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use variables::{PREFIX, is_of_the_daemon};

/// Columns of the screen that COLUMNS names, as a shell sets it for its user.
pub fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.trim().parse().ok().filter(|columns| *columns > 0)
}

/// Folders in which NVIDIA's libraries are looked for before the system's.
const LIBRARIES_VARIABLE: &str = "CLINO_CUDA_LIB_DIR";

/// The folders that `CLINO_CUDA_LIB_DIR` names.
pub fn cuda_libraries() -> Vec<PathBuf> {
    std::env::var_os(LIBRARIES_VARIABLE)
        .map_or_else(Vec::new, |folders| std::env::split_paths(&folders).collect())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines of text for people.
    Text,
    /// One object a line.
    Json,
}

/// Words that may be one text with commas or a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// One text, such as `a,b`.
    One(String),
    /// A list, such as `["a", "b"]`.
    Many(Vec<String>),
}

/// A quantity that may be a bare number or a text with a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A number of bytes or seconds.
    Number(f64),
    /// A text with a unit, such as `512MiB` or `30s`.
    Text(String),
}

/// What was written in one place; absent keys are left to the next place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// TCP addresses to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Words>,
    /// Path of a unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Threads of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// `cpu`, `auto`, or GPUs such as `cuda:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Words>,
    /// How long a shutdown may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Quantity>,
    /// A filter such as `info` or `clino=debug`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Format of log lines: `text` or `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Memory of the process: a size, or a percentage of what there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Directory of the spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<PathBuf>,
    /// Maximum number of runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<usize>,
    /// How long an upload may send nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Quantity>,
    /// Seconds of the engine that a snapshot may take if its run says nothing; zero: as many as it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Quantity>,
    /// Most events kept for watchers of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<usize>,
    /// Directory of the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// How long closed runs are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<Quantity>,
    /// Free bytes below which nothing new is taken on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Quantity>,
    /// Certificate of the TCP listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the key of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of client certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_clients: Option<PathBuf>,
    /// Who may do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,
    /// TOML file of quotas by project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<PathBuf>,
    /// File of the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<PathBuf>,
    /// Listen beyond this machine without protection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// Time between two looks at whether a stream may go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recheck: Option<Quantity>,
    /// How long a connection may take to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Quantity>,
    /// Maximum number of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Address of metrics and probes over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Names of the HTTP port besides those of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_host: Option<Words>,
    /// Most runs that have metrics of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_metrics: Option<usize>,
    /// How long a quiet run keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_metrics_expiry: Option<Quantity>,
    /// Collector of traces and metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
}

/// The settings of a daemon, checked and complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// TCP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Path of the Unix socket.
    pub socket: Option<PathBuf>,
    /// It is the standard one: its folder is made, and is this user's alone.
    pub own_folder: bool,
    /// Where the engine computes.
    pub place: EnginePlace,
    /// How long a shutdown may take.
    pub grace: Duration,
    /// Filter of log lines.
    pub log: String,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Memory of the process.
    pub memory: MemoryLimit,
    /// Directory of the spool.
    pub spool: PathBuf,
    /// Maximum number of runs.
    pub runs: usize,
    /// How long an upload may send nothing.
    pub idle: Duration,
    /// Seconds of the engine that a snapshot may take if its run says nothing; `None`: as many as it needs.
    pub snapshot_budget: Option<f64>,
    /// Most events kept for watchers of a run.
    pub events: usize,
    /// Directory of the history; `None`: what happens is kept in memory.
    pub data: Option<PathBuf>,
    /// How long closed runs are kept there; `None`: forever.
    pub retain: Option<Duration>,
    /// Free bytes below which nothing new is taken on, in the spool and in the history's directory.
    pub reserve: u64,
    /// Who may reach the daemon.
    pub access: AccessConfig,
    /// Address of metrics and probes over HTTP.
    pub http: Option<SocketAddr>,
    /// Names under which it answers besides those of this machine.
    pub http_hosts: Vec<String>,
    /// Most runs that have metrics of their own; 0: none has.
    pub run_metrics: usize,
    /// How long a quiet run keeps them.
    pub run_metrics_expiry: Duration,
    /// Collector of traces and metrics, such as `http://127.0.0.1:4317`.
    pub otlp: Option<String>,
}

/// Joins flags, environment, file and defaults. `file` is named by a flag; else `CLINO_CONFIG` names it.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the key and where it came from.
pub fn load(flags: RawConfig, file: Option<&Path>) -> Result<Config, Fault> {
    let mut figment = Figment::new();
    if let Some(file) =
        file.map(Path::to_owned).or_else(|| std::env::var_os("CLINO_CONFIG").map(PathBuf::from))
    {
        if !file.is_file() {
            return Err(Fault::invalid("config", format!("found {}, which is not a file", file.display())));
        }
        figment = figment.merge(Toml::file_exact(file));
    }
    let environment = Env::prefixed(PREFIX).filter(|key| is_of_the_daemon(&key.as_str().to_lowercase()));
    let raw: RawConfig =
        figment.merge(environment).merge(Serialized::defaults(flags)).extract().map_err(|error| {
            Fault::new(clino_domain::FaultKind::Invalid, format!("configuration: {error}"))
        })?;
    validate(raw)
}

fn validate(raw: RawConfig) -> Result<Config, Fault> {
    let memory = MemoryLimit::read(raw.memory.clone())?;
    let (access, safety) = AccessConfig::validate(&raw, memory.bytes)?;
    let listen = access::addresses(raw.listen, safety)?;
    let (socket, own_folder) = socket(raw.socket, &listen, &access)?;
    let threads = raw.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    Ok(Config {
        listen,
        socket,
        own_folder,
        place: EnginePlace {
            threads: positive("threads", threads)?,
            devices: devices(raw.device)?,
            libraries: cuda_libraries(),
        },
        grace: duration("grace", raw.grace, Duration::from_secs(10))?,
        log: raw.log.unwrap_or_else(|| "info".into()),
        log_format: raw.log_format.unwrap_or(LogFormat::Text),
        memory,
        spool: raw.spool.unwrap_or_else(std::env::temp_dir),
        runs: positive("runs", raw.runs.unwrap_or(1_000))?,
        idle: duration("idle", raw.idle, Duration::from_secs(30))?,
        snapshot_budget: Some(duration("budget", raw.budget, Duration::from_secs(600))?.as_secs_f64())
            .filter(|seconds| *seconds > 0.0),
        events: positive("events", raw.events.unwrap_or(65_536))?,
        data: raw.data,
        retain: raw.retain.map(|retain| duration("retain", Some(retain), Duration::ZERO)).transpose()?,
        reserve: bytes("reserve", raw.reserve, 256 << 20)?,
        access,
        http: raw.http.map(|text| access::loopback("http", &text, safety)).transpose()?,
        http_hosts: access::hosts(raw.http_host)?,
        run_metrics: raw.run_metrics.unwrap_or(0),
        run_metrics_expiry: duration(
            "run_metrics_expiry",
            raw.run_metrics_expiry,
            Duration::from_secs(3600),
        )?,
        otlp: raw.otlp.map(collector).transpose()?,
    })
}

/// The unix socket, and whether it is the standard one, which is where nothing else was named.
fn socket(
    named: Option<PathBuf>,
    listen: &[SocketAddr],
    access: &AccessConfig,
) -> Result<(Option<PathBuf>, bool), Fault> {
    let own = listen.is_empty() && named.is_none();
    if own && access.tls.is_some() {
        let description = "found a certificate but no --listen address: TLS is only used with --listen";
        return Err(Fault::invalid("tls_cert", description));
    }
    let named = named.map(|path| absolute(&path)).transpose()?;
    Ok((named.or_else(|| own.then(standard_socket)), own))
}

/// Clients are told where the socket is, and stand in other folders than the daemon.
fn absolute(socket: &Path) -> Result<PathBuf, Fault> {
    let wrong = |error| Fault::invalid("socket", format!("found {}: {error}", socket.display()));
    std::path::absolute(socket).map_err(wrong)
}

/// A collector beside the daemon: what leaves the machine is its business.
fn collector(text: String) -> Result<String, Fault> {
    match text.strip_prefix("http://") {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(text),
        _ => Err(Fault::invalid(
            "otlp",
            format!("found {text:?}, expected an address such as http://127.0.0.1:4317"),
        )),
    }
}

fn devices(raw: Option<Words>) -> Result<Devices, Fault> {
    match raw {
        None => Ok(Devices::default()),
        Some(Words::One(text)) => text.parse(),
        Some(Words::Many(words)) => words.join(",").parse(),
    }
}

fn positive(field: &str, number: usize) -> Result<usize, Fault> {
    match number {
        0 => Err(Fault::invalid(field, "found 0, expected at least 1")),
        _ => Ok(number),
    }
}

fn duration(field: &str, raw: Option<Quantity>, standard: Duration) -> Result<Duration, Fault> {
    let wrong =
        |found: String| Fault::invalid(field, format!("found {found}, expected a duration such as 10s"));
    match raw {
        None => Ok(standard),
        Some(Quantity::Number(seconds)) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong(seconds.to_string()))
        }
        Some(Quantity::Text(text)) => {
            humantime::parse_duration(&text).map_err(|_| wrong(format!("{text:?}")))
        }
    }
}

fn bytes(field: &str, raw: Option<Quantity>, standard: u64) -> Result<u64, Fault> {
    let wrong =
        |found: String| Fault::invalid(field, format!("found {found}, expected a size such as 512MiB"));
    match raw {
        None => Ok(standard),
        Some(Quantity::Number(bytes)) if bytes >= 0.0 && bytes.fract() == 0.0 => Ok(bytes as u64),
        Some(Quantity::Number(bytes)) => Err(wrong(bytes.to_string())),
        Some(Quantity::Text(text)) => text
            .parse::<bytesize::ByteSize>()
            .map(|size| size.as_u64())
            .map_err(|_| wrong(format!("{text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::result_large_err)]
    use super::*;
    use clino_client::endpoint::client_address;
    use figment::Jail;

    #[test]
    fn flags_go_over_environment_over_file() {
        Jail::expect_with(|jail| {
            jail.create_file("clino.toml", "threads = 1\ngrace = \"7s\"\nmemory = \"1GiB\"\nspool = \"/a\"")?;
            jail.set_env("CLINO_CONFIG", "clino.toml");
            jail.set_env("CLINO_THREADS", "2");
            jail.set_env("CLINO_MEMORY", "2MiB");
            jail.set_env("CLINO_LISTEN", "127.0.0.1:0,[::1]:0");
            jail.set_env("CLINO_ADDR", "http://127.0.0.1:1");
            // Another one of the clients.
            jail.set_env("CLINO_CHECK", "0");
            let flags = RawConfig { threads: Some(3), ..RawConfig::default() };
            let config = load(flags, None).unwrap();
            assert_eq!((config.place.threads, config.memory.bytes), (3, 2 << 20));
            assert_eq!((config.grace, config.spool.to_str()), (Duration::from_secs(7), Some("/a")));
            assert_eq!(config.listen.len(), 2);
            Ok(())
        });
    }

    #[test]
    fn unknown_keys_are_refused_wherever_they_stand() {
        Jail::expect_with(|jail| {
            jail.set_env("CLINO_THREDS", "2");
            assert!(load(RawConfig::default(), None).unwrap_err().message.contains("threds"));
            Ok(())
        });
        Jail::expect_with(|jail| {
            jail.create_file("clino.toml", "threds = 1")?;
            let fault = load(RawConfig::default(), Some(Path::new("clino.toml"))).unwrap_err();
            assert!(fault.message.contains("threds"), "{fault}");
            Ok(())
        });
    }

    fn refused(raw: RawConfig) -> String {
        validate(raw).unwrap_err().message
    }

    #[test]
    fn beyond_loopback_is_refused_with_what_is_needed() {
        let listen = |text: &str| RawConfig { listen: Some(Words::One(text.into())), ..RawConfig::default() };
        assert!(refused(listen("0.0.0.0:7411")).contains("TLS"));
        assert!(refused(listen("localhost")).contains("expected an address"));
    }

    #[test]
    fn quantities_have_units() {
        let text = |text: &str| Some(Quantity::Text(text.into()));
        assert!(refused(RawConfig { grace: text("soon"), ..RawConfig::default() }).starts_with("grace"));
        assert!(refused(RawConfig { memory: text("much"), ..RawConfig::default() }).starts_with("memory"));
        assert!(refused(RawConfig { threads: Some(0), ..RawConfig::default() }).starts_with("threads"));
        let config =
            validate(RawConfig { grace: Some(Quantity::Number(2.5)), ..RawConfig::default() }).unwrap();
        assert_eq!(config.grace, Duration::from_millis(2_500));
    }

    #[test]
    fn without_an_address_there_is_a_socket_and_no_port() {
        // Others change the environment that this one looks at.
        Jail::expect_with(|_| {
            let config = validate(RawConfig::default()).unwrap();
            assert_eq!((config.listen.len(), config.own_folder), (0, true));
            assert_eq!(config.socket, Some(standard_socket()));
            Ok(())
        });
        let named = RawConfig { listen: Some(Words::One("127.0.0.1:0".into())), ..RawConfig::default() };
        let config = validate(named).unwrap();
        assert_eq!((config.listen.len(), config.socket, config.own_folder), (1, None, false));
        let tls = RawConfig { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..RawConfig::default() };
        assert!(refused(tls).contains("--listen"));
    }

    #[test]
    fn clients_look_where_the_daemon_listens() {
        Jail::expect_with(|jail| {
            jail.set_env("CLINO_ADDR", "");
            jail.set_env("XDG_RUNTIME_DIR", "/run/user/7");
            let config = load(RawConfig::default(), None).unwrap();
            assert_eq!(client_address(), "unix:///run/user/7/clino/clino.sock");
            assert_eq!(config.socket.unwrap().to_str(), Some("/run/user/7/clino/clino.sock"));
            jail.set_env("CLINO_ADDR", "http://a:1");
            assert_eq!(client_address(), "http://a:1");
            Ok(())
        });
    }

    #[test]
    fn a_relative_socket_is_one_of_the_current_folder() {
        Jail::expect_with(|jail| {
            let raw = RawConfig { socket: Some("run/clino.sock".into()), ..RawConfig::default() };
            assert_eq!(validate(raw).unwrap().socket, Some(jail.directory().join("run/clino.sock")));
            let fault = validate(RawConfig { socket: Some("".into()), ..RawConfig::default() }).unwrap_err();
            assert_eq!(fault.violations[0].field, "socket");
            Ok(())
        });
    }

    #[test]
    fn a_socket_alone_opens_no_port() {
        let raw = RawConfig { socket: Some("/tmp/x".into()), ..RawConfig::default() };
        assert!(validate(raw).unwrap().listen.is_empty());
    }
}
