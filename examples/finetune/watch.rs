//! Follows the run on a thread of its own and prints what arrives.
//!
//! Owns: the reports. May not touch: training.

use super::report::SnapshotTable;
use clino_client::Client;
use clino_domain::{Event, Fault, RunId};
use std::thread::JoinHandle;

/// What was seen of a run.
#[derive(Debug, Default)]
pub struct RunSeen {
    /// Measured steps, in order.
    pub sheets: Vec<SnapshotTable>,
    /// Snapshots that a newer one replaced before they were measured.
    pub skipped: u64,
}

/// Prints a block for every measured step until the run is closed, or the daemon is gone for good: the training does
/// not depend on it.
pub fn start(address: &str, run: RunId) -> JoinHandle<RunSeen> {
    let address = address.to_owned();
    std::thread::spawn(move || {
        let mut seen = RunSeen::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::internal(error.to_string()));
        if let Err(fault) = runtime.and_then(|runtime| runtime.block_on(follow(&address, run, &mut seen))) {
            eprintln!("no more reports: {fault}");
        }
        seen
    })
}

async fn follow(address: &str, run: RunId, seen: &mut RunSeen) -> Result<(), Fault> {
    let mut sheet: Option<SnapshotTable> = None;
    let mut events = Client::connect(address).await?.run(run).follow(Some(0));
    while let Some(event) = events.next().await? {
        match event.event {
            Event::Started { snapshot, .. } => {
                sheet = Some(SnapshotTable { at: snapshot, readings: Vec::new() })
            }
            Event::Reading(reading) => {
                sheet.iter_mut().for_each(|sheet| sheet.readings.push(*reading.clone()))
            }
            Event::Finished { seconds, .. } => {
                if let Some(sheet) = sheet.take() {
                    println!(
                        "{}\n  {}\n  {} readings in {seconds:.2} s",
                        sheet.table(),
                        sheet.weights(),
                        sheet.readings.len()
                    );
                    seen.sheets.push(sheet);
                }
            }
            Event::Skipped { .. } => seen.skipped += 1,
            Event::Draining => println!("the daemon shuts down"),
            Event::Decided(decision) => println!("policy: {}", decision.sentence),
            Event::Accepted { .. } | Event::Checked(_) | Event::Gap { .. } | Event::Closed => {}
        }
    }
    Ok(())
}
