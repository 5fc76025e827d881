//! Traces and metrics to a collector by OTLP over gRPC. A collector that does not answer costs one warning and nothing
//! else: queues are bounded and what does not fit is dropped.
//!
//! Owns: exporters, their threads, who they say they are. May not touch: which spans and metrics there are.

use super::bridge;
use clino_domain::incident::Incident;
use clino_domain::metrics::{Metric, Window};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

/// The name of traces and metrics.
const SCOPE: &str = "clino";
/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way to a collector.
#[derive(Debug)]
pub(super) struct Otlp {
    /// Carries the connections; the exporters have threads of their own.
    runtime: Runtime,
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    complaint: Arc<Complaint>,
}

/// A collector that does not answer is told of once.
#[derive(Debug)]
struct Complaint {
    endpoint: String,
    told: AtomicBool,
    window: OnceLock<Window>,
}

impl Complaint {
    fn heard(&self, result: OTelSdkResult) -> OTelSdkResult {
        if let Err(error) = &result {
            let endpoint = self.endpoint.as_str();
            let exposed = self.window.get().and_then(Window::look);
            let code = exposed.map_or(Incident::ExportFailed.code(), |exposed| {
                exposed.counters().metrics.one(Metric::OtlpFailures, &[]);
                exposed.counters().note(Incident::ExportFailed, &format!("{endpoint}: {error}"))
            });
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(code, endpoint, %error, "traces and metrics cannot be sent; this is logged once");
            }
        }
        result
    }
}

impl Otlp {
    /// Connects when there is something to send.
    pub fn new(endpoint: &str) -> Result<Self, String> {
        let shown = |error: &dyn std::fmt::Display| error.to_string();
        let threads =
            Builder::new_multi_thread().worker_threads(1).thread_name("clino-otlp").enable_all().build();
        let runtime = threads.map_err(|error| shown(&error))?;
        let inside = runtime.enter();
        let complaint = Complaint {
            endpoint: endpoint.to_owned(),
            told: AtomicBool::new(false),
            window: OnceLock::new(),
        };
        let complaint = Arc::new(complaint);
        let spans =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE).build();
        let spans = Heard { inner: spans.map_err(|error| shown(&error))?, complaint: complaint.clone() };
        let numbers =
            MetricExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE).build();
        let numbers = Heard { inner: numbers.map_err(|error| shown(&error))?, complaint: complaint.clone() };
        let resource = resource();
        let traces =
            SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource.clone()).build();
        let metrics =
            SdkMeterProvider::builder().with_periodic_exporter(numbers).with_resource(resource).build();
        drop(inside);
        Ok(Self { runtime, traces, metrics, complaint })
    }

    /// What makes spans.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let layer = tracing_opentelemetry::layer().with_tracer(self.traces.tracer(SCOPE));
        let plain = layer.with_location(false).with_threads(false).with_target(false);
        plain.with_tracked_inactivity(false)
    }

    /// Sends what is seen through a window, from now on.
    pub fn watch(&self, window: &Window) {
        let _ = self.complaint.window.set(window.clone());
        bridge::build(&self.metrics.meter(SCOPE), window);
    }

    /// Sends the rest; what does not go within that time is lost.
    pub fn end(self, within: Duration) {
        let Self { runtime, traces, metrics, .. } = self;
        let (done, wait) = mpsc::sync_channel(1);
        let work = move || {
            let _ = traces.shutdown_with_timeout(within);
            let _ = metrics.shutdown_with_timeout(within);
            let _ = done.send(());
        };
        // A thread, because neither of them keeps its time when the collector hangs.
        let started = std::thread::Builder::new().name("clino-flush".into()).spawn(work);
        if started.is_ok() && wait.recv_timeout(within).is_err() {
            tracing::debug!("the last traces and metrics were not sent in time");
        }
        runtime.shutdown_background();
    }
}

fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
    ];
    Resource::builder().with_service_name(SCOPE).with_attributes(attributes).build()
}

/// An exporter whose failures are heard.
#[derive(Debug)]
struct Heard<E> {
    inner: E,
    complaint: Arc<Complaint>,
}

impl opentelemetry_sdk::trace::SpanExporter for Heard<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.complaint.heard(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl PushMetricExporter for Heard<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.complaint.heard(self.inner.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
