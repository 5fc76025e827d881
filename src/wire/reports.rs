//! The `Reports` service.
//!
//! Owns: the pump from a cursor to a stream. May not touch: what happened.

use super::convert::{event_to_pb, report_to_pb};
use super::desk::Desk;
use super::observe::Ongoing;
use super::pb;
use super::status::to_status;
use crate::domain::{RunId, SnapshotRef};
use crate::publish::Watcher;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct ReportsService(pub Desk);

/// Events on their way into one stream. When it is full the cursor rests: what a slow reader misses is told by a gap.
const IN_FLIGHT: usize = 16;

#[async_trait]
impl pb::reports_server::Reports for ReportsService {
    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let pb::WatchRequest { run_id, from_sequence } = request.into_inner();
        let watcher = self.0.hub.watch(&RunId(run_id), from_sequence).map_err(|fault| to_status(&fault))?;
        let (sender, receiver) = channel(IN_FLIGHT);
        tokio::spawn(pump(watcher, sender, Ongoing::watch(&self.0.tally)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_report(
        &self,
        request: Request<pb::GetReportRequest>,
    ) -> Result<Response<pb::GetReportResponse>, Status> {
        let pb::GetReportRequest { run_id, snapshot } = request.into_inner();
        let at = snapshot.map(|at| SnapshotRef { step: at.step, attempt: at.attempt });
        // It may have to be read from disk.
        let report = tokio::task::block_in_place(|| self.0.hub.report(&RunId(run_id), at));
        let report = report.map_err(|fault| to_status(&fault))?;
        Ok(Response::new(report_to_pb(&report)))
    }
}

/// Ends with the run, with the daemon, or when the client has gone.
async fn pump(mut watcher: Watcher, sender: Sender<Result<pb::WatchResponse, Status>>, watch: Ongoing) {
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            () = sender.closed() => None,
        };
        let Some(event) = event else { return };
        if sender.send(Ok(event_to_pb(&event))).await.is_err() {
            return;
        }
        watch.sent(&event.event);
    }
}
