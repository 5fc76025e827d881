//! What every store passes. An implementation gives a [`StoreLocation`] to `contract!`, which makes a test of each
//! function.
//!
//! Owns: what is asked of a store. May not touch: how any one of them keeps things.
//!
//! A kill -9 is what [`StoreLocation::killed`] leaves: all that has reached the place at one moment, and nothing that only the
//! process knew. `tests/history.rs` and `tests/decisions.rs` kill the daemon itself (`row_20_…`).
#![allow(clippy::unwrap_used)]

use super::fixtures::{PATIENCE, StoreDriver, acceptance, at, group, loss, record, run};
use super::{EventStore, Progress, RunChange};
use clino_domain::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Where a store lies, which outlives it.
pub(crate) trait StoreLocation: Send + Sync {
    /// Opens the store that lies there, or begins one.
    fn open(&self, retain: Option<Duration>) -> Arc<dyn EventStore>;

    /// What a process that is killed now would leave.
    fn killed(&self) -> Box<dyn StoreLocation>;
}

fn begin(place: &dyn StoreLocation) -> StoreDriver {
    StoreDriver::start(place.open(None))
}

fn events(store: &dyn EventStore, run: &RunId, most: usize) -> Vec<Arc<Sequenced>> {
    store.page(run, 0, most).unwrap()
}

