//! A build without OpenTelemetry: nothing is sent to a collector, and asking for it is refused.
//!
//! Owns: the sentence. May not touch: anything else.

use clino_domain::metrics::Window;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;

/// The way to a collector: none.
#[derive(Debug)]
pub(super) enum Otlp {}

impl Otlp {
    /// Always refused.
    pub fn new(_endpoint: &str) -> Result<Self, String> {
        Err("this clino was built without OpenTelemetry: build it with --features otlp, or leave out --otlp"
            .into())
    }

    /// Never called: there is no value of this type.
    pub fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
        Identity::new()
    }

    /// Never called.
    pub fn watch(&self, _window: &Window) {}

    /// Never called.
    pub fn end(self, _within: Duration) {}
}
