//! What a run costs: planned when it opens, counted and timed once it has measured, kept within a budget.
#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{Daemon, TestUpload, finished, measure, open_request};
use pb::watch_response::Event;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const SLOW: [(&str, &[(&str, f64)]); 2] =
    [("hessian_density", &[("steps", 20.0)]), ("worst_case", &[("iters", 400.0)])];

fn request(key: &str, budget_seconds: Option<f64>) -> pb::OpenRunRequest {
    let mut measures = vec![measure("sharpness", &[]), measure("loss", &[]), measure("param_norm", &[])];
    measures.extend(SLOW.iter().map(|(name, parameters)| measure(name, parameters)));
    pb::OpenRunRequest { measures, budget_seconds, ..open_request(key) }
}

fn readings(events: &[pb::WatchResponse], step: u64) -> Vec<pb::Reading> {
    let reading = |event: &'_ pb::WatchResponse| match &event.event {
        Some(Event::Reading(reading)) => Some(reading.clone()),
        _ => None,
    };
    let all = events.iter().filter_map(reading);
    all.filter(|reading| reading.snapshot.as_ref().is_some_and(|at| at.step == step)).collect()
}

#[tokio::test]
async fn a_run_opens_with_its_plan_and_tells_seconds_after_the_first_snapshot() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let opened = clients.runs.open_run(request("k", None)).await.unwrap().into_inner();
    let names: Vec<&str> = opened.plan.iter().map(|line| line.measure.as_str()).collect();
    assert_eq!(names, ["param_norm", "loss", "sharpness", "worst_case", "hessian_density"]);
    assert_eq!(names, opened.measures.iter().map(|measure| measure.name.as_str()).collect::<Vec<_>>());
    let work = opened.plan[2].work.unwrap();
    // Eight draws, each a gradient and a look; the loss before it has made the base.
    assert_eq!((work.forwards, work.backwards), (16.0, 8.0));
    assert!(opened.plan.iter().all(|line| !line.counted && line.seconds.is_none()));

    clients.push(TestUpload::new(&opened.run_id, 1)).await.unwrap();
    let events = clients.watch_until(&opened.run_id, finished(1)).await;
    let again = clients.runs.open_run(request("k", None)).await.unwrap().into_inner();
    assert!(!again.created && again.run_id == opened.run_id);
    assert_eq!(again.plan, clients.run(&opened.run_id).await.plan);
    for (before, after) in opened.plan.iter().zip(&again.plan) {
        assert!(after.counted, "{}", after.measure);
        let network = |line: &pb::Planned| line.work.map(|work| (work.forwards, work.backwards));
        assert_eq!((&before.measure, network(before)), (&after.measure, network(after)));
        let of = readings(&events, 1);
        let seconds: f64 = of.iter().filter(|r| r.measure == after.measure).map(|r| r.seconds).sum();
        assert!((after.seconds.unwrap() - seconds).abs() < 1e-9, "{}", after.measure);
    }
}

#[tokio::test]
async fn row_40_what_does_not_fit_the_budget_is_said_to_be_skipped() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    // Many minutes where the others take less than a second: neither a slow machine nor a busy one changes what fits.
    let budget = 120.0;
    let endless = "hessian_density";
    let parameters = [("steps", 300.0), ("runs", 64.0)];
    let mut wanted = request("bound", Some(budget));
    wanted.measures.retain(|asked| SLOW.iter().all(|(slow, _)| asked.name != *slow));
    wanted.measures.push(measure(endless, &parameters));
    let large = pb::probe_group::Source::Probe(common::probe_of(65_536, 1));
    wanted.groups = vec![pb::ProbeGroup { name: "en".into(), source: Some(large) }];
    let run = clients.runs.open_run(wanted).await.unwrap().into_inner().run_id;
    assert_eq!(clients.run(&run).await.budget_seconds, Some(budget));
    for step in 1..=2 {
        clients.push(TestUpload::new(&run, step)).await.unwrap();
        let events = clients.watch_until(&run, finished(step)).await;
        let made = readings(&events, step);
        let promised = events.iter().find_map(|event| match &event.event {
            Some(Event::Started(start)) if start.snapshot.as_ref().unwrap().step == step => {
                Some(start.readings)
            }
            _ => None,
        });
        assert_eq!(promised, Some(made.len() as u32), "none is lost");
        for reading in made {
            let endless = reading.measure == endless;
            let outcome = if endless { pb::Outcome::Skipped } else { pb::Outcome::Measured };
            assert_eq!(reading.outcome(), outcome, "{}: {}", reading.measure, reading.reason);
            assert_eq!(
                endless,
                reading.reason.contains("budget") && reading.value.is_none(),
                "{}",
                reading.reason
            );
        }
    }
    let report = pb::GetReportRequest { run_id: run, snapshot: None };
    let report = clients.reports.get_report(report).await.unwrap().into_inner();
    assert!(report.readings.iter().any(|reading| reading.outcome() == pb::Outcome::Skipped));
}