fn numbers(events: &[Arc<Sequenced>]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// Waits, however busy the machine is.
async fn until(what: &str, done: impl Fn() -> bool) {
    let waits = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect(what);
}

/// Looks at a place while an entry is told.
#[derive(Clone)]
struct Witness {
    place: Arc<dyn StoreLocation>,
    store: Weak<dyn EventStore>,
    run: RunId,
    /// Of each entry that was told, whether it was there, and in what a kill would have left.
    seen: Arc<Mutex<Vec<(u64, bool, bool)>>>,
}

impl Witness {
    fn look(&self, expected: &Arc<Sequenced>) {
        let sequence = expected.sequence;
        let here = self.store.upgrade().unwrap().page(&self.run, sequence, 1).unwrap();
        let left = self.place.killed();
        let later = left.open(None);
        let counted = later.runs(9).unwrap()[0].standing.progress.next_sequence > sequence;
        let there = later.page(&self.run, sequence, 1).unwrap();
        let is_it = |page: &[Arc<Sequenced>]| page.first() == Some(expected);
        self.seen.lock().unwrap().push((sequence, is_it(&here), is_it(&there) && counted));
    }
}

/// Whoever is told of an entry finds it in the store, and would find it after a kill at that moment.
pub(crate) async fn nothing_is_told_before_it_is_durable(place: Arc<dyn StoreLocation>) {
    let driver = begin(&*place);
    let store = Arc::downgrade(&driver.store);
    let witness = Witness { place, store, run: run("r"), seen: Arc::default() };
    driver.open(record(&witness.run));
    for sequence in 0..6 {
        let event = Arc::new(Sequenced { sequence, event: loss(1, sequence as f64) });
        let expected = event.clone();
        let looks = witness.clone();
        driver.push(&witness.run, RunChange::Event(event), Box::new(move || looks.look(&expected)));
        // One transaction each, and two in one.
        if sequence != 3 {
            driver.settled().await;
        }
    }
    let all: Vec<_> = (0..6).map(|sequence| (sequence, true, true)).collect();
    assert_eq!(*witness.seen.lock().unwrap(), all);
    driver.end();
}

/// Calls come in the order of the pushes, and an entry is counted after its call.
pub(crate) async fn all_is_told_in_its_order(place: &dyn StoreLocation) {
    let driver = begin(place);
    let runs = [run("a"), run("b")];
    runs.iter().for_each(|run| driver.open(record(run)));
    let told = Arc::new(Mutex::new(Vec::new()));
    let writer_progress = driver.store.writer_progress();
    for place in 0..200_u64 {
        let event = Arc::new(Sequenced { sequence: place / 2, event: loss(1, 0.5) });
        let change = if place % 7 == 0 { RunChange::Mark } else { RunChange::Event(event) };
        let noted = told.clone();
        let writer_progress = writer_progress.clone();
        let note = move || noted.lock().unwrap().push((place, writer_progress.borrow().durable));
        driver.push(&runs[place as usize % 2], change, Box::new(note));
    }
    driver.settled().await;
    let told = told.lock().unwrap().clone();
    assert!(told.iter().map(|(place, _)| *place).eq(0..200));
    // Two openings came before.
    assert!(told.iter().all(|(place, durable)| *durable <= place + 2), "{told:?}");
    assert_eq!((driver.store.queued(), writer_progress.borrow().durable), (202, 202));
    driver.end();
}

fn happens(driver: &mut StoreDriver, r: &RunId) {
    driver.open(record(r));
    driver.measured(r, 1);
    driver.accept(r, acceptance(2));
    driver.append(r, Event::Skipped { snapshot: at(2), reason: "why".into() });
    driver.measured(r, 3);
}

/// The same entries again, also in a process behind a kill: rows and counts are as if they had come once.
pub(crate) async fn a_repeated_transaction_has_its_effect_once(place: &dyn StoreLocation) {
    let r = run("r");
    let mut driver = begin(place);
    happens(&mut driver, &r);
    driver.settled().await;
    let once = events(&*driver.store, &r, 99);
    driver.rewind();
    happens(&mut driver, &r);
    driver.settled().await;
    assert_eq!(events(&*driver.store, &r, 99), once);
    let left = place.killed();
    driver.end();
    let mut driver = begin(&*left);
    let progress = Progress {
        accepted: 3,
        measured: 2,
        skipped: 1,
        next_sequence: 12,
        last_accepted: Some(at(3)),
        last_measured: Some(at(3)),
    };
    assert_eq!(driver.found[0].standing.progress, progress);
    assert!(driver.found[0].pending.is_empty());
    driver.rewind();
    happens(&mut driver, &r);
    driver.append(&r, loss(4, 4.0));
    driver.settled().await;
    let goes_on = events(&*driver.store, &r, 99);
    assert_eq!((&goes_on[..12], goes_on.len(), goes_on[12].sequence), (&once[..], 13, 12));
    let report = driver.store.report(&r, at(3)).unwrap();
    assert_eq!((report.state, report.readings.len()), (SnapshotState::Measured, 2));
    let idempotency = driver.store.idempotency(&r).unwrap();
    assert_eq!((idempotency.attempts, idempotency.receipts.len()), (vec![at(1), at(2), at(3)], 3));
    driver.end();
    let again = left.open(None).runs(9).unwrap();
    assert_eq!((again.len(), again[0].standing.progress), (1, Progress { next_sequence: 13, ..progress }));
}

/// Pages have what was told, whole and in order; reports and readings of measures as well.
pub(crate) async fn what_was_told_is_read_back(place: &dyn StoreLocation) {
    let r = run("r");
    let mut driver = begin(place);
    driver.open(record(&r));
    (1..=40).for_each(|step| driver.measured(&r, step));
    driver.settled().await;
    let store = driver.store.clone();
    let page = |from, most| numbers(&store.page(&r, from, most).unwrap());
    assert_eq!(page(0, 128), (0..128).collect::<Vec<_>>());
    assert_eq!(page(128, 128), (128..200).collect::<Vec<_>>());
    assert_eq!(page(17, 1), [17]);
    assert_eq!((page(200, 9), page(0, 0)), (vec![], vec![]));
    assert_eq!(store.page(&run("nobody"), 0, 9).unwrap_err().kind, FaultKind::NotFound);
    let report = store.report(&r, at(7)).unwrap();
    assert_eq!(
        (report.state, report.kind, report.readings.len()),
        (SnapshotState::Measured, WeightKind::Ema, 2)
    );
    assert_eq!(store.report(&r, at(99)).unwrap_err().kind, FaultKind::NotFound);
    let recalled = |measure: &str, stretch| {
        let mut found = Vec::new();
        let mut take = |at: SnapshotRef, readings: &[&Reading]| found.push((at.step, readings.len()));
        store.recall(&r, &[measure.into()], stretch, &mut take).unwrap();
        found
    };
    assert_eq!(recalled("loss", None), (1..=40).map(|step| (step, 2)).collect::<Vec<_>>());
    assert_eq!(recalled("margin", None), (1..=40).map(|step| (step, 0)).collect::<Vec<_>>());
    assert_eq!(recalled("loss", Some(Stretch { from: 4, most: 3 })), [(4, 2), (5, 2), (6, 2)]);
    // Whoever lets go of a run can still read it.
    store.release(&r);
    assert_eq!(page(3, 2), [3, 4]);
    driver.end();
}

/// A run whose end is too old goes with all that belongs to it, once everybody has forgotten it; no other does.
pub(crate) async fn runs_that_are_too_old_go(place: &dyn StoreLocation) {
    let old = run("old");
    let young = run("young");
    let mut driver = begin(place);
    driver.open(RunRecord { groups: vec![group("aa")], ..record(&old) });
    driver.open(RunRecord { groups: vec![group("bb")], ..record(&young) });
    for r in [&old, &young] {
        driver.measured(r, 1);
    }
    driver.close(&old);
    driver.settled().await;
    driver.end();
    let store = place.open(Some(Duration::ZERO));
    let driver = StoreDriver::start(store.clone());
    driver.listener.refuses.store(true, Ordering::SeqCst);
    assert_eq!(driver.found.iter().map(|stored| stored.ended).collect::<Vec<_>>(), [true, false]);
    until("nobody is asked", || driver.listener.asked.load(Ordering::SeqCst) > 1).await;
    assert_eq!(store.page(&old, 0, 9).unwrap().len(), 6, "it is still somebody's");
    driver.listener.refuses.store(false, Ordering::SeqCst);
    until("it stays", || {
        store.release(&old);
        store.page(&old, 0, 9).is_err()
    })
    .await;
    assert_eq!(store.page(&old, 0, 9).unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(store.page(&young, 0, 9).unwrap().len(), 5);
    assert_eq!(
        store.specification(&young, |_| Err(Fault::internal("no model"))).unwrap().groups[0].tensors[0].data
            [..],
        [7; 4]
    );
    drop(store);
    driver.end();
    let left = place.open(None).runs(9).unwrap();
    assert_eq!(left.into_iter().map(|stored| stored.run.record.id).collect::<Vec<_>>(), [young]);
}

/// A kill at any moment leaves all that was told until then, without a hole, and the next process goes on behind it.
pub(crate) async fn a_kill_loses_nothing_that_was_told(place: &dyn StoreLocation) {
    let r = run("r");
    let mut driver = begin(place);
    driver.open(record(&r));
    driver.settled().await;
    for round in 0..4 {
        let told = driver.told.clone();
        let count = || told.lock().unwrap().values().map(Vec::len).sum::<usize>();
        let before = count();
        for step in 0..40 {
            driver.measured(&r, round * 40 + step);
        }
        until("nothing is told", || count() > before).await;
        let told = count();
        let left = place.killed();
        let mut after = begin(&*left);
        let found = events(&*after.store, &r, 1_000);
        assert!(found.len() >= told, "{} of {told}", found.len());
        assert!(numbers(&found).into_iter().eq(0..found.len() as u64));
        assert_eq!(after.found[0].standing.progress.next_sequence, found.len() as u64);
        after.append(&r, loss(999, 9.0));
        after.settled().await;
        assert_eq!(events(&*after.store, &r, 1_000).len(), found.len() + 1);
        after.end();
        driver.settled().await;
    }
    driver.end();
}

/// What is pushed before a store is closed is still written; waiting for it ends.
pub(crate) async fn what_was_pushed_is_written_at_the_end(place: &dyn StoreLocation) {
    let r = run("r");
    let mut driver = begin(place);
    driver.open(record(&r));
    (1..=20).for_each(|step| driver.measured(&r, step));
    let told = driver.told.clone();
    driver.end();
    assert_eq!(told.lock().unwrap()[&r].len(), 100);
    assert_eq!(place.open(None).runs(9).unwrap()[0].standing.progress.next_sequence, 100);
}

/// The tests of an implementation: one for each function above.
macro_rules! contract {
    ($place:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn nothing_is_told_before_it_is_durable() {
            crate::store::contract::nothing_is_told_before_it_is_durable(std::sync::Arc::new($place)).await;
        }

        #[tokio::test]
        async fn all_is_told_in_its_order() {
            crate::store::contract::all_is_told_in_its_order(&$place).await;
        }

        #[tokio::test]
        async fn a_repeated_transaction_has_its_effect_once() {
            crate::store::contract::a_repeated_transaction_has_its_effect_once(&$place).await;
        }

        #[tokio::test]
        async fn what_was_told_is_read_back() {
            crate::store::contract::what_was_told_is_read_back(&$place).await;
        }

        #[tokio::test]
        async fn runs_that_are_too_old_go() {
            crate::store::contract::runs_that_are_too_old_go(&$place).await;
        }

        #[tokio::test]
        async fn a_kill_loses_nothing_that_was_told() {
            crate::store::contract::a_kill_loses_nothing_that_was_told(&$place).await;
        }

        #[tokio::test]
        async fn what_was_pushed_is_written_at_the_end() {
            crate::store::contract::what_was_pushed_is_written_at_the_end(&$place).await;
        }
    };
}
pub(crate) use contract;
