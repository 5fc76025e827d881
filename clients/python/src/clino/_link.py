"""The run at the daemon: its channel, its id, its plan, its newest decision, and the calls that are under way.

Owns: opening and forgetting the run. May not touch: which snapshot is sent. The channel is made by the thread that
first needs it, never by the trainer's: a channel that exists while a process forks its data loaders is grpc's classic
hang.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import grpc

from clino._daemon import Answer, Cancelled, Daemon, Expired, Pending, Trouble, answered, describe, trouble
from clino._decisions import Decision, decision_of
from clino._fields import named
from clino._request import INLINE
from clino._settings import Settings
from clino._slot import Copy
from clino._text import bounded, harmless
from clino._verdict import Verdict
from clino._work import Planned, plan_of
from clino.v1 import decisions_pb2, runs_pb2, snapshots_pb2

if TYPE_CHECKING:
    from clino._described import Described

OPEN_TIMEOUT = 30.0
# While an upload takes longer than this, the daemon is asked so often whether it is there, and has so long to answer.
UPLOAD_PAUSE, ALIVE_TIMEOUT = 15.0, 5.0
# How long hanging up may hold who does it.
CLOSE_TIMEOUT = 0.2


class Cancellable(Protocol):
    """A call that can be given up."""

    def cancel(self) -> object:
        """Give it up."""


class Link:
    """Shared by the sender, which opens, and the watcher, which follows."""

    def __init__(
        self, settings: Settings, request: runs_pb2.OpenRunRequest, described: Described | None = None
    ) -> None:
        self._settings = settings
        self._request = request
        # The model, where its graph is still on its way into the request.
        self._described = described
        self._changed = threading.Condition()
        self._daemon: Daemon | None = None
        self._calls: set[Cancellable] = set()
        self._run_id: str | None = None
        self._plan: tuple[Planned, ...] = ()
        # What the daemon said of the run when it was opened, beside refusing it.
        self.warnings: tuple[str, ...] = ()
        # Whether this process went on with a run of another.
        self.resumed = False
        # Whether the run was ever open; and how often a daemon that did not know it any more made it anew.
        self.opened = False
        self.made_anew = 0
        self.verdict = Verdict()
        self.stopped = False

    @property
    def address(self) -> str:
        """Where the daemon should be."""
        return self._settings.address

    def said(self, sentence: str) -> str:
        """What the daemon said, with the names of this package."""
        return named(bounded(harmless(sentence)), [group.name for group in self._request.groups])

    def describe(self, error: grpc.RpcError) -> str:
        """Say what failed, as above."""
        return self.said(describe(error))

    def absence(self, error: grpc.RpcError) -> str:
        """Say why the daemon was not reached, and what to do."""
        if refuses(error):
            return f"the daemon at {self.address} accepts nothing now: {self.describe(error)}"
        other = "or give another address with addr= or CLINO_ADDR"
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"the daemon at {self.address} does not answer: look whether `clino serve` runs there, {other}"
        return f"no daemon at {self.address} ({self.describe(error)}): start one with `clino serve`, {other}"

    @property
    def run_id(self) -> str | None:
        """The daemon's name of the run while it is open there."""
        return self._run_id

    @property
    def enforces(self) -> bool:
        """Whether the run's policy is to be enforced."""
        return self._request.policy.mode == decisions_pb2.POLICY_MODE_ENFORCE

    @property
    def decides(self) -> bool:
        """Whether the run has a policy."""
        return self._request.HasField("policy")

    @property
    def compares(self) -> bool:
        """Whether the daemon has something to compare the trainer's model with: not names and shapes alone."""
        return not self._request.model.HasField("tensors")

    @property
    def wanted(self) -> str | None:
        """Which run was to be gone on with, if one was."""
        return self._request.idempotency_key if self._request.resume else None

    @property
    def plan(self) -> tuple[Planned, ...]:
        """What the measures cost, as the daemon said it last."""
        return self._plan

    def describe_model(self, remark: Callable[[str], None]) -> None:
        """Wait until what describes the model is in the request; before that the run cannot be opened."""
        described, self._described = self._described, None  # which holds the trainer's model
        if described is not None:
            described.complete(self._request, lambda: self.stopped, remark)

    def daemon(self) -> Daemon:
        """The daemon, by a channel made now if there is none; Cancelled once stopped."""
        with self._changed:
            if self.stopped:
                raise Cancelled
            if self._daemon is None:
                self._daemon = Daemon(self._settings)
            return self._daemon

    def ensure_open(self) -> str:
        """Open the run unless it is; the same key finds it where the daemon still has it."""
        if self._run_id is not None:
            return self._run_id
        answer = self.answer(self.daemon().open_run(self._whole_request(), OPEN_TIMEOUT), OPEN_TIMEOUT)
        with self._changed:
            # A run that this process lost and found again is its own.
            self.resumed |= self._request.resume and not answer.created and not self.opened
            self.made_anew += self.opened and answer.created
            self.opened = True
            self._run_id = answer.run_id
            self._plan = plan_of(answer.plan)
            self.warnings = tuple(map(self.said, answer.warnings))
            self._changed.notify_all()
        return answer.run_id

    def renew_plan(self, run_id: str, timeout: float) -> int:
        """Ask the daemon for the plan of the run that it opened under this name, and what its policy said last.

        Gives the number of the run's next event.
        """
        mark = self.verdict.mark()
        answer = self.answer(self.daemon().get_run(run_id, timeout), timeout)
        with self._changed:
            if self._run_id == run_id:
                self._plan = plan_of(answer.run.plan)
        if answer.run.HasField("decision"):
            self.verdict.answered(decision_of(answer.run.decision), mark)
        return answer.run.next_sequence

    def decide(self, run_id: str, timeout: float) -> Decision:
        """Ask the daemon what the policy says."""
        mark = self.verdict.mark()
        answer = self.answer(self.daemon().decide(run_id, timeout), timeout)
        decision = decision_of(answer.decision, answer.staleness)
        self.verdict.answered(decision, mark)
        return decision

    def push(self, run_id: str, copy: Copy) -> snapshots_pb2.PushSnapshotResponse:
        """Send a snapshot, however long the daemon takes, as long as it is there.

        One that does not read may be measuring, or frozen: then no answer would ever come, nor an error.
        """
        call = self.daemon().push(run_id, copy)
        self.begin(call)
        try:
            while True:
                try:
                    return call.result(UPLOAD_PAUSE)
                except grpc.FutureTimeoutError:
                    if self._unanswered(run_id, ALIVE_TIMEOUT) is not None:
                        call.cancel()
                        raise Expired from None
        except grpc.FutureCancelledError as error:
            raise Cancelled from error
        finally:
            self.end(call)

    def is_closed(self, run_id: str, timeout: float) -> bool:
        """Ask the daemon whether the run takes no more snapshots."""
        return self.answer(self.daemon().get_run(run_id, timeout), timeout).run.closed

    def close_run(self, run_id: str, timeout: float) -> None:
        """Tell the daemon that no more snapshots come."""
        self.answer(self.daemon().close_run(run_id, timeout), timeout)

    def override(self, run_id: str, reason: str, timeout: float) -> Decision:
        """Take back a STOP."""
        answer = self.answer(self.daemon().override(run_id, reason, timeout), timeout)
        decision = decision_of(answer.decision)
        self.verdict.told(decision)
        return decision

    def forget(self, run_id: str) -> bool:
        """The daemon does not know this run any more; False when another thread noticed before."""
        with self._changed:
            if self._run_id != run_id:
                return False
            self._run_id = None
            self.verdict.forget()
            calls = list(self._calls)
        # A stream of the forgotten run may never end by itself.
        for call in calls:
            call.cancel()
        return True

    def wait_open(self, timeout: float | None = None) -> str | None:
        """Wait until the run is open; None once stopped, or when it takes longer."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or self._run_id is not None, timeout)
            return None if self.stopped else self._run_id

    def pause(self, seconds: float) -> None:
        """Wait, unless stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped, seconds)

    def begin(self, call: Cancellable) -> None:
        """Note a call, so that stopping ends it."""
        with self._changed:
            self._calls.add(call)
            stopped = self.stopped
        if stopped:
            call.cancel()

    def end(self, call: Cancellable) -> None:
        """The call is over."""
        with self._changed:
            self._calls.discard(call)

    def answer(self, call: Pending[Answer], timeout: float | None = None) -> Answer:
        """Wait for a call's answer; grpc.RpcError when there is none, also when stopping ended it.

        The time limit is kept here: behind an upload that the daemon does not read, grpc's own deadline comes when
        the connection is given up, a minute later.
        """
        self.begin(call)
        try:
            return call.result(timeout)
        except grpc.FutureTimeoutError as error:
            call.cancel()
            raise Expired from error
        except grpc.FutureCancelledError as error:
            raise Cancelled from error
        finally:
            self.end(call)

    def stop(self) -> None:
        """End every call and wait."""
        with self._changed:
            self.stopped = True
            calls = list(self._calls)
            self._changed.notify_all()
        for call in calls:
            call.cancel()

    def close(self) -> None:
        """Hang up; calls that a daemon does not let end are left to a thread that nobody waits for."""
        with self._changed:
            daemon, self._daemon = self._daemon, None
        if daemon is not None:
            _hang_up(daemon)

    def abandon(self) -> Daemon | None:
        """In a forked child: let go of everything without touching a lock that another thread may have held."""
        self.stopped = True
        self.verdict = Verdict()
        daemon, self._daemon = self._daemon, None
        return daemon

    def silence(self, timeout: float) -> str | None:
        """Say why the daemon is not there, if it is not; of a run that was never open nothing is said."""
        run_id = self._run_id
        error = self._unanswered(run_id, timeout) if run_id is not None else None
        return self.absence(error) if error is not None else None

    def _unanswered(self, run_id: str, timeout: float) -> grpc.RpcError | None:
        """Why the daemon does not answer anything, if it does not; asked by a connection that no upload fills."""
        daemon = Daemon(self._settings.apart())
        try:
            self.answer(daemon.get_run(run_id, timeout), timeout)
        except grpc.RpcError as error:
            silent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            return error if error.code() in silent and not answered(error) else None
        finally:
            _hang_up(daemon)
        return None

    def _whole_request(self) -> runs_pb2.OpenRunRequest:
        """The request with large probes stored apart first: a daemon that restarted has forgotten them."""
        if self._request.ByteSize() <= INLINE:
            return self._request
        request = runs_pb2.OpenRunRequest()
        request.CopyFrom(self._request)
        for group in request.groups:
            group.digest = self.answer(self.daemon().put_probe(group.probe, request.project)).digest
        return request


def refuses(error: grpc.RpcError) -> bool:
    """Whether the daemon is there and takes nothing now, as where its disk is full or a quota used up."""
    busy = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)
    return error.code() in busy or (trouble(error) is Trouble.AWAY and answered(error))


def _hang_up(daemon: Daemon) -> None:
    closing = threading.Thread(target=daemon.close, name="clino-closing", daemon=True)
    closing.start()
    closing.join(CLOSE_TIMEOUT)
