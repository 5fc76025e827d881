"""Keeps a forked child from touching the parent's channel and threads.

Owns: the set of live runs, and what happens to them at a fork and at the end of the process.
May not touch: grpc. A data loader that forks inherits the runs without their threads, and locks in whatever state
they were: in the child every run is inert, and its channel is neither used nor closed.
"""

from __future__ import annotations

import atexit
import os
from typing import Protocol

# At the end of the process there is this much time for what was forgotten to be finished.
AT_EXIT_TIMEOUT = 5.0

_kept: list[object] = []


class Forkable(Protocol):
    """A run, as far as this module knows it."""

    def wind_up(self, timeout: float) -> None:
        """End it, raising nothing."""

    def abandon(self) -> object:
        """Make it inert; the result must never be freed."""


_live: list[Forkable] = []


def enter(run: Forkable) -> None:
    """Watch over a run."""
    _live.append(run)


def leave(run: Forkable) -> None:
    """The run is over."""
    if run in _live:
        _live.remove(run)


def _in_child() -> None:
    # Freeing a channel joins threads that the child does not have, hence the list.
    _kept.extend(run.abandon() for run in _live)
    _live.clear()


def _at_exit() -> None:
    for run in list(_live):
        run.wind_up(AT_EXIT_TIMEOUT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
