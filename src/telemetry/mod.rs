//! Logs on standard error, as text or JSON; traces and metrics to a collector, if there is one.
//!
//! Owns: the subscriber, and the end of what it sends. May not touch: what is logged, traced and counted.

mod bridge;
mod otlp;

use crate::config::LogFormat;
use crate::domain::meters::{SPANS, Window};
use otlp::Otlp;
use std::io::{IsTerminal, stderr};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// What must be sent before the process ends.
#[derive(Debug)]
pub struct Telemetry {
    otlp: Option<Otlp>,
}

/// Installs the subscriber of this process. With a collector at `otlp`, traces go there.
///
/// # Errors
/// A sentence about a filter that cannot be read, a collector that cannot be one, or a subscriber that is there already.
pub fn install(filter: &str, format: LogFormat, otlp: Option<&str>) -> Result<Telemetry, String> {
    let directive = format!("{SPANS}=off").parse().map_err(|error| format!("log: {error}"))?;
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("log: {error}"))?.add_directive(directive);
    let lines = fmt::layer().with_writer(stderr);
    let logs = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let otlp = otlp.map(Otlp::new).transpose().map_err(|error| format!("otlp: {error}"))?;
    let traces = otlp.as_ref().map(|otlp| {
        let layer = tracing_opentelemetry::layer().with_tracer(otlp.tracer());
        let plain = layer.with_location(false).with_threads(false).with_target(false);
        plain.with_tracked_inactivity(false).with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO))
    });
    let layers = tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces);
    layers.try_init().map_err(|error| error.to_string())?;
    Ok(Telemetry { otlp })
}

impl Telemetry {
    /// Sends the metrics that are seen through the window to the collector, if there is one.
    pub fn watch(&self, window: &Window) {
        if let Some(otlp) = &self.otlp {
            otlp.watch(window);
        }
    }

    /// Sends what has not been sent, for at most so long.
    pub fn end(self, within: Duration) {
        if let Some(otlp) = self.otlp {
            otlp.end(within);
        }
    }
}
