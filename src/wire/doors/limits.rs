//! How much may be under way, worked out from the memory that the daemon may take.
//!
//! Owns: these figures. May not touch: who takes how much.

use super::pool::Pool;
use clino_domain::budget::{Budget, BudgetPart};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of one message.
pub(in crate::wire) const MESSAGE: usize = 4 << 20;
/// Calls of one message end when it takes longer to come.
const WHOLE_MESSAGE: Duration = Duration::from_secs(20);
/// An upload waits so long for room for its next message, before it is told to come again.
const ROOM: Duration = Duration::from_secs(10);
/// Bytes of a request, and of an answer, that are not counted: those of small calls, which are never refused for large ones.
pub(super) const SMALL_REQUEST: u64 = 1 << 10;
pub(super) const SMALL_ANSWER: u64 = 4 << 10;
/// What a stream of answers takes: the items that wait in it.
pub(super) const STREAM: u64 = 32 << 10;
/// Calls of the health service at once, which need no token.
const HEALTH: u64 = 1_024;
/// No pool of bytes is smaller: two of the largest messages. As much of each is beside the budget, so that a daemon whose
/// memory is full can still be asked and told.
const LEAST: u64 = 2 * MESSAGE as u64;
/// Memory that a call takes beside its messages.
const CALL: u64 = 64 << 10;

/// How many there may be of what.
#[derive(Debug)]
pub(super) struct DoorLimits {
    /// Calls.
    pub calls: Arc<Pool>,
    /// Calls of the health service.
    pub health: Arc<Pool>,
    /// Bytes of messages that are collected, but those of uploads.
    pub messages: Arc<Pool>,
    /// Bytes of messages of uploads: a trainer that sends much can still ask.
    pub uploads: Arc<Pool>,
    /// Of uploads that find no room for the message that they are sending one may send it beyond the limit, so that the
    /// others are not left with half a message each.
    pub beyond: Arc<Pool>,
    /// Bytes that connections with an upload may have sent and nobody has read: their windows.
    pub windows: Arc<Pool>,
    /// Bytes of answers that wait.
    pub answers: Arc<Pool>,
    /// What an upload takes of the windows.
    pub window: u32,
    /// Streams at once on a connection.
    pub streams: u32,
    /// How long a call may take to send its message.
    pub whole_message: Duration,
    /// How long an upload waits for room for a message.
    pub room: Duration,
    /// How long an answer may be left unread.
    pub patience: Duration,
}

impl DoorLimits {
    /// For a daemon with this budget of memory, whose clients may be silent for `patience`.
    pub fn new(budget: &Budget, patience: Duration) -> Self {
        let memory = budget.limit();
        let pool = |name, part: u64, most: u64, least: u64| {
            let limit = (memory / part).clamp(LEAST, most);
            Pool::new(name, limit, least).claiming(&budget.part(BudgetPart::Messages), LEAST)
        };
        let whole = MESSAGE as u64;
        let window = (memory / 1_024).clamp(64 << 10, 4 << 20) as u32;
        let calls = (memory / CALL).clamp(256, 65_536);
        Self {
            calls: Pool::new("calls", calls, 0),
            health: Pool::new("health", HEALTH, 0),
            messages: pool("messages", 16, 128 << 20, whole),
            uploads: pool("uploads", 16, 128 << 20, whole),
            windows: pool("windows", 8, 2 << 30, window.into()),
            answers: pool("answers", 16, 128 << 20, whole),
            window,
            streams: (memory >> 20).clamp(128, 1_024) as u32,
            beyond: Pool::new("uploads", 1, 1),
            whole_message: WHOLE_MESSAGE.min(patience),
            room: ROOM.min(patience / 2),
            patience,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits_however_little_memory_there_is() {
        use crate::access::Origin;
        let limits = DoorLimits::new(&Budget::new(1), Duration::from_secs(30));
        assert_eq!((limits.window, limits.streams), (64 << 10, 128));
        for pool in [&limits.messages, &limits.uploads, &limits.answers, &limits.windows] {
            assert!(pool.take(&Origin::Local, MESSAGE as u64).is_ok(), "{}", pool.name);
        }
        assert_eq!(DoorLimits::new(&Budget::new(8 << 30), Duration::ZERO).window, 4 << 20);
    }
}
