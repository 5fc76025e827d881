"""What became of the snapshots that a trainer gave: how many were received, replaced, lost.

Owns: these counts, so that they add up to what was given. May not touch: the snapshots themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from clino._journal import Ref
from clino._summary import Stats
from clino.v1 import snapshots_pb2

Fate = Literal["replaced", "failed"]


class Account:
    """Written by the trainer's thread and the sender's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshots = self._sent = self._bytes = 0
        self._fates: dict[Fate, int] = {"replaced": 0, "failed": 0}
        self._held = self._held_last = self._held_max = 0.0
        # Keys of initializations that the daemon received: they are sent again to one that forgot the run.
        self._received: set[str] = set()
        # Keys of uploads that ended without an answer: the daemon may have them. And those of them that were given up.
        self._unsure: set[str] = set()
        self._given_up: list[tuple[int, Fate]] = []

    @property
    def sent(self) -> int:
        """How many snapshots have a receipt."""
        return self._sent

    def given(self) -> None:
        """A snapshot was given; it will be sent, replaced or failed."""
        with self._lock:
            self._snapshots += 1

    def missed(self) -> None:
        """It could not be taken."""
        with self._lock:
            self._fates["failed"] += 1

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count how long the trainer is held."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self._held_last = seconds
                self._held += seconds
                self._held_max = max(self._held_max, seconds)

    def received(self, begin: snapshots_pb2.BeginSnapshot, nbytes: int) -> None:
        """The daemon gave a receipt."""
        with self._lock:
            self._bytes += nbytes
            self._sent += begin.idempotency_key not in self._received
            self._unsure.discard(begin.idempotency_key)
            if begin.initialization:
                self._received.add(begin.idempotency_key)

    def unanswered(self, begin: snapshots_pb2.BeginSnapshot) -> None:
        """An upload ended without an answer: the daemon may have it nevertheless."""
        with self._lock:
            self._unsure.add(begin.idempotency_key)

    def give_up(self, begin: snapshots_pb2.BeginSnapshot, fate: Fate) -> None:
        """It is not sent any more; one that was received before is lost to nobody."""
        with self._lock:
            if begin.idempotency_key in self._received:
                return
            self._fates[fate] += 1
            if begin.idempotency_key in self._unsure:
                self._unsure.discard(begin.idempotency_key)
                self._given_up.append((begin.step, fate))

    def adopted(self, strays: Iterable[Ref]) -> dict[Ref, Fate]:
        """Which of the snapshots that were measured without a receipt had been given up here, and as what."""
        with self._lock:
            left: dict[int, list[Fate]] = {}
            for step, fate in self._given_up:
                left.setdefault(step, []).append(fate)
        return {ref: left[ref[0]].pop(0) for ref in sorted(strays) if left.get(ref[0])}

    def stats(self, strays: Iterable[Ref]) -> Stats:
        """Counts so far; `strays` are snapshots that were measured without a receipt."""
        adopted = list(self.adopted(strays).values())
        with self._lock:
            return Stats(
                snapshots=self._snapshots,
                held_seconds=self._held,
                held_last=self._held_last,
                held_max=self._held_max,
                sent=self._sent + len(adopted),
                bytes_sent=self._bytes,
                replaced=self._fates["replaced"] - adopted.count("replaced"),
                failed=self._fates["failed"] - adopted.count("failed"),
            )
