//! The daemon's peak memory while it measures and takes snapshots.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{
    Daemon, TestUpload, bytes_of, finished, measure, numbers, open_request, wide_config, wide_elements,
    wide_specs,
};
use pb::watch_response::Event;

fn weights(width: u64, seed: u32) -> Vec<f32> {
    numbers(wide_elements(width) as usize, seed).iter().map(|x| x * 0.01).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peak_memory_is_four_snapshots_and_a_little() {
    // 64 MB of parameters; activations of 32 examples are small beside them.
    const WIDTH: u64 = 4_000;
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.unix_clients().await;
    let request = pb::OpenRunRequest {
        config_json: wide_config(WIDTH),
        measures: vec![
            measure("loss", &[]),
            measure("distance", &[]),
            measure("update", &[]),
            measure("sharpness", &[("draws", 2.0)]),
        ],
        ..open_request("k")
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    let mut upload = TestUpload::new(&run, 0).initialization();
    upload.begin.tensors = wide_specs(WIDTH);
    upload.data = bytes_of(&weights(WIDTH, 3));
    upload.chunk = 1 << 20;
    // One is measured while others come and replace each other.
    for step in 0..4 {
        upload.begin.step = step;
        upload.begin.initialization = step == 0;
        clients.push(upload.clone()).await.unwrap();
    }
    clients
        .runs
        .close_run(pb::CloseRunRequest { run_id: run.clone(), resumable: false, abandon: false })
        .await
        .unwrap();
    let events = clients.watch_until(&run, |_| false).await;
    let measured = |event: &&pb::WatchResponse| match &event.event {
        Some(Event::Reading(reading)) => reading.outcome() == pb::Outcome::Measured,
        _ => false,
    };
    assert!(events.iter().filter(measured).count() >= 8, "the last snapshot at least is measured in full");
    let (snapshot, peak) = (wide_elements(WIDTH) * 4, daemon.peak_bytes());
    eprintln!("peak {} MiB for a snapshot of {} MiB", peak >> 20, snapshot >> 20);
    assert!(peak <= 4 * snapshot + (100 << 20), "{} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_snapshots_leave_nothing_behind() {
    const WIDTH: u64 = 512;
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.unix_clients().await;
    let request = pb::OpenRunRequest {
        config_json: wide_config(WIDTH),
        measures: vec![
            measure("distance", &[]),
            measure("update", &[]),
            measure("sharpness", &[("draws", 2.0)]),
        ],
        delivery: pb::Delivery::Every.into(),
        ..open_request("k")
    };
    let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
    let mut upload = TestUpload::new(&run, 0).initialization();
    upload.begin.tensors = wide_specs(WIDTH);
    let snapshot = wide_elements(WIDTH) * 4;
    let mut early = 0;
    for step in 0..200 {
        upload.begin.step = step;
        upload.begin.initialization = step == 0;
        upload.data = bytes_of(&weights(WIDTH, step as u32 + 1));
        clients.push(upload.clone()).await.unwrap();
        if step == 99 || step == 199 {
            // What waits is in memory, too.
            clients.watch_until(&run, finished(step)).await;
        }
        if step == 99 {
            early = daemon.resident_bytes();
        }
    }
    let late = daemon.resident_bytes();
    eprintln!("{} KiB after 100 snapshots of {} KiB, {} after 200", early >> 10, snapshot >> 10, late >> 10);
    // What is measured just now and the log of events come and go; a hundred that stay would be a hundred times that.
    assert!(late <= early + 30 * snapshot, "{early} bytes became {late}");
}
