//! Before a call is read: who makes it, and whether there is room for it.
//!
//! Owns: what a call may hold of the daemon while it comes in and its answer goes out. May not touch: what is asked, what
//! somebody may do.
//!
//! A call is answered from its headers when nobody knows its caller or there is no room for it: nothing of its message is
//! read. What it holds is counted in pools, by peer, and given back when its answer has gone out.

mod answer_body;
mod limits;
mod log_throttle;
mod message_body;
mod pool;

pub(super) use limits::MESSAGE;
pub(super) use log_throttle::LogThrottle;
pub(super) use pool::{Pool, Portion};

use super::connection::Connection;
use super::metrics_layer::{Method, Methods, methods};
use super::pace::Received;
use super::services::Services;
use crate::access::{Origin, Peer};
use answer_body::AnswerBody;
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use clino_domain::{Fault, FaultKind};
use http_body_util::BodyExt;
use limits::{DoorLimits, SMALL_ANSWER, SMALL_REQUEST, STREAM};
use message_body::MessageBody;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

/// The service that needs no token …
const HEALTH: &str = "grpc.health.v1.Health";
/// … and of which no message is larger than this, in bytes.
const HEALTH_MESSAGE: u64 = 1 << 10;

/// What all connections share.
pub(super) struct Doors {
    services: Services,
    limits: DoorLimits,
    methods: Arc<Methods>,
    /// Large answers that are made at once.
    making: Arc<Semaphore>,
    shed: LogThrottle,
    cut: LogThrottle,
}

impl Doors {
    /// Doors of a daemon; calls and their answers may hold a part of its budget of memory.
    pub fn new(services: Services) -> Arc<Self> {
        let limits = DoorLimits::new(&services.budget, services.patience);
        let methods = Arc::new(methods());
        let makers = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            services,
            limits,
            methods,
            making: Arc::new(Semaphore::new(makers)),
            shed: LogThrottle::default(),
            cut: LogThrottle::default(),
        })
    }

    /// Bytes that a connection may send before anybody reads them.
    pub fn window(&self) -> u32 {
        self.limits.window
    }

    /// Streams at once on a connection.
    pub fn streams(&self) -> u32 {
        self.limits.streams
    }

    fn counters(&self) -> &Counters {
        &self.services.counters
    }

    /// Lets a call in, from its headers alone.
    fn enter(self: &Arc<Self>, request: &mut Request<Body>) -> Result<Entry, Fault> {
        let path: Arc<str> = request.uri().path().into();
        let connection = request.extensions().get::<Connection>().cloned().unwrap_or_default();
        let method = self.methods.get(&*path);
        let health = method.is_some_and(|method| method.service == HEALTH);
        if !health {
            let caller = self.services.meet(request.headers(), connection.peer.clone(), path)?;
            request.extensions_mut().insert(caller);
        }
        request.extensions_mut().insert(connection.peer.clone());
        let kind = CallKind::of(method, health);
        let pass = Pass::new(self.clone(), connection, &kind);
        pass.map(|pass| Entry { pass: Arc::new(pass), kind })
            .inspect_err(|fault| self.tell_shed("call", fault))
    }

    fn tell_shed(&self, what: &'static str, fault: &Fault) {
        self.counters().count(Counter::CallShed);
        self.counters().metrics.one(Metric::CallsShed, &[what]);
        let code = self.counters().note(Incident::CallShed, &format!("{what}: {}", fault.message));
        if let Some(left_out) = self.shed.due() {
            tracing::warn!(code, what, reason = fault.message, left_out, "a call was shed");
        }
    }
}

/// What a call is in the protocol.
#[derive(Debug, Clone, Copy)]
struct CallKind {
    health: bool,
    /// Its request is a stream.
    uploads: bool,
    /// Its answer is a stream.
    streams: bool,
}

impl CallKind {
    /// An unknown call is answered at once, as one of one message.
    fn of(method: Option<&Method>, health: bool) -> Self {
        let uploads = method.is_some_and(|method| method.uploads);
        Self { health, uploads, streams: method.is_some_and(|method| method.streams) }
    }
}

struct Entry {
    pass: Arc<Pass>,
    kind: CallKind,
}

