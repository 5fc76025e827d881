//! The Rust client against a real daemon.

use crate::common::PATIENCE;
use crate::fixture::{self, parameters, plan, probe};
use crate::{address, daemon};
use bytes::Bytes;
use clino_client::{CHUNK, Client, Label, Plan};
use clino_domain::{
    Dtype, Event, FaultKind, Outcome, Reading, RunFilter, Sequenced, SnapshotRef, SnapshotState, Tensor,
    TensorSpec, WeightKind,
};
use std::time::Duration;

fn readings(events: &[Sequenced], step: u64) -> Vec<&Reading> {
    let all = events.iter().filter_map(|event| match &event.event {
        Event::Reading(reading) => Some(reading.as_ref()),
        _ => None,
    });
    all.filter(|reading| reading.snapshot.step == step).collect()
}

#[tokio::test]
async fn a_run_from_opening_to_closing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let run = client.open_run(&plan().delivery(clino_domain::Delivery::Every)).await.unwrap();
    let specs = run.opened().unwrap().parameters.clone();

    let receipt = run.push(Label::initialization(), parameters(&specs, 1)).await.unwrap();
    assert_eq!(receipt.at, SnapshotRef { step: 0, attempt: 1 });
    let label = Label { kind: WeightKind::Ema, ..Label::step(5) };
    let receipt = run.push(label, parameters(&specs, 2)).await.unwrap();
    assert_eq!(receipt.measures, ["distance", "loss", "sharpness"]);
    let again = run.push(Label::step(5), parameters(&specs, 2)).await.unwrap();
    assert_eq!((again.at.attempt, again.digest), (2, receipt.digest));
    run.close().await.unwrap();

    let mut follow = run.follow(Some(0));
    let mut events = Vec::new();
    while let Some(event) = follow.next().await.unwrap() {
        assert_eq!(event.sequence, events.len() as u64);
        events.push(event);
    }
    assert_eq!(events.last().unwrap().event, Event::Closed);
    // Three groups with the pooled one, for loss and sharpness; distance is of the weights alone.
    let first = readings(&events, 0);
    assert_eq!(first.len(), 7, "{first:?}");
    let sharpness: Vec<_> = first.iter().filter(|reading| reading.measure == "sharpness").collect();
    assert!(
        sharpness.iter().all(|r| r.draws.len() == 2 && r.estimate.unwrap().stderr.is_some()),
        "{sharpness:?}"
    );
    let report = run.report(Some(receipt.at)).await.unwrap();
    assert_eq!((report.state, report.kind), (SnapshotState::Measured, WeightKind::Ema));
    let seen: Vec<_> = readings(&events, 5).into_iter().filter(|r| r.snapshot == receipt.at).collect();
    assert_eq!(report.readings.iter().collect::<Vec<_>>(), seen);
    let distance = report.readings.iter().find(|reading| reading.measure == "distance").unwrap();
    assert_eq!(distance.outcome, Outcome::Measured, "{distance:?}");
    let summary = run.summary().await.unwrap();
    assert_eq!((summary.accepted, summary.measured, summary.closed), (3, 3, true));
    assert_eq!(client.runs(&RunFilter::default()).await.unwrap(), [summary]);
}

#[tokio::test]
async fn tensors_in_many_pieces_and_of_every_size_arrive_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let run = client.open_run(&fixture::large_plan()).await.unwrap();
    let tensors = parameters(&run.opened().unwrap().parameters, 3);
    let bytes: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
    assert!(bytes.len() > 10 * CHUNK);
    let specs = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
    let manifest = clino_domain::Manifest::new(specs, vec![]).unwrap();
    let whole = run.push(Label::step(1), tensors).await.unwrap();
    // Pieces that fit neither chunks nor tensors.
    let pieces: Vec<_> = bytes.chunks(700_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let pieced = run.push_blocks(Label::step(2), manifest, Box::new(pieces.into_iter())).await.unwrap();
    assert_eq!(whole.digest, pieced.digest);
    use sha2::{Digest, Sha256};
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(whole.digest, digest);
}

#[tokio::test]
async fn a_probe_beyond_the_message_limit_goes_ahead_by_digest() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let plan =
        Plan::new("big probe", fixture::CONFIG).group("a", probe(200_000, 8)).measure("param_norm", []);
    let bytes: usize = plan.spec.groups[0].tensors.iter().map(|tensor| tensor.data.len()).sum();
    assert!(bytes > 6 << 20);
    let run = client.open_run(&plan).await.unwrap();
    assert!(run.opened().unwrap().created);
    let again = client.open_run(&plan).await.unwrap();
    assert_eq!((again.id(), again.opened().unwrap().created), (run.id(), false));
}

