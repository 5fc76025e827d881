//! What the service manager is told: ready, stopping, still alive. Without one nothing happens.
//!
//! Owns: these messages and the thread that sends them. May not touch: what makes the daemon ready.

use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::readiness::{DRAINING, ENGINE, Readiness};
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

/// Signs of life go out until this drops.
#[derive(Debug)]
pub(crate) struct Watchdog {
    _until: Option<SyncSender<()>>,
}

impl Watchdog {
    /// Begins with them if the service manager waits for any.
    pub fn start(readiness: Arc<Readiness>, counters: &Counters) -> Self {
        let Some(limit) = sd_notify::watchdog_enabled() else { return Self { _until: None } };
        let (until, over) = sync_channel(0);
        let work = move || pat(&readiness, limit / 3, || over.recv_timeout(limit / 3));
        match Builder::new().name("clino-watchdog".into()).spawn(work) {
            Ok(_) => Self { _until: Some(until) },
            Err(error) => {
                let code = counters.note(Incident::WatchdogSilent, &error.to_string());
                tracing::warn!(code, %error, "no signs of life for the service manager");
                Self { _until: None }
            }
        }
    }
}

/// A thread that has ended while it should work is no life: the manager then restarts the daemon.
fn pat(readiness: &Readiness, pause: Duration, wait: impl Fn() -> Result<(), RecvTimeoutError>) {
    tracing::debug!(?pause, "signs of life for the service manager");
    loop {
        if is_alive(readiness) {
            tell(&[NotifyState::Watchdog]);
        }
        if !matches!(wait(), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

fn is_alive(readiness: &Readiness) -> bool {
    !readiness.is_held(ENGINE) || readiness.is_held(DRAINING)
}

/// The daemon takes work.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It takes none any more.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager is not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_died_is_no_sign_of_life_unless_the_daemon_ends() {
        let readiness = Readiness::default();
        assert!(is_alive(&readiness));
        readiness.hold(ENGINE, "panicked");
        assert!(!is_alive(&readiness));
        readiness.hold(DRAINING, "told to");
        assert!(is_alive(&readiness));
    }
}
