"""The newest decision that is known here.

Owns: which of two decisions is newer. May not touch: the network. Readers take no lock: the training loop asks at
every step.
"""

from __future__ import annotations

import threading

from clino._decisions import Decision


class Verdict:
    """Written by the sender and the watcher, read by the user's threads.

    The stream of events tells in order, but only what is news; a receipt tells more, and may be overtaken by an event
    on its way. Hence the mark: a receipt counts only where no event came while its snapshot was sent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0
        # Of the run that is open; None without a policy, before the first decision, or when the run was forgotten.
        self.decision: Decision | None = None

    def mark(self) -> int:
        """Give a mark to be taken before something is asked that may answer with a decision."""
        with self._lock:
            return self._told

    def told(self, decision: Decision) -> None:
        """Take the news of the event stream, or the answer to an override."""
        with self._lock:
            self._told += 1
            self._take(decision)

    def answered(self, decision: Decision, mark: int) -> None:
        """Take what an answer says, unless news came after the mark."""
        with self._lock:
            if self._told == mark:
                self._take(decision)

    def forget(self) -> None:
        """The run is gone, and its decisions with it."""
        with self._lock:
            self._told += 1
            self.decision = None

    def _take(self, decision: Decision) -> None:
        # What was taken back does not come back by a stream that lags.
        before = self.decision
        late = before is not None and before.overridden is not None and decision.overridden is None
        if not late or (before is not None and before.run_id != decision.run_id):
            self.decision = decision
