//! The thread behind a sender: connects, opens the run, sends what waits, begins again after an outage.
//!
//! Owns: connection and pauses. May not touch: what the trainer does.

use super::slot::{PendingSnapshot, SendSlot};
use crate::follow::is_refusal;
use crate::{Access, Client, Plan, Run};
use clino_domain::{Fault, FaultKind, Receipt};
use std::sync::Arc;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends the slot however the thread ends, so that nobody waits for a sender thread that is gone.
struct EndOnDrop<'s>(&'s SendSlot);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

pub(super) fn run(slot: &Arc<SendSlot>, address: &str, access: &Access, plan: &Plan) {
    let _ending = EndOnDrop(slot);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return slot.give_up(&format!("cannot start the sender: {error}")),
    };
    runtime.block_on(async {
        tokio::select! {
            // An abandoned sender drops whatever it is doing; the daemon keeps nothing of half a push.
            biased;
            () = slot.abandoned() => {}
            () = deliver(slot, address, access, plan) => {}
        }
    });
}

async fn deliver(slot: &SendSlot, address: &str, access: &Access, plan: &Plan) {
    let client = match Client::lazy_with(address, access) {
        Ok(client) => client,
        Err(fault) => return slot.give_up(&fault.to_string()),
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let fault = match client.open_run(plan).await {
            Ok(run) => {
                pause = FIRST_PAUSE;
                slot.session(run.id().clone());
                match session(slot, &run).await {
                    Ok(()) => return,
                    Err(()) => continue,
                }
            }
            Err(fault) if is_refusal(fault.kind) => {
                return slot.give_up(&format!("the daemon refuses the run: {fault}"));
            }
            Err(fault) => fault,
        };
        slot.away(None, &fault.to_string());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Sends until the trainer is done (`Ok`) or the daemon is away (`Err`, already told).
async fn session(slot: &SendSlot, run: &Run) -> Result<(), ()> {
    while let Some(pending) = slot.take().await {
        match push(run, &pending).await {
            Ok(receipt) => slot.sent(&pending, receipt.decision),
            // The daemon came back without this run: it has to be opened again.
            Err(fault) if fault.kind == FaultKind::NotFound || !is_refusal(fault.kind) => {
                slot.away(Some(pending), &fault.to_string());
                tokio::time::sleep(FIRST_PAUSE).await;
                return Err(());
            }
            Err(fault) => slot.refused(&fault.to_string()),
        }
    }
    // Without an answer the daemon is away, and its runs with it.
    let _closed = run.close().await;
    Ok(())
}

async fn push(run: &Run, pending: &PendingSnapshot) -> Result<Receipt, Fault> {
    run.push(pending.label.clone(), pending.tensors.clone()).await
}
