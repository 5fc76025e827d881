"""The RPCs of a run and what their failures mean.

Owns: the channel, the paths of methods, the sorting of status codes. May not touch: threads, retries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Protocol, TypeVar

import google_crc32c
import grpc
from google.protobuf.message import Message

from clino._settings import Settings
from clino._slot import Copy
from clino._text import bounded, harmless
from clino.v1 import decisions_pb2, reports_pb2, runs_pb2, snapshots_pb2, types_pb2

# The largest that the protocol allows, and the fastest over a unix socket.
CHUNK = 1 << 20

# Of what grpc says where nobody listens, the end is what the system said; the address stands beside it anyway.
_UNCONNECTED = re.compile(r"(?:connect failed:.* error|Failed to connect to remote host): (\w[^:]*)$")

# What the daemon sends with every refusal, such as when to try again.
_DETAILS = "grpc-status-details-bin"

Answer = TypeVar("Answer", bound=Message, covariant=True)
Reply = TypeVar("Reply", bound=Message)


class Pending(Protocol[Answer]):
    """A call that is under way."""

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer; grpc.RpcError when there is none, grpc.FutureTimeoutError when it takes longer."""

    def cancel(self) -> bool:
        """Give it up."""


class Stream(Protocol[Answer]):
    """A call whose answers come one by one."""

    def __iter__(self) -> Iterator[Answer]:
        """Answers until the end of the stream, or grpc.RpcError."""

    def cancel(self) -> object:
        """Give it up."""


class Cancelled(grpc.RpcError):
    """A call that this process gave up, or would have."""

    def code(self) -> grpc.StatusCode:
        """Like the daemon's own."""
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        """Who did it."""
        return "given up by the client"


class Expired(grpc.RpcError):
    """A call that took longer than it may; grpc itself can be late to say so."""

    def code(self) -> grpc.StatusCode:
        """Like that of a deadline which grpc noticed."""
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        """What is known."""
        return "no answer in time"


class Trouble(Enum):
    """What a failed call means for who made it."""

    AWAY = auto()  # nobody there, or busy: the same again, later
    LOST = auto()  # the daemon does not know the run: open it again
    DAMAGED = auto()  # something went wrong on the way: again, a few times
    REFUSED = auto()  # it will never work as it is


_TROUBLE = {
    grpc.StatusCode.UNAVAILABLE: Trouble.AWAY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Trouble.AWAY,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Trouble.AWAY,
    grpc.StatusCode.ABORTED: Trouble.AWAY,
    grpc.StatusCode.CANCELLED: Trouble.AWAY,
    grpc.StatusCode.NOT_FOUND: Trouble.LOST,
    grpc.StatusCode.DATA_LOSS: Trouble.DAMAGED,
    grpc.StatusCode.OUT_OF_RANGE: Trouble.DAMAGED,
    grpc.StatusCode.INTERNAL: Trouble.DAMAGED,
    grpc.StatusCode.UNKNOWN: Trouble.DAMAGED,
}


def trouble(error: grpc.RpcError) -> Trouble:
    """Sort a failure; codes that are not named are refusals."""
    if isinstance(error, Cancelled):
        return Trouble.LOST  # the other thread noticed, or all is over
    return _TROUBLE.get(error.code(), Trouble.REFUSED)


def answered(error: grpc.RpcError) -> bool:
    """Whether it was the daemon that said so, and not this side that did not reach it."""
    # Not by the method of this name, which waits forever where this side gave the call up.
    trailing = getattr(getattr(error, "_state", None), "trailing_metadata", None)
    return any(key == _DETAILS for key, _ in trailing or ())


def describe(error: grpc.RpcError) -> str:
    """Say what failed in one line: the daemon's sentence, or the code where it gave none."""
    details = error.details() or error.code().name
    found = _UNCONNECTED.search(details)
    return bounded(harmless(found.group(1) if found else details))


