//! What is known of one run that is kept: its row, what its readings lean on, and how far it is in the database.
//!
//! Owns: these few facts. May not touch: rows.

use super::lock;
use super::reading::RowContext;
use crate::store::{Entry, Progress, RunChange};
use clino_domain::{Fault, Precision, RunId, Sequenced};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// What the writer keeps for one run.
#[derive(Debug)]
pub(super) struct RunHandle {
    /// Its number, once it has a row; 0 until then.
    row: AtomicI64,
    pub context: RowContext,
    /// With all that the writer has taken in hand, also what is not durable yet.
    ahead: Mutex<Progress>,
    /// What cannot be kept, newest last: the run itself, or snapshots of it, by their ids.
    refused: Mutex<VecDeque<(String, Fault)>>,
}

/// Maximum number of remembered refusals of a run: a waiting client asks for its own at once.
const MOST_REFUSED: usize = 32;

impl RunHandle {
    /// Of a run that has no row yet.
    pub fn new(context: RowContext) -> Self {
        Self::at(0, context, Progress::default())
    }

    /// Of a run that has one.
    pub fn at(row: i64, context: RowContext, progress: Progress) -> Self {
        Self { row: AtomicI64::new(row), context, ahead: Mutex::new(progress), refused: Mutex::default() }
    }

    /// Of the run of an entry; an opening begins it. One that was never opened has no row, so that its entries are set aside.
    pub fn of(entry: &Entry, handles: &mut HashMap<RunId, Arc<Self>>) -> Arc<Self> {
        if let Some(known) = handles.get(&entry.run) {
            return known.clone();
        }
        let RunChange::Open(record) = &entry.change else {
            return Arc::new(Self::new(RowContext { measures: Vec::new(), precision: Precision::Auto }));
        };
        let handle = Self::new(RowContext { measures: record.measures.clone(), precision: record.precision });
        let handle = Arc::new(handle);
        handles.insert(entry.run.clone(), handle.clone());
        handle
    }

    pub fn is_row(&self, row: i64) {
        self.row.store(row, Ordering::Relaxed);
    }

    /// Its number.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it has no row: its opening is always written first.
    pub fn row(&self) -> Result<i64, Fault> {
        self.found().ok_or_else(|| Fault::internal("a run has no row in the history"))
    }

    /// Its number, if it has a row.
    pub fn found(&self) -> Option<i64> {
        Some(self.row.load(Ordering::Relaxed)).filter(|row| *row > 0)
    }

    /// Notes that the run or a snapshot cannot be kept.
    pub fn refuse(&self, id: String, fault: Fault) {
        let mut refused = lock(&self.refused);
        refused.push_back((id, fault));
        if refused.len() > MOST_REFUSED {
            refused.pop_front();
        }
    }

    /// Why the run or a snapshot cannot be kept, if it cannot.
    pub fn refusal(&self, id: &str) -> Option<Fault> {
        lock(&self.refused).iter().rev().find(|(found, _)| found == id).map(|(_, fault)| fault.clone())
    }

    pub fn ahead(&self) -> Progress {
        *lock(&self.ahead)
    }

    /// Counts an event that the writer takes in hand, unless it has come before.
    pub fn advance(&self, Sequenced { sequence, event }: &Sequenced) {
        let mut ahead = lock(&self.ahead);
        if *sequence >= ahead.next_sequence {
            ahead.take(*sequence, event);
        }
    }
}
