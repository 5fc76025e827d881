//! What is known of one run that is kept: its row, what its readings lean on, and how far it is in the database.
//!
//! Owns: these few facts. May not touch: rows.

use super::reading::Frame;
use crate::publish::board::Progress;
use clino_domain::{Event, Fault, MeasureRequest, Precision};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One run.
#[derive(Debug)]
pub(in crate::publish) struct Kept {
    /// Its number, once it has a row; 0 until then.
    row: AtomicI64,
    pub(super) frame: Frame,
    /// With all that the writer has taken in hand, also what is not durable yet.
    ahead: Mutex<Progress>,
    /// What cannot be kept, newest last: the run itself, or snapshots of it, by their ids.
    refused: Mutex<VecDeque<(String, Fault)>>,
}

/// So many refusals of a run are remembered: whoever waits for one asks at once.
const MOST_REFUSED: usize = 32;

impl Kept {
    /// Of a run that has no row yet.
    pub fn new(measures: Vec<MeasureRequest>, precision: Precision) -> Self {
        Self {
            row: AtomicI64::new(0),
            frame: Frame { measures, precision },
            ahead: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Of a run that has one.
    pub(super) fn at(row: i64, frame: Frame, progress: Progress) -> Self {
        Self { row: AtomicI64::new(row), frame, ahead: Mutex::new(progress), refused: Mutex::default() }
    }

    pub(super) fn is_row(&self, row: i64) {
        self.row.store(row, Ordering::Relaxed);
    }

    /// Its number.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it has no row: its opening is always written first.
    pub(super) fn row(&self) -> Result<i64, Fault> {
        self.found().ok_or_else(|| Fault::internal("a run has no row in the history"))
    }

    /// Its number, if it has a row.
    pub(super) fn found(&self) -> Option<i64> {
        Some(self.row.load(Ordering::Relaxed)).filter(|row| *row > 0)
    }

    /// Notes that the run or a snapshot cannot be kept.
    pub(super) fn refuse(&self, id: String, fault: Fault) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.push_back((id, fault));
        if refused.len() > MOST_REFUSED {
            refused.pop_front();
        }
    }

    /// Why the run or a snapshot cannot be kept, if it cannot.
    pub fn refusal(&self, id: &str) -> Option<Fault> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().rev().find(|(found, _)| found == id).map(|(_, fault)| fault.clone())
    }

    pub(super) fn ahead(&self) -> Progress {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sequence number of the next event.
    pub(super) fn take(&self, event: &Event) -> u64 {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = ahead.next_sequence;
        ahead.take(sequence, event);
        sequence
    }
}
