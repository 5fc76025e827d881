#![allow(clippy::unwrap_used)]

use super::evaluate::guarded;
use super::forecast::Known;
use clino_domain::Work;

#[test]
fn row_41_a_panic_becomes_its_message() {
    assert_eq!(guarded(|| 3), Ok(3));
    assert_eq!(guarded(|| -> u8 { panic!("plain") }), Err("plain".into()));
    let n = 7;
    assert_eq!(guarded(|| -> u8 { panic!("with {n}") }), Err("with 7".into()));
    assert_eq!(guarded(|| std::panic::panic_any(7)), Err::<(), _>("no message".into()));
}

#[test]
fn what_was_slow_once_is_not_left_out_for_ever() {
    let planned = Work::of(5.0, 0.0, 6.0);
    let cold = Work::of(30.0, 0.0, 31.0);
    let fast = Known::after(None, 1.0, planned, planned);
    let mut slow = Known::after(Some(&fast), 9.0, planned, planned);
    assert_eq!(slow.seconds, 9.0);
    for _ in 0..30 {
        slow = slow.skipped();
    }
    assert!((slow.seconds - 1.0).abs() < 1e-6, "{slow:?}");

    let search = Known::after(None, 6.0, planned, cold).skipped();
    assert_eq!(search.seconds, 3.5, "halfway to what the plan has");
    let weights = Known::after(None, 2.0, Work::NONE, Work::NONE).skipped();
    assert_eq!(weights.seconds, 2.0);
}
