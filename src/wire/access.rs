//! Who asks, and what they may do.
//!
//! Owns: the pass that a request gets, the one look-up of runs by their ids, versions of clients. May not touch: what is
//! asked for; how somebody is known, which is the gate's.

pub use crate::access::Scope;

use super::desk::Desk;
use super::version;
use crate::access::{Credential, Gate, Identity, Peer, Record};
use crate::registry::Run;
use clino_domain::tally::{Happening, Tally};
use clino_domain::{Fault, FaultKind, RunId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Status};

/// Path of a call, as the server keeps it with the request.
#[derive(Debug, Clone)]
pub(super) struct Method(pub Arc<str>);

/// Leave to do one thing in some projects.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Who has it, for the audit log.
    pub name: String,
    scope: Scope,
    caller: Arc<Caller>,
}

/// Who asked for a pass, and who that was when it was looked at last.
#[derive(Debug)]
struct Caller {
    gate: Arc<Gate>,
    tally: Arc<Tally>,
    credential: Credential,
    peer: Peer,
    method: Arc<str>,
    known: Mutex<(u64, Result<Identity, Fault>)>,
}

/// What a call is about, where that is known.
#[derive(Clone, Copy, Default)]
struct Concerned<'a> {
    project: Option<&'a str>,
    run: Option<&'a RunId>,
}

impl<'a> Concerned<'a> {
    fn project(project: &'a str) -> Self {
        Self { project: Some(project), run: None }
    }
}

impl Caller {
    /// Who that is by the files as they are now.
    fn identity(&self) -> Result<Identity, Fault> {
        let now = self.gate.generation();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != now {
            *known = (now, self.gate.identify(&self.credential));
        }
        known.1.clone()
    }

    fn refuse(&self, who: &str, place: Concerned<'_>, fault: &Fault) {
        let event = match fault.kind {
            FaultKind::Quota => {
                self.tally.count(Happening::QuotaRefused);
                "quota"
            }
            _ => {
                self.tally.count(Happening::AccessDenied);
                "denied"
            }
        };
        tracing::info!(who, peer = %self.peer, method = %self.method, reason = fault.message, event);
        self.record(event, who, place, &fault.message);
    }

    fn record(&self, event: &str, who: &str, place: Concerned<'_>, outcome: &str) {
        let peer = self.peer.to_string();
        let method = &*self.method;
        let Concerned { project, run } = place;
        self.gate.audit.record(&Record { event, who, peer: &peer, method, project, run, outcome });
    }
}

impl Pass {
    /// Whether it is good for a project, as things stand now.
    pub fn covers(&self, project: &str) -> bool {
        self.caller.identity().is_ok_and(|identity| identity.grants.allow(project, self.scope))
    }

    /// That it is good for a project that the request names itself.
    ///
    /// # Errors
    /// [`FaultKind::Denied`].
    pub fn check(&self, project: &str) -> Result<(), Fault> {
        if self.covers(project) {
            return Ok(());
        }
        let fault = denied("project", &self.name, self.scope);
        self.caller.refuse(&self.name, Concerned::project(project), &fault);
        Err(fault)
    }

    /// That it still holds: in a project, or in any.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] when it was revoked or has expired, [`FaultKind::Denied`] when it was narrowed.
    pub fn still_valid(&self, project: Option<&str>) -> Result<(), Fault> {
        let identity = self.caller.gate.identify(&self.caller.credential);
        let checked = identity.and_then(|identity| {
            let holds = match project {
                Some(project) => identity.grants.allow(project, self.scope),
                None => identity.grants.any(self.scope),
            };
            if holds { Ok(()) } else { Err(denied("project", &self.name, self.scope)) }
        });
        checked.inspect_err(|fault| self.caller.refuse(&self.name, Concerned { project, run: None }, fault))
    }

    /// Writes to the audit log what was done with it.
    pub fn audit(&self, event: &str, project: Option<&str>, run: Option<&RunId>, outcome: &str) {
        self.caller.record(event, &self.name, Concerned { project, run }, outcome);
    }

    /// Counts and writes down a refusal for a quota; others pass through.
    pub fn quota<T>(&self, project: &str, result: Result<T, Fault>) -> Result<T, Fault> {
        result.inspect_err(|fault| {
            if fault.kind == FaultKind::Quota {
                self.caller.refuse(&self.name, Concerned::project(project), fault);
            }
        })
    }
}

