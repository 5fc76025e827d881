//! Runs of earlier processes: there at once, with what they need of the disk read back when it is needed.
//!
//! Owns: when that is. May not touch: the disk.

use super::run::{Run, State, Unread};
use super::{Entry, Inner, Registry};
use clino_domain::{Case, Counsel, Fault, KeptRun, Ledger, RunId, RunRecord, Vault};
use std::sync::Arc;

impl Registry {
    /// The same with a place from which runs are read back.
    pub fn with_vault(self, vault: Arc<dyn Vault>) -> Self {
        Self { vault: Some(vault), ..self }
    }

    /// Takes up runs of earlier processes, oldest first. Of runs that share a key the last one has it.
    pub fn resume(&self, runs: Vec<KeptRun>) {
        let mut inner = self.lock();
        for kept in runs {
            let counsel = self.counsel_again(&kept.record);
            let run = Arc::new(Run::of(&kept.record, counsel));
            let case = Case { label: run.label.clone(), counsel: run.counsel.clone() };
            self.journal.resume(&run.id, case);
            self.take_up(&mut inner, run, &kept);
        }
    }

    fn take_up(&self, inner: &mut Inner, run: Arc<Run>, kept: &KeptRun) {
        let unread = Unread { ledger: true, initialization: true };
        run.closed.send_replace(kept.closed);
        // Nothing waits in it: a closed one has ended.
        let KeptRun { closed, resumable, begun, .. } = *kept;
        let state = State { closed, resumable, ended: closed, begun, unread, ..State::default() };
        inner.keys.insert(run.keyed(), run.id.clone());
        inner.order.push(run.id.clone());
        inner.runs.insert(run.id.clone(), Entry { run, state });
    }

    fn counsel_again(&self, record: &RunRecord) -> Option<Arc<dyn Counsel>> {
        let groups: Vec<_> = record.groups.iter().map(|group| group.name.clone()).collect();
        self.counsel(record.policy.as_ref(), &record.measures, &groups).unwrap_or_else(|fault| {
            tracing::warn!(run = %record.id, %fault, "the policy of a run is no longer known");
            None
        })
    }

    /// Reads back attempts and receipts of a run, if that has not been done.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub(super) fn remember(&self, run: &RunId) -> Result<(), Fault> {
        let Some(vault) = &self.vault else { return Ok(()) };
        if !self.lock().entry(run)?.state.unread.ledger {
            return Ok(());
        }
        let Ledger { attempts, receipts } = vault.ledger(run)?;
        let mut inner = self.lock();
        let state = &mut inner.entry(run)?.state;
        if std::mem::take(&mut state.unread.ledger) {
            attempts.into_iter().for_each(|at| state.attempts.take(at));
            receipts.into_iter().for_each(|(key, print, receipt)| state.receipts.keep(key, print, receipt));
        }
        Ok(())
    }

    /// Examines a run, and reads back its initialization, if that has not been done.
    ///
    /// # Errors
    /// Those of the examiner; when its specification cannot be read back.
    pub(super) fn examined(&self, run: &Run) -> Result<(), Fault> {
        let Some(vault) = &self.vault else { return Ok(()) };
        if run.admitted().is_err() {
            run.admit(self.examiner.examine(&vault.specification(&run.id)?)?);
        }
        if !self.lock().entry(&run.id)?.state.unread.initialization {
            return Ok(());
        }
        let admitted = run.admitted()?;
        let initialization = match admitted.needs_init {
            true => vault.initialization(&run.id, &*admitted.layout).unwrap_or_else(|fault| {
                tracing::warn!(run = %run.id, %fault, "no initialization: distances are measured without \
                                                      it");
                None
            }),
            false => None,
        };
        let mut inner = self.lock();
        let state = &mut inner.entry(&run.id)?.state;
        if std::mem::take(&mut state.unread.initialization) && state.init.is_none() {
            state.init = initialization;
        }
        Ok(())
    }

    /// Forgets a run that is closed and measured; true when it is not held any more.
    pub fn forget(&self, run: &RunId) -> bool {
        let mut inner = self.lock();
        match inner.runs.get(run) {
            None => true,
            Some(entry) if entry.state.is_over() => {
                inner.order.retain(|id| id != run);
                self.drop_run(&mut inner, run);
                true
            }
            Some(_) => false,
        }
    }
}
