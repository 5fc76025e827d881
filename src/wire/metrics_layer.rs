//! Every call, upload and watch, counted and timed.
//!
//! Owns: when a call has ended and with which code, and its span. May not touch: what is called.

use bytes::Bytes;
use clino_domain::Event;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::metrics::{Metric, OTHER, SPANS};
use clino_proto::pb;
use http_body::Frame;
use prost::Message;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tracing::{Instrument, Span, info_span};

/// One call of the interface.
#[derive(Debug, Clone)]
pub(super) struct Method {
    pub service: String,
    pub name: String,
    /// Its request is a stream.
    pub uploads: bool,
    /// Its answer is one, which may last as long as its run: neither timed nor traced.
    pub streams: bool,
}

/// Calls by path. Names come from the descriptors, so that a client cannot make up any.
pub(super) type Methods = HashMap<String, Method>;

pub(super) fn methods() -> Methods {
    let reflection =
        [tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET];
    let sets = [pb::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET].into_iter().chain(reflection);
    let files = sets.filter_map(|set| FileDescriptorSet::decode(set).ok()).flat_map(|set| set.file);
    let mut methods = Methods::new();
    for file in files {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let name = method.name().to_owned();
                let uploads = method.client_streaming();
                let streams = method.server_streaming();
                let path = format!("/{full}/{name}");
                methods.insert(path, Method { service: full.clone(), name, uploads, streams });
            }
        }
    }
    methods
}

/// A service whose calls are counted.
#[derive(Clone)]
pub(super) struct MeteredService<S> {
    inner: S,
    counters: Arc<Counters>,
    methods: Arc<Methods>,
    other: Method,
}

impl<S> MeteredService<S> {
    pub fn new(inner: S, counters: Arc<Counters>) -> Self {
        let other = Method { service: OTHER.into(), name: OTHER.into(), uploads: false, streams: false };
        Self { inner, counters, methods: Arc::new(methods()), other }
    }
}

impl<S, B> Service<Request<B>> for MeteredService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = self.methods.get(request.uri().path()).unwrap_or(&self.other).clone();
        let span = span_of_call(&method);
        let mut call = MeteredCall::begin(self.counters.clone(), method, span.clone());
        let future = self.inner.call(request);
        let answered = async move {
            let response = future.await?;
            // An answer without a body has its status among the headers.
            call.look(response.headers());
            Ok(response.map(|body| Body::new(MeteredBody { body, call })))
        };
        Box::pin(answered.instrument(span))
    }
}

fn span_of_call(method: &Method) -> Span {
    let Method { service, name, streams, .. } = method;
    if *streams || !service.starts_with("clino.") {
        return Span::none();
    }
    info_span!(
        target: SPANS,
        "rpc",
        otel.name = format!("{service}/{name}"),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = name,
        rpc.grpc.status_code = tracing::field::Empty,
        clino.run_id = tracing::field::Empty,
        clino.step = tracing::field::Empty,
    )
}

/// Tells the span of the current call which run it is about.
pub(super) fn span_of_run(run: &str, step: Option<u64>) {
    let span = Span::current();
    span.record("clino.run_id", run);
    if let Some(step) = step {
        span.record("clino.step", step);
    }
}

/// A call that goes on until this drops.
struct MeteredCall {
    counters: Arc<Counters>,
    method: Method,
    began: Instant,
    /// Unknown of a call that its client has left.
    code: Option<Code>,
    span: Span,
}

impl MeteredCall {
    fn begin(counters: Arc<Counters>, method: Method, span: Span) -> Self {
        counters.metrics.one(Metric::RpcStarted, &[&method.service, &method.name]);
        Self { counters, method, began: Instant::now(), code: None, span }
    }

    fn look(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        let Method { service, name, streams, .. } = &self.method;
        let code = self.code.unwrap_or(Code::Cancelled);
        self.counters.metrics.one(Metric::RpcHandled, &[service, name, code_name(code)]);
        if !streams {
            let seconds = self.began.elapsed().as_secs_f64();
            self.counters.metrics.observe(Metric::RpcSeconds, &[service, name], seconds);
        }
        self.span.record("rpc.grpc.status_code", code as i64);
    }
}

/// As monitoring spells them.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The body of an answer, whose trailers tell how the call ended.
struct MeteredBody {
    body: Body,
    call: MeteredCall,
}

impl http_body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.look(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Something that goes on until this drops, counted at both ends.
pub(super) struct MeteredSpan {
    counters: Arc<Counters>,
    finished: Metric,
    /// Of an upload: what, and how it ended.
    labels: Vec<&'static str>,
}

impl MeteredSpan {
    /// An upload of a snapshot or a probe; one that is dropped without an end was cancelled.
    pub fn upload(counters: &Arc<Counters>, what: &'static str) -> Self {
        counters.metrics.one(Metric::UploadsStarted, &[what]);
        Self {
            counters: counters.clone(),
            finished: Metric::UploadsFinished,
            labels: vec![what, "cancelled"],
        }
    }

    /// Notes how the upload ended: done, or failed.
    pub fn end(mut self, done: bool) {
        self.labels[1] = if done { "done" } else { "failed" };
    }

    /// A stream of events.
    pub fn watch(counters: &Arc<Counters>) -> Self {
        counters.metrics.one(Metric::WatchesStarted, &[]);
        Self { counters: counters.clone(), finished: Metric::WatchesFinished, labels: Vec::new() }
    }

    /// A watcher got an event.
    pub fn sent(&self, event: &Event) {
        self.counters.metrics.one(Metric::WatchEvents, &[]);
        if let Event::Gap { lost } = event {
            self.counters.metrics.one(Metric::WatchGaps, &[]);
            self.counters.metrics.add(Metric::WatchLost, &[], *lost as f64);
            let code = self.counters.note(Incident::WatcherGap, &format!("{lost} events"));
            tracing::debug!(code, lost, "a watcher was too slow and missed events");
        }
    }
}

impl Drop for MeteredSpan {
    fn drop(&mut self) {
        self.counters.metrics.one(self.finished, &self.labels);
        if let [what, "cancelled"] = self.labels[..] {
            let code = self.counters.note(Incident::UploadFailed, &format!("a {what}: its client went away"));
            tracing::info!(code, what, "an upload broke off: its client went away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_interface_is_known() {
        let methods = methods();
        for path in
            ["/clino.v1.Snapshots/PushSnapshot", "/clino.v1.Runs/OpenRun", "/grpc.health.v1.Health/Check"]
        {
            assert!(methods.get(path).is_some_and(|method| !method.streams), "{path}");
        }
        assert!(methods["/clino.v1.Reports/Watch"].streams && !methods["/clino.v1.Reports/Watch"].uploads);
        assert!(methods["/clino.v1.Snapshots/PushSnapshot"].uploads);
        assert!(methods.len() < 64, "labels of calls are few: {}", methods.len());
    }
}
