//! What a registry reads back when a run of an earlier process goes on.
//!
//! Owns: from which rows and files. May not touch: runs in memory.

use super::Store;
use super::load;
use super::tensors::TensorFile;
use crate::publish::feed::Hub;
use clino_domain::{
    Fault, KeptGroup, Layout, Ledger, ParameterSource, ProbeGroup, RunId, RunRecord, RunSpec, Vault,
};
use std::sync::Arc;

impl Store {
    fn specification(&self, run: &RunId) -> Result<RunSpec, Fault> {
        let record: RunRecord = self.readers.with(|connection| load::whole_record(connection, run))?;
        let group = |KeptGroup { name, digest, .. }: KeptGroup| {
            let tensors = Arc::new(TensorFile::open(&self.folder.probe(&digest))?.tensors()?);
            Ok(ProbeGroup { name, tensors })
        };
        Ok(RunSpec {
            name: record.name,
            config_json: record.config_json,
            groups: record.groups.into_iter().map(group).collect::<Result<_, Fault>>()?,
            measures: record.measures,
            seed: record.seed,
            delivery: record.delivery,
            precision: record.precision,
            budget: record.budget,
            gpu_only: record.gpu_only,
            label: record.label,
            policy: record.policy,
        })
    }
}

fn memory_only() -> Fault {
    Fault::internal("there is no history to read back from")
}

impl Vault for Hub {
    fn specification(&self, run: &RunId) -> Result<RunSpec, Fault> {
        self.store().ok_or_else(memory_only)?.specification(run)
    }

    fn ledger(&self, run: &RunId) -> Result<Ledger, Fault> {
        let Some((store, kept)) = self.shelf(run)? else { return Ok(Ledger::default()) };
        store.readers.with(|connection| load::ledger(connection, &kept))
    }

    fn initialization(
        &self,
        run: &RunId,
        layout: &dyn Layout,
    ) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
        let Some((store, kept)) = self.shelf(run)? else { return Ok(None) };
        let file = store.readers.with(|connection| load::initialization(connection, &kept))?;
        let open = |digest: String| TensorFile::open(&store.folder.snapshot(&digest))?.parameters(layout);
        file.map(open).transpose()
    }
}
