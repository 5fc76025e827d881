"""A daemon in Python: the protocol with every fault that a test wants, and nothing measured."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import grpc

from clino.v1 import decisions_pb2, reports_pb2, runs_pb2, snapshots_pb2, types_pb2


@dataclass
class Received:
    begin: snapshots_pb2.BeginSnapshot
    data: bytes
    attempt: int


@dataclass
class FakeRun:
    id: str
    request: runs_pb2.OpenRunRequest
    received: list[Received] = field(default_factory=list)
    receipts: dict[str, snapshots_pb2.PushSnapshotResponse] = field(default_factory=dict)
    events: list[reports_pb2.WatchResponse] = field(default_factory=list)
    closed: bool = False
    # Whether its trainer closed it, and nobody else.
    resumable: bool = False
    # What its policy says; receipts have it, and with `news` its watchers.
    decision: decisions_pb2.Decision | None = None
    # Pushes that were refused since it is STOP, and to be enforced.
    refused: int = 0

    @property
    def ended(self) -> bool:
        said = self.decision
        stop = said is not None and said.advice == decisions_pb2.ADVICE_STOP
        return stop and self.request.policy.mode == decisions_pb2.POLICY_MODE_ENFORCE

    def plan(self) -> list[runs_pb2.Planned]:
        """Predicted before there is a snapshot, counted and timed after it."""
        measured = bool(self.received)
        work = types_pb2.Work(forwards=2.0, backwards=0.5 * measured, passes=1.5, operations=3.0)
        seconds = 0.25 if measured else None
        return [
            runs_pb2.Planned(measure=measure.name, work=work, counted=measured, seconds=seconds)
            for measure in self.request.measures
        ]


def say(context: grpc.ServicerContext, code: grpc.StatusCode, sentence: str) -> None:
    """Abort as the real daemon does: with details, which tell its word from that of a broken connection."""
    context.set_trailing_metadata((("grpc-status-details-bin", b""),))
    context.abort(code, sentence)


class FakeDaemon:
    """Knobs are plain attributes: set them before or while a client talks."""

    def __init__(self, bind: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.probes: dict[str, runs_pb2.ProbeManifest] = {}
        self.opened = 0
        self.slow = threading.Event()  # while set, pushes are read slowly
        self.hold = threading.Event()  # while cleared, pushes are not answered
        self.hold.set()
        # Each is called with the number of the push and may abort; returning lets the push go on.
        self.on_chunk: Callable[[int, grpc.ServicerContext], None] = lambda number, context: None
        self.on_open: Callable[[runs_pb2.OpenRunRequest, grpc.ServicerContext], None] = lambda request, context: None
        self.on_get: Callable[[runs_pb2.GetRunRequest, grpc.ServicerContext], None] = lambda request, context: None
        self.on_close: Callable[[runs_pb2.CloseRunRequest, grpc.ServicerContext], None] = lambda request, context: None
        self.on_watch: Callable[[grpc.ServicerContext], None] = lambda context: None
        # Metadata of every call, by method.
        self.metadata: dict[str, dict[str, str]] = {}
        self.on_commit: Callable[[int, grpc.ServicerContext], None] = lambda number, context: None
        # What is remarked of a run that is opened, and of a snapshot.
        self.open_warnings: list[str] = []
        self.push_warnings: list[str] = []
        self.pushes = 0
        self._changed = threading.Condition()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), interceptors=[_Listener(self)])
        self._server.add_generic_rpc_handlers(_handlers(self))
        if credentials is None:
            self.port = self._server.add_insecure_port(bind)
        else:
            self.port = self._server.add_secure_port(bind, credentials)
        scheme = "http" if credentials is None else "https"
        self.addr = bind if bind.startswith("unix:") else f"{scheme}://127.0.0.1:{self.port}"
        self._server.start()

    @property
    def run(self) -> FakeRun:
        """The only run."""
        (run,) = self.runs.values()
        return run

    def stop(self) -> None:
        self.hold.set()
        self._server.stop(0).wait()

    def decide(self, advice: str, news: bool = True, **fields: Any) -> None:
        """Have the policy of the only run say this."""
        run = self.run
        run.decision = decisions_pb2.Decision(
            decision_id=f"{len(run.events)}",
            run_id=run.id,
            advice=f"ADVICE_{advice}",
            mode=run.request.policy.mode or decisions_pb2.POLICY_MODE_ADVISE,
            latched=advice == "STOP",
            **fields,
        )
        if news:
            self._tell(run, reports_pb2.WatchResponse(decided=run.decision))

    # --- RPCs

    def ask(self, request: decisions_pb2.DecideRequest, context: grpc.ServicerContext) -> decisions_pb2.DecideResponse:
        run = self._find(request.run_id, context)
        if run.decision is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "run_id: found a run without a policy")
        staleness = decisions_pb2.Staleness(snapshots=3, steps=30)
        return decisions_pb2.DecideResponse(decision=run.decision, staleness=staleness)

    def override(
        self, request: decisions_pb2.OverrideRequest, context: grpc.ServicerContext
    ) -> decisions_pb2.OverrideResponse:
        run = self._find(request.run_id, context)
        if run.decision is None or run.decision.advice != decisions_pb2.ADVICE_STOP:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "run_id: found a run that has not been stopped")
        by = decisions_pb2.Overridden(reason=request.reason, by="anybody", at=types_pb2.SnapshotRef(step=7, attempt=1))
        self.decide("NOT_ENOUGH_DATA", overridden=by, reason=decisions_pb2.REASON_WARMING_UP)
        return decisions_pb2.OverrideResponse(decision=run.decision)

    def open_run(self, request: runs_pb2.OpenRunRequest, context: grpc.ServicerContext) -> runs_pb2.OpenRunResponse:
        self.on_open(request, context)
        for group in request.groups:
            if group.WhichOneof("source") == "digest" and group.digest not in self.probes:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "groups: unknown digest")
        self.opened += 1
        for run in self.runs.values():
            if request.idempotency_key in (run.request.idempotency_key, run.id if request.resume else None):
                if run.closed and request.resume:
                    if not run.resumable:
                        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "found a run that was closed for good")
                    run.closed = False
                return runs_pb2.OpenRunResponse(run_id=run.id, created=False, plan=run.plan())
        run = FakeRun(f"run-{id(self):x}-{self.opened}", request)
        self.runs[run.id] = run
        return runs_pb2.OpenRunResponse(run_id=run.id, created=True, plan=run.plan(), warnings=self.open_warnings)

    def get_run(self, request: runs_pb2.GetRunRequest, context: grpc.ServicerContext) -> runs_pb2.GetRunResponse:
        self.on_get(request, context)
        run = self._find(request.run_id, context)
        return runs_pb2.GetRunResponse(
            run=runs_pb2.RunSummary(
                run_id=run.id,
                plan=run.plan(),
                decision=run.decision,
                next_sequence=len(run.events),
                closed=run.closed,
            )
        )

    def put_probe(
        self, frames: Iterator[runs_pb2.PutProbeRequest], context: grpc.ServicerContext
    ) -> runs_pb2.PutProbeResponse:
        manifest = next(frames).begin
        digest = hashlib.sha256(_assemble((frame for frame in frames), context)).hexdigest()
        self.probes[digest] = manifest
        return runs_pb2.PutProbeResponse(digest=digest)

    def close_run(self, request: runs_pb2.CloseRunRequest, context: grpc.ServicerContext) -> runs_pb2.CloseRunResponse:
        self.on_close(request, context)
        run = self._find(request.run_id, context)
        run.closed, run.resumable = True, request.resumable
        self._tell(run, reports_pb2.WatchResponse(closed=reports_pb2.RunClosed()))
        return runs_pb2.CloseRunResponse()

    def push(
        self, frames: Iterator[snapshots_pb2.PushSnapshotRequest], context: grpc.ServicerContext
    ) -> snapshots_pb2.PushSnapshotResponse:
        begin = next(frames).begin
        run = self._find(begin.run_id, context)
        if begin.idempotency_key in run.receipts:
            receipt = snapshots_pb2.PushSnapshotResponse(repeated_upload=True)
            receipt.MergeFrom(run.receipts[begin.idempotency_key])
            return receipt
        if run.closed:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "run_id: found a run that is closed, expected an open one"
            )
        if run.ended:
            run.refused += 1
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "run_id: its policy said STOP; override it to go on")
        self.pushes += 1
        number = self.pushes

        def watched() -> Iterator[snapshots_pb2.PushSnapshotRequest]:
            for frame in frames:
                if self.slow.is_set():
                    time.sleep(0.02)
                self.on_chunk(number, context)
                yield frame

        data = _assemble(watched(), context)
        self.hold.wait()
        if len(data) != sum(spec.byte_length for spec in begin.tensors):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tensors: not the bytes of the manifest")
        attempt = begin.attempt or 1 + sum(one.begin.step == begin.step for one in run.received)
        run.received.append(Received(begin, data, attempt))
        receipt = snapshots_pb2.PushSnapshotResponse(
            step=begin.step, attempt=attempt, decision=run.decision, warnings=self.push_warnings
        )
        run.receipts[begin.idempotency_key] = receipt
        self._measure(run, types_pb2.SnapshotRef(step=begin.step, attempt=attempt))
        self.on_commit(number, context)
        return receipt

    def watch(
        self, request: reports_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[reports_pb2.WatchResponse]:
        self.on_watch(context)
        run = self._find(request.run_id, context)
        place = request.from_sequence
        if place > len(run.events):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "from_sequence: found a number ahead of the run")
        while context.is_active():
            with self._changed:
                if len(run.events) == place:
                    self._changed.wait(0.1)
                news = run.events[place:]
            yield from news
            place += len(news)
            if run.closed and place == len(run.events):
                return

    # --- inside

    def _find(self, run_id: str, context: grpc.ServicerContext) -> FakeRun:
        if run_id not in self.runs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"run_id: no run {run_id!r}")
        return self.runs[run_id]

    def _measure(self, run: FakeRun, at: types_pb2.SnapshotRef) -> None:
        reading = reports_pb2.Reading(
            measure="loss",
            group="en",
            snapshot=at,
            outcome=reports_pb2.OUTCOME_MEASURED,
            value=1.5,
            draws=[1.0, 2.0],
            estimate=reports_pb2.Estimate(mean=1.5, stderr=0.5, min=1.0, max=2.0),
            interval=reports_pb2.Interval(low=0.5, high=2.5, level=0.95),
            parts=[reports_pb2.Part(name="first", value=1.5), reports_pb2.Part(name="none")],
            precision=types_pb2.PRECISION_F64,
            ended=reports_pb2.ENDED_TARGET,
            runs=[reports_pb2.Quadrature(nodes=[-1.0, 2.0], weights=[0.25, 0.75])],
            surface=reports_pb2.Surface(dimensions=1, axis=[-1.0, 0.0, 1.0], losses=[2.0, 1.5, math.nan]),
            remark="of two draws",
            work=types_pb2.Work(forwards=4.0, backwards=3.0, passes=2.5, operations=1.0),
        )
        self._tell(run, reports_pb2.WatchResponse(reading=reading))
        self._tell(run, reports_pb2.WatchResponse(finished=reports_pb2.MeasurementFinished(snapshot=at, seconds=0.25)))

    def _tell(self, run: FakeRun, event: reports_pb2.WatchResponse) -> None:
        with self._changed:
            event.sequence = len(run.events)
            run.events.append(event)
            self._changed.notify_all()


def _assemble(frames: Iterator[Any], context: grpc.ServicerContext) -> bytes:
    data = bytearray()
    for frame in frames:
        if frame.WhichOneof("frame") == "commit":
            return bytes(data)
        chunk = frame.chunk
        if chunk.offset != len(data):
            context.abort(grpc.StatusCode.OUT_OF_RANGE, f"offset: found {chunk.offset}, expected {len(data)}")
        if len(chunk.data) > 1 << 20:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "chunk: larger than 1 MiB")
        if google_crc32c.value(chunk.data) != chunk.crc32c:
            context.abort(grpc.StatusCode.DATA_LOSS, "crc32c: the bytes arrived damaged")
        data += chunk.data
    context.abort(grpc.StatusCode.CANCELLED, "the stream ended without a commit")
    raise AssertionError("abort raises")


class _Listener(grpc.ServerInterceptor):
    """Notes what comes with calls."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        found = {str(key): str(value) for key, value in details.invocation_metadata or ()}
        self._daemon.metadata[details.method.rpartition("/")[2]] = found
        return continuation(details)


