//! Many runs of a daemon: page by page, as they change, side by side.
//!
//! Owns: these calls. May not touch: a single run.

use super::Client;
use clino_domain::{ComparedRun, Comparison, Fault, RunFilter, RunNews, RunPage, RunSummary};
use clino_proto::{convert, pb};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt};

/// 10,000 lines with names as long as they may be are more than the usual limit on a message.
const COMPARISON: usize = 16 << 20;

impl Client {
    /// All runs that match, in the order in which they were opened: page after page. A run that is opened meanwhile comes
    /// last or not at all.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunSummary>, Fault> {
        let mut page = self.page(filter, 0, None).await?;
        let mut runs = std::mem::take(&mut page.runs);
        while let Some(token) = page.next {
            page = self.page(filter, 0, Some(&token)).await?;
            runs.append(&mut page.runs);
        }
        Ok(runs)
    }

    /// At most `size` runs, or as many as fit into an answer where that is 0; from the first one, or behind the page that
    /// gave `token`.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn page(&self, filter: &RunFilter, size: u32, token: Option<&str>) -> Result<RunPage, Fault> {
        let request = pb::ListRunsRequest {
            filter: Some(convert::filter_to_pb(filter)),
            page_size: size,
            page_token: token.unwrap_or_default().to_owned(),
        };
        let answer = self.runs_service().list_runs(request).await;
        convert::page_from_pb(answer.map_err(|s| self.fault(&s))?.into_inner())
    }

    /// The runs that match as they stand, then each of them again when it has changed, at most once in `interval` (a
    /// quarter of a second unless told); ends with the connection or the daemon. Of what a slow reader missed there is only
    /// the newest state.
    ///
    /// # Errors
    /// The fault that the daemon answers, at once or as the last item.
    pub async fn watch_runs(
        &self,
        filter: &RunFilter,
        interval: Option<Duration>,
    ) -> Result<impl Stream<Item = Result<RunNews, Fault>> + use<>, Fault> {
        let request = pb::WatchRunsRequest {
            filter: Some(convert::filter_to_pb(filter)),
            interval_seconds: interval.map(|interval| interval.as_secs_f64()),
        };
        let client = self.clone();
        let stream = client.runs_service().watch_runs(request).await.map_err(|s| client.fault(&s))?;
        Ok(stream.into_inner().map(move |item| convert::news_from_pb(item.map_err(|s| client.fault(&s))?)))
    }

    /// Runs side by side, the best first and those without a value last.
    ///
    /// # Errors
    /// The fault that the daemon answers.
    pub async fn compare(&self, comparison: &Comparison) -> Result<Vec<ComparedRun>, Fault> {
        let mut service = self.runs_service().max_decoding_message_size(COMPARISON);
        let answer = service.compare_runs(convert::comparison_to_pb(comparison)).await;
        let lines = answer.map_err(|s| self.fault(&s))?.into_inner().runs;
        lines.into_iter().map(convert::compared_from_pb).collect()
    }
}
