//! A cursor over the events of one run.
//!
//! Owns: where a reader is. May not touch: the events.

use super::run_stream::RunStream;
use crate::store::EventStore;
use clino_domain::incident::Incident;
use clino_domain::{Event, Sequenced};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// Events that a watcher reads back at once.
const PAGE: usize = 128;

/// A cursor over the events of one run. What memory has dropped is read back from the store, where there is one.
#[derive(Debug)]
pub struct Watcher {
    stream: Arc<RunStream>,
    place: u64,
    news: watch::Receiver<u64>,
    store: Option<Arc<dyn EventStore>>,
    /// Read back, and next in line.
    page: VecDeque<Arc<Sequenced>>,
}

impl Watcher {
    pub(super) fn new(stream: Arc<RunStream>, place: u64, store: Option<Arc<dyn EventStore>>) -> Self {
        let news = stream.news();
        Self { stream, place, news, store, page: VecDeque::new() }
    }

    /// Place of the next event.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The next event; `None` after the last one of the run. Cancel-safe: the cursor moves only with an answer.
    pub async fn next(&mut self) -> Option<Arc<Sequenced>> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return Some(self.pass(event));
            }
            self.news.mark_unchanged();
            let (event, ended) = self.stream.at(self.place);
            match event {
                Some(event) if matches!(event.event, Event::Gap { .. }) => {
                    self.page = self.read_back().await;
                    if self.page.is_empty() {
                        return Some(self.pass(event));
                    }
                }
                Some(event) => return Some(self.pass(event)),
                None if ended || self.news.changed().await.is_err() => return None,
                None => {}
            }
        }
    }

    fn pass(&mut self, event: Arc<Sequenced>) -> Arc<Sequenced> {
        self.place = event.sequence + 1;
        event
    }

    /// What the history has from here on, with a gap where a row could not be kept; nothing where it cannot be read.
    async fn read_back(&self) -> VecDeque<Arc<Sequenced>> {
        let Some(store) = self.store.clone() else { return VecDeque::new() };
        let run = self.stream.run().clone();
        let place = self.place;
        let read = tokio::task::spawn_blocking(move || store.page(&run, place, PAGE)).await;
        match read {
            Ok(Ok(page)) => with_gaps(page, place),
            Ok(Err(fault)) => {
                let run = self.stream.run();
                let code =
                    self.stream.counters().note(Incident::ReadBackFailed, &format!("run {run}: {fault}"));
                tracing::warn!(code, %run, place, %fault, "events are not read back");
                VecDeque::new()
            }
            // Only at the end of the runtime.
            Err(_) => VecDeque::new(),
        }
    }
}

/// A page of rows, which are written in their order: what is missing between two of them is not there.
fn with_gaps(page: Vec<Arc<Sequenced>>, place: u64) -> VecDeque<Arc<Sequenced>> {
    let mut due = place;
    let mut events = VecDeque::with_capacity(page.len());
    for event in page {
        let lost = event.sequence.saturating_sub(due);
        if lost > 0 {
            let gap = Sequenced { sequence: event.sequence - 1, event: Event::Gap { lost } };
            events.push_back(Arc::new(gap));
        }
        due = event.sequence + 1;
        events.push_back(event);
    }
    events
}
