//! The trainer's model against its configuration, as a client without a package sends it: what agrees is measured, what
//! does not marks the run.

#![allow(clippy::unwrap_used)]

mod common;

use clino_proto::pb;
use common::{Clients, Daemon, TestUpload, blamed, command, numbers, quick};
use pb::watch_response::Event;
use std::process::Output;
use tonic::{Code, Status};

/// Rows of the group that are compared.
const ROWS: [u32; 4] = [0, 7, 8, 31];

/// Losses of rows of the group "en" by the network of the tests, computed here: 8-16-16-3 with ReLU.
fn losses(upload: &TestUpload) -> Vec<f64> {
    let inputs = numbers(32 * 8, 1);
    let mut tensors = Vec::new();
    let mut rest = upload.data.as_chunks::<4>().0;
    for spec in &upload.begin.tensors {
        let (tensor, behind) = rest.split_at(spec.shape.iter().product::<u64>() as usize);
        tensors.push(tensor.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect::<Vec<_>>());
        rest = behind;
    }
    let loss = |row: u32| {
        let mut x: Vec<f64> = inputs[row as usize * 8..][..8].iter().map(|x| f64::from(*x)).collect();
        for (layer, pair) in tensors.chunks(2).enumerate() {
            let (bias, weight) = (&pair[0], &pair[1]);
            let sum = |i: usize| {
                bias[i] + weight[i * x.len()..][..x.len()].iter().zip(&x).map(|(w, x)| w * x).sum::<f64>()
            };
            let sums: Vec<f64> = (0..bias.len()).map(sum).collect();
            x = if layer < 2 { sums.iter().map(|z| z.max(0.0)).collect() } else { sums };
        }
        x.iter().map(|z| z.exp()).sum::<f64>().ln() - x[row as usize % 3]
    };
    ROWS.iter().map(|row| loss(*row)).collect()
}

fn checked(mut upload: TestUpload, change: impl FnOnce(&mut pb::ModelCheck)) -> TestUpload {
    let losses = losses(&upload);
    let (rows, dtype) = (ROWS.to_vec(), pb::Dtype::F32.into());
    let mut check = pb::ModelCheck { group: "en".into(), rows, losses, dtype, gradient_norms: vec![] };
    change(&mut check);
    upload.begin.model_check = Some(check);
    upload
}

/// The answer of the comparison, and outcomes and reasons of the readings of a step.
async fn measured(
    clients: &mut Clients,
    run: &str,
    step: u64,
) -> (Option<pb::ModelChecked>, Vec<(i32, String)>) {
    let last =
        |event: &Event| matches!(event, Event::Finished(end) if end.snapshot.as_ref().unwrap().step == step);
    let events = clients.watch_until(run, last).await.into_iter().filter_map(|event| event.event);
    let (mut checked, mut readings) = (None, Vec::new());
    for event in events {
        match event {
            Event::Checked(one) => checked = Some(one),
            Event::Reading(one) if one.snapshot.as_ref().unwrap().step == step => {
                readings.push((one.outcome, one.reason))
            }
            _ => {}
        }
    }
    (checked, readings)
}

fn clino(daemon: &Daemon, words: &[&str]) -> Output {
    let program = command().get_program().to_owned();
    let mut clino = std::process::Command::new(program);
    clino.args(words).env("CLINO_ADDR", &daemon.http).output().unwrap()
}

fn refused(status: &Status, numbers: &[&str]) {
    assert_eq!((status.code(), blamed(status)), (Code::FailedPrecondition, vec!["run_id".to_owned()]));
    for text in numbers.iter().chain(&["open a new run", "CLINO_CHECK=0"]) {
        assert!(status.message().contains(text), "{text} in {}", status.message());
    }
}

#[tokio::test]
async fn a_model_that_is_what_its_configuration_says_is_measured() {
    let daemon = Daemon::start(&["--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    for (key, dtype) in [("exact", pb::Dtype::F64), ("rounded", pb::Dtype::F32)] {
        let run = clients.open(key, quick()).await;
        assert_eq!(clients.run(&run).await.model_check, None);
        let by = if dtype == pb::Dtype::F64 { 0.0 } else { 1e-6 };
        let upload = checked(TestUpload::new(&run, 1), |check| {
            check.dtype = dtype.into();
            check.losses[2] += by;
        });
        clients.push(upload).await.unwrap();
        let (answer, readings) = measured(&mut clients, &run, 1).await;
        let answer = answer.unwrap();
        assert!(answer.agrees && answer.rows == 4 && answer.difference <= answer.tolerance, "{answer:?}");
        assert!((answer.difference - by).abs() < 1e-9, "{answer:?}");
        assert!(readings.iter().all(|(outcome, _)| *outcome == pb::Outcome::Measured as i32), "{readings:?}");
        assert_eq!(clients.run(&run).await.model_check, Some(answer));
        clients.push(TestUpload::new(&run, 2)).await.unwrap();
    }
}

#[tokio::test]
async fn readings_and_what_they_cost_are_the_same_with_a_check() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let mut found = Vec::new();
    for with in [false, true] {
        let run = clients.open(&format!("{with}"), vec![]).await;
        let upload = TestUpload::new(&run, 1).initialization();
        clients.push(if with { checked(upload, |_| {}) } else { upload }).await.unwrap();
        let events = clients.watch_until(&run, |event| matches!(event, Event::Finished(_))).await;
        let readings = events.into_iter().filter_map(|event| match event.event {
            Some(Event::Reading(reading)) => Some(pb::Reading { seconds: 0.0, ..reading }),
            _ => None,
        });
        found.push(readings.collect::<Vec<_>>());
    }
    assert!(found[0].len() > 10);
    assert_eq!(found[0], found[1]);
}