/// What a call holds, until its request and its answer are gone.
pub(super) struct Pass {
    doors: Arc<Doors>,
    peer: Peer,
    origin: Origin,
    /// Of its message.
    message: Mutex<Option<Portion>>,
    /// Of an upload whose message is beyond what there is room for.
    beyond: Mutex<Option<Portion>>,
    /// What is held of the message, in bytes.
    held: AtomicU64,
    health: bool,
    uploads: bool,
    /// Of its answer.
    answer: Mutex<Option<Portion>>,
    _call: Portion,
    _window: Option<WindowSeat>,
    _seat: CallSeat,
}

impl Pass {
    fn new(doors: Arc<Doors>, connection: Connection, kind: &CallKind) -> Result<Self, Fault> {
        let origin = connection.peer.origin();
        let limits = &doors.limits;
        let calls = if kind.health { &limits.health } else { &limits.calls };
        let call = calls.take(&origin, 1)?;
        let stream = kind.streams.then(|| limits.answers.take(&origin, STREAM)).transpose()?;
        let window = kind.uploads.then(|| WindowSeat::take(&connection, limits)).transpose()?;
        Ok(Self {
            peer: connection.peer.clone(),
            message: Mutex::default(),
            beyond: Mutex::default(),
            held: AtomicU64::new(0),
            health: kind.health,
            uploads: kind.uploads,
            answer: Mutex::new(stream),
            _call: call,
            _window: window,
            _seat: CallSeat::take(connection),
            origin,
            doors,
        })
    }

    /// That so many bytes of its message are held from now on. Counted in large steps: frames are small.
    fn hold(&self, bytes: u64) -> Result<(), Fault> {
        if self.health && bytes > HEALTH_MESSAGE {
            let message = format!("found a message of {bytes} bytes, expected at most {HEALTH_MESSAGE}");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        let due = if bytes <= SMALL_REQUEST { 0 } else { bytes.next_multiple_of(SMALL_REQUEST * 64) };
        if self.held.load(Ordering::Relaxed) != due {
            self.resize(due)?;
            self.held.store(due, Ordering::Relaxed);
        }
        Ok(())
    }

    fn resize(&self, due: u64) -> Result<(), Fault> {
        let mut message = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        match message.as_mut() {
            Some(portion) => portion.resize(due),
            None => {
                let pool =
                    if self.uploads { &self.doors.limits.uploads } else { &self.doors.limits.messages };
                *message = Some(pool.take(&self.origin, due)?);
                Ok(())
            }
        }
    }

    /// The same for an upload. One that finds no room waits for it: its task is woken.
    fn hold_upload(&self, bytes: u64, context: &Context<'_>) -> Result<(), Fault> {
        if self.hold_or_go_beyond(bytes).is_ok() {
            return Ok(());
        }
        let limits = &self.doors.limits;
        limits.uploads.wake_later(context.waker());
        limits.beyond.wake_later(context.waker());
        // Again: there may be room since it was asked.
        self.hold_or_go_beyond(bytes)
    }

    fn hold_or_go_beyond(&self, bytes: u64) -> Result<(), Fault> {
        let held = self.hold(bytes);
        let mut beyond = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        match held {
            // Its message is whole, or fits after all.
            Ok(()) => *beyond = None,
            Err(_) if beyond.is_some() => {}
            Err(fault) => {
                *beyond = Some(self.doors.limits.beyond.take(&self.origin, 1).map_err(|_| fault)?);
            }
        }
        Ok(())
    }

    /// How long an upload waits for room.
    fn room(&self) -> Duration {
        self.doors.limits.room
    }

    /// Tells that the call was refused for want of room.
    fn shed(&self, fault: &Fault) {
        self.doors.tell_shed("message", fault);
    }

    /// Tells that the call was ended for want of time.
    fn cut(&self, what: &'static str, fault: &Fault) {
        self.doors.counters().count(Counter::CallCut);
        self.doors.counters().metrics.one(Metric::CallsCut, &[what]);
        let peer = self.peer.to_string();
        let detail = format!("{what} of {peer}: {}", fault.message);
        let code = self.doors.counters().note(Incident::CallTimedOut, &detail);
        if let Some(left_out) = self.doors.cut.due() {
            tracing::warn!(code, what, peer, reason = fault.message, left_out, "a call was cut");
        }
    }

    /// Takes room for an answer of so many bytes, or sheds it.
    fn take_room(&self, bytes: u64) -> Result<(), Fault> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match answer.as_mut() {
            Some(portion) => portion.resize(bytes),
            None => {
                self.doors.limits.answers.take(&self.origin, bytes).map(|portion| *answer = Some(portion))
            }
        };
        taken.inspect_err(|fault| self.doors.tell_shed("answer", fault))
    }

