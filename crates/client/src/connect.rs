//! A connection to a daemon, and the calls that concern no single run.
//!
//! Owns: addresses and transport settings. May not touch: what a run is about.

use super::access::{Access, AuthInterceptor};
use super::upload;
use super::{Plan, Run};
use crate::endpoint::check_address;
use clino_domain::status::from_status;
use clino_domain::text::quoted;
use clino_domain::{Fault, FaultKind, ProbeGroup, RunId};
use clino_proto::pb::decisions_client::DecisionsClient;
use clino_proto::pb::doctor_client::DoctorClient;
use clino_proto::pb::probe_group::Source;
use clino_proto::pb::reports_client::ReportsClient;
use clino_proto::pb::runs_client::RunsClient;
use clino_proto::pb::snapshots_client::SnapshotsClient;
use clino_proto::{convert, pb};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

// With the 64 KiB windows and 16 KiB frames of plain HTTP/2 a stream waits for acknowledgements most of the time.
const WINDOW: u32 = 16 << 20;
const FRAME: u32 = 1 << 20;
const CONNECT: Duration = Duration::from_secs(5);
// A peer that vanished without a word is noticed within these two together, 50 seconds.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);
/// Probes of a run that travel inside its opening request, in bytes; what is over goes ahead by digest. Stays well
/// below the usual 4 MiB limit on a message.
const INLINE: usize = 1 << 20;

/// What is told where a socket has no daemon, which is how it begins.
pub const BEGINNING: &str =
    "; start one with `clino serve`, or give another address with --addr or CLINO_ADDR";

/// A connection, with who calls put into every call.
pub type AuthChannel = InterceptedService<Channel, AuthInterceptor>;

/// A daemon. Clones share one connection, which is made again when it was lost.
#[derive(Debug, Clone)]
pub struct Client {
    channel: AuthChannel,
    address: String,
}

impl Client {
    /// Connects to `http://host:port` or `unix:///path` (a path is taken as it stands, nothing in it is decoded), as nobody in particular. [`crate::endpoint::client_address`] is
    /// where the commands look.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming `addr` for any other address, or where the folder of the standard socket is another
    /// user's; [`FaultKind::Unavailable`] when nobody answers
    /// within five seconds.
    pub async fn connect(address: &str) -> Result<Self, Fault> {
        Self::connect_with(address, &Access::default()).await
    }

    /// Connects to `http://host:port`, `https://host:port` or `unix:///path`.
    ///
    /// # Errors
    /// Those of [`Client::connect`]; [`FaultKind::Invalid`] naming `ca` when nobody is trusted at `https://`, or what of
    /// `access` cannot be used.
    pub async fn connect_with(address: &str, access: &Access) -> Result<Self, Fault> {
        let endpoint = endpoint(address, access)?;
        match tokio::time::timeout(CONNECT, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(Self::new(channel, access, address)),
            Ok(Err(error)) => Err(away(address, &root(&error))),
            Err(_) => Err(away(address, "no answer within 5 seconds")),
        }
    }

    /// A client that connects with its first call.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming `addr`.
    pub fn lazy(address: &str) -> Result<Self, Fault> {
        Self::lazy_with(address, &Access::default())
    }

    /// A client that connects with its first call, and is known.
    ///
    /// # Errors
    /// Those of [`Client::connect_with`], but for a daemon that is away.
    pub fn lazy_with(address: &str, access: &Access) -> Result<Self, Fault> {
        Ok(Self::new(endpoint(address, access)?.connect_lazy(), access, address))
    }

    fn new(channel: Channel, access: &Access, address: &str) -> Self {
        Self { channel: InterceptedService::new(channel, access.interceptor()), address: address.to_owned() }
    }

