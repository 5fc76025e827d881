//! Logs on standard error, as text or JSON; traces and metrics to a collector, if there is one.
//!
//! Owns: the subscriber, and the end of what it sends. May not touch: what is logged, traced and counted.
//!
//! Lines are escaped as a whole, and written by a thread of their own: a pipe that nobody reads costs lines, and never stops the daemon.

#[cfg(feature = "otlp")]
mod bridge;
mod lines;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "absent.rs"]
mod otlp;

use crate::config::LogFormat;
use clino_domain::metrics::{SPANS, Window};
use lines::Lines;
use otlp::Otlp;
use std::io::{IsTerminal, stderr};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Lines that may wait to be written; of more the newest are lost.
const LINES: usize = 16_384;

/// What must be written and sent before the process ends.
#[derive(Debug)]
pub struct Telemetry {
    otlp: Option<Otlp>,
    /// Writes what is left when it is dropped, for a second at most.
    _lines: WorkerGuard,
}

/// Installs the subscriber of this process. With a collector at `otlp`, traces go there.
///
/// # Errors
/// A sentence about a filter that cannot be read, a collector that cannot be one, or a subscriber that is there already.
pub fn install(filter: &str, format: LogFormat, otlp: Option<&str>) -> Result<Telemetry, String> {
    let directive = format!("{SPANS}=off").parse().map_err(|error| format!("log: {error}"))?;
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("log: {error}"))?.add_directive(directive);
    let (writer, guard) = writer();
    let colours = format == LogFormat::Text && stderr().is_terminal();
    let lines = fmt::layer().with_writer(Lines::new(writer, format, colours));
    let logs = match format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let otlp = otlp.map(Otlp::new).transpose().map_err(|error| format!("otlp: {error}"))?;
    let spans = Targets::new().with_target(SPANS, LevelFilter::INFO);
    let traces = otlp.as_ref().map(|otlp| otlp.layer().with_filter(spans));
    let layers = tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces);
    layers.try_init().map_err(|error| error.to_string())?;
    Ok(Telemetry { otlp, _lines: guard })
}

fn writer() -> (NonBlocking, WorkerGuard) {
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES).lossy(true);
    builder.thread_name("clino-log").finish(stderr())
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
