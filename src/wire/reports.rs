//! The `Reports` service.
//!
//! Owns: the pump from a cursor to a stream. May not touch: what happened.

use super::access::{Scope, Watchman};
use super::convert::{event_to_pb, report_to_pb};
use super::desk::Desk;
use super::observe::Ongoing;
use super::pb;
use super::status::to_status;
use crate::domain::{Fault, Report, RunId, SnapshotRef};
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
        let (watcher, watchman) = self.watcher(request).map_err(|fault| to_status(&fault))?;
        let (sender, receiver) = channel(IN_FLIGHT);
        tokio::spawn(pump(watcher, sender, watchman, Ongoing::watch(&self.0.tally)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_report(
        &self,
        request: Request<pb::GetReportRequest>,
    ) -> Result<Response<pb::GetReportResponse>, Status> {
        let report = self.report(request).map_err(|fault| to_status(&fault))?;
        Ok(Response::new(report_to_pb(&report)))
    }
}

impl ReportsService {
    fn watcher(&self, request: Request<pb::WatchRequest>) -> Result<(Watcher, Watchman), Fault> {
        let pass = self.0.admit(&request, Scope::Read)?;
        let pb::WatchRequest { run_id, from_sequence } = request.into_inner();
        let (run, _) = self.0.run_for(&pass, &RunId(run_id))?;
        let watchman = self.0.watchman(&pass, Some(&run.label.project));
        Ok((self.0.hub.watch(&run.id, from_sequence)?, watchman))
    }

    fn report(&self, request: Request<pb::GetReportRequest>) -> Result<Report, Fault> {
        let pass = self.0.admit(&request, Scope::Read)?;
        let pb::GetReportRequest { run_id, snapshot } = request.into_inner();
        let (run, _) = self.0.run_for(&pass, &RunId(run_id))?;
        let at = snapshot.map(|at| SnapshotRef { step: at.step, attempt: at.attempt });
        self.0.hub.report(&run.id, at)
    }
}

/// Ends with the run, with the daemon, when the client has gone, or when it may not see the run any more.
async fn pump(
    mut watcher: Watcher,
    sender: Sender<Result<pb::WatchResponse, Status>>,
    mut watchman: Watchman,
    watch: Ongoing,
) {
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            () = sender.closed() => None,
            fault = watchman.over() => {
                // A reader that is this slow learns it when it has read what it was sent.
                let _ = sender.send(Err(to_status(&fault))).await;
                return;
            }
        };
        let Some(event) = event else { return };
        if sender.send(Ok(event_to_pb(&event))).await.is_err() {
            return;
        }
        watch.sent(&event.event);
    }
}
