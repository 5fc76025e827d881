//! Metrics of single runs, for those who want curves in their monitoring and know what that costs it.
//!
//! Owns: which runs, and for how long. May not touch: the metrics of everybody.

use crate::publish::{EventBus, Standing};
use crate::registry::{RegisteredRun, Registry};
use clino_domain::Latest;
use clino_domain::metrics::{MetricFamily, MetricSample, RUN_METRICS};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most readings told of one run.
const MOST_READINGS: usize = 200;

/// Which runs are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunMetrics {
    /// Most runs, the newest; 0: this is off.
    pub most: usize,
    /// A run in which nothing has happened for so long is left out.
    pub expiry: Duration,
}

impl RunMetrics {
    /// `None`: this is off.
    pub(super) fn families(&self, registry: &Registry, bus: &EventBus) -> Option<Vec<MetricFamily>> {
        if self.most == 0 {
            return None;
        }
        let mut series = [Vec::new(), Vec::new(), Vec::new()];
        let live = registry.list().into_iter().rev().filter(|(_, closed)| !closed);
        let fresh = live.filter(|(run, _)| bus.quiet(&run.id).is_ok_and(|quiet| quiet <= self.expiry));
        for (run, _) in fresh.take(self.most) {
            if let Ok(standing) = bus.standing(&run.id) {
                add(&mut series, &run, &standing);
            }
        }
        let family = |(definition, series)| MetricFamily { definition, series };
        Some(RUN_METRICS.iter().zip(series).map(family).collect())
    }
}

type Lines = Vec<(Vec<String>, MetricSample)>;

fn add([readings, steps, advices]: &mut [Lines; 3], run: &Arc<RegisteredRun>, standing: &Standing) {
    let labels = |more: &[&str]| -> Vec<String> {
        let own = [&*run.id.0, &*run.name, &*run.label.project, &*run.label.experiment];
        own.iter().chain(more).map(|label| (*label).to_owned()).collect()
    };
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for Latest { measure, group, value, .. } in standing.latest.iter().take(MOST_READINGS) {
        let group = group.as_deref().unwrap_or_default();
        // The same measure may be there several times, with other parameters.
        let times = seen.entry((measure, group)).or_default();
        *times += 1;
        let name = if *times == 1 { measure.clone() } else { format!("{measure}#{times}") };
        if let Some(value) = value {
            readings.push((labels(&[&name, group]), MetricSample::Number(*value)));
        }
    }
    if let Some(at) = standing.progress.last_measured {
        steps.push((labels(&[]), MetricSample::Number(at.step as f64)));
    }
    if let Some(decision) = &standing.decision {
        advices.push((labels(&[decision.advice.name()]), MetricSample::Number(1.0)));
    }
}
