//! The server: limits of HTTP/2, health, reflection, and the services on every listener.
//!
//! Owns: what a connection may do. May not touch: what the services do.

use super::connection::Link;
use super::decisions::DecisionsService;
use super::doctor::DoctorService;
use super::doors::{Doors, GuardedService, MESSAGE};
use super::listen::{Acceptor, ConnectionLimits, Local, Plain, Secured, receive};
use super::metrics_layer::MeteredService;
use super::reports::ReportsService;
use super::runs::RunsService;
use super::services::Services;
use super::snapshots::SnapshotsService;
use super::tls::Certificates;
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_proto::pb;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::{HeaderValue, Response};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::MapResponse;

/// Most bytes of one HTTP/2 frame: a chunk's worth.
const FRAME: u32 = 1 << 20;
/// A silent peer is asked after so long …
const KEEPALIVE: Duration = Duration::from_secs(30);
/// … and has so long to answer before its streams end and their bytes are given back.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

const SERVICES: [&str; 6] =
    ["", "clino.v1.Runs", "clino.v1.Snapshots", "clino.v1.Reports", "clino.v1.Decisions", "clino.v1.Doctor"];

/// Serving as long as the process answers, even while it accepts no work: for supervisors that restart processes.
const LIVENESS: &str = "liveness";

/// What the health service says of the whole and of each service.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Says of everything whether it serves.
    pub async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// All services, and the handle of their health, which begins as not serving.
///
/// # Errors
/// When the descriptors of reflection cannot be read: a defect of the build.
pub async fn routes(services: &Services) -> Result<(Routes, Health), tonic_reflection::server::Error> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health(reporter);
    health.set(false).await;
    health.0.set_service_status(LIVENESS, ServingStatus::Serving).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let runs = pb::runs_server::RunsServer::new(RunsService(services.clone()));
    let snapshots = pb::snapshots_server::SnapshotsServer::new(SnapshotsService(services.clone()));
    let decisions = pb::decisions_server::DecisionsServer::new(DecisionsService(services.clone()));
    let doctor = pb::doctor_server::DoctorServer::new(DoctorService(services.clone()));
    let reports = pb::reports_server::ReportsServer::new(ReportsService(services.clone()));
    let routes = Routes::new(runs.max_decoding_message_size(MESSAGE))
        .add_service(snapshots.max_decoding_message_size(MESSAGE))
        .add_service(reports.max_decoding_message_size(MESSAGE))
        .add_service(doctor.max_decoding_message_size(MESSAGE))
        .add_service(decisions.max_decoding_message_size(MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok((routes, health))
}

/// The listeners at work.
pub struct Servers {
    tasks: JoinSet<Result<(), tonic::transport::Error>>,
    ending: CancellationToken,
    routes: Routes,
    limits: ConnectionLimits,
    certificates: Option<Arc<Certificates>>,
    counters: Arc<Counters>,
    doors: Arc<Doors>,
}

impl Servers {
    /// Servers without any listener yet.
    pub fn new(routes: Routes, limits: ConnectionLimits, services: Services) -> Self {
        let tasks = JoinSet::new();
        let ending = CancellationToken::new();
        let counters = services.counters.clone();
        let doors = Doors::new(services);
        Self { tasks, ending, routes: routes.prepare(), limits, certificates: None, counters, doors }
    }

    /// TCP listeners from here on speak TLS.
    pub fn secure(&mut self, certificates: Arc<Certificates>) {
        self.certificates = Some(certificates);
    }

    /// Serves on a TCP listener.
    pub fn tcp(&mut self, listener: TcpListener) {
        match self.certificates.clone() {
            None => self.serve(Plain(listener)),
            Some(certificates) => self.serve(Secured(listener, certificates)),
        }
    }

    /// Serves on a unix socket.
    pub fn unix(&mut self, listener: UnixListener) {
        self.serve(Local(listener));
    }

    fn serve<D: Acceptor>(&mut self, acceptor: D)
    where
        Link<D::IO>: Send,
    {
        let counters = self.counters.clone();
        let service = MapResponse::new(self.routes.clone(), move |response| refine(response, &counters));
        let service = GuardedService::new(service, self.doors.clone());
        let service = MeteredService::new(service, self.counters.clone());
        let incoming = receive(acceptor, self.limits.clone(), self.ending.clone());
        let ending = self.ending.clone().cancelled_owned();
        self.tasks.spawn(limits(&self.doors).serve_with_incoming_shutdown(service, incoming, ending));
    }

    /// Takes no more connections, tells the open ones to end, and waits until they have.
    pub async fn end(&mut self) {
        self.ending.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                let code = self.counters.note(Incident::ListenerFailed, &error.to_string());
                tracing::warn!(code, %error, "a listener failed");
            }
        }
    }
}

fn limits(doors: &Doors) -> Server {
    Server::builder()
        .initial_stream_window_size(doors.window())
        .initial_connection_window_size(doors.window())
        .max_frame_size(FRAME.min(doors.window()))
        .max_concurrent_streams(doors.streams())
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
}

/// Statuses that tonic itself makes carry no details, unlike those of clino. Of these, OUT_OF_RANGE is a message
/// beyond the limit, for which RESOURCE_EXHAUSTED is what other servers answer; INTERNAL is one that is no protobuf.
fn refine<B>(mut response: Response<B>, counters: &Counters) -> Response<B> {
    let headers = response.headers_mut();
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    if matches!(code, Some(Code::OutOfRange | Code::Internal)) {
        counters.count(Counter::MessageRefused);
        let told = headers.get(Status::GRPC_MESSAGE).and_then(|told| told.to_str().ok()).unwrap_or_default();
        let code = counters.note(Incident::MessageRefused, told);
        tracing::debug!(code, told, "a message is refused");
    }
    if code == Some(Code::OutOfRange) {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    }
    response
}
