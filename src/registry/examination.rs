//! Specifications become validated runs, with memory that is claimed before it is taken and given back when a run is over.
//!
//! Owns: what is claimed when, and which runs keep what was made of them. May not touch: how a run is validated or measured.

use super::run::RegisteredRun;
use super::{Registry, RunEntry};
use clino_domain::{Admitted, Fault, FaultKind, RunSpec, ValidatedRun};
use std::sync::Arc;

/// What was made of a specification, with the claim on what it takes.
#[derive(Debug)]
pub(super) struct Examined {
    pub validated: Arc<ValidatedRun>,
    pub admitted: Admitted,
}

/// A run that was opened or found.
#[derive(Debug)]
pub struct Opened {
    /// The run itself.
    pub run: Arc<RegisteredRun>,
    /// What the validator made of its specification.
    pub validated: Arc<ValidatedRun>,
    /// Whether it is new.
    pub created: bool,
    /// Of a run that is over, which keeps nothing.
    admitted: Option<Admitted>,
}

impl Opened {
    /// A run that was opened now; it keeps what was made of it.
    pub(super) fn new(run: Arc<RegisteredRun>, validated: Arc<ValidatedRun>) -> Self {
        Self { run, validated, created: true, admitted: None }
    }
}

impl Registry {
    /// Checks a specification and claims what its run takes. Not for an asynchronous thread.
    ///
    /// # Errors
    /// Those of the validator and of [`clino_domain::Memory::admit`].
    pub(super) fn examine(&self, spec: &RunSpec) -> Result<Examined, Fault> {
        let validated = self.validate(spec)?;
        let admitted = self.memory.admit(&validated.footprint)?;
        Ok(Examined { validated: Arc::new(validated), admitted })
    }

    /// Checks a specification. Its probes are prepared only while their bytes are claimed.
    ///
    /// # Errors
    /// Those of the validator and of [`clino_domain::Memory::examine`].
    pub(super) fn validate(&self, spec: &RunSpec) -> Result<ValidatedRun, Fault> {
        let _claim = self.memory.examine(self.validator.preparation(spec))?;
        self.validator.validate(spec)
    }

    /// What was made of the specification of a run that was found; made again where the run does not keep it.
    ///
    /// # Errors
    /// Those of [`Registry::examine`].
    pub(super) fn found(&self, run: Arc<RegisteredRun>, spec: &RunSpec) -> Result<Opened, Fault> {
        if let Ok(validated) = run.validated() {
            return Ok(Opened { run, validated, created: false, admitted: None });
        }
        let examined = self.examine(spec)?;
        let mut inner = self.lock();
        let (validated, admitted) = inner.entry(&run.id)?.keep(examined);
        drop(inner);
        Ok(Opened { run, validated, created: false, admitted })
    }
}

impl RunEntry {
    /// Keeps what was made of its specification until it is over, unless it has that or is over. Returns what holds from now
    /// on, and the claim if the run does not keep it.
    pub(super) fn keep(&mut self, examined: Examined) -> (Arc<ValidatedRun>, Option<Admitted>) {
        let Examined { validated, admitted } = examined;
        if let Ok(first) = self.run.validated() {
            return (first, None);
        }
        if self.state.is_over() {
            return (validated, Some(admitted));
        }
        self.run.set_validated(Some(validated.clone()));
        self.admitted = Some(admitted);
        (validated, None)
    }

    /// Keeps what was made of its specification when it was found, because it is opened again.
    ///
    /// # Errors
    /// [`FaultKind::Unavailable`] when it ended only after it was found.
    pub(super) fn take_back(&mut self, opened: &mut Opened) -> Result<(), Fault> {
        match opened.admitted.take() {
            Some(admitted) => {
                self.run.set_validated(Some(opened.validated.clone()));
                self.admitted = Some(admitted);
            }
            None if self.run.validated().is_ok() => {}
            None => {
                let message = "the run ended just now: open it again";
                return Err(Fault::new(FaultKind::Unavailable, message));
            }
        }
        Ok(())
    }

    /// It is over: what it would be measured with is given up.
    pub(super) fn release(&mut self) {
        self.state.forget_references();
        self.run.set_validated(None);
        self.admitted = None;
    }

    /// Bytes that it takes to measure one of its snapshots.
    pub(super) fn working(&self) -> u64 {
        self.admitted.as_ref().map_or(0, Admitted::working)
    }
}