#[tokio::test]
async fn refusals_name_the_fields() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let wrong = Plan::new("a\nb", fixture::CONFIG).group("a", probe(4, 7)).measure("sharpnes", []);
    let fault = client.open_run(&wrong).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Invalid);
    assert!(fault.violations.iter().any(|violation| violation.field == "name"), "{fault:?}");
    let wrong = Plan::new("a", fixture::CONFIG).group("a", probe(4, 7)).measure("sharpnes", []);
    let fault = client.open_run(&wrong).await.unwrap_err();
    let fields: Vec<_> = fault.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert!(fields.iter().any(|field| field.starts_with("groups[0]")), "{fields:?}");
    assert!(fields.iter().any(|field| field.starts_with("measures[0]")), "{fields:?}");

    let key = plan().key("mine");
    let run = client.open_run(&key).await.unwrap();
    assert_eq!(client.open_run(&key.seed(9)).await.unwrap_err().kind, FaultKind::Exists);
    let spec = TensorSpec { name: "nobody".into(), dtype: Dtype::F32, shape: vec![1] };
    let fault =
        run.push(Label::step(1), vec![Tensor::new(spec, vec![0; 4].into()).unwrap()]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Precondition);
    assert!(!fault.violations.is_empty(), "{fault:?}");
    let unknown = client.run(clino_domain::RunId("no such run".into()));
    assert!(matches!(unknown.summary().await.unwrap_err().kind, FaultKind::NotFound | FaultKind::Invalid));
}

#[tokio::test]
async fn a_source_that_breaks_off_is_told_and_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let run = client.open_run(&plan()).await.unwrap();
    let specs = run.opened().unwrap().parameters.clone();
    let manifest = clino_domain::Manifest::new(specs.clone(), vec![]).unwrap();
    let broken = || clino_domain::Fault::new(FaultKind::DataLoss, "the disk is gone");
    let blocks = vec![Ok(Bytes::from_static(&[0; 16])), Err(broken())];
    let fault = run.push_blocks(Label::step(1), manifest, Box::new(blocks.into_iter())).await.unwrap_err();
    assert_eq!(fault, broken());
    assert_eq!(run.summary().await.unwrap().accepted, 0);
    run.push(Label::step(1), parameters(&specs, 1)).await.unwrap();
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_a_push_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let run = client.open_run(&fixture::large_plan()).await.unwrap();
    let tensors = parameters(&run.opened().unwrap().parameters, 3);
    let specs = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
    let manifest = clino_domain::Manifest::new(specs, vec![]).unwrap();
    let bytes: Vec<u8> = tensors.iter().flat_map(|tensor| tensor.data.to_vec()).collect();
    let pieces: Vec<_> = bytes.chunks(CHUNK).map(Bytes::copy_from_slice).collect();
    let blocks = pieces.into_iter().enumerate().map(move |(i, piece)| {
        if i == 8 {
            daemon.signal("-KILL");
        }
        Ok(piece)
    });
    let push = run.push_blocks(Label::step(1), manifest, Box::new(blocks));
    let fault = tokio::time::timeout(PATIENCE, push).await.unwrap().unwrap_err();
    assert!(
        matches!(fault.kind, FaultKind::Unavailable | FaultKind::Internal | FaultKind::Cancelled),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_follower_hears_that_the_daemon_drains_and_gives_up_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let client = Client::connect(&address(&daemon)).await.unwrap();
    let run = client.open_run(&plan()).await.unwrap();
    let mut follow = run.follow(Some(0)).patience(Duration::from_millis(500));
    let specs = run.opened().unwrap().parameters.clone();
    run.push(Label::step(1), parameters(&specs, 1)).await.unwrap();
    let mut last = None;
    while !matches!(last, Some(Event::Finished { .. })) {
        last = follow.next().await.unwrap().map(|event| event.event);
    }
    daemon.signal("-TERM");
    assert_eq!(follow.next().await.unwrap().unwrap().event, Event::Draining);
    // A follower that is back before the daemon is gone hears it once more.
    let fault = loop {
        match tokio::time::timeout(PATIENCE, follow.next()).await.unwrap() {
            Ok(event) => assert_eq!(event.unwrap().event, Event::Draining),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind, FaultKind::Unavailable);
}

/// Passes connections on to a socket, all of which break when the second value is sent.
fn fragile(
    directory: &std::path::Path,
    socket: std::path::PathBuf,
) -> (String, tokio::sync::watch::Sender<u32>) {
    let front = directory.join("front.sock");
    let listener = tokio::net::UnixListener::bind(&front).unwrap();
    let (cut, cuts) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (socket, mut cuts) = (socket.clone(), cuts.clone());
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let mut far = tokio::net::UnixStream::connect(socket).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (format!("unix://{}", front.display()), cut)
}

#[tokio::test]
async fn a_follower_takes_up_where_it_was_when_its_connection_breaks() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path());
    let socket = daemon.socket();
    let (front, cut) = fragile(directory.path(), socket);
    let straight = Client::connect(&address(&daemon)).await.unwrap().open_run(&plan()).await.unwrap();
    let specs = straight.opened().unwrap().parameters.clone();
    let mut follow = Client::connect(&front).await.unwrap().run(straight.id().clone()).follow(Some(0));
    let mut sequences = Vec::new();
    for step in 1..=4 {
        straight.push(Label::step(step), parameters(&specs, step)).await.unwrap();
        loop {
            let event = follow.next().await.unwrap().unwrap();
            sequences.push(event.sequence);
            if matches!(event.event, Event::Finished { .. }) {
                break;
            }
        }
        cut.send_replace(step as u32);
        // Gives the break time to arrive before the next events do.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    straight.close().await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().event, Event::Closed);
    assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>());
}
