//! The `Doctor` service.
//!
//! Owns: who may see what of a diagnosis. May not touch: how anything is found.

use super::access::Scope;
use super::doors::Making;
use super::services::Services;
use clino_proto::convert::diagnosis_to_pb;
use clino_proto::pb;
use tokio::task::block_in_place;
use tonic::{Request, Response, Status, async_trait};

pub(super) struct DoctorService(pub Services);

#[async_trait]
impl pb::doctor_server::Doctor for DoctorService {
    async fn diagnose(
        &self,
        request: Request<pb::DiagnoseRequest>,
    ) -> Result<Response<pb::DiagnoseResponse>, Status> {
        let auth = self.0.authorize(&request, Scope::Read)?;
        // It asks disks.
        let making = Making::of(&request).await?;
        let diagnosis = block_in_place(|| self.0.doctor.diagnose(&|project| auth.covers(project)));
        Ok(making.answer(diagnosis_to_pb(&diagnosis)))
    }
}
