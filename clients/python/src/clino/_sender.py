"""Sends snapshots from a thread of its own: open, initialization, snapshot, and again until it works.

Owns: the order of calls, retries, backoff, the counts of what was sent. May not touch: the trainer's thread, but for
who asks there for the plan and waits for the answer.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import grpc

from clino._account import Account
from clino._daemon import Trouble, describe, trouble
from clino._decisions import Decision, decision_of
from clino._journal import Journal
from clino._link import Link, refuses
from clino._notices import LOG, Notices
from clino._policy import NO_POLICY
from clino._slot import Copy, Slot
from clino._text import kind

FIRST_PAUSE, LONGEST_PAUSE, CLOSING_PAUSE = 0.25, 15.0, 0.3
TRIES, CLOSING_TRIES = 4, 3
CLOSE_TIMEOUT = 10.0
VERDICT_TIMEOUT = 5.0

Stage = Literal["open", "initialization", "snapshot"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """A try that did not work."""

    stage: Stage
    error: grpc.RpcError

    @property
    def trouble(self) -> Trouble:
        """What sort of failure."""
        return trouble(self.error)


class Sender:
    """One thread, ended by closing the slot or stopping the link."""

    def __init__(self, link: Link, slot: Slot, account: Account, journal: Journal, notices: Notices) -> None:
        self._link, self._slot, self._account, self._journal, self._notices = link, slot, account, journal, notices
        self.away = False
        # Whether it answers all the same, and takes nothing now.
        self.refusing = False
        # Why the daemon was not reached, and what to do, while it is away.
        self.absence: str | None = None
        # Why the daemon will not have the run, once it said so.
        self.refused: str | None = None
        # Set once it is known what describes the model; once the daemon was heard of or found away; and once the thread
        # is over.
        self.described = threading.Event()
        self.tried = threading.Event()
        self.done = threading.Event()
        self.closed_run = False
        # Why it was not closed, where that was tried.
        self.unclosed: str | None = None

    def run(self) -> None:
        """Be the thread."""
        try:
            self._link.describe_model(self._notices.remark)
            self.described.set()
            # Before there is a snapshot: what is wrong with the run should be said at its start.
            going = self._deliver(None)
            while going and self._slot.wait_for_work():
                going = self._deliver(self._slot.take())
            self._close_run()
        except Exception as error:  # the trainer goes on without this thread, whatever it met
            if not self._link.stopped:
                self._notices.fail("sender", f"clino stopped sending: {error!r}")
        finally:
            self._slot.close()
            self._slot.abandon()
            if self.refused is not None:
                self._journal.end()
            self.described.set()
            self.tried.set()
            self.done.set()

    def _deliver(self, copy: Copy | None) -> bool:
        """Try until it is sent or given up; False when nothing more can be sent."""
        tries = 0
        pause = FIRST_PAUSE
        while not self._link.stopped:
            failure = self._try(copy)
            if failure is None:
                return True
            tries += 1
            if self._given_up(failure, tries):
                self._drop(failure, copy)
                if failure.stage == "open" or failure.trouble is Trouble.AWAY:
                    return False
                if failure.stage == "snapshot":
                    return True
            elif failure.trouble is not Trouble.LOST:
                if self._slot.closed:
                    self._link.pause(CLOSING_PAUSE)
                else:
                    self._slot.pause(pause * random.uniform(0.75, 1.25))
                pause = min(2 * pause, LONGEST_PAUSE)
            copy = self._slot.exchange(copy)
        return False

    def _try(self, copy: Copy | None) -> Failure | None:
        """Bring the daemon up to date with one pass; None when all of it worked."""
        stage: Stage = "open"
        try:
            run_id = self._open()
            stage = "initialization"
            if (initial := self._slot.initial_due()) is not None:
                self._push(run_id, initial)
                self._slot.initial_done(initial, keep=True)
            stage = "snapshot"
            if copy is not None:
                self._push(run_id, copy)
                self._slot.recycle(copy)
            return None
        except grpc.RpcError as error:
            self._missed(error)
            return Failure(stage, error)
        finally:
            self.tried.set()

    def _open(self) -> str:
        known, anew = self._link.run_id, self._link.made_anew
        run_id = self._link.ensure_open()
        if run_id != known:
            self._reached()
            for warning in self._link.warnings:
                self._notices.remark(warning)
            self._tell_new()
        if self._link.made_anew != anew and self._account.sent:
            gone = "the readings from before are not there any more, only in run.readings()"
            advice = "`clino serve --data DIR` keeps them"
            self._notices.remark(
                f"the daemon at {self._link.address} did not know the run any more, and it began anew: {gone}; {advice}"
            )
        return run_id

    def _push(self, run_id: str, copy: Copy) -> None:
        mark = self._link.verdict.mark()
        if not self._link.compares:
            copy.begin.ClearField("model_check")  # of a snapshot that was taken before that was known
        try:
            receipt = self._link.push(run_id, copy)
        except grpc.RpcError as error:
            if trouble(error) is Trouble.LOST and not self._link.stopped:
                self.lost(run_id)
            elif trouble(error) is not Trouble.REFUSED:
                self._account.unanswered(copy.begin)
            raise
        self._reached()
        self._account.received(copy.begin, copy.buffer.nbytes)
        self._journal.received((receipt.step, receipt.attempt))
        self._notices.release()
        for warning in receipt.warnings:
            self._notices.remark(self._link.said(warning))
        if receipt.HasField("decision"):
            self._link.verdict.answered(decision_of(receipt.decision), mark)

    def lost(self, run_id: str) -> None:
        """The daemon forgot the run: open it again with the same key, and send the initialization again."""
        if self._link.forget(run_id):
            self._journal.forget()
            self._slot.initial_lost()

    def renew_plan(self, timeout: float) -> None:
        """Bring the plan up to date, on the thread of who asks for it; what went wrong is told."""
        run_id = self._link.run_id
        if run_id is not None:
            said = "the daemon did not tell the plan"
            self._ask("plan", said, run_id, lambda: self._link.renew_plan(run_id, timeout))

    def ask_decision(self, timeout: float) -> Decision | None:
        """What the policy says now, as above; None without an answer."""
        if self._lacks_policy("the daemon did not decide"):
            return None
        deadline = time.monotonic() + timeout
        run_id = self._link.wait_open(timeout)
        if run_id is None:
            return None
        left = max(0.0, deadline - time.monotonic())
        said = "the daemon did not decide"
        return self._ask("decision", said, run_id, lambda: self._link.decide(run_id, left))

    def hear_decision(self, timeout: float) -> None:
        """Bring the decision up to date with what is measured; without an answer it stays as it is."""
        run_id = self._link.run_id
        if run_id is None or timeout <= 0.0 or not self._link.decides or self.away:
            return
        try:
            self._link.decide(run_id, timeout)
        except grpc.RpcError as error:
            LOG.debug("clino: asking for the decision: %s", describe(error))

    def override(self, reason: str, timeout: float) -> Decision | None:
        """Take back a STOP, as above; None when that was not done."""
        if self._lacks_policy("nothing was overridden"):
            return None
        run_id = self._link.run_id
        if run_id is None:
            self._notices.tell("override", "clino: nothing was overridden: the run is not open")
            return None
        said = "nothing was overridden"
        return self._ask("override", said, run_id, lambda: self._link.override(run_id, reason, timeout))

    def _lacks_policy(self, said: str) -> bool:
        if not self._link.decides:
            self._notices.tell(said, f"clino: {said}: {NO_POLICY}")
        return not self._link.decides

    def _ask(self, key: str, said: str, run_id: str, question: Callable[[], Result]) -> Result | None:
        try:
            return question()
        except grpc.RpcError as error:
            if self._link.stopped:
                LOG.debug("clino: %s: the run ended meanwhile", said)
            elif trouble(error) is Trouble.LOST:
                self.lost(run_id)
            elif error.code() is grpc.StatusCode.UNAVAILABLE:
                self._tell_away(error)
            else:
                late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                advice = ": give it a longer timeout" if late else ""
                self._notices.tell(key, f"clino: {said}: {self._link.describe(error)}{advice}")
            return None

    def _reached(self) -> None:
        if self.away:
            LOG.info("clino: the daemon is back")
        self.away, self.refusing, self.absence = False, False, None
        self._slot.set_away(False)

    def _tell_new(self) -> None:
        """Who names a run by the daemon's id wants that one, and no other."""
        wanted = self._link.wanted
        if wanted is not None and not self._link.resumed and _is_run_id(wanted):
            said = f"resume: found no run {wanted} on this daemon: a new run has begun, and its id is its key"
            self._notices.remark(said)
            self._notices.pend(f"clino: {said}")

    def _missed(self, error: grpc.RpcError) -> None:
        if trouble(error) is Trouble.AWAY and not self._link.stopped:
            self._note_away(error)
            self._tell_away(error)

    def _note_away(self, error: grpc.RpcError) -> None:
        self.away, self.refusing, self.absence = True, refuses(error), self._link.absence(error)
        self._slot.set_away(True, self.absence if self.refusing else None, self.absence)

    def _tell_away(self, error: grpc.RpcError) -> None:
        self.absence, refusing = self._link.absence(error), refuses(error)
        # One that refuses may do so for several reasons, each of which costs readings.
        key = f"refuses {kind(self.absence)}" if refusing else "away"
        self._notices.tell(key, f"clino: {self.absence}; training goes on, and clino keeps trying", keep=refusing)

    def _given_up(self, failure: Failure, tries: int) -> bool:
        if failure.trouble is Trouble.REFUSED:
            return True
        if failure.trouble is Trouble.AWAY:
            return self._slot.closed and tries >= CLOSING_TRIES
        return tries >= TRIES

    def _drop(self, failure: Failure, copy: Copy | None) -> None:
        reason = self._link.describe(failure.error)
        if failure.trouble is Trouble.AWAY:
            # Of a run that was never open the end says it, with all that it cost.
            if failure.stage != "open":
                self._notices.fail(
                    "lost", f"clino: {self.absence or reason}; snapshots that are not sent yet are dropped"
                )
        elif failure.stage == "open":
            self.refused = reason
            self._notices.fail("open", f"clino: the daemon does not accept the run: {reason}")
        elif failure.stage == "initialization":
            if (initial := self._slot.initial_due()) is not None:
                self._slot.initial_done(initial, keep=False)
                self._account.give_up(initial.begin, "failed")
            self._notices.fail("initialization", f"clino: the initialization was not accepted: {reason}")
            return
        elif failure.error.code() is not grpc.StatusCode.FAILED_PRECONDITION or not self._ended(reason):
            key = "check" if self._journal.refuted else "snapshot"
            self._notices.fail(key, f"clino: a snapshot was not accepted: {reason}")
        if copy is not None:
            self._account.give_up(copy.begin, "failed")
            self._slot.recycle(copy)

    def _ended(self, reason: str) -> bool:
        """Whether the daemon takes no more snapshots whatever they are; that is said once."""
        return self._stopped(reason) or self._closed()

    def _closed(self) -> bool:
        run_id = self._link.run_id
        try:
            if run_id is None or not self._link.is_closed(run_id, VERDICT_TIMEOUT):
                return False
        except grpc.RpcError as error:
            LOG.debug("clino: asking whether the run is closed: %s", describe(error))
            return False
        advice = "start another one with clino.init(…), without resume= or with another key"
        self._notices.fail("closed", f"clino: the run was closed elsewhere and takes no more snapshots: {advice}")
        return True

    def _stopped(self, reason: str) -> bool:
        """Whether the daemon takes no more snapshots since the policy said STOP; that is said once, not as trouble."""
        run_id = self._link.run_id
        if not self._link.enforces or run_id is None:
            return False
        try:
            # The news may not be here yet.
            self._link.decide(run_id, VERDICT_TIMEOUT)
        except grpc.RpcError as error:
            LOG.debug("clino: asking for the decision: %s", describe(error))
        decision = self._link.verdict.decision
        if decision is None or not decision.enforced:
            return False
        self._notices.tell_once(f"stopped {decision.id}", f"clino: no more snapshots are taken: {reason}")
        return True

    def _close_run(self) -> None:
        for _ in range(CLOSING_TRIES):
            run_id = self._link.run_id
            if run_id is None or self._link.stopped:
                return
            try:
                self._link.close_run(run_id, CLOSE_TIMEOUT)
                self._reached()
                self.closed_run = True
                return
            except grpc.RpcError as error:
                if not self._closes_later(run_id, error):
                    return

    def _closes_later(self, run_id: str, error: grpc.RpcError) -> bool:
        """Whether to try once more to close the run; the end of the run says it, where that does not help."""
        if self._link.stopped:
            return False
        LOG.debug("clino: closing the run: %s", describe(error))
        found = trouble(error)
        if found is Trouble.LOST:
            self.lost(run_id)
            return self._deliver(None)
        if found is not Trouble.AWAY:
            self.unclosed = self._link.describe(error)
            return False
        self._note_away(error)
        self._link.pause(CLOSING_PAUSE)
        return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


def _is_run_id(text: str) -> bool:
    """Whether it looks like an id that a daemon makes."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