def _handlers(daemon: FakeDaemon) -> tuple[grpc.GenericRpcHandler, ...]:
    def unary(method: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)

    def upload(method: Any, request: Any, response: Any) -> Any:
        return grpc.stream_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)

    runs = {
        "OpenRun": unary(daemon.open_run, runs_pb2.OpenRunRequest, runs_pb2.OpenRunResponse),
        "GetRun": unary(daemon.get_run, runs_pb2.GetRunRequest, runs_pb2.GetRunResponse),
        "CloseRun": unary(daemon.close_run, runs_pb2.CloseRunRequest, runs_pb2.CloseRunResponse),
        "PutProbe": upload(daemon.put_probe, runs_pb2.PutProbeRequest, runs_pb2.PutProbeResponse),
    }
    push = upload(daemon.push, snapshots_pb2.PushSnapshotRequest, snapshots_pb2.PushSnapshotResponse)
    watch = grpc.unary_stream_rpc_method_handler(
        daemon.watch, reports_pb2.WatchRequest.FromString, reports_pb2.WatchResponse.SerializeToString
    )
    decisions = {
        "Decide": unary(daemon.ask, decisions_pb2.DecideRequest, decisions_pb2.DecideResponse),
        "Override": unary(daemon.override, decisions_pb2.OverrideRequest, decisions_pb2.OverrideResponse),
    }
    services = {
        "Runs": runs,
        "Snapshots": {"PushSnapshot": push},
        "Reports": {"Watch": watch},
        "Decisions": decisions,
    }
    return tuple(
        grpc.method_handlers_generic_handler(f"clino.v1.{service}", methods) for service, methods in services.items()
    )
