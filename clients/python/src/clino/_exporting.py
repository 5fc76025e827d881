"""The export of a model beside the training: in a process of its own, forked from the trainer's.

Owns: that process, how long it may take, and what comes back. May not touch: how a model becomes a graph, the network.

A thread would not do. While torch.export works, `torch.compiler.is_exporting()` is true in all threads, modules are
called through the tracer, and the random state is put back at the end: the trainer would compute other numbers. A
forked process shares nothing that changes, has the model as it is at that moment, and needs neither the trainer's time
nor its interpreter's lock.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from clino.v1 import graph_pb2

# Seconds after which an export is given up: large decoders take one minute.
LIMIT = 600.0
# How often who waits looks whether it is still wanted.
PAUSE = 0.1
# Of the process, behind the trainer's own threads.
NICE = 10
_HEAD = struct.Struct(">QQ")
# What a trainer may have handlers for.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGALRM")
# Its frameworks do not work in a forked process.
_FORKS = hasattr(os, "fork") and sys.platform != "darwin"


@dataclass(frozen=True)
class Outcome:
    """A graph, or why there is none."""

    model: graph_pb2.Model | None
    error: str | None = None
    remarks: list[str] = field(default_factory=list)


Job = Callable[[], Outcome]


class Export:
    """A graph that is being made. Where no process can be forked it is made at once, on the caller's thread."""

    def __init__(self, job: Job) -> None:
        self._pid: int | None = None
        self._pipe = -1
        self._made: Outcome | None = None
        if not _FORKS or not self._forked(job):
            self._made = _done(job)

    def outcome(self, stopped: Callable[[], bool]) -> Outcome:
        """Wait for it, without the interpreter's lock; `stopped` says that nobody wants it any more."""
        if self._made is None:
            self._made = self._read(stopped)
        return self._made

    def give_up(self) -> None:
        """End the process, if there is one."""
        pid, self._pid = self._pid, None
        if pid is not None:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, 0)
            os.close(self._pipe)

    def _forked(self, job: Job) -> bool:
        pipe, write = os.pipe()
        try:
            with warnings.catch_warnings():
                # That other threads may hold locks: none of theirs is needed, and the time is limited.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError:  # no memory for its page tables
            os.close(pipe)
            os.close(write)
            return False
        if pid == 0:
            _work(job, write)
        os.close(write)
        self._pid, self._pipe = pid, pipe
        return True

    def _read(self, stopped: Callable[[], bool]) -> Outcome:
        try:
            sizes = self._bytes(_HEAD.size, stopped)
            head, model = (self._bytes(size, stopped) for size in _HEAD.unpack(sizes))
            said = json.loads(head)
            found = graph_pb2.Model.FromString(model) if said["error"] is None else None
            return Outcome(found, said["error"], said["remarks"])
        except _MissingError as error:
            return Outcome(None, str(error))
        finally:
            self.give_up()

    def _bytes(self, size: int, stopped: Callable[[], bool]) -> bytes:
        found, waited = bytearray(), 0.0
        while len(found) < size:
            if not select.select([self._pipe], [], [], PAUSE)[0]:
                waited += PAUSE
                if stopped() or waited >= LIMIT:
                    raise _MissingError("the run ended" if stopped() else f"it took longer than {LIMIT:.0f} s")
                continue
            part = os.read(self._pipe, min(1 << 20, size - len(found)))
            if not part:
                raise _MissingError("the process that exports it was killed: look whether memory is short")
            found += part
        return bytes(found)


class _MissingError(Exception):
    """Why there is no answer."""


def _done(job: Job) -> Outcome:
    try:
        return job()
    except Exception as error:  # whatever a forward or torch may raise
        return Outcome(None, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


def _work(job: Job, write: int) -> None:
    """Be the process: nothing of the trainer runs in it, and it does not return."""
    try:
        _alone()
        found = _done(job)
        model = b"" if found.model is None else found.model.SerializeToString(deterministic=True)
        head = json.dumps({"error": found.error, "remarks": found.remarks}).encode()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(_HEAD.pack(len(head), len(model)) + head + model)
    finally:
        os._exit(0)


def _alone() -> None:
    """Leave the trainer's terminal, signals and threads alone."""
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for place in range(3):
        os.dup2(null, place)
    # Bytes that the trainer has not written yet are its own.
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os.nice(NICE)
    # A collection would write to every page that is shared.
    gc.freeze()
    torch = sys.modules.get("torch")
    if torch is not None:
        # Its pool of threads is not in this process.
        torch.set_num_threads(1)
        # Nor can a GPU be reached from it, of which torch.export would keep the random state.
        torch.cuda.is_available = lambda: False
        torch.cuda.device_count = lambda: 0
