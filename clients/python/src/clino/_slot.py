"""The one place where a snapshot waits between the trainer and the sender.

Owns: the waiting snapshot, the initialization (kept for a daemon that forgets), and the buffers of both.
May not touch: the network. At most two buffers the size of a snapshot exist beside the initialization: one is
being sent, the other waits or is being filled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clino._account import Account
from clino._tensors import Bytes
from clino.v1 import snapshots_pb2


@dataclass(frozen=True, eq=False)
class Copy:
    """A snapshot on the host."""

    begin: snapshots_pb2.BeginSnapshot
    buffer: Bytes


class Slot:
    """Latest wins: what waits is replaced by what comes, unless every snapshot was asked for."""

    def __init__(self, every: bool, account: Account, blame: Callable[[str], None]) -> None:
        self._every, self._account, self._blame = every, account, blame
        self._changed = threading.Condition()
        self._waiting: Copy | None = None
        # What the sender has taken and neither sent nor given up.
        self._taken: Copy | None = None
        self._free: list[Bytes] = []
        self._initial: Copy | None = None
        self._due = False
        self._away = False
        self._closed = False
        self._busy = True
        # Why what is replaced now is a loss and not what "latest" asks for.
        self._blocked: str | None = None

    # --- the trainer's side

    @property
    def initial_step(self) -> int | None:
        """The step of the initialization, once there is one that the daemon did not refuse."""
        with self._changed:
            return self._initial.begin.step if self._initial is not None else None

    def claim(self, nbytes: int, initial: bool) -> Bytes | None:
        """Room for a snapshot; None once closed.

        Waits only when every snapshot was asked for and the daemon is there.
        """
        with self._changed:
            if not initial and self._every:
                self._changed.wait_for(lambda: self._waiting is None or self._away or self._closed)
            if self._closed:
                return None
            if initial:
                return np.empty(nbytes, np.uint8)
            old = self._free.pop() if self._free else self._drop_waiting()
        # Pages that were written before cost a fraction of new ones, hence the reuse.
        return old if old is not None and old.nbytes == nbytes else np.empty(nbytes, np.uint8)

    def offer(self, copy: Copy) -> bool:
        """Hand a filled copy to the sender; False once closed."""
        with self._changed:
            if self._closed:
                return False
            if copy.begin.initialization:
                self._initial, self._due = copy, True
            else:
                dropped = self._drop_waiting()
                if dropped is not None:
                    self._free.append(dropped)
                self._waiting = copy
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Take nothing more; what waits is still sent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing waits and nothing is being sent, or the daemon is away."""
        with self._changed:
            return self._changed.wait_for(lambda: self._away or self._idle(), timeout)

    # --- the sender's side

    def wait_for_work(self) -> bool:
        """Wait for something to send; False once closed and empty."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or not self._idle())
            self._busy = not self._idle()
            return self._busy

    def take(self) -> Copy | None:
        """The waiting snapshot, if there is one."""
        with self._changed:
            copy, self._waiting = self._waiting, None
            self._taken = copy
            self._changed.notify_all()
            return copy

    def exchange(self, copy: Copy | None) -> Copy | None:
        """A newer snapshot instead of one that could not be sent yet, if there is one and the run allows it."""
        with self._changed:
            if self._waiting is None or (self._every and copy is not None and not self._away):
                return copy
            newer, self._waiting = self._waiting, None
            if copy is not None:
                self._replace(copy)
                self._free.append(copy.buffer)
            self._taken = newer
            self._changed.notify_all()
            return newer

    def recycle(self, copy: Copy) -> None:
        """Give back the buffer of a copy that is done with."""
        with self._changed:
            self._taken = None
            if not copy.begin.initialization:
                self._free.append(copy.buffer)

    def initial_due(self) -> Copy | None:
        """The initialization, if the daemon does not have it."""
        with self._changed:
            return self._initial if self._due else None

    def initial_done(self, copy: Copy, keep: bool) -> None:
        """The daemon has the initialization, or (not `keep`) refused it."""
        with self._changed:
            if self._initial is copy:
                self._due = False
                self._initial = copy if keep else None
            self._changed.notify_all()

    def initial_lost(self) -> None:
        """Send the initialization again: the daemon forgot the run."""
        with self._changed:
            self._due = self._initial is not None
            self._changed.notify_all()

    def set_away(self, away: bool, refusal: str | None = None, absence: str | None = None) -> None:
        """Note whether the daemon takes anything: while it does not, nobody waits for it.

        What is replaced meanwhile is lost for want of it where it refuses, or where every snapshot was asked for.
        """
        with self._changed:
            self._away = away
            self._blocked = refusal or (absence if self._every else None)
            self._changed.notify_all()

    def abandon(self) -> None:
        """Count what was never sent: nobody will any more."""
        with self._changed:
            for copy in (self._taken, self._waiting, self._initial if self._due else None):
                if copy is not None:
                    self._account.give_up(copy.begin, "failed")
            self._taken, self._waiting, self._initial, self._due, self._busy = None, None, None, False, False
            self._free.clear()
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait between two tries; closing ends the wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    @property
    def closed(self) -> bool:
        """Whether the last snapshot is in."""
        return self._closed

    def _idle(self) -> bool:
        return self._waiting is None and not self._due and not self._busy

    def _drop_waiting(self) -> Bytes | None:
        if self._waiting is None:
            return None
        copy, self._waiting = self._waiting, None
        self._replace(copy)
        return copy.buffer

    def _replace(self, copy: Copy) -> None:
        self._account.give_up(copy.begin, "replaced")
        if self._blocked is not None:
            self._blame(f"{self._blocked}; snapshots that came meanwhile are lost")
