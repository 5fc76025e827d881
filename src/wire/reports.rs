//! The `Reports` service.
//!
//! Owns: the pump from a cursor to a stream. May not touch: what happened.

use super::access::{Scope, Watchman};
use super::desk::Desk;
use super::observe::Ongoing;
use super::outlet::{Outflow, Outlet};
use crate::publish::Watcher;
use clino_domain::{Fault, Report, RunId, SnapshotRef};
use clino_proto::convert::{event_to_pb, report_to_pb};
use clino_proto::pb;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct ReportsService(pub Desk);

#[async_trait]
impl pb::reports_server::Reports for ReportsService {
    type WatchStream = Outflow<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (watcher, watchman) = self.watcher(request)?;
        let (outlet, outflow) = Outlet::new(watchman, self.0.patience);
        tokio::spawn(pump(watcher, outlet, Ongoing::watch(&self.0.tally)));
        Ok(Response::new(outflow))
    }

    async fn get_report(
        &self,
        request: Request<pb::GetReportRequest>,
    ) -> Result<Response<pb::GetReportResponse>, Status> {
        // It may have to be read from disk.
        let report = tokio::task::block_in_place(|| self.report(request));
        let report = report?;
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

/// Ends with the run, with the daemon, or with its reader.
async fn pump(mut watcher: Watcher, mut outlet: Outlet<pb::WatchResponse>, watch: Ongoing) {
    while let Some(event) = outlet.next(&mut watcher).await {
        if !outlet.send(event_to_pb(&event), watcher.place()).await {
            return;
        }
        watch.sent(&event.event);
    }
}
