"""The events of a run as far as this process has seen them, and which snapshots are still owed.

Owns: a bounded record that many threads read. May not touch: the network.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from clino._decisions import Staleness
from clino._readings import Event, Gap, Reading, SnapshotFinished, SnapshotSkipped

# Events kept for readers that come late; the oldest are dropped and reported to such a reader as a gap.
CAPACITY = 65_536

Ref = tuple[int, int]


class Journal:
    """Written by the watcher and the sender, read by the user's threads."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=capacity)
        self._count = 0
        # Received by the daemon and not settled; and settled before the receipt was seen here.
        self._owed: set[Ref] = set()
        self._early: set[Ref] = set()
        # Steps of the newest snapshots that the daemon has and has measured.
        self._received_step: int | None = None
        self._measured_step = 0
        self._ended = False

    def add(self, event: Event) -> None:
        """Append an event that the daemon told."""
        with self._changed:
            self._events.append(event)
            self._count += 1
            if isinstance(event, (SnapshotFinished, SnapshotSkipped)):
                self._settle((event.step, event.attempt))
            if isinstance(event, SnapshotFinished):
                self._measured_step = event.step
            self._changed.notify_all()

    def received(self, ref: Ref) -> None:
        """Note that the daemon has a snapshot: readings of it are owed."""
        with self._changed:
            self._received_step = ref[0]
            if ref in self._early:
                self._early.discard(ref)
            else:
                self._owed.add(ref)

    def forget(self) -> None:
        """Expect nothing more of what was sent: the daemon that had it is gone."""
        with self._changed:
            self._owed.clear()
            self._early.clear()
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._owed.clear()
            self._changed.notify_all()

    def staleness(self) -> Staleness | None:
        """How far measuring is behind, as far as it is known here; None before the daemon has a snapshot."""
        with self._changed:
            if self._received_step is None:
                return None
            return Staleness(len(self._owed), max(0, self._received_step - self._measured_step))

    def readings(self) -> list[Reading]:
        """All readings that are still kept, oldest first."""
        with self._changed:
            return [event for event in self._events if isinstance(event, Reading)]

    def wait_settled(self, deadline: float) -> bool:
        """Wait until every snapshot that the daemon received is measured or skipped."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._owed, max(0.0, deadline - time.monotonic()))

    def after(self, index: int, timeout: float | None) -> tuple[list[Event], int, bool]:
        """Events from `index` on, waiting for the first; then the next index, and whether more may come."""
        with self._changed:
            more = self._changed.wait_for(lambda: self._count > index or self._ended, timeout)
            first = self._count - len(self._events)
            lost: list[Event] = [Gap(first - index)] if index < first else []
            kept = list(self._events)[max(0, index - first) :]
            return lost + kept, self._count, more and not self._ended

    def _settle(self, ref: Ref) -> None:
        if ref in self._owed:
            self._owed.discard(ref)
        elif len(self._early) < CAPACITY:
            self._early.add(ref)
