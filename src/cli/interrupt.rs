//! Ctrl-C in a long command: it ends with what it has.
//!
//! Owns: what a signal means to a command. May not touch: what is kept.

use crate::shutdown::Signals;
use clino_domain::{Fault, Stop};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a shell calls the end of a command by SIGINT.
const INTERRUPTED: u8 = 130;
/// Exit code of a command that SIGTERM ended.
const TERMINATED: u8 = 143;

/// Signals that were heard.
#[derive(Debug)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// From now on the first SIGINT or SIGTERM raises `stop`; the second one ends the process.
    ///
    /// # Errors
    /// If the system cannot install signal handlers.
    pub fn hear(stop: Stop) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::internal(format!("signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = runtime.block_on(async { Signals::hear() }).map_err(failed)?;
        let code = Arc::new(AtomicU8::new(0));
        let heard = code.clone();
        let listen = async move {
            loop {
                let code = if signals.next().await == "SIGINT" { INTERRUPTED } else { TERMINATED };
                if heard.swap(code, Ordering::Relaxed) != 0 {
                    std::process::exit(i32::from(code));
                }
                stop.raise("interrupted");
            }
        };
        let thread = std::thread::Builder::new().name("clino-signals".into());
        thread.spawn(move || runtime.block_on(listen)).map_err(failed)?;
        Ok(Self(code))
    }

    /// The exit code of a command that was ended by a signal.
    pub fn code(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }
}