    /// What is left of the room of its answer, when all but so many bytes are given back.
    fn leave(&self, bytes: u64) -> Option<Portion> {
        let mut portion = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // Less than before: there is room for it.
        portion.resize(bytes).is_ok().then_some(portion)
    }

    /// Makes the whole of an answer one that waits within its bounds.
    async fn answer(self: Arc<Self>, response: Response<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let data = body.to_bytes();
        let bytes = data.len() as u64;
        if data.is_empty() && trailers.is_none() {
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        if bytes > SMALL_ANSWER {
            self.take_room(bytes)?;
        }
        // Another answer may be made now: this one is counted.
        parts.extensions.remove::<Making>();
        let patience = self.doors.limits.patience;
        Ok(Response::from_parts(parts, Body::new(AnswerBody::new(data, trailers, self, patience))))
    }
}

/// The right to make a large answer, until it is counted: as many at once as there are processors, so that what nobody reads
/// is refused before it takes memory and threads.
#[derive(Clone)]
pub(super) struct Making {
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl Making {
    /// Waits for its turn, after the request has come whole; refuses where there is no room for even a small answer.
    ///
    /// # Errors
    /// [`FaultKind::Exhausted`] with a time to wait.
    pub async fn of<T: Sync>(request: &tonic::Request<T>) -> Result<Self, Fault> {
        let Some(AnswerRoom(pass)) = request.extensions().get::<AnswerRoom>().cloned() else {
            return Ok(Self { _permit: None });
        };
        let permit = pass.doors.making.clone().acquire_owned().await.ok();
        pass.take_room(SMALL_ANSWER)?;
        Ok(Self { _permit: permit.map(Arc::new) })
    }

    /// The answer, which gives way to the next one when it is counted.
    pub fn answer<T>(self, message: T) -> tonic::Response<T> {
        let mut response = tonic::Response::new(message);
        response.extensions_mut().insert(self);
        response
    }
}

/// Where a request finds the room of its answer.
#[derive(Clone)]
struct AnswerRoom(Arc<Pass>);

/// A call that its connection knows of.
struct CallSeat(Connection);

impl CallSeat {
    fn take(connection: Connection) -> Self {
        connection.usage.begin();
        Self(connection)
    }
}

impl Drop for CallSeat {
    fn drop(&mut self) {
        self.0.usage.end();
    }
}

/// Uploads of a connection share its window.
struct WindowSeat(Connection);

impl WindowSeat {
    fn take(connection: &Connection, limits: &DoorLimits) -> Result<Self, Fault> {
        let mut windows = connection.usage.window.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.portion.is_none() {
            windows.portion = Some(limits.windows.take(&connection.peer.origin(), limits.window.into())?);
        }
        windows.uploads += 1;
        drop(windows);
        Ok(Self(connection.clone()))
    }
}

impl Drop for WindowSeat {
    fn drop(&mut self) {
        let mut windows = self.0.usage.window.lock().unwrap_or_else(PoisonError::into_inner);
        windows.uploads -= 1;
        if windows.uploads == 0 {
            windows.portion = None;
        }
    }
}

/// Services behind the doors.
#[derive(Clone)]
pub(super) struct GuardedService<S> {
    inner: S,
    doors: Arc<Doors>,
}

impl<S> GuardedService<S> {
    pub fn new(inner: S, doors: Arc<Doors>) -> Self {
        Self { inner, doors }
    }
}

impl<S> Service<Request<Body>> for GuardedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Entry { pass, kind } = match self.doors.enter(&mut request) {
            Ok(entry) => entry,
            Err(fault) => return Box::pin(std::future::ready(Ok(Status::from(fault).into_http()))),
        };
        let limit = (!kind.uploads).then_some(self.doors.limits.whole_message);
        let held = pass.clone();
        let told = Received::default();
        request.extensions_mut().insert(told.clone());
        request.extensions_mut().insert(AnswerRoom(pass.clone()));
        let request = request.map(|body| Body::new(MessageBody::new(body, held, told, limit)));
        let future = self.inner.call(request);
        Box::pin(async move {
            let response = future.await?;
            if kind.streams {
                return Ok(response.map(|body| Body::new(PassedBody { body, _pass: pass })));
            }
            Ok(pass.answer(response).await.unwrap_or_else(Status::into_http))
        })
    }
}

/// A stream of answers, which keeps what its call holds.
struct PassedBody {
    body: Body,
    _pass: Arc<Pass>,
}

impl http_body::Body for PassedBody {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