fn denied(field: &str, name: &str, scope: Scope) -> Fault {
    let scope = scope.name();
    Fault::field(FaultKind::Denied, field, format!("{name} does not have the scope {scope} there"))
}

/// Looks again and again at whether the client of a stream may still have it.
#[derive(Debug)]
pub struct Watchman {
    pass: Pass,
    project: Option<String>,
    changes: watch::Receiver<u64>,
    next: Instant,
}

impl Watchman {
    /// Why the stream must end; waits while it need not. Cancel-safe: to be selected on.
    pub async fn over(&mut self) -> Fault {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.next) => {}
                // The gate lives as long as the pass.
                _ = self.changes.changed() => {}
            }
            self.next = Instant::now() + self.pause();
            if let Err(fault) = self.pass.still_valid(self.project.as_deref()) {
                return fault;
            }
        }
    }

    /// Until the next look: sooner when the pass expires before.
    fn pause(&self) -> Duration {
        let recheck = self.pass.caller.gate.recheck;
        let expires = self.pass.caller.identity().ok().and_then(|identity| identity.expires);
        let left = expires.and_then(|expires| expires.duration_since(SystemTime::now()).ok());
        // A little later: a clock that is read before its time finds nothing.
        left.map_or(recheck, |left| recheck.min(left + Duration::from_millis(1)))
    }
}

impl Desk {
    /// Leave for what a request asks.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] or [`FaultKind::Denied`]; [`FaultKind::Precondition`] for a client that is too old
    /// for this daemon, or needs a newer one.
    pub fn admit<T>(&self, request: &Request<T>, scope: Scope) -> Result<Pass, Fault> {
        version::check(request.metadata())?;
        let (caller, identity) = self.known(request)?;
        if identity.grants.any(scope) {
            return Ok(Pass { name: identity.name, scope, caller: Arc::new(caller) });
        }
        let fault = denied("authorization", &identity.name, scope);
        caller.refuse(&identity.name, Concerned::default(), &fault);
        Err(fault)
    }

    /// That somebody is known, whatever they may do.
    pub(super) fn acquainted(&self, request: Request<()>) -> Result<Request<()>, Status> {
        self.known(&request)?;
        Ok(request)
    }

    fn known<T>(&self, request: &Request<T>) -> Result<(Caller, Identity), Fault> {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Unix { uid: None });
        let method =
            request.extensions().get::<Method>().map_or_else(|| Arc::from(""), |method| method.0.clone());
        let gate = self.gate.clone();
        let generation = self.gate.generation();
        let authorization = request.metadata().get("authorization").map(|value| value.as_encoded_bytes());
        let credential = gate.credential(authorization, &peer);
        let identity = credential.clone().and_then(|credential| gate.identify(&credential));
        let caller = Caller {
            gate,
            tally: self.tally.clone(),
            credential: credential.unwrap_or(Credential::Nothing),
            peer,
            method,
            known: Mutex::new((generation, identity.clone())),
        };
        match identity {
            Ok(identity) => Ok((caller, identity)),
            Err(fault) => {
                caller.refuse("", Concerned::default(), &fault);
                Err(fault)
            }
        }
    }

    /// A run that a request names by its id, and whether it is closed. One that the pass does not cover is as absent as
    /// one that does not exist.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn run_for(&self, pass: &Pass, id: &RunId) -> Result<(Arc<Run>, bool), Fault> {
        let (run, closed) = self.registry.get(id)?;
        if pass.covers(&run.label.project) {
            return Ok((run, closed));
        }
        let fault = denied("run_id", &pass.name, pass.scope);
        pass.caller.refuse(
            &pass.name,
            Concerned { project: Some(&run.label.project), run: Some(id) },
            &fault,
        );
        Err(Fault::unknown_run())
    }

    /// For a stream of a pass: in one project, or in any.
    pub fn watchman(&self, pass: &Pass, project: Option<&str>) -> Watchman {
        let pass = pass.clone();
        let project = project.map(str::to_owned);
        let mut watchman =
            Watchman { changes: pass.caller.gate.changes(), pass, project, next: Instant::now() };
        watchman.next += watchman.pause();
        watchman
    }
}
