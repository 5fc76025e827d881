//! Who asks, and what they may do.
//!
//! Owns: the context that a request is authorized in, the one look-up of runs by their ids, versions of clients. May not touch: what is
//! asked for; how somebody is known, which is the authenticator's.

pub use crate::access::Scope;

use super::doors::LogThrottle;
use super::services::Services;
use super::version;
use crate::access::{Authenticator, Credential, Identity, Peer, Record};
use crate::registry::RegisteredRun;
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::text::quoted;
use clino_domain::{Fault, FaultKind, RunId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Request;
use tonic::codegen::http::{HeaderMap, HeaderValue};

/// Who makes a call, as the doors leave it with the request.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<Requester>);

/// Who may do one thing in some projects.
#[derive(Debug, Clone)]
pub struct AuthContext {
    /// Who has it, for the audit log.
    pub name: String,
    scope: Scope,
    requester: Arc<Requester>,
}

/// Who asked for an authorization, and who that was when it was looked at last.
#[derive(Debug)]
struct Requester {
    authenticator: Arc<Authenticator>,
    counters: Arc<Counters>,
    credential: Credential,
    peer: Peer,
    method: Arc<str>,
    known: Mutex<(u64, Result<Identity, Fault>)>,
}

/// Log lines about callers whom nobody knows.
static STRANGERS: LogThrottle = LogThrottle::new();

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

impl Requester {
    /// Who that is by the files as they are now.
    fn identity(&self) -> Result<Identity, Fault> {
        let now = self.authenticator.generation();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != now {
            *known = (now, self.authenticator.identify(&self.credential));
        }
        known.1.clone()
    }

    fn refuse(&self, who: &str, place: Concerned<'_>, fault: &Fault) {
        let (incident, event) = match fault.kind {
            FaultKind::Quota => {
                self.counters.count(Counter::QuotaRefused);
                (Incident::QuotaRefused, "quota")
            }
            _ => {
                self.counters.count(Counter::AccessDenied);
                (Incident::AccessDenied, "denied")
            }
        };
        let detail = format!("{} for {} from {}: {}", self.method, quoted(who), self.peer, fault.message);
        let code = self.counters.note(incident, &detail);
        // Anybody can be refused as often as they like; the audit log has all of them that there is room for.
        let left_out = if fault.kind == FaultKind::Unauthenticated { STRANGERS.due() } else { Some(0) };
        if let Some(left_out) = left_out {
            let peer = &self.peer;
            let method = &*self.method;
            tracing::info!(code, who, %peer, method, reason = fault.message, left_out, event);
        }
        self.record(event, who, place, &fault.message);
    }

    fn record(&self, event: &str, who: &str, place: Concerned<'_>, outcome: &str) {
        let peer = self.peer.to_string();
        let method = &*self.method;
        let Concerned { project, run } = place;
        self.authenticator.audit.record(&Record { event, who, peer: &peer, method, project, run, outcome });
    }
}

impl AuthContext {
    /// Whether it is good for a project, as things stand now.
    pub fn covers(&self, project: &str) -> bool {
        self.requester.identity().is_ok_and(|identity| identity.grants.allow(project, self.scope))
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
        self.requester.refuse(&self.name, Concerned::project(project), &fault);
        Err(fault)
    }

    /// That it still holds: in a project, or in any.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] when it was revoked or has expired, [`FaultKind::Denied`] when it was narrowed.
    pub fn still_valid(&self, project: Option<&str>) -> Result<(), Fault> {
        let identity = self.requester.authenticator.identify(&self.requester.credential);
        let checked = identity.and_then(|identity| {
            let holds = match project {
                Some(project) => identity.grants.allow(project, self.scope),
                None => identity.grants.any(self.scope),
            };
            if holds { Ok(()) } else { Err(denied("project", &self.name, self.scope)) }
        });
        checked
            .inspect_err(|fault| self.requester.refuse(&self.name, Concerned { project, run: None }, fault))
    }

    /// Writes to the audit log what was done with it.
    pub fn audit(&self, event: &str, project: Option<&str>, run: Option<&RunId>, outcome: &str) {
        self.requester.record(event, &self.name, Concerned { project, run }, outcome);
    }

    /// Counts and writes down a refusal for a quota; others pass through.
    pub fn quota<T>(&self, project: &str, result: Result<T, Fault>) -> Result<T, Fault> {
        result.inspect_err(|fault| {
            if fault.kind == FaultKind::Quota {
                self.requester.refuse(&self.name, Concerned::project(project), fault);
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
pub struct AccessGuard {
    auth: AuthContext,
    project: Option<String>,
    changes: watch::Receiver<u64>,
    next: Instant,
}

impl AccessGuard {
    /// Why the stream must end; waits while it need not. Cancel-safe: to be selected on.
    pub async fn over(&mut self) -> Fault {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.next) => {}
                // The authenticator lives as long as the context.
                _ = self.changes.changed() => {}
            }
            self.next = Instant::now() + self.pause();
            if let Err(fault) = self.auth.still_valid(self.project.as_deref()) {
                return fault;
            }
        }
    }

    /// Until the next look: sooner when the client expires before.
    fn pause(&self) -> Duration {
        let recheck = self.auth.requester.authenticator.recheck;
        let expires = self.auth.requester.identity().ok().and_then(|identity| identity.expires);
        let left = expires.and_then(|expires| expires.duration_since(SystemTime::now()).ok());
        // A little later: a clock that is read before its time finds nothing.
        left.map_or(recheck, |left| recheck.min(left + Duration::from_millis(1)))
    }
}

impl Services {
    /// Leave for what a request asks.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`] or [`FaultKind::Denied`]; [`FaultKind::Precondition`] for a client that is too old
    /// for this daemon, or needs a newer one.
    pub fn authorize<T>(&self, request: &Request<T>, scope: Scope) -> Result<AuthContext, Fault> {
        version::check(request.metadata())?;
        let Some(Caller(requester)) = request.extensions().get::<Caller>().cloned() else {
            return Err(Fault::internal("nobody looked at who makes this call"));
        };
        // Again: the files may have changed while its message came.
        let identity = requester.identity();
        let identity = identity.inspect_err(|fault| requester.refuse("", Concerned::default(), fault))?;
        if identity.grants.any(scope) {
            return Ok(AuthContext { name: identity.name, scope, requester });
        }
        let fault = denied("authorization", &identity.name, scope);
        requester.refuse(&identity.name, Concerned::default(), &fault);
        Err(fault)
    }

    /// Who makes a call, by its headers and its connection.
    ///
    /// # Errors
    /// [`FaultKind::Unauthenticated`].
    pub(super) fn meet(&self, headers: &HeaderMap, peer: Peer, method: Arc<str>) -> Result<Caller, Fault> {
        let authenticator = self.authenticator.clone();
        let generation = authenticator.generation();
        let authorization = headers.get("authorization").map(HeaderValue::as_bytes);
        let credential = authenticator.credential(authorization, &peer);
        let identity = credential.clone().and_then(|credential| authenticator.identify(&credential));
        let requester = Requester {
            authenticator,
            counters: self.counters.clone(),
            credential: credential.unwrap_or(Credential::Nothing),
            peer,
            method,
            known: Mutex::new((generation, identity.clone())),
        };
        match identity {
            Ok(_) => Ok(Caller(Arc::new(requester))),
            Err(fault) => {
                requester.refuse("", Concerned::default(), &fault);
                Err(fault)
            }
        }
    }

    /// A run that a request names by its id, and whether it is closed. One that the context does not cover is as absent as
    /// one that does not exist.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn run_for(&self, auth: &AuthContext, id: &RunId) -> Result<(Arc<RegisteredRun>, bool), Fault> {
        let (run, closed) = self.registry.get(id)?;
        if auth.covers(&run.label.project) {
            return Ok((run, closed));
        }
        let fault = denied("run_id", &auth.name, auth.scope);
        auth.requester.refuse(
            &auth.name,
            Concerned { project: Some(&run.label.project), run: Some(id) },
            &fault,
        );
        Err(Fault::unknown_run())
    }

    /// For a stream in a context: in one project, or in any.
    pub fn guard(&self, auth: &AuthContext, project: Option<&str>) -> AccessGuard {
        let auth = auth.clone();
        let project = project.map(str::to_owned);
        let mut guard = AccessGuard {
            changes: auth.requester.authenticator.changes(),
            auth,
            project,
            next: Instant::now(),
        };
        guard.next += guard.pause();
        guard
    }
}
