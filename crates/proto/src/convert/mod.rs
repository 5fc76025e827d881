//! All conversion between protobuf and domain, in both directions: the daemon and the Rust client share it.
//!
//! Owns: which number means what, and the field paths of violations. May not touch: streams, status codes.

mod decisions;
mod doctor;
mod enums;
mod fleet;
mod graph;
mod model_check;
mod readings;
mod requests;
mod runs;
mod tensors;

pub use decisions::{decision_from_pb, decision_to_pb, policy_from_pb, policy_to_pb, rule_info_to_pb};
pub use doctor::{diagnosis_from_pb, diagnosis_to_pb};
pub use enums::Coded;
pub use fleet::{
    compared_from_pb, compared_to_pb, comparison_from_pb, comparison_to_pb, filter_from_pb, filter_to_pb,
    news_from_pb, page_from_pb,
};
pub use graph::{GRAPH_VERSION, graph_from_pb, loss_from_pb, model_from_bytes, model_from_pb};
pub use readings::{
    event_from_pb, event_to_pb, reading_from_pb, reading_to_pb, report_from_pb, report_to_pb,
};
pub use requests::{
    announcement_from_pb, announcement_to_pb, at_from_pb, at_to_pb, check_key, digest_from_pb,
    open_run_from_pb, open_run_to_pb, probe_to_pb, project_from_pb, receipt_from_pb, receipt_to_pb,
};
pub use runs::{
    info_to_pb, measure_from_pb, measure_to_pb, opened_from_pb, opened_to_pb, summary_from_pb, summary_to_pb,
    value_from_pb, value_to_pb,
};
pub use tensors::{chunk_to_pb, manifest_from_pb, probe_manifest_to_pb, spec_from_pb, spec_to_pb};

use clino_domain::{Fault, FaultKind, Violation};
use model_check::{check_from_pb, check_to_pb, checked_from_pb, checked_to_pb};

/// Gathers what is wrong with several fields, so that a client hears of all of them at once.
#[derive(Debug, Default)]
struct Complaints {
    violations: Vec<Violation>,
    other: Option<Fault>,
}

/// Most violations that one answer lists; it travels in HTTP/2 trailers.
const MOST_VIOLATIONS: usize = 16;

impl Complaints {
    /// The value, or `None` after keeping the fault with `prefix` before its paths.
    fn keep<T>(&mut self, prefix: &str, result: Result<T, Fault>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(fault) if fault.kind == FaultKind::Invalid && !fault.violations.is_empty() => {
                self.violations.extend(fault.within(prefix).violations);
            }
            Err(fault) => {
                self.other.get_or_insert(fault.within(prefix));
            }
        }
        None
    }

    /// Input that can never succeed comes before what depends on the state of the daemon.
    fn settle(mut self) -> Result<(), Fault> {
        if !self.violations.is_empty() {
            self.violations.truncate(MOST_VIOLATIONS);
            return Err(Fault::of(FaultKind::Invalid, self.violations));
        }
        self.other.map_or(Ok(()), Err)
    }
}

/// A message that must be present.
fn present<T>(field: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::invalid(field, "found nothing, expected a value"))
}

#[cfg(test)]
mod tests;
