//! Threads for the bytes of uploads: checksums, digests, statistics, the spool.
//!
//! Owns: how many do that at once, and that others go first. May not touch: what the bytes are.
//!
//! The threads that serve calls are few. If they did this work themselves, a small question would wait for the megabytes of
//! every trainer; if each upload had a thread, these would outnumber them. The system runs a thread of lower priority when no
//! other of the daemon wants the processor.

use clino_domain::Fault;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Arc;
use tokio::sync::oneshot;

/// At least so many, for a disk may make one of them wait.
const LEAST: usize = 2;
const MOST: usize = 8;
/// How much lower their priority is.
const NICE: i32 = 5;

/// The threads; they end with the last of these.
#[derive(Debug, Clone)]
pub struct UploadWorkers(Arc<ThreadPool>);

impl UploadWorkers {
    /// Starts the threads: as many as there are processors.
    ///
    /// # Errors
    /// When the system starts none.
    pub fn start() -> Result<Self, ThreadPoolBuildError> {
        let count = std::thread::available_parallelism().map_or(LEAST, usize::from).clamp(LEAST, MOST);
        let threads = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|number| format!("clino-upload-{number}"))
            // Refused where nobody may change priorities: then they go on as they are.
            .start_handler(|_| {
                let _ = rustix::process::nice(NICE);
            })
            // A panic is one upload's, which hears of it by its dropped sender.
            .panic_handler(|_| {})
            .build()?;
        Ok(Self(Arc::new(threads)))
    }

    /// Does the work there, in turn. Each upload waits for its work, so there is never more of it than uploads.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it panics.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, done) = oneshot::channel();
        self.0.spawn_fifo(move || drop(sender.send(work())));
        done.await.map_err(|_| Fault::internal("the bytes of an upload could not be taken"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_is_its_own() {
        let workers = UploadWorkers::start().unwrap();
        let here = std::thread::current().id();
        assert_ne!(workers.work(|| std::thread::current().id()).await.unwrap(), here);
        for _ in 0..20 {
            assert!(workers.work(|| panic!("a test")).await.is_err());
        }
        assert_eq!(workers.work(|| 7).await.unwrap(), 7);
    }
}
