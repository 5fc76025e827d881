"""What the user is told: each kind of trouble once, or as an error where the user asked for errors.

Owns: the logger, the memory of what was said. May not touch: control flow of threads.
"""

from __future__ import annotations

import logging
import threading

LOG = logging.getLogger("clino")


class ClinoError(Exception):
    """Something that clino could not do; raised only with `strict=True`."""


class Notices:
    """Warnings of one run."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._pending: ClinoError | None = None

    def tell(self, key: str, message: str) -> None:
        """Log `message` unless `key` was told before; strict: keep it for the next call of the user instead."""
        with self._lock:
            if self.strict:
                self._pending = self._pending or ClinoError(message)
                return
            if key in self._told:
                return
            self._told.add(key)
        LOG.warning(message)

    def tell_once(self, key: str, message: str) -> None:
        """Like `tell`, but strict users, too, get it once: it is no trouble that they could mend."""
        with self._lock:
            told = key in self._told
            self._told.add(key)
            if not told and self.strict:
                self._pending = self._pending or ClinoError(message)
        if not told and not self.strict:
            LOG.warning(message)

    def raise_pending(self) -> None:
        """Raise what went wrong in the background since the last call; nothing unless strict."""
        with self._lock:
            error, self._pending = self._pending, None
        if error is not None:
            raise error