    /// What it was told to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a run. The same plan with the same key gives the same run again.
    ///
    /// # Errors
    /// What the daemon answers, with the names of the wrong fields.
    pub async fn open_run(&self, plan: &Plan) -> Result<Run, Fault> {
        let mut inline = 0;
        let mut groups = Vec::with_capacity(plan.spec.groups.len());
        for (i, group) in plan.spec.groups.iter().enumerate() {
            let bytes: usize = group.tensors.iter().map(|tensor| tensor.data.len()).sum();
            let source = if inline + bytes <= INLINE {
                inline += bytes;
                Source::Probe(convert::probe_to_pb(&group.tensors))
            } else {
                let put = self.put_probe(group, &plan.spec.label.project).await;
                Source::Digest(put.map_err(|fault| fault.within(&format!("groups[{i}].")))?)
            };
            groups.push(pb::ProbeGroup { name: group.name.clone(), source: Some(source) });
        }
        let request = convert::open_run_to_pb(plan.key.clone(), &plan.spec, groups);
        let answer = self.runs_service().open_run(request).await.map_err(|s| self.fault(&s))?;
        let opened = convert::opened_from_pb(answer.into_inner())?;
        Ok(Run::new(self.clone(), opened))
    }

    /// A run that was opened before, by its id; it is not looked up until something is asked of it.
    pub fn run(&self, run: RunId) -> Run {
        Run::known(self.clone(), run)
    }

    async fn put_probe(&self, group: &ProbeGroup, project: &str) -> Result<String, Fault> {
        let (frames, source) = upload::probe(group, project)?;
        let answer = self.runs_service().put_probe(frames).await;
        source.outcome()?;
        Ok(answer.map_err(|s| self.fault(&s))?.into_inner().digest)
    }

    pub(super) fn runs_service(&self) -> RunsClient<AuthChannel> {
        RunsClient::new(self.channel.clone())
    }

    pub(super) fn decisions_service(&self) -> DecisionsClient<AuthChannel> {
        DecisionsClient::new(self.channel.clone())
    }

    pub(super) fn doctor_service(&self) -> DoctorClient<AuthChannel> {
        DoctorClient::new(self.channel.clone())
    }

    pub(super) fn snapshots_service(&self) -> SnapshotsClient<AuthChannel> {
        SnapshotsClient::new(self.channel.clone())
    }

    pub(super) fn reports_service(&self) -> ReportsClient<AuthChannel> {
        ReportsClient::new(self.channel.clone())
    }

    /// What a status means to a caller. A status that this side made, for want of a connection, tells the address.
    pub(super) fn fault(&self, status: &tonic::Status) -> Fault {
        match status.source() {
            Some(source) => away(&self.address, &root(source)),
            None => from_status(status),
        }
    }
}

fn endpoint(address: &str, access: &Access) -> Result<Endpoint, Fault> {
    let wrong = || {
        let expected = "http(s)://HOST:PORT or unix:///PATH";
        Fault::invalid("addr", format!("found {}, expected {expected}", quoted(address)))
    };
    if let Some(socket) = relative(address) {
        let expected = "expected the full path of the socket, such as unix://";
        let found = quoted(address);
        return Err(Fault::invalid("addr", format!("found {found}, {expected}{}", socket.display())));
    }
    let address = match address.strip_prefix("unix:") {
        Some(place) => format!("unix://{}", socket(place).ok_or_else(wrong)?),
        None if ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) => {
            address.to_owned()
        }
        None => return Err(wrong()),
    };
    check_address(&address)?;
    let mut endpoint = Endpoint::from_shared(address.clone()).map_err(|_| wrong())?;
    if address.starts_with("https://") {
        let unusable = |error| Fault::invalid("ca", format!("TLS cannot be used: {}", root(&error)));
        endpoint = endpoint.tls_config(access.tls()?).map_err(unusable)?;
    }
    Ok(endpoint
        .connect_timeout(CONNECT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG))
}

/// The path of `unix:///PATH` and `unix:/PATH` behind their scheme. It is taken as it stands: a space is one, and so are
/// `%20`, `?` and `#`.
fn socket(place: &str) -> Option<&str> {
    let path = place.strip_prefix("//").unwrap_or(place);
    path.starts_with('/').then_some(path)
}

/// What an address with the path of a socket that does not begin at the root may mean: one in the current folder.
fn relative(address: &str) -> Option<PathBuf> {
    let path = address.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with('/') { None } else { std::path::absolute(path).ok() }
}

fn away(address: &str, why: &str) -> Fault {
    let instead = if address.starts_with("unix:") { BEGINNING } else { "" };
    Fault::new(FaultKind::Unavailable, format!("no daemon at {address}: {why}{instead}"))
}

// The outer errors of a transport say only that there was one.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
