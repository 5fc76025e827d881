//! The runs that a client may see: one, or page by page.
//!
//! Owns: the order and the ends of pages. May not touch: what a run means.

use super::access::AuthContext;
use super::services::Services;
use crate::registry::RegisteredRun;
use clino_domain::text::quoted;
use clino_domain::{Fault, RunFilter};
use clino_proto::convert::{filter_from_pb, summary_to_pb};
use clino_proto::pb;
use prost::Message;
use std::sync::Arc;
use uuid::Uuid;

/// Most runs of a page.
const PAGE: usize = 10_000;
/// Size in bytes at which a page ends: usual clients take messages of at most 4 MiB, and a summary is far below 1 MiB.
const PAGE_BYTES: usize = 2 << 20;

impl Services {
    /// The runs that a context and a filter let through, and whether each is closed; in the order of their ids, which begin
    /// with the time, so that a place among them stays one when runs come and go.
    pub(super) fn visible(&self, auth: &AuthContext, filter: &RunFilter) -> Vec<(Arc<RegisteredRun>, bool)> {
        let mut runs = self.registry.list();
        runs.retain(|(run, closed)| filter.matches(&run.label, *closed) && auth.covers(&run.label.project));
        runs.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
        runs
    }
}

/// One page.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming a field of the filter, or `page_token`.
pub(super) fn page(
    services: &Services,
    auth: &AuthContext,
    request: pb::ListRunsRequest,
) -> Result<pb::ListRunsResponse, Fault> {
    let pb::ListRunsRequest { filter, page_size, page_token } = request;
    let filter = filter_from_pb(filter)?;
    check_token(&page_token)?;
    let most = match page_size as usize {
        0 => PAGE,
        size => size.min(PAGE),
    };
    let all = services.visible(auth, &filter);
    let begin = all.partition_point(|(run, _)| run.id.0 <= page_token);
    let mut page = pb::ListRunsResponse::default();
    let mut bytes = 0;
    let mut last = None;
    for (run, closed) in &all[begin..] {
        if page.runs.len() == most || bytes >= PAGE_BYTES {
            page.next_page_token = last.unwrap_or_default();
            break;
        }
        last = Some(run.id.0.clone());
        // A run that is forgotten between the two looks is left out.
        let Ok(summary) = services.summary(run, *closed) else { continue };
        let summary = summary_to_pb(&summary);
        bytes += summary.encoded_len();
        page.runs.push(summary);
    }
    Ok(page)
}

/// A token is the id of the last run of a page: a place in the order of ids, whether that run is still there or not.
fn check_token(token: &str) -> Result<(), Fault> {
    if token.is_empty() || Uuid::try_parse(token).is_ok() {
        return Ok(());
    }
    let description = format!("found {}, expected the next_page_token of a page", quoted(token));
    Err(Fault::invalid("page_token", description))
}

#[cfg(test)]
mod tests {
    use super::check_token;

    #[test]
    fn tokens_that_no_page_gave_are_refused() {
        assert!(check_token("").is_ok() && check_token("0193b0a0-0000-7000-8000-000000000000").is_ok());
        for bad in ["x", "\x1b[2J", "0193b0a0-0000-7000-8000", &"0".repeat(5_000)] {
            let fault = check_token(bad).expect_err(bad);
            assert_eq!(fault.violations[0].field, "page_token");
            assert!(fault.message.len() < 400);
        }
    }
}