#[tokio::test]
async fn a_model_that_is_another_one_marks_its_run_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, data) = (directory.path().join("clino.sock"), directory.path().join("data"));
    let flags = ["--data", data.to_str().unwrap()];
    let mut daemon = Daemon::at(&socket, &flags);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    clients.push(TestUpload::new(&run, 1)).await.unwrap();
    let before = measured(&mut clients, &run, 1).await;
    assert!(before.0.is_none() && before.1[0].0 == pb::Outcome::Measured as i32);

    // The first two losses change places: their mean stays.
    let upload = checked(TestUpload::new(&run, 2), |check| check.losses.swap(0, 1));
    let mean = losses(&upload).iter().sum::<f64>() / 4.0;
    clients.push(upload.clone()).await.unwrap();
    let (answer, readings) = measured(&mut clients, &run, 2).await;
    let answer = answer.unwrap();
    assert!(!answer.agrees && answer.difference > answer.tolerance);
    assert!((answer.trainer_loss - mean).abs() < 1e-12 && (answer.configured_loss - mean).abs() < 1e-9);
    let both = [format!("{:.6}", answer.trainer_loss), format!("{:.6}", answer.configured_loss)];
    assert_eq!(readings.len(), 4);
    for (outcome, reason) in &readings {
        assert_eq!(*outcome, pb::Outcome::Unavailable as i32);
        assert!(both.iter().all(|number| reason.contains(number)), "{reason}");
    }
    let words = [both[0].as_str(), both[1].as_str()];
    refused(&clients.push(TestUpload::new(&run, 3)).await.unwrap_err(), &words);
    let other = clients.open("other", quick()).await;
    clients.push(TestUpload::new(&other, 1)).await.unwrap();

    daemon.signal("-KILL");
    let _ = daemon.wait();
    let daemon = Daemon::at(&socket, &flags);
    let mut clients = daemon.clients().await;
    assert_eq!(clients.run(&run).await.model_check, Some(answer.clone()));
    refused(&clients.push(TestUpload::new(&run, 3)).await.unwrap_err(), &words);
    let events = clients.watch_until(&run, |event| matches!(event, Event::Checked(_))).await;
    assert_eq!(events.last().unwrap().event, Some(Event::Checked(answer)));

    let listed = String::from_utf8(clino(&daemon, &["runs"]).stdout).unwrap();
    assert!(listed.contains("mismatch"), "{listed}");
    let json = String::from_utf8(clino(&daemon, &["runs", "--format", "json"]).stdout).unwrap();
    assert!(json.contains(r#""state":"mismatch""#) && json.contains(r#""agrees":false"#), "{json}");
    let sql = "SELECT agrees, examples, trainer_loss FROM model_checks";
    let rows = clino(&daemon, &["query", "--data", data.to_str().unwrap(), "--sql", sql]);
    let rows = String::from_utf8(rows.stdout).unwrap();
    assert!(rows.contains(&both[0][..5]), "{rows}");
}

#[tokio::test]
async fn comparisons_are_counted() {
    let daemon = Daemon::start(&["--http", "127.0.0.1:0"]);
    let mut clients = daemon.clients().await;
    for (key, by) in [("a", 0.0), ("b", 0.0), ("c", 0.5)] {
        let run = clients.open(key, quick()).await;
        clients.push(checked(TestUpload::new(&run, 1), |check| check.losses[3] += by)).await.unwrap();
        measured(&mut clients, &run, 1).await;
    }
    let (_, page) = daemon.http_get("/metrics");
    for line in ["clino_model_checks_total 3.0\n", "clino_model_mismatches_total 1.0\n"] {
        assert!(page.contains(line), "{line}");
    }
}

/// What makes a sound check unsound.
type Change = fn(&mut pb::ModelCheck);

#[tokio::test]
async fn a_check_of_rows_that_are_not_there_is_refused_by_name() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.open("k", quick()).await;
    let cases: [(&str, Change); 6] = [
        ("model_check.group", |check| check.group = "fr".into()),
        ("model_check.rows", |check| check.rows[3] = 32),
        ("model_check.rows", |check| check.rows.swap(0, 1)),
        ("model_check.losses", |check| check.losses.truncate(3)),
        ("model_check.losses", |check| check.losses[0] = f64::INFINITY),
        ("model_check.dtype", |check| check.dtype = pb::Dtype::I32.into()),
    ];
    for (field, change) in cases {
        let status = clients.push(checked(TestUpload::new(&run, 1), change)).await.unwrap_err();
        assert_eq!((status.code(), blamed(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    daemon.still_serves().await;
}
