//! A daemon on a GPU: what it measures, refuses, and does when the GPU goes away.

use super::common::{Daemon, TestUpload, measure, open_request};
use super::standin::StandIn;
use clino_proto::pb;
use pb::watch_response::Event;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub fn start(on: &StandIn, environment: &[(&str, &str)]) -> Daemon {
    let libraries = [("CLINO_CUDA_LIB_DIR", on.path().to_str().unwrap())];
    let environment: Vec<_> = libraries.iter().chain(environment).copied().collect();
    Daemon::start_with(&["--device", "cuda:0"], &environment)
}

async fn serving(daemon: &Daemon) -> i32 {
    let mut health = HealthClient::new(daemon.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status
}

pub async fn ready(daemon: &Daemon) {
    while serving(daemon).await != ServingStatus::Serving as i32 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub fn measures() -> Vec<pb::MeasureRequest> {
    vec![measure("loss", &[]), measure("sharpness", &[("draws", 4.0)]), measure("sam", &[])]
}

pub fn is(snapshot: &Option<pb::SnapshotRef>, step: u64) -> bool {
    snapshot.as_ref().is_some_and(|snapshot| snapshot.step == step)
}

/// Readings of one snapshot in the order in which they came.
async fn readings(daemon: &Daemon, run: &str, step: u64) -> Vec<pb::Reading> {
    let mut clients = daemon.clients().await;
    clients.push(TestUpload::new(run, step)).await.unwrap();
    let at = move |event: &Event| matches!(event, Event::Finished(finished) if is(&finished.snapshot, step));
    let events = clients.watch_until(run, at).await;
    let reading = |event: pb::WatchResponse| match event.event {
        Some(Event::Reading(reading)) if is(&reading.snapshot, step) => Some(reading),
        _ => None,
    };
    events.into_iter().filter_map(reading).collect()
}

async fn run(daemon: &Daemon) -> String {
    daemon.clients().await.open("k", measures()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_measures_on_the_gpu_what_it_measures_on_the_cpu() {
    let on = StandIn::new();
    let (mut there, here) = (start(&on, &[]), Daemon::start(&[]));
    ready(&there).await;
    let (a, b) = (readings(&there, &run(&there).await, 1).await, readings(&here, &run(&here).await, 1).await);
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        let (x, y) = (a.value.unwrap(), b.value.unwrap());
        assert!((x - y).abs() <= 1e-9 * y.abs(), "{a:?} {b:?}");
    }
    there.signal("-TERM");
    // Its parameters were on the GPU when its turn came.
    let (_, _, log) = there.wait();
    assert!(log.contains("carried=true"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_driver_auto_measures_on_the_cpu_and_says_so_once() {
    let none = tempfile::tempdir().unwrap();
    let environment = [("CLINO_CUDA_LIB_DIR", none.path().to_str().unwrap()), ("LD_LIBRARY_PATH", "")];
    let mut daemon = Daemon::start_with(&["--device", "auto"], &environment);
    ready(&daemon).await;
    let found = readings(&daemon, &run(&daemon).await, 1).await;
    assert!(!found.is_empty());
    assert!(found.iter().all(|reading| reading.outcome() == pb::Outcome::Measured), "{found:?}");
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success(), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("computing on the CPU")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("libcuda.so.1 cannot be loaded"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_does_not_fit_is_refused_with_the_sum() {
    let on = StandIn::new();
    let daemon = start(&on, &[("CUDA_SIM_MEMORY", "1000000")]);
    ready(&daemon).await;
    let mut clients = daemon.clients().await;
    let status = clients.runs.open_run(open_request("k")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("MiB on the GPU"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_gpu_costs_a_reading_and_readiness_but_no_run() {
    let on = StandIn::new();
    let mut daemon = start(&on, &[("CUDA_SIM_FAIL", "lost:0:400")]);
    ready(&daemon).await;
    let run = run(&daemon).await;
    let first = readings(&daemon, &run, 1).await;
    let failed = |reading: &&pb::Reading| reading.outcome() == pb::Outcome::Failed;
    assert_eq!(first.iter().filter(failed).count(), 1, "{first:?}");
    while serving(&daemon).await == ServingStatus::Serving as i32 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The run goes on, on the CPU.
    let second = readings(&daemon, &run, 2).await;
    assert_eq!(second.len(), first.len());
    assert_eq!(second.iter().filter(failed).count(), 0, "{second:?}");
    daemon.signal("-TERM");
    let (status, _, log) = daemon.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("lost GPUs") && log.contains("cuda:0"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_for_gpus_only_is_not_measured_on_the_cpu() {
    let on = StandIn::new();
    let daemon = start(&on, &[("CUDA_SIM_FAIL", "lost:0:400")]);
    ready(&daemon).await;
    let mut clients = daemon.clients().await;
    let request = pb::OpenRunRequest { gpu_only: true, measures: measures(), ..open_request("k") };
    let run = clients.runs.open_run(request.clone()).await.unwrap().into_inner().run_id;
    let first = readings(&daemon, &run, 1).await;
    let failed = first.iter().position(|reading| reading.outcome() == pb::Outcome::Failed).unwrap();
    for reading in &first[failed + 1..] {
        assert_eq!(reading.outcome(), pb::Outcome::Unavailable, "{reading:?}");
        assert!(reading.reason.contains("for GPUs only"), "{reading:?}");
    }
    let second = readings(&daemon, &run, 2).await;
    assert!(second.iter().all(|reading| reading.outcome() == pb::Outcome::Unavailable), "{second:?}");
    // A daemon without a GPU refuses such a run.
    let cpu = Daemon::start(&[]);
    ready(&cpu).await;
    let status = cpu.clients().await.runs.open_run(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert_eq!(super::common::blamed(&status), ["gpu_only"]);
}
