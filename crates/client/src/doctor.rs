//! What a daemon says of its own health.
//!
//! Owns: asking. May not touch: what follows from it.

use super::Client;
use clino_domain::Fault;
use clino_domain::diagnosis::Diagnosis;
use clino_proto::{convert, pb};

impl Client {
    /// What is slow, full, skipped, refused or misconfigured in the daemon, and what to do about it.
    ///
    /// # Errors
    /// What the daemon answers: [`clino_domain::FaultKind::Denied`] without the scope read, and
    /// [`clino_domain::FaultKind::Internal`] of one that is too old to have a doctor.
    pub async fn diagnose(&self) -> Result<Diagnosis, Fault> {
        let answer = self.doctor_service().diagnose(pb::DiagnoseRequest {}).await;
        Ok(convert::diagnosis_from_pb(answer.map_err(|status| self.fault(&status))?.into_inner()))
    }
}
