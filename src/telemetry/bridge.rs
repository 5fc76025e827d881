//! The metrics of the daemon as instruments of OpenTelemetry, under the same names. A histogram goes as its count and its
//! sum, because the library takes no buckets that are made already.
//!
//! Owns: that translation. May not touch: the numbers.

use clino_domain::metrics::{Definition, METRICS, MetricFamily, MetricKind, MetricSample, Window};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All instruments are asked one after the other: what they see is from one moment.
const MOMENT: Duration = Duration::from_millis(500);

/// What is seen through a window, for a moment.
struct WindowView {
    window: Window,
    seen: Mutex<Option<(Instant, Arc<Vec<MetricFamily>>)>>,
}

impl WindowView {
    fn families(&self) -> Option<Arc<Vec<MetricFamily>>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, families)) = &*seen
            && at.elapsed() < MOMENT
        {
            return Some(families.clone());
        }
        let families = Arc::new(self.window.look()?.families());
        *seen = Some((Instant::now(), families.clone()));
        Some(families)
    }

    fn tell(&self, place: usize, to: &dyn AsyncInstrument<f64>, number: fn(&MetricSample) -> f64) {
        let Some(families) = self.families() else { return };
        let Some(MetricFamily { definition, series }) = families.get(place) else { return };
        for (values, sample) in series {
            let pair = |(name, value): (&&'static str, &String)| KeyValue::new(*name, value.clone());
            let labels: Vec<_> = definition.labels.iter().zip(values).map(pair).collect();
            to.observe(number(sample), &labels);
        }
    }
}

/// Builds an instrument for every line of the table.
pub(super) fn build(meter: &Meter, window: &Window) {
    let view = Arc::new(WindowView { window: window.clone(), seen: Mutex::default() });
    for (place, definition) in METRICS.iter().enumerate() {
        match definition.kind {
            MetricKind::Gauge => gauge(meter, &view, place, definition),
            MetricKind::Counter => {
                counter(meter, &view, (place, definition.name.to_owned(), plain), definition)
            }
            MetricKind::Histogram(_) => {
                let count = (place, format!("{}_count", definition.name), how_many as Number);
                counter(meter, &view, count, &Definition { name: "", ..*definition });
                counter(meter, &view, (place, format!("{}_sum", definition.name), plain), definition);
            }
        }
    }
}

type Number = fn(&MetricSample) -> f64;

fn plain(sample: &MetricSample) -> f64 {
    match sample {
        MetricSample::Number(number) => *number,
        MetricSample::Spread { sum, .. } => *sum,
    }
}

fn how_many(sample: &MetricSample) -> f64 {
    match sample {
        MetricSample::Number(_) => 0.0,
        MetricSample::Spread { counts, .. } => counts.iter().sum::<u64>() as f64,
    }
}

/// As UCUM spells it.
fn unit(definition: &Definition) -> &'static str {
    match definition.unit() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn counter(meter: &Meter, view: &Arc<WindowView>, what: (usize, String, Number), definition: &Definition) {
    let (place, name, number) = what;
    let view = view.clone();
    let builder = meter.f64_observable_counter(name).with_description(definition.help);
    builder.with_unit(unit(definition)).with_callback(move |to| view.tell(place, to, number)).build();
}

fn gauge(meter: &Meter, view: &Arc<WindowView>, place: usize, definition: &Definition) {
    let view = view.clone();
    let builder = meter.f64_observable_gauge(definition.name).with_description(definition.help);
    builder.with_unit(unit(definition)).with_callback(move |to| view.tell(place, to, plain)).build();
}
