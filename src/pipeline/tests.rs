#![allow(clippy::unwrap_used)]

use super::evaluate::guarded;
use super::forecast::MeasureTimes;
use clino_domain::Work;

#[test]
fn row_41_a_panic_becomes_its_message() {
    assert_eq!(guarded(|| 3), Ok(3));
    assert_eq!(guarded(|| -> u8 { panic!("plain") }), Err("plain".into()));
    let n = 7;
    assert_eq!(guarded(|| -> u8 { panic!("with {n}") }), Err("with 7".into()));
    assert_eq!(guarded(|| std::panic::panic_any(7)), Err::<(), _>("no message".into()));
}

const PLANNED: Work = Work::of(5.0, 0.0, 6.0);

/// What is known after these times of one reading.
fn after(times: &[f64]) -> MeasureTimes {
    let first = MeasureTimes::after(None, times[0], PLANNED, PLANNED);
    times[1..]
        .iter()
        .fold(first, |known, &seconds| MeasureTimes::after(Some(&known), seconds, PLANNED, PLANNED))
}

#[test]
fn what_was_slow_once_is_not_left_out() {
    assert_eq!(after(&[300.0]).seconds, 0.0, "nothing says that this is usual");
    assert_eq!(after(&[300.0, 1.0]).seconds, 1.0);
    assert_eq!(after(&[1.0, 1.0, 300.0]).seconds, 1.0);
    assert_eq!(after(&[1.0, 9.0, 8.0]).seconds, 8.0, "twice is no hiccup");
    assert_eq!(after(&[9.0, 8.0, 2.0]).seconds, 2.0);
}

#[test]
fn what_is_too_slow_is_tried_again_after_a_while() {
    let mut skipped = after(&[1.0, 9.0, 9.0]);
    for _ in 0..10 {
        skipped = skipped.skipped();
    }
    assert!(skipped.seconds < 1.01, "{skipped:?}");
    let again = MeasureTimes::after(Some(&skipped), 9.0, PLANNED, PLANNED);
    assert_eq!(again.seconds, 9.0, "what was expected is no time that it took");

    let mut always = after(&[9.0, 9.0]);
    for _ in 0..70 {
        always = always.skipped();
    }
    assert!(always.seconds < 3.0, "both may have been hiccups: {always:?}");

    let did = Work::of(30.0, 0.0, 31.0);
    let search = MeasureTimes::after(Some(&after(&[6.0])), 6.0, PLANNED, did);
    assert_eq!(search.skipped().seconds, 3.5, "halfway to what the plan has");
    let weights = MeasureTimes::after(Some(&after(&[2.0])), 2.0, Work::NONE, Work::NONE);
    assert_eq!(weights.skipped().seconds, 2.0);
}

#[test]
fn a_guess_comes_nearer_to_the_fastest_rate_until_it_is_tried() {
    let guess = MeasureTimes::guessed(300.0, 1.0);
    assert!(guess.skipped().skipped().seconds < 80.0);
    let tried = MeasureTimes::after(Some(&guess), 2.0, PLANNED, PLANNED);
    assert_eq!(tried.seconds, 2.0);
}
