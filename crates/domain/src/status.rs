//! Faults become statuses with `google.rpc` details, and statuses faults again for clients.
//!
//! Owns: the one table of kinds and codes. May not touch: what the faults are about.

use crate::text::harmless;
use crate::{Fault, FaultKind, Violation};
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt};

/// Every kind with its code and the reason that `ErrorInfo` names.
const TABLE: [(FaultKind, Code, &str); 14] = [
    (FaultKind::Invalid, Code::InvalidArgument, "INVALID"),
    (FaultKind::NotFound, Code::NotFound, "NOT_FOUND"),
    (FaultKind::Exists, Code::AlreadyExists, "EXISTS"),
    (FaultKind::Precondition, Code::FailedPrecondition, "PRECONDITION"),
    (FaultKind::Exhausted, Code::ResourceExhausted, "EXHAUSTED"),
    (FaultKind::Quota, Code::ResourceExhausted, "QUOTA"),
    (FaultKind::Unauthenticated, Code::Unauthenticated, "UNAUTHENTICATED"),
    (FaultKind::Denied, Code::PermissionDenied, "DENIED"),
    (FaultKind::OutOfRange, Code::OutOfRange, "WRONG_OFFSET"),
    (FaultKind::DataLoss, Code::DataLoss, "DAMAGED_CHUNK"),
    (FaultKind::Unavailable, Code::Unavailable, "UNAVAILABLE"),
    (FaultKind::Deadline, Code::DeadlineExceeded, "DEADLINE"),
    (FaultKind::Cancelled, Code::Cancelled, "CANCELLED"),
    (FaultKind::Internal, Code::Internal, "INTERNAL"),
];

/// Whose reasons these are.
const DOMAIN: &str = "clino";
/// Key of the bytes received in order, in the metadata of `ErrorInfo`.
const COMMITTED: &str = "committed_size";
/// When a client may try again what a limit refused.
const RETRY: Duration = Duration::from_secs(1);
/// A status travels in HTTP/2 trailers, of which gRPC's own clients take 8 KiB without complaint: at most so many bytes of the
/// message and of a violation …
const MOST_BYTES: usize = 1_000;
/// … so many of all violations together, which are told twice where they are preconditions, and so many violations.
const MOST_BYTES_OF_ALL: usize = 1_500;
const MOST_VIOLATIONS: usize = 16;

/// What a client will show, whatever it shows it in: in one line, without anything hidden. The middle of a long text is left out,
/// for what is wrong stands at the beginning and what to do at the end.
fn short(text: &str) -> String {
    let text = harmless(text);
    if text.len() <= MOST_BYTES {
        return text;
    }
    let head = text.floor_char_boundary(MOST_BYTES * 2 / 3);
    let tail = text.ceil_char_boundary(text.len() - MOST_BYTES / 3 + " … ".len());
    format!("{} … {}", &text[..head], &text[tail..])
}

/// The first violations, as many as there is room for.
fn told(violations: &[Violation]) -> Vec<(String, String)> {
    let short = violations.iter().take(MOST_VIOLATIONS).map(|v| (short(&v.field), short(&v.description)));
    let mut bytes = 0;
    let fits = |(field, description): &(String, String)| {
        let first = bytes == 0;
        bytes += field.len() + description.len();
        first || bytes <= MOST_BYTES_OF_ALL
    };
    short.take_while(fits).collect()
}

fn details(fault: &Fault, reason: &str) -> ErrorDetails {
    let mut metadata = HashMap::new();
    if let Some(committed) = fault.committed {
        metadata.insert(COMMITTED.to_owned(), committed.to_string());
    }
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    let violations = told(&fault.violations);
    if fault.kind == FaultKind::Precondition && !violations.is_empty() {
        let state = |(field, why): &(String, String)| PreconditionViolation::new("STATE", field, why);
        details.set_precondition_failure(violations.iter().map(state).collect::<Vec<_>>());
    }
    if fault.kind == FaultKind::Quota {
        let quota = |(field, why): &(String, String)| QuotaViolation::new(field, why);
        details.set_quota_failure(violations.iter().map(quota).collect::<Vec<_>>());
    }
    if !violations.is_empty() {
        let field = |(field, why): (String, String)| FieldViolation::new(field, why);
        details.set_bad_request(violations.into_iter().map(field).collect::<Vec<_>>());
    }
    if matches!(fault.kind, FaultKind::Exhausted | FaultKind::Quota | FaultKind::Unavailable) {
        details.set_retry_info(Some(fault.retry.unwrap_or(RETRY)));
    }
    details
}

/// Key of the sequence number to go on from, in the metadata of `ErrorInfo`.
const RESUME: &str = "from_sequence";

