//! Uploads and runs that are refused: as which incident that counts.
//!
//! Owns: this choice, and its line of the log. May not touch: why something is refused.

use super::services::Services;
use clino_domain::FaultKind;
use clino_domain::incident::Incident;
use clino_domain::status::from_status;
use tonic::{Code, Status};

/// What was refused, or broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Snapshot,
    Probe,
    Run,
}

impl Refused {
    fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Probe => "probe",
            Self::Run => "run",
        }
    }
}

impl Services {
    /// Notes that something was refused. What somebody has noted before, such as a quota, is logged only.
    pub(super) fn refused(&self, what: Refused, status: &Status) {
        let name = what.name();
        let message = status.message();
        let Some(incident) = self.incident(what, status) else {
            tracing::info!(what = name, status = %status.code(), message, "refused");
            return;
        };
        let code = self.counters.note(incident, &format!("{name}: {message}"));
        tracing::info!(code, what = name, status = %status.code(), message, "refused");
    }

    fn incident(&self, what: Refused, status: &Status) -> Option<Incident> {
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => None,
            Code::ResourceExhausted if from_status(status).kind == FaultKind::Quota => None,
            Code::ResourceExhausted | Code::Unavailable if self.room().is_err() => {
                Some(Incident::DiskRefused)
            }
            Code::ResourceExhausted if what == Refused::Run && self.is_full() => Some(Incident::RunLimit),
            // One that never fits is told as a wrong field.
            Code::InvalidArgument if from_status(status).violations.iter().any(|v| v.field == "memory") => {
                Some(Incident::MemoryRefused)
            }
            Code::ResourceExhausted => Some(Incident::MemoryRefused),
            Code::DeadlineExceeded if what != Refused::Run => Some(Incident::UploadSlow),
            Code::Internal if what == Refused::Run => Some(Incident::ExaminationFailed),
            _ if what == Refused::Run => Some(Incident::RunRefused),
            _ => Some(Incident::UploadFailed),
        }
    }

    fn is_full(&self) -> bool {
        let counts = self.registry.run_counts();
        counts.unfinished() >= self.registry.limit()
    }
}
