//! What waits for the writer.
//!
//! Owns: its order, and how much of it there ever was. May not touch: what is in the entries.

use super::run_handle::RunHandle;
use crate::store::Entry;
use std::collections::VecDeque;
use std::sync::Arc;

/// An entry with what is known of its run.
#[derive(Debug)]
pub(super) struct QueuedEntry {
    pub entry: Entry,
    pub handle: Arc<RunHandle>,
}

/// Entries in the order in which they were pushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<QueuedEntry>,
    /// Of all that ever were.
    queued: u64,
    closed: bool,
    /// Whether nobody takes anything any more.
    abandoned: bool,
}

impl Queue {
    /// Puts something at the end.
    pub fn push(&mut self, entry: Entry, handle: Arc<RunHandle>) {
        self.queued += 1;
        if !self.abandoned {
            self.waiting.push_back(QueuedEntry { entry, handle });
        }
    }

    /// Moves all of it to the end of another one.
    pub fn pour(&mut self, pending: &mut VecDeque<QueuedEntry>) {
        pending.append(&mut self.waiting);
    }

    pub fn queued(&self) -> u64 {
        self.queued
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Closes the queue: no more entries come.
    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The writer has gone: what waits is dropped with all that it holds on to. Tells how much that was.
    pub fn abandon(&mut self) -> usize {
        self.abandoned = true;
        std::mem::take(&mut self.waiting).len()
    }
}
