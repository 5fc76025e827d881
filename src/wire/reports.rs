//! The `Reports` service.
//!
//! Owns: the pump from a cursor to a stream. May not touch: what happened.

use super::access::{AccessGuard, Scope};
use super::doors::Making;
use super::metrics_layer::MeteredSpan;
use super::services::Services;
use super::stream_sender::{OutgoingStream, StreamSender};
use crate::publish::Watcher;
use clino_domain::{Fault, Report, RunId, SnapshotRef};
use clino_proto::convert::{event_to_pb, report_to_pb};
use clino_proto::pb;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct ReportsService(pub Services);

#[async_trait]
impl pb::reports_server::Reports for ReportsService {
    type WatchStream = OutgoingStream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (watcher, guard) = self.watcher(request)?;
        let (sender, outgoing) = StreamSender::new(guard, self.0.patience);
        tokio::spawn(pump(watcher, sender, MeteredSpan::watch(&self.0.counters)));
        Ok(Response::new(outgoing))
    }

    async fn get_report(
        &self,
        request: Request<pb::GetReportRequest>,
    ) -> Result<Response<pb::GetReportResponse>, Status> {
        // It may have to be read from disk.
        let making = Making::of(&request).await?;
        let report = tokio::task::block_in_place(|| self.report(request))?;
        Ok(making.answer(report_to_pb(&report)))
    }
}

impl ReportsService {
    fn watcher(&self, request: Request<pb::WatchRequest>) -> Result<(Watcher, AccessGuard), Fault> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        let pb::WatchRequest { run_id, from_sequence } = request.into_inner();
        let (run, _) = self.0.run_for(&auth, &RunId(run_id))?;
        let guard = self.0.guard(&auth, Some(&run.label.project));
        Ok((self.0.bus.watch(&run.id, from_sequence)?, guard))
    }

    fn report(&self, request: Request<pb::GetReportRequest>) -> Result<Report, Fault> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        let pb::GetReportRequest { run_id, snapshot } = request.into_inner();
        let (run, _) = self.0.run_for(&auth, &RunId(run_id))?;
        let at = snapshot.map(|at| SnapshotRef { step: at.step, attempt: at.attempt });
        self.0.bus.report(&run.id, at)
    }
}

/// Ends with the run, with the daemon, or with its reader.
async fn pump(mut watcher: Watcher, mut sender: StreamSender<pb::WatchResponse>, watch: MeteredSpan) {
    while let Some(event) = sender.next(&mut watcher).await {
        if !sender.send(event_to_pb(&event), watcher.place()).await {
            return;
        }
        watch.sent(&event.event);
    }
}
