//! Families as OpenMetrics text.
//!
//! Owns: the hand-over to the library that writes it. May not touch: the numbers.

use clino_domain::metrics::{Definition, MetricFamily, MetricKind, MetricSample};
use clino_domain::text::shown;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// The whole answer to a scrape.
///
/// # Errors
/// Those of the library, which has none of its own.
pub(super) fn encode(families: &[MetricFamily]) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(families.to_vec())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Exposition(Vec<MetricFamily>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // One that nothing was counted of is left out.
        self.0
            .iter()
            .filter(|family| !family.series.is_empty())
            .try_for_each(|family| write(family, &mut encoder))
    }
}

fn write(family: &MetricFamily, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let Definition { name, kind, labels, help } = family.definition;
    // The library appends the unit to the name.
    let unit = family.definition.unit().map(|unit| if unit == "bytes" { Unit::Bytes } else { Unit::Seconds });
    let stem =
        unit.as_ref().and_then(|unit| name.strip_suffix(unit.as_str())?.strip_suffix('_')).unwrap_or(name);
    let written = match kind {
        MetricKind::Counter => MetricType::Counter,
        MetricKind::Gauge => MetricType::Gauge,
        MetricKind::Histogram(_) => MetricType::Histogram,
    };
    let help = format!("{help}.");
    let mut metric = encoder.encode_descriptor(stem, &help, unit.as_ref(), written)?;
    for (values, sample) in &family.series {
        // Who reads a scrape shows labels as they come. Values that differ stay different.
        let pairs: Vec<(&str, String)> =
            labels.iter().copied().zip(values.iter().map(|value| shown(value))).collect();
        match pairs.is_empty() {
            true => put(&mut metric, *kind, sample)?,
            false => put(&mut metric.encode_family(&pairs)?, *kind, sample)?,
        }
    }
    Ok(())
}

fn put(metric: &mut MetricEncoder<'_>, kind: MetricKind, sample: &MetricSample) -> Result<(), fmt::Error> {
    const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;
    match (kind, sample) {
        (MetricKind::Counter, MetricSample::Number(number)) => metric.encode_counter(number, NONE),
        (MetricKind::Gauge, MetricSample::Number(number)) => metric.encode_gauge(number),
        (MetricKind::Histogram(bounds), MetricSample::Spread { sum, counts }) => {
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
            metric.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
        }
        _ => Err(fmt::Error),
    }
}
