"""The events of a run as far as this process has seen them, and which snapshots are still owed.

Owns: a bounded record that many threads read. May not touch: the network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from clino._decisions import Staleness
from clino._readings import Event, Gap, ModelChecked, Reading, SnapshotFinished, SnapshotSkipped

# Events kept for readers that come late; the oldest are dropped and reported to such a reader as a gap.
CAPACITY = 65_536

# Snapshots that may be measured without an answer to what was asked with them.
PATIENCE = 3


Ref = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of snapshots: with a reading, skipped by the daemon, measured without any reading, and why the first.

    `valueless` is how many of those with a reading have none with a value.
    """

    measured: int
    skipped: int
    unmeasured: int
    reason: str | None
    valueless: int = 0


class Journal:
    """Written by the watcher and the sender, read by the user's threads."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=capacity)
        self._count = 0
        # Received by the daemon and not settled; and settled before the receipt was seen here.
        self._owed: set[Ref] = set()
        self._early: set[Ref] = set()
        # What this process sent, and what of the run was measured and skipped.
        self._sent: set[Ref] = set()
        self._finished: set[Ref] = set()
        self._skipped: set[Ref] = set()
        self._unmeasured: dict[Ref, str] = {}
        self._measured_any: set[Ref] = set()
        # Which have a value, and why others have none; and those that were measured without being noted as sent.
        self._valued: set[Ref] = set()
        self._valueless: dict[Ref, str] = {}
        self._strays: set[Ref] = set()
        # Steps of the newest snapshots that the daemon has and has measured.
        self._received_step: int | None = None
        self._measured_step = 0
        self._ended = False
        # What came of comparing the trainer's model with its configuration, once that was done; steps whose snapshots
        # asked for it, and how many of those are measured without an answer.
        self.checked: ModelChecked | None = None
        self._asked: set[int] = set()
        self._unanswered = 0

    def asks(self, step: int) -> None:
        """Note that the snapshot of a step asks for a comparison of the trainer's model with its configuration."""
        with self._changed:
            self._asked.add(step)

    @property
    def check_due(self) -> bool:
        """Whether to ask for it; a daemon that does not answer thrice is one that does not know the question."""
        return self.checked is None and self._unanswered < PATIENCE

    @property
    def refuted(self) -> bool:
        """Whether the trainer's model is not what its configuration says."""
        return self.checked is not None and not self.checked.agrees

    def add(self, event: Event, mine: bool = True) -> None:
        """Append an event that the daemon told; `mine` where it may be of a snapshot that this process sent."""
        with self._changed:
            self._events.append(event)
            self._count += 1
            if isinstance(event, (SnapshotFinished, SnapshotSkipped)):
                self._settle((event.step, event.attempt))
            if isinstance(event, ModelChecked) and (self.checked is None or self.checked.agrees):
                self.checked = event
            if isinstance(event, SnapshotFinished):
                self._measured_step = event.step
                self._unanswered += event.step in self._asked
                self._finished.add((event.step, event.attempt))
                if mine and (event.step, event.attempt) not in self._sent:
                    self._strays.add((event.step, event.attempt))
            elif isinstance(event, SnapshotSkipped):
                self._skipped.add((event.step, event.attempt))
            elif isinstance(event, Reading):
                self._note((event.step, event.attempt), event)
            self._changed.notify_all()

    def received(self, ref: Ref) -> None:
        """Note that the daemon has a snapshot: readings of it are owed."""
        with self._changed:
            self._received_step = ref[0]
            self._sent.add(ref)
            self._strays.discard(ref)
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

    def strays(self) -> frozenset[Ref]:
        """Snapshots that were measured here and have no receipt."""
        with self._changed:
            return frozenset(self._strays)

    def without_value(self, ref: Ref) -> str | None:
        """Why a snapshot that is measured has no value at all; None where it has one, or lacks what comes later."""
        with self._changed:
            return None if ref in self._valued else self._valueless.get(ref)

    def outcome(self, adopted: Iterable[Ref] = ()) -> Outcome:
        """What became of the snapshots that this process sent; `adopted` are those among them without a receipt."""
        with self._changed:
            sent = self._sent.union(adopted)
            finished = sent & self._finished
            measured = finished & self._measured_any
            reasons = [self._unmeasured[ref] for ref in sorted(finished) if ref in self._unmeasured]
            empty = sorted(measured - self._valued)
            reasons += [self._valueless[ref] for ref in empty if ref in self._valueless]
            skipped, without = len(sent & self._skipped - finished), len(finished) - len(measured)
            return Outcome(len(measured), skipped, without, reasons[0] if reasons else None, len(empty))

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

    def _note(self, ref: Ref, reading: Reading) -> None:
        # What is undefined was measured, too: no number is what there is to be known.
        if reading.outcome in ("measured", "undefined"):
            self._measured_any.add(ref)
        elif reading.reason is not None:
            self._unmeasured.setdefault(ref, reading.reason)
        if reading.outcome == "measured":
            self._valued.add(ref)
        elif reading.outcome in ("undefined", "failed") and reading.reason is not None:
            self._valueless.setdefault(ref, reading.reason)

    def _settle(self, ref: Ref) -> None:
        if ref in self._owed:
            self._owed.discard(ref)
        elif len(self._early) < CAPACITY:
            self._early.add(ref)