class Daemon:
    """A daemon that may or may not be there; nothing connects before the first call."""

    def __init__(self, settings: Settings) -> None:
        self._access = access = settings.access
        options = list(settings.options)
        if settings.secure:
            trust = grpc.ssl_channel_credentials(access.ca, access.key, access.cert)
            self._channel = grpc.secure_channel(settings.target, trust, options)
        else:
            self._channel = grpc.insecure_channel(settings.target, options)

    def open_run(self, request: runs_pb2.OpenRunRequest, timeout: float) -> Pending[runs_pb2.OpenRunResponse]:
        """Open a run, or find the one that the same key opened."""
        return self._asked("/clino.v1.Runs/OpenRun", request, runs_pb2.OpenRunResponse, timeout)

    def get_run(self, run_id: str, timeout: float) -> Pending[runs_pb2.GetRunResponse]:
        """Ask how a run stands."""
        request = runs_pb2.GetRunRequest(run_id=run_id)
        return self._asked("/clino.v1.Runs/GetRun", request, runs_pb2.GetRunResponse, timeout)

    def decide(self, run_id: str, timeout: float) -> Pending[decisions_pb2.DecideResponse]:
        """Ask what the run's policy says."""
        request = decisions_pb2.DecideRequest(run_id=run_id)
        return self._asked("/clino.v1.Decisions/Decide", request, decisions_pb2.DecideResponse, timeout)

    def override(self, run_id: str, reason: str, timeout: float) -> Pending[decisions_pb2.OverrideResponse]:
        """Take back a STOP."""
        request = decisions_pb2.OverrideRequest(run_id=run_id, reason=reason)
        return self._asked("/clino.v1.Decisions/Override", request, decisions_pb2.OverrideResponse, timeout)

    def close_run(self, run_id: str, timeout: float) -> Pending[runs_pb2.CloseRunResponse]:
        """No more snapshots of this run, unless a trainer goes on with it."""
        request = runs_pb2.CloseRunRequest(run_id=run_id, resumable=True)
        return self._asked("/clino.v1.Runs/CloseRun", request, runs_pb2.CloseRunResponse, timeout)

    def put_probe(self, probe: runs_pb2.Probe, project: str) -> Pending[runs_pb2.PutProbeResponse]:
        """Store a probe that is too large to go with a run of a project."""
        call = self._channel.stream_unary(
            "/clino.v1.Runs/PutProbe",
            runs_pb2.PutProbeRequest.SerializeToString,
            runs_pb2.PutProbeResponse.FromString,
        )
        pending: Pending[runs_pb2.PutProbeResponse] = call.future(
            _probe_frames(probe, project), metadata=self._access.metadata()
        )
        return pending

    def push(self, run_id: str, copy: Copy) -> Pending[snapshots_pb2.PushSnapshotResponse]:
        """Send a snapshot."""
        call = self._channel.stream_unary(
            "/clino.v1.Snapshots/PushSnapshot",
            snapshots_pb2.PushSnapshotRequest.SerializeToString,
            snapshots_pb2.PushSnapshotResponse.FromString,
        )
        pending: Pending[snapshots_pb2.PushSnapshotResponse] = call.future(
            _snapshot_frames(run_id, copy), metadata=self._access.metadata()
        )
        return pending

    def watch(self, run_id: str, from_sequence: int) -> Stream[reports_pb2.WatchResponse]:
        """Follow a run from an event on."""
        call = self._channel.unary_stream(
            "/clino.v1.Reports/Watch",
            reports_pb2.WatchRequest.SerializeToString,
            reports_pb2.WatchResponse.FromString,
        )
        stream: Stream[reports_pb2.WatchResponse] = call(
            reports_pb2.WatchRequest(run_id=run_id, from_sequence=from_sequence), metadata=self._access.metadata()
        )
        return stream

    def _asked(self, path: str, request: Message, answer: type[Reply], timeout: float) -> Pending[Reply]:
        """Send one message, for which there is one answer."""
        call = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        pending: Pending[Reply] = call.future(request, timeout=timeout, metadata=self._access.metadata())
        return pending

    def close(self) -> None:
        """Hang up; calls that are under way fail."""
        self._channel.close()


def chunks(data: memoryview) -> Iterator[types_pb2.Chunk]:
    """Cut bytes into pieces of at most 1 MiB, each with its place and checksum."""
    for offset in range(0, len(data), CHUNK):
        piece = bytes(data[offset : offset + CHUNK])
        yield types_pb2.Chunk(offset=offset, data=piece, crc32c=google_crc32c.value(piece))


def _snapshot_frames(run_id: str, copy: Copy) -> Iterator[snapshots_pb2.PushSnapshotRequest]:
    begin = snapshots_pb2.BeginSnapshot()
    begin.CopyFrom(copy.begin)
    begin.run_id = run_id
    yield snapshots_pb2.PushSnapshotRequest(begin=begin)
    for chunk in chunks(copy.buffer.data):
        yield snapshots_pb2.PushSnapshotRequest(chunk=chunk)
    yield snapshots_pb2.PushSnapshotRequest(commit=types_pb2.Commit())


def _probe_frames(probe: runs_pb2.Probe, project: str) -> Iterator[runs_pb2.PutProbeRequest]:
    manifest = runs_pb2.ProbeManifest(tensors=[tensor.spec for tensor in probe.tensors], project=project)
    yield runs_pb2.PutProbeRequest(begin=manifest)
    for chunk in chunks(memoryview(b"".join(tensor.data for tensor in probe.tensors))):
        yield runs_pb2.PutProbeRequest(chunk=chunk)
    yield runs_pb2.PutProbeRequest(commit=types_pb2.Commit())
