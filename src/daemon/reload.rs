//! The files of access: read at the start, looked at again while the daemon runs.
//!
//! Owns: how often. May not touch: what the files say.

use crate::access::{Authenticator, Settings};
use crate::config::AccessConfig;
use crate::wire::{Certificates, TlsFiles};
use clino_domain::Fault;
use clino_domain::counters::Counters;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// How long the last lines of the audit log may take.
pub(super) const LAST_LINES: Duration = Duration::from_secs(1);
/// Time between two looks at the files of access.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the files of access; they are looked at together.
pub(super) fn authenticator(
    access: &AccessConfig,
    counters: &Arc<Counters>,
) -> Result<(Arc<Authenticator>, Option<Arc<Certificates>>), Fault> {
    let AccessConfig { tokens, quotas, audit, recheck, .. } = access.clone();
    let mut authenticator =
        Authenticator::open(&Settings { tokens, quotas, audit, recheck }, counters.clone())?;
    let files = access.tls.as_ref().map(|tls| TlsFiles {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        clients: tls.clients.clone(),
        optional: access.tokens.is_some(),
    });
    let certificates = files.map(|files| Certificates::open(&files, counters).map(Arc::new)).transpose()?;
    if let Some(certificates) = &certificates {
        let looking = certificates.clone();
        let trusting = certificates.clone();
        authenticator =
            authenticator.watching(move || looking.look()).trusting(move |shown| trusting.trusts(shown));
    }
    Ok((Arc::new(authenticator), certificates))
}

/// Looks at the files of access now and then, and at once on SIGHUP; until it drops.
pub(super) struct Reloader(Option<JoinHandle<()>>);

impl Reloader {
    pub fn start(authenticator: Arc<Authenticator>, access: &AccessConfig) -> std::io::Result<Self> {
        let AccessConfig { tls, tokens, quotas, audit, .. } = access;
        if tls.is_none() && tokens.is_none() && quotas.is_none() && audit.is_none() {
            return Ok(Self(None));
        }
        let mut told = signal(SignalKind::hangup())?;
        Ok(Self(Some(tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    _ = told.recv() => authenticator.audit.reopen(),
                }
                tokio::task::block_in_place(|| authenticator.look());
            }
        }))))
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