#[tokio::test]
async fn a_budget_is_a_number_above_zero() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let status = clients.runs.open_run(request("k", Some(bad))).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(common::blamed(&status), ["budget_seconds"], "{bad}");
    }
    daemon.still_serves().await;
}

#[tokio::test]
async fn a_target_is_reached_or_the_reading_says_what_ended_it() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let measures = vec![
        measure("low_pass", &[("sigma", 0.3), ("rel_stderr", 0.05), ("max_draws", 4000.0)]),
        measure("hessian_trace", &[("sketch", 1.0), ("rel_stderr", 1e-6), ("max_draws", 20.0)]),
        measure("average_case", &[("rel_stderr", 1e-9), ("max_draws", 4096.0), ("max_seconds", 1e-3)]),
        measure("sharpness", &[("draws", 3.0)]),
    ];
    let run = clients.open("k", measures).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    let events = clients.watch_until(&run, finished(1)).await;
    let all = readings(&events, 1);
    assert_eq!(all.len(), 4 * 3);
    for reading in all {
        let estimate = reading.estimate.unwrap();
        let expected = match reading.measure.as_str() {
            "low_pass" => {
                assert!(estimate.stderr.unwrap() <= 0.05 * estimate.mean.abs());
                pb::Ended::Target
            }
            "hessian_trace" => {
                assert_eq!(reading.draws.len(), 20);
                pb::Ended::MaxDraws
            }
            "average_case" => {
                assert!(reading.draws.len() < 4096);
                pb::Ended::MaxSeconds
            }
            _ => pb::Ended::Draws,
        };
        assert_eq!(reading.ended(), expected, "{}", reading.measure);
    }
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name)
}

fn clino(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Measures whose way depends on what they find.
const SEARCHES: [&str; 6] =
    ["critical", "flat_radius", "fisher_trace", "hessian_top", "hessian_trace", "pac_bayes"];

/// In forwards.
fn units(line: &pb::Planned) -> f64 {
    let work = line.work.unwrap();
    work.forwards + 2.0 * work.backwards + 0.01 * work.passes
}

/// Every measure on the snapshots of one training: each tells what the next will cost. A search may go another way on
/// another snapshot; where little has changed, it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_is_within_thirty_per_cent_of_what_is_counted() {
    let daemon = Daemon::start(&[]);
    let address = daemon.http.clone();
    let catalogue: Value = serde_json::from_str(&clino(&["measures", "--format", "json"])).unwrap();
    let names: Vec<&str> =
        catalogue.as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap()).collect();
    let mut clients = daemon.clients().await;
    for name in ["mlp-tanh", "bert"] {
        let folder = case(name);
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (config, probe) = (file("config.json"), file("probe.safetensors"));
        let mut open = vec!["open", "--addr", &address, "--config", &config, "--probe", &probe];
        open.extend(["--delivery", "every", "--measure"]);
        open.extend(&names);
        let run = clino(&open).trim().to_owned();
        let mut plans: Vec<Vec<pb::Planned>> = Vec::new();
        let moving = ["init", "snapshot-0020", "snapshot-0040", "snapshot-0060"];
        let snapshots = moving.iter().chain(&["snapshot-0060"; 2]);
        for (step, snapshot) in snapshots.enumerate() {
            plans.push(clients.run(&run).await.plan);
            let (path, at) = (file(&format!("{snapshot}.safetensors")), step.to_string());
            let mut push = vec!["push", "--addr", &address, "--run", &run, "--step", &at];
            push.extend((step == 0).then_some("--init"));
            push.push(&path);
            clino(&push);
            clients.watch_until(&run, finished(step as u64)).await;
        }
        plans.push(clients.run(&run).await.plan);
        for (step, pair) in plans.windows(2).enumerate() {
            let [before, after] = pair else { unreachable!() };
            for (before, after) in before.iter().zip(after) {
                let measure = before.measure.as_str();
                let (planned, did) = (units(before), units(after));
                // The last two snapshots have not moved, so that critical has no way to go along.
                let still = step == 5;
                if measure == "critical" && step > 0 {
                    assert!(after.work.unwrap().forwards <= 8.0, "{name}: a warm search");
                }
                if (SEARCHES.contains(&measure) && !still) || measure == "critical" {
                    continue;
                }
                let near = (planned - did).abs() <= 0.3 * did + 0.02;
                assert!(near, "{name} snapshot {step} {measure}: planned {planned}, counted {did}");
            }
        }
    }
}
