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
/// A status travels in HTTP/2 trailers, which clients bound: at most so many violations …
const MOST_VIOLATIONS: usize = 16;
/// … and so many characters of each text.
const MOST_CHARACTERS: usize = 300;

/// What a client will show, whatever it shows it in: in one line, without anything hidden.
fn short(text: &str) -> String {
    let text = harmless(text);
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn details(fault: &Fault, reason: &str) -> ErrorDetails {
    let mut metadata = HashMap::new();
    if let Some(committed) = fault.committed {
        metadata.insert(COMMITTED.to_owned(), committed.to_string());
    }
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    let violations = || fault.violations.iter().take(MOST_VIOLATIONS);
    if !fault.violations.is_empty() {
        let field = |v: &Violation| FieldViolation::new(short(&v.field), short(&v.description));
        details.set_bad_request(violations().map(field).collect::<Vec<_>>());
    }
    if fault.kind == FaultKind::Precondition && !fault.violations.is_empty() {
        let state =
            |v: &Violation| PreconditionViolation::new("STATE", short(&v.field), short(&v.description));
        details.set_precondition_failure(violations().map(state).collect::<Vec<_>>());
    }
    if fault.kind == FaultKind::Quota {
        let quota = |v: &Violation| QuotaViolation::new(short(&v.field), short(&v.description));
        details.set_quota_failure(violations().map(quota).collect::<Vec<_>>());
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
        assert!(status.message().len() < 1_000);
        assert!(status.details().len() < 48_000, "{}", status.details().len());
        let hidden = to_status(&Fault::invalid("tags.a\u{202e}b", "found\n\u{2028}\u{e0041}\x1b[2J"));
        let text = format!("{} {:?}", hidden.message(), hidden.get_error_details());
        assert!(!text.chars().any(crate::text::is_hidden), "{text}");
    }
}