/// The status of a fault that ends a stream, which may be taken up again at `from`.
pub fn with_resume(fault: &Fault, from: u64) -> Status {
    let (code, reason) = code(fault);
    let mut details = details(fault, reason);
    if let Some(info) = details.error_info() {
        let reason = info.reason.clone();
        let domain = info.domain.clone();
        let mut metadata = info.metadata.clone();
        metadata.insert(RESUME.to_owned(), from.to_string());
        details.set_error_info(reason, domain, metadata);
    }
    Status::with_error_details(code, short(&fault.message), details)
}

fn code(fault: &Fault) -> (Code, &'static str) {
    let entry = TABLE.iter().find(|(kind, _, _)| *kind == fault.kind);
    entry.map_or((Code::Internal, "INTERNAL"), |(_, code, reason)| (*code, *reason))
}

/// The status of a fault: message, violations, and what a client needs for going on.
pub fn to_status(fault: &Fault) -> Status {
    let (code, reason) = code(fault);
    Status::with_error_details(code, short(&fault.message), details(fault, reason))
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        to_status(&fault)
    }
}

/// The fault of a status. Codes that clino never sends become the nearest kind: UNIMPLEMENTED and its like are
/// [`FaultKind::Internal`] with the code in the message.
pub fn from_status(status: &Status) -> Fault {
    let details = status.get_error_details();
    // Two kinds share RESOURCE_EXHAUSTED: the reason tells them apart.
    let reason = details.error_info().map(|info| info.reason.as_str());
    let known = |(_, code, name): &&(FaultKind, Code, &str)| {
        *code == status.code()
            && (*code != Code::ResourceExhausted || reason.is_none_or(|reason| reason == *name))
    };
    let entry = TABLE.iter().find(known);
    let (kind, message) = match entry {
        Some((kind, _, _)) => (*kind, status.message().to_owned()),
        None => (FaultKind::Internal, format!("{}: {}", status.code(), status.message())),
    };
    let violation =
        |v: &FieldViolation| Violation { field: v.field.clone(), description: v.description.clone() };
    let committed = details.error_info().and_then(|info| info.metadata.get(COMMITTED)?.parse().ok());
    let violations =
        details.bad_request().map(|request| request.field_violations.iter().map(violation).collect());
    let retry = details.retry_info().and_then(|info| info.retry_delay).filter(|delay| *delay != RETRY);
    Fault { kind, message, violations: violations.unwrap_or_default(), committed, retry }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_comes_back_with_its_details() {
        for (kind, code, reason) in TABLE {
            let fault = Fault::field(kind, "a[1].b", "found 1, expected 2").committed(77);
            let status = to_status(&fault);
            assert_eq!(status.code(), code);
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, reason);
            assert_eq!(details.precondition_failure().is_some(), kind == FaultKind::Precondition);
            let retry = matches!(kind, FaultKind::Exhausted | FaultKind::Quota | FaultKind::Unavailable);
            assert_eq!(details.quota_failure().is_some(), kind == FaultKind::Quota);
            assert_eq!(details.retry_info().is_some(), retry);
            assert_eq!(from_status(&status), fault);
            let later = Fault { retry: retry.then_some(Duration::from_secs(90)), ..fault };
            assert_eq!(from_status(&to_status(&later)), later);
        }
    }

    #[test]
    fn a_status_stays_small_whatever_the_fault_repeats() {
        let violation = Violation { field: "é".repeat(100_000), description: "x".repeat(100_000) };
        let status = to_status(&Fault::of(FaultKind::Precondition, vec![violation; 1_000]));
        assert!(status.message().len() <= MOST_BYTES);
        // In base64, beside the message and in one header with it.
        assert!(status.details().len() * 4 / 3 + 3 * MOST_BYTES < 12_000, "{}", status.details().len());
        let usual = Violation { field: "tensors[3].shape".into(), description: "x".repeat(200) };
        let status = to_status(&Fault::of(FaultKind::Precondition, vec![usual; 1_000]));
        assert!(
            status.details().len() * 4 / 3 + status.message().len() < 7_000,
            "{}",
            status.details().len()
        );
        let long = format!("a: found b, expected one of {}; do this", "measure, ".repeat(1_000));
        let cut = to_status(&Fault::new(FaultKind::Invalid, long));
        assert!(cut.message().starts_with("a: found b, expected one of measure"), "{}", cut.message());
        assert!(cut.message().ends_with("measure, ; do this"), "{}", cut.message());
        let hidden = to_status(&Fault::invalid("tags.a\u{202e}b", "found\n\u{2028}\u{e0041}\x1b[2J"));
        let text = format!("{} {:?}", hidden.message(), hidden.get_error_details());
        assert!(!text.chars().any(crate::text::is_hidden), "{text}");
    }
}
