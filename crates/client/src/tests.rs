#![allow(clippy::unwrap_used)]

use super::background::{Sender, Summary};
use super::upload::{Blocks, Chunks};
use super::*;
use bytes::Bytes;
use clino_domain::{Dtype, Fault, FaultKind, RunFilter, Tensor, TensorSpec};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn cut(sizes: &[usize]) -> Vec<Bytes> {
    let mut next = 0u8;
    let blocks: Vec<_> = sizes
        .iter()
        .map(|size| {
            let bytes: Vec<u8> = (0..*size).map(|i| next.wrapping_add(i as u8)).collect();
            next = next.wrapping_add(101);
            Ok(Bytes::from(bytes))
        })
        .collect();
    let whole: Vec<u8> = blocks.iter().flat_map(|b: &Result<Bytes, Fault>| b.clone().unwrap()).collect();
    let chunks: Vec<Bytes> = Chunks::new(Box::new(blocks.into_iter())).map(Result::unwrap).collect();
    assert_eq!(chunks.concat(), whole, "the bytes of {sizes:?} changed");
    chunks
}

#[test]
fn chunks_are_full_but_for_the_last() {
    for sizes in [&[10, 0, 20][..], &[CHUNK], &[CHUNK - 1, 1], &[CHUNK - 1, 2], &[3, 5 * CHUNK, 7], &[], &[0]]
    {
        let total: usize = sizes.iter().sum();
        let lengths: Vec<usize> = cut(sizes).iter().map(Bytes::len).collect();
        assert!(lengths.iter().rev().skip(1).all(|length| *length == CHUNK), "{sizes:?}: {lengths:?}");
        assert_eq!(lengths.len(), total.div_ceil(CHUNK), "{sizes:?}: {lengths:?}");
    }
}

#[test]
fn large_tensors_are_sliced_and_not_copied() {
    let tensor = Bytes::from(vec![7u8; 3 * CHUNK]);
    let blocks: Blocks = Box::new(std::iter::once(Ok(tensor.clone())));
    for (i, chunk) in Chunks::new(blocks).enumerate() {
        assert_eq!(chunk.unwrap().as_ptr(), tensor[i * CHUNK..].as_ptr());
    }
}

#[tokio::test]
async fn addresses_are_checked_before_anything_is_sent() {
    for bad in ["", "localhost:1", "https:/localhost:1", "http://", "ftp://a", "unix:relative"] {
        let fault = Client::connect(bad).await.unwrap_err();
        assert_eq!((fault.kind, fault.violations[0].field.as_str()), (FaultKind::Invalid, "addr"), "{bad}");
    }
    let fault = Client::connect("https://localhost:1").await.unwrap_err();
    assert_eq!((fault.kind, fault.violations[0].field.as_str()), (FaultKind::Invalid, "ca"));
}

#[tokio::test]
async fn a_daemon_that_is_away_is_named_with_its_address() {
    let fault = Client::connect("unix:///nowhere/clino.sock").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.contains("unix:///nowhere/clino.sock"), "{fault}");
    let lazy = Client::lazy("unix:///nowhere/clino.sock").unwrap();
    let fault = lazy.runs(&RunFilter::default()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.contains("unix:///nowhere/clino.sock"), "{fault}");
}

fn tensors() -> Vec<Tensor> {
    let spec = TensorSpec { name: "w".into(), dtype: Dtype::F32, shape: vec![2] };
    vec![Tensor::new(spec, Bytes::from_static(&[0; 8])).unwrap()]
}

#[test]
fn a_trainer_goes_on_without_a_daemon_and_is_warned_once() {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let warn: background::Warn = Arc::new(move |text| heard.lock().unwrap().push(text.to_owned()));
    let sender = Sender::start_with("unix:///nowhere/clino.sock", Plan::new("run", "{}"), warn);
    sender.snapshot(Label::initialization(), tensors());
    let start = Instant::now();
    for step in 1..=1_000 {
        sender.snapshot(Label::step(step), tensors());
    }
    // One that waited for a connection each time would take minutes.
    assert!(start.elapsed() < Duration::from_secs(60), "held for {:?}", start.elapsed());
    while warnings.lock().unwrap().is_empty() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let summary = sender.finish(Duration::from_millis(100));
    let expected = Summary { offered: 1_001, replaced: 999, left: 2, outages: 1, ..Summary::default() };
    assert_eq!(summary, expected);
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("training goes on"), "{warnings:?}");
}

#[test]
fn an_address_that_can_never_work_costs_one_warning() {
    let warnings = Arc::new(Mutex::new(0));
    let heard = warnings.clone();
    let warn: background::Warn = Arc::new(move |_| *heard.lock().unwrap() += 1);
    let sender = Sender::start_with("ftp://nowhere", Plan::new("run", "{}"), warn);
    assert_eq!(sender.opened(Duration::from_secs(10)), None);
    sender.snapshot(Label::step(1), tensors());
    assert_eq!(sender.finish(Duration::from_secs(10)).left, 1);
    assert_eq!(*warnings.lock().unwrap(), 1);
}
