//! Runs that do not get what they asked for.
//!
//! Owns: when that is worth a finding, and how many are told. May not touch: the runs.

use super::{Doctor, MayRead};
use crate::publish::{CutShort, Progress, Standing};
use crate::registry::RegisteredRun;
use clino_domain::diagnosis::{Concern, Finding};
use clino_domain::incident::Incident;
use clino_domain::text::quoted;
use clino_domain::{Delivery, Refusals};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most runs that are told of one code; how many more there are is told in one finding.
const MOST_RUNS: usize = 8;
/// A snapshot that waits for so long is worth a word.
const LONG: Duration = Duration::from_secs(60);
/// Snapshots after which a share of them says something.
const SOME: u64 = 4;

impl Doctor {
    /// What is wrong with open runs that somebody may read.
    pub(super) fn runs(&self, may: MayRead<'_>) -> Vec<Finding> {
        let open = self.registry.list().into_iter().filter(|(_, closed)| !closed);
        let mut by_code: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for (run, _) in open.filter(|(run, _)| may(&run.label.project)) {
            for finding in self.run(&run) {
                by_code.entry(finding.code.clone()).or_default().push(finding);
            }
        }
        by_code.into_values().flat_map(limited).collect()
    }

    fn run(&self, run: &RegisteredRun) -> Vec<Finding> {
        // It may have been forgotten in the meantime.
        let Ok(standing) = self.bus.standing(&run.id) else { return Vec::new() };
        let found = [
            mismatch(run, &standing),
            refusals(run, &standing.progress),
            skipped(run, &standing.progress),
            self.waits(run),
            self.cut_short(run),
            left_out(run),
        ];
        let found = found.into_iter().flatten();
        found.map(|finding| finding.about(Concern::Run, run.id.0.clone())).collect()
    }

    fn waits(&self, run: &RegisteredRun) -> Option<Finding> {
        let waited = self.registry.waited(&run.id).filter(|waited| *waited > LONG)?;
        let wait = self.registry.waits_for(&run.id)?;
        let what =
            format!("The newest snapshot of {} has waited for {} s: it {wait}.", name(run), waited.as_secs());
        Some(Finding::of(Incident::SnapshotWaits).told(what))
    }

    fn cut_short(&self, run: &RegisteredRun) -> Option<Finding> {
        let CutShort { at, measures } = self.bus.cut_short(&run.id)?;
        let budget = run
            .budget
            .map_or("its budget, which is that of the daemon".into(), |s| format!("its budget of {s} s"));
        let what = format!(
            "On step {} of {}, these measures were not made because they did not fit into {budget}: {}.",
            at.step,
            name(run),
            measures.join(", ")
        );
        Some(Finding::of(Incident::ReadingSkipped).told(what))
    }
}

/// As people know it; its id is the subject.
fn name(run: &RegisteredRun) -> String {
    format!("run {}", quoted(&run.name))
}

fn mismatch(run: &RegisteredRun, standing: &Standing) -> Option<Finding> {
    let checked = standing.checked.as_ref().filter(|checked| !checked.agrees)?;
    let what = format!("There are no readings of {}: {}.", name(run), checked.reason());
    Some(Finding::of(Incident::ModelMismatch).told(what))
}

/// One upload that was refused among many is no matter.
fn refusals(run: &RegisteredRun, progress: &Progress) -> Option<Finding> {
    let Refusals { count, last } = run.refusals();
    if count == 0 || count.saturating_mul(10) < progress.accepted {
        return None;
    }
    let what = format!(
        "Uploads of {} are refused: {count} so far, beside {} that were received. The last refusal: {last}.",
        name(run),
        progress.accepted
    );
    Some(Finding::of(Incident::UploadFailed).told(what))
}

fn skipped(run: &RegisteredRun, progress: &Progress) -> Option<Finding> {
    let Progress { measured, skipped, .. } = progress;
    let over = measured + skipped;
    let most = run.delivery == Delivery::Latest && over >= SOME && skipped * 2 > over;
    let what = || {
        format!(
            "{skipped} of {over} snapshots of {} were skipped because newer ones came before they were measured.",
            name(run)
        )
    };
    most.then(|| Finding::of(Incident::ManySkipped).told(what()))
}

fn left_out(run: &RegisteredRun) -> Option<Finding> {
    let validated = run.validated().ok()?;
    let left_out = &validated.footprint.left_out;
    let first = left_out.first()?;
    let names: Vec<&str> = left_out
        .iter()
        .filter_map(|left_out| Some(validated.measures.get(left_out.measure)?.name.as_str()))
        .collect();
    let what = format!(
        "These measures of {} are not made for want of memory: {}. The reason of the first: {}.",
        name(run),
        names.join(", "),
        first.reason
    );
    Some(Finding::of(Incident::MeasureLeftOut).told(what))
}

/// The first of many, and how many more there are.
fn limited(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MOST_RUNS);
    findings.truncate(MOST_RUNS);
    let rest = findings.first().filter(|_| more > 0).map(|first| Finding {
        what: format!("The same is so of {more} more runs."),
        subject: String::new(),
        ..first.clone()
    });
    findings.extend(rest);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_runs_some_are_told() {
        let many = |count: usize| {
            let finding = |n: usize| Finding::of(Incident::ManySkipped).about(Concern::Run, n.to_string());
            limited((0..count).map(finding).collect())
        };
        assert_eq!(many(MOST_RUNS).len(), MOST_RUNS);
        let told = many(MOST_RUNS + 3);
        assert_eq!(
            (told.len(), told[MOST_RUNS].what.as_str()),
            (MOST_RUNS + 1, "The same is so of 3 more runs.")
        );
        assert!(told[MOST_RUNS].subject.is_empty());
    }
}
