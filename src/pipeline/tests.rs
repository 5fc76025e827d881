#![allow(clippy::unwrap_used)]

use super::evaluate::guarded;

#[test]
fn row_41_a_panic_becomes_its_message() {
    assert_eq!(guarded(|| 3), Ok(3));
    assert_eq!(guarded(|| -> u8 { panic!("plain") }), Err("plain".into()));
    let n = 7;
    assert_eq!(guarded(|| -> u8 { panic!("with {n}") }), Err("with 7".into()));
    assert_eq!(guarded(|| std::panic::panic_any(7)), Err::<(), _>("no message".into()));
}
