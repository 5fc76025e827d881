"""The end of a run: how long it is waited for, and why not all of it was done.

Owns: the time limit of `finish`, whether the daemon is there then. May not touch: the trainer's side.
"""

from __future__ import annotations

import threading
import time

from clino._link import Link
from clino._sender import Sender
from clino._watcher import Watcher

# What a run says that takes nothing more, and how to go on with it.
OVER = (
    "snapshot: the run is finished and takes no more snapshots: finish() ends a run; start another one, or continue "
    "this one with clino.init(…, resume={})"
)
# How long the daemon is asked whether it is there, where it has not said that the run ended: a part of the time limit,
# within these bounds. A busy one does not answer sooner.
SHARE, SHORTEST_QUESTION, LONGEST_QUESTION = 1 / 3, 0.5, 5.0


class Ending:
    """Waited for once."""

    def __init__(self, link: Link, sender: Sender, watcher: Watcher, reader: threading.Thread) -> None:
        self._link, self._sender, self._watcher, self._reader = link, sender, watcher, reader
        # Whether all was sent, the run closed, and everything read.
        self.whole = False
        # Why the daemon is not there, if it is not.
        self.absence: str | None = None
        # How long was waited, where the time was up.
        self._waited: float | None = None

    def wait(self, timeout: float) -> None:
        """Wait for the end, at most `timeout` seconds."""
        started = time.monotonic()
        question = min(LONGEST_QUESTION, SHARE * timeout)
        over = self._is_over(started + timeout - question)
        if not over:
            # One that is stopped or frozen breaks no connection.
            asks = question >= SHORTEST_QUESTION and not self._sender.away
            self.absence = self._link.silence(question) if asks else None
            over = self._is_over(started + timeout)
        self.whole = self._sender.closed_run and self._watcher.saw_end
        if self.whole or self._watcher.refused or self._sender.refused is not None:
            self.absence = None
        elif self._sender.away:
            self.absence = self._sender.absence
        else:
            self.absence = self._watcher.absence or self.absence
        if not over:
            self._waited = time.monotonic() - started

    @property
    def unread(self) -> bool:
        """Whether this client may not read what was measured."""
        return self._watcher.refused

    def reason(self, key: str | None, told: bool) -> str | None:
        """Why not all was done, and what to do; `told` is whether an error said why.

        `key` is that of the run, where there is something to go on with.
        """
        if self.unread:
            return "this client may not read what was measured"
        if self.whole or self._sender.refused is not None:
            return None
        if self.absence is not None and told:
            return None
        if self.absence is not None:
            go_on = f"then go on with clino.init(…, resume={key!r}); run.readings() has what was measured"
            return f"{self.absence}, {go_on}" if key is not None else self.absence
        if self._waited is not None:
            advice = "give finish() a longer timeout, or read on with `clino watch`"
            return f"not everything was measured within {self._waited:.1f} s: {advice}"
        unclosed = self._sender.unclosed
        return f"the run could not be closed: {unclosed}" if unclosed is not None else None

    def _is_over(self, deadline: float) -> bool:
        """Wait until there is nothing more to wait for; False when the time is up before."""
        self._sender.done.wait(max(0.0, deadline - time.monotonic()))
        if not self._sender.done.is_set():
            return False
        if self._sender.closed_run and not self._watcher.refused:
            self._reader.join(max(0.0, deadline - time.monotonic()))
            return self._watcher.saw_end or self._watcher.refused
        return True
