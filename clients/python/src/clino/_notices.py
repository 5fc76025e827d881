"""What the user is told: each kind of trouble once, or as an error where the user asked for errors.

Owns: the logger, the memory of what was said. May not touch: control flow of threads.
"""

from __future__ import annotations

import logging
import sys
import threading

from clino._text import harmless

LOG = logging.getLogger("clino")


class ClinoError(Exception):
    """Something that clino could not do; raised only with `strict=True`."""


class Notices:
    """What is said of one run: errors cost readings, warnings do not yet."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        # The first error, as a user reads it; and what is to be known of the readings.
        self.error: str | None = None
        self.remarks: list[str] = []
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._pending: ClinoError | None = None
        # Whether an error was told as one; and remarks that wait for a snapshot to be received, None from then on.
        self.told_error = False
        self._held: list[str] | None = []

    def fail(self, key: str, message: str) -> None:
        """Like `tell`, of what costs the run readings: as an error, which `run.error` keeps."""
        self.blame(message.removeprefix("clino: "))
        self.told_error = True
        self.tell(key, message, logging.ERROR)

    def blame(self, message: str) -> None:
        """Keep for `run.error` what cost readings; it was told before."""
        with self._lock:
            self.error = self.error or message

    def tell(self, key: str, message: str, level: int = logging.WARNING, keep: bool = False) -> None:
        """Log `message` unless `key` was told before; strict: keep it for the next call of the user instead.

        With `keep` it is among the remarks, too.
        """
        first = self._is_first(key)
        if first and keep:
            self.remarks.append(message.removeprefix("clino: "))
        if self.strict:
            self.pend(message)
        elif first:
            LOG.log(level, harmless(message))

    def tell_once(self, key: str, message: str) -> None:
        """Like `tell`, but strict users, too, get it once: it is no trouble that they could mend."""
        if self._is_first(key):
            self.pend(message) if self.strict else LOG.warning(harmless(message))

    def remark(self, message: str, key: str | None = None) -> None:
        """Say once what is to be known of the readings, and keep it; never raised, since the run goes on as it is."""
        if self._is_first(key or message):
            self.remarks.append(message)
            LOG.warning("clino: %s", harmless(message))

    def hold(self, message: str) -> None:
        """Like `remark`, once a snapshot was received: of a mistake that the daemon refuses, its word is enough."""
        with self._lock:
            if self._held is not None:
                self._held.append(message)
                return
        self.remark(message)

    def release(self) -> None:
        """A snapshot was received: say what was held back."""
        with self._lock:
            held, self._held = self._held, None
        for message in held or ():
            self.remark(message)

    def mention(self, key: str, message: str) -> None:
        """Log `message` once; never raised, and nothing of the readings."""
        if self._is_first(key):
            LOG.warning("clino: %s", harmless(message))

    def pend(self, message: str) -> None:
        """Strict: keep it for the next call of the user."""
        with self._lock:
            if self.strict:
                self._pending = self._pending or ClinoError(message)

    def _is_first(self, key: str) -> bool:
        with self._lock:
            told = key in self._told
            self._told.add(key)
        return not told

    def conclude(self, message: str, failed: bool, cause: str | None = None) -> None:
        """Say how the run ended, whatever logging is set to show; as an error where none was told of a failed one.

        The error that is kept then is its cause, where one is known.
        """
        with self._lock:
            if failed:
                self.error = self.error or cause or message.removeprefix("clino: ")
        if failed and not self.told_error and not self.strict:
            LOG.error(harmless(message))
        elif LOG.isEnabledFor(logging.INFO) and LOG.hasHandlers():
            LOG.info(harmless(message))
        elif LOG.level == logging.NOTSET:
            # Who does not want it either sets a level for this logger.
            print(harmless(message), file=sys.stderr)

    def raise_pending(self) -> None:
        """Raise what went wrong in the background since the last call; nothing unless strict."""
        with self._lock:
            error, self._pending = self._pending, None
        if error is not None:
            raise error
