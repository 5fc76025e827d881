//! Threads for the bytes of uploads: checksums, digests, statistics, the spool.
//!
//! Owns: how many do that at once, and that others go first. May not touch: what the bytes are.
//!
//! The threads that serve calls are few. If they did this work themselves, a small question would wait for the megabytes of
//! every trainer; if each upload had a thread, these would outnumber them. The system runs a thread of lower priority when no
//! other of the daemon wants the processor.

use clino_domain::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// At least so many, for a disk may make one of them wait.
const LEAST: usize = 2;
const MOST: usize = 8;
/// How much lower their priority is.
const NICE: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end with the last of these.
#[derive(Debug, Clone)]
pub struct Lifting(Sender<Job>);

impl Lifting {
    /// Starts the threads: as many as there are processors.
    ///
    /// # Errors
    /// When the system starts none.
    pub fn start() -> std::io::Result<Self> {
        // Each upload has one job at a time: there are never more than uploads.
        let (sender, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let count = std::thread::available_parallelism().map_or(LEAST, usize::from).clamp(LEAST, MOST);
        for number in 0..count {
            let receiver = receiver.clone();
            let thread = std::thread::Builder::new().name(format!("clino-lift-{number}"));
            thread.spawn(move || lift(&receiver))?;
        }
        Ok(Self(sender))
    }

    /// Does the work there, in turn.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it panics.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, done) = oneshot::channel();
        let job = Box::new(move || drop(sender.send(work())));
        let sent = self.0.send(job).is_ok();
        let failed = || Fault::internal("the bytes of an upload could not be taken");
        match sent {
            true => done.await.map_err(|_| failed()),
            false => Err(failed()),
        }
    }
}

fn lift(jobs: &Mutex<Receiver<Job>>) {
    // Refused where nobody may change priorities: then it goes on as it is.
    let _ = rustix::process::nice(NICE);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic is one upload's, which hears of it by its dropped sender.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_is_its_own() {
        let lifting = Lifting::start().unwrap();
        let here = std::thread::current().id();
        assert_ne!(lifting.work(|| std::thread::current().id()).await.unwrap(), here);
        for _ in 0..20 {
            assert!(lifting.work(|| panic!("a test")).await.is_err());
        }
        assert_eq!(lifting.work(|| 7).await.unwrap(), 7);
    }
}
