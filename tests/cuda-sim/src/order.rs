//! The order of work on a device: what runs behind what, by streams, events and waiting.
//!
//! Owns: what each stream was given and has waited for, and who used an allocation last. May not touch: the work, which
//! is carried out at once whatever is found here.
//!
//! A GPU promises an order only within a stream, behind an event that a stream or the host waited for, and behind a
//! synchronization. Memory that is used on one stream while another may still work on it is a race there, and an error
//! here. Reading is not told from writing: two streams that only read are taken for a race too.

use std::collections::{BTreeMap, HashMap};

/// A stream, by a name that tells the streams of threads apart.
pub type Stream = u64;

/// Where a stream was: the number of its last piece of work.
type Point = (Stream, u64);

/// See the module.
#[derive(Default)]
pub struct Order {
    /// Pieces of work that each stream was given.
    given: HashMap<Stream, u64>,
    /// Those that are over, as the host knows.
    over: HashMap<Stream, u64>,
    /// Work of the second stream that the first one waited for.
    behind: HashMap<(Stream, Stream), u64>,
    /// What an event stands for.
    events: HashMap<u64, Vec<Point>>,
    /// Who used an allocation last, by its start.
    last: BTreeMap<u64, Point>,
}

impl Order {
    /// A piece of work on a stream, with the allocations that it may touch; the first that another stream may still use.
    pub fn work(&mut self, stream: Stream, allocations: &[u64]) -> Result<(), (u64, Stream)> {
        let given = self.given.entry(stream).or_default();
        *given += 1;
        let point = (stream, *given);
        for start in allocations {
            if let Some(other) = self.last.insert(*start, point)
                && !self.is_over(stream, other)
            {
                return Err((*start, other.0));
            }
        }
        Ok(())
    }

    fn is_over(&self, stream: Stream, (other, number): Point) -> bool {
        let over = self.over.get(&other).max(self.behind.get(&(stream, other)));
        other == stream || over.is_some_and(|over| number <= *over)
    }

    /// All that is over once a stream has done what it was given.
    fn points(&self, stream: Stream) -> Vec<Point> {
        let own = self.given.get(&stream).map(|number| (stream, *number));
        let others = self.behind.iter().filter(|((one, _), _)| *one == stream);
        others.map(|((_, other), number)| (*other, *number)).chain(own).collect()
    }

    /// An event behind everything that a stream was given.
    pub fn record(&mut self, event: u64, stream: Stream) {
        self.events.insert(event, self.points(stream));
    }

    /// What a stream is given from now on runs behind an event.
    pub fn wait(&mut self, stream: Stream, event: u64) {
        for (other, number) in self.events.get(&event).cloned().unwrap_or_default() {
            let known = self.behind.entry((stream, other)).or_default();
            *known = number.max(*known);
        }
    }

    /// The host waited for an event.
    pub fn reached(&mut self, event: u64) {
        self.finish(self.events.get(&event).cloned().unwrap_or_default());
    }

    /// The host waited for a stream.
    pub fn synchronized(&mut self, stream: Stream) {
        self.finish(self.points(stream));
    }

    /// The host waited for all streams.
    pub fn all_synchronized(&mut self) {
        self.over.clone_from(&self.given);
    }

    fn finish(&mut self, points: Vec<Point>) {
        for (stream, number) in points {
            let known = self.over.entry(stream).or_default();
            *known = number.max(*known);
        }
    }

    /// An event is no longer.
    pub fn forget_event(&mut self, event: u64) {
        self.events.remove(&event);
    }

    /// An allocation is no longer: the driver orders whatever gets its memory next.
    pub fn forget(&mut self, start: u64) {
        self.last.remove(&start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 0x1000;

    #[test]
    fn a_stream_is_in_order_and_two_are_not() {
        let mut order = Order::default();
        assert_eq!(order.work(1, &[MEMORY]), Ok(()));
        assert_eq!(order.work(1, &[MEMORY]), Ok(()));
        assert_eq!(order.work(2, &[MEMORY]), Err((MEMORY, 1)));
    }

    #[test]
    fn an_event_orders_what_was_before_it() {
        let mut order = Order::default();
        order.work(1, &[MEMORY]).unwrap();
        order.record(7, 1);
        order.wait(2, 7);
        assert_eq!(order.work(2, &[MEMORY]), Ok(()));
        // A third stream that waits for the second is behind the first as well.
        order.work(1, &[MEMORY + 1]).unwrap();
        order.record(7, 2);
        order.wait(3, 7);
        assert_eq!(order.work(3, &[MEMORY]), Ok(()));
        assert_eq!(order.work(3, &[MEMORY + 1]), Err((MEMORY + 1, 1)));
    }

    #[test]
    fn the_host_orders_by_waiting() {
        let mut order = Order::default();
        order.work(1, &[MEMORY]).unwrap();
        order.record(7, 1);
        order.work(1, &[MEMORY + 1]).unwrap();
        order.reached(7);
        assert_eq!(order.work(2, &[MEMORY]), Ok(()));
        order.synchronized(1);
        assert_eq!(order.work(2, &[MEMORY + 1]), Ok(()));
        order.all_synchronized();
        assert_eq!(order.work(1, &[MEMORY, MEMORY + 1]), Ok(()));
    }

    #[test]
    fn memory_that_was_freed_has_no_past() {
        let mut order = Order::default();
        order.work(1, &[MEMORY]).unwrap();
        order.forget(MEMORY);
        assert_eq!(order.work(2, &[MEMORY]), Ok(()));
    }
}
