//! Runs of earlier processes: there at once, with what they need of the disk read back when it is needed.
//!
//! Owns: when that is. May not touch: the disk.

use super::run::{RegisteredRun, RunStatus, Unread};
use super::{Registry, RegistryState, RunEntry};
use clino_domain::incident::Incident;
use clino_domain::{
    DecisionContext, Fault, IdempotencyRecord, PersistedRun, PolicyEvaluator, RunId, RunRecord, Vault,
};
use std::sync::Arc;

impl Registry {
    /// The same with a place from which runs are read back.
    pub fn with_vault(self, vault: Arc<dyn Vault>) -> Self {
        Self { vault: Some(vault), ..self }
    }

    /// Takes up runs of earlier processes, oldest first. Of runs that share a key the last one has it.
    pub fn resume(&self, runs: Vec<PersistedRun>) {
        let mut inner = self.lock();
        for kept in runs {
            let evaluator = self.evaluator_again(&kept.record);
            let run = Arc::new(RegisteredRun::of(&kept.record, evaluator));
            let context = DecisionContext { label: run.label.clone(), evaluator: run.evaluator.clone() };
            self.journal.resume(&run.id, context);
            self.take_up(&mut inner, run, &kept);
        }
    }

    fn take_up(&self, inner: &mut RegistryState, run: Arc<RegisteredRun>, kept: &PersistedRun) {
        let unread = Unread { idempotency: true, initialization: true };
        run.closed.send_replace(kept.closed);
        // Nothing waits in it: a closed one has ended.
        let PersistedRun { closed, resumable, begun, .. } = *kept;
        let state = RunStatus { closed, resumable, ended: closed, begun, unread, ..RunStatus::default() };
        inner.keys.insert(run.keyed(), run.id.clone());
        inner.order.push(run.id.clone());
        inner.runs.insert(run.id.clone(), RunEntry { run, state, admitted: None });
    }

    fn evaluator_again(&self, record: &RunRecord) -> Option<Arc<dyn PolicyEvaluator>> {
        let groups: Vec<_> = record.groups.iter().map(|group| group.name.clone()).collect();
        self.evaluator(record.policy.as_ref(), &record.measures, &groups).unwrap_or_else(|fault| {
            let code = self.counters.note(Incident::PolicyLost, &format!("run {}: {fault}", record.id));
            tracing::warn!(code, run = %record.id, %fault, "the policy of a run is no longer known");
            None
        })
    }

    /// Reads back attempts and receipts of a run, if that has not been done.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub(super) fn remember(&self, run: &RunId) -> Result<(), Fault> {
        let Some(vault) = &self.vault else { return Ok(()) };
        if !self.lock().entry(run)?.state.unread.idempotency {
            return Ok(());
        }
        let IdempotencyRecord { attempts, receipts } = vault.idempotency(run)?;
        let mut inner = self.lock();
        let state = &mut inner.entry(run)?.state;
        if std::mem::take(&mut state.unread.idempotency) {
            attempts.into_iter().for_each(|at| state.attempts.take(at));
            receipts.into_iter().for_each(|(key, print, receipt)| state.receipts.keep(key, print, receipt));
        }
        Ok(())
    }

    /// Examines a run, and reads back its initialization, if that has not been done.
    ///
    /// # Errors
    /// Those of [`Registry::examine`]; when its specification cannot be read back.
    pub(super) fn ensure_validated(&self, run: &RegisteredRun) -> Result<(), Fault> {
        let Some(vault) = &self.vault else { return Ok(()) };
        if run.validated().is_err() {
            let examined = self.examine(&vault.specification(&run.id, self.models)?)?;
            self.lock().entry(&run.id)?.keep(examined);
        }
        if !self.lock().entry(&run.id)?.state.unread.initialization {
            return Ok(());
        }
        let validated = run.validated()?;
        let initialization = match validated.needs_init {
            true => vault.initialization(&run.id, &*validated.layout).unwrap_or_else(|fault| {
                let code = self.counters.note(Incident::ReferenceLost, &format!("run {}: {fault}", run.id));
                tracing::warn!(code, run = %run.id, %fault, "no initialization: distances are measured without \
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
