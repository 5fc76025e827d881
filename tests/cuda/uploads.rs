//! Snapshots that arrive at a GPU together, and while another is measured.

use super::common::{Daemon, TestUpload, measure, open_request};
use super::daemon::{is, ready, start};
use super::standin::StandIn;
use clino_proto::pb;
use pb::watch_response::Event;
use serde_json::Value;

/// Readings of a snapshot whose parts are sent elsewhere.
async fn readings(daemon: &Daemon, run: &str, step: u64) -> Vec<pb::Reading> {
    let at = move |event: &Event| matches!(event, Event::Finished(finished) if is(&finished.snapshot, step));
    let events = daemon.clients().await.watch_until(run, at).await;
    let reading = |event: pb::WatchResponse| match event.event {
        Some(Event::Reading(reading)) if is(&reading.snapshot, step) => Some(reading),
        _ => None,
    };
    events.into_iter().filter_map(reading).collect()
}

/// The same values, to the rounding of sums.
fn assert_same(a: &[pb::Reading], b: &[pb::Reading]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        let (x, y) = (a.value.unwrap(), b.value.unwrap());
        assert!((x - y).abs() <= 1e-9 * y.abs(), "{a:?} {b:?}");
    }
}

/// What the log says of each snapshot that was measured: whether it was carried, in that order.
fn carried(log: &str) -> Vec<bool> {
    let measured = log.lines().filter(|line| line.contains("carried="));
    measured.map(|line| line.contains("carried=true")).collect()
}

fn ended(mut daemon: Daemon) -> String {
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success(), "{log}");
    log
}

/// An upload that is held back behind its first parts, until the sender is used.
async fn begun(
    daemon: &Daemon,
    upload: &TestUpload,
) -> (tokio::task::JoinHandle<()>, Box<dyn FnOnce() + Send>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    let mut frames = upload.frames().into_iter().map(|frame| pb::PushSnapshotRequest { frame: Some(frame) });
    frames.by_ref().take(3).for_each(|frame| sender.try_send(frame).unwrap());
    let mut clients = daemon.clients().await;
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let sent = tokio::spawn(async move { drop(clients.snapshots.push_snapshot(stream).await.unwrap()) });
    // The daemon has to see them: nothing tells when.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    (sent, Box::new(move || frames.for_each(|frame| sender.try_send(frame).unwrap())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_uploads_at_once_one_is_carried() {
    let on = StandIn::new();
    let report = on.path().join("two.json");
    let daemon = start(&on, &[("CUDA_SIM_REPORT", report.to_str().unwrap())]);
    ready(&daemon).await;
    let mut clients = daemon.clients().await;
    let mut runs = Vec::new();
    for key in ["a", "b"] {
        runs.push(clients.open(key, vec![measure("loss", &[])]).await);
    }
    let (sent, go_on) = begun(&daemon, &TestUpload::new(&runs[0], 1)).await;
    clients.push(TestUpload::new(&runs[1], 1)).await.unwrap();
    let second = readings(&daemon, &runs[1], 1).await;
    go_on();
    sent.await.unwrap();
    let first = readings(&daemon, &runs[0], 1).await;
    // One after the other, with nothing on its way, the next is carried again.
    clients.push(TestUpload::new(&runs[1], 2)).await.unwrap();
    readings(&daemon, &runs[1], 2).await;
    assert_same(&first, &second);
    let log = ended(daemon);
    assert_eq!(carried(&log), [false, true, true], "{log}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["total"]["default_streams"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_arrives_while_another_is_measured() {
    let on = StandIn::new();
    let (there, here) = (start(&on, &[]), Daemon::start(&[]));
    let mut found = Vec::new();
    for daemon in [&there, &here] {
        ready(daemon).await;
        let mut clients = daemon.clients().await;
        let measures =
            vec![measure("loss", &[]), measure("sharpness", &[("draws", 64.0)]), measure("sam", &[])];
        let request =
            pb::OpenRunRequest { delivery: pb::Delivery::Every.into(), measures, ..open_request("k") };
        let run = clients.runs.open_run(request).await.unwrap().into_inner().run_id;
        clients.push(TestUpload::new(&run, 1)).await.unwrap();
        // Its first reading is there, and the longest is on its way.
        clients.watch_until(&run, |event| matches!(event, Event::Reading(_))).await;
        clients.push(TestUpload::new(&run, 2)).await.unwrap();
        let mut all = readings(daemon, &run, 1).await;
        all.extend(readings(daemon, &run, 2).await);
        found.push(all);
    }
    assert_same(&found[0], &found[1]);
    let log = ended(there);
    assert_eq!(carried(&log), [true, true], "{log}");
}
