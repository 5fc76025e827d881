"""The main class of the package: a training run, as the training loop uses it.

Owns: the promise that nothing here holds the trainer beyond the host copy or raises into its loop, unless asked to.
May not touch: grpc.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal, SupportsIndex, TypeVar

from clino import _arguments, _fork, _tensors
from clino._account import Account
from clino._arguments import Kind
from clino._decisions import Decision
from clino._ending import OVER, Ending
from clino._journal import Journal
from clino._link import Link
from clino._model_check import Checker
from clino._notices import ClinoError, Notices
from clino._policy import NO_POLICY
from clino._readings import Event, Reading
from clino._sender import Sender
from clino._settings import Settings
from clino._slot import Copy, Slot
from clino._summary import Stats, summary
from clino._text import bounded, kind
from clino._watcher import Watcher
from clino._work import Planned
from clino.v1 import runs_pb2, snapshots_pb2

if TYPE_CHECKING:
    from clino._described import Described

Status = Literal["disabled", "waiting", "running", "away", "refusing", "finished", "failed"]
Result = TypeVar("Result")

# How long a strict `init` waits for the daemon's word.
STRICT_TIMEOUT = 30.0
# How long a thread whose calls are ended may still hold the end of a run.
JOIN_TIMEOUT = 0.1


class Run:
    """One training run, made by `clino.init`."""

    def __init__(self, strict: bool) -> None:
        self._notices = Notices(strict)
        self._journal = Journal()
        self._account = Account()
        self._slot = Slot(False, self._account, self._notices.blame)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._sender: Sender | None = None
        self._watcher: Watcher | None = None
        self._threads: list[threading.Thread] = []
        self._checker = Checker([], False, self._notices.hold)
        self._key = uuid.uuid4().hex
        # Of this process: keys of its snapshots are no one else's, also where the run is.
        self._session = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._inert = True
        self._name = ""
        self._finished: bool | None = None

    # --- what the loop calls

    def snapshot(
        self,
        model: object,
        step: SupportsIndex | float,
        *,
        init: bool = False,
        kind: Kind = "live",
        attempt: SupportsIndex | float = 0,
    ) -> None:
        """Copy the parameters of `model` to the host, to be sent in the background.

        `model` is a torch module, a state_dict, or a mapping of names to arrays. Give the model before training
        once, with `init=True`: distances are measured from it, and it is kept in memory in case the daemon restarts.
        `step` is an integer of Python, numpy or torch; `attempt` 0 means the next free attempt of the step. Returns
        when the copy is made. With `delivery="every"` it first waits until the previous snapshot is sent, as long as
        the daemon can be reached; if the daemon is frozen, for about 20 seconds.
        """
        self.push(lambda: model, lambda: _arguments.begun_of(step, attempt, kind, init))

    def should_stop(self) -> bool:
        """Return whether the newest known decision of the run's policy is STOP, without asking the daemon.

        The mode of the policy (advise or enforce) makes no difference here. False while no decision is known, while the
        daemon cannot be reached, and if the daemon has forgotten the run.
        """
        self._check_policy()
        return self.stops

    def decision(self) -> Decision | None:
        """Return the newest known decision, without asking the daemon; None without a policy or before the first."""
        self._check_policy()
        decision = self._decision
        return replace(decision, staleness=self._journal.staleness()) if decision else None

    def ask_decision(self, timeout: float = 5.0) -> Decision | None:
        """Ask the daemon what the policy says now, and wait up to `timeout` seconds; None without an answer.

        The decision covers only snapshots that are measured: `readings(wait=…)` waits for the last one and its
        decision.
        """
        return self._ask("decision", timeout, lambda sender, limit: sender.ask_decision(limit))

    def override(self, reason: str, timeout: float = 5.0) -> Decision | None:
        """Cancel a STOP for a reason, which the daemon stores; return the new decision, or None if that failed.

        The rules start again after the last measured snapshot.
        """
        return self._ask("override", timeout, lambda sender, limit: sender.override(reason, limit))

    def readings(self, wait: float | None = None) -> list[Reading]:
        """Return all readings so far, oldest first; with `wait`, first wait up to `wait` seconds for pending ones.

        After that, `should_stop()` and `decision()` refer to these readings, unless the time ran out.
        """
        return self._guard("readings", lambda: self._readings(wait), [])

    def watch(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield all events from the first one on, as they arrive: readings, finished and skipped snapshots, gaps.

        Ends when the run is over, or after `timeout` seconds without an event.
        """
        index, more = 0, True
        nothing: float | None = 0.0
        limit = self._guard("watch", lambda: _arguments.limit("timeout", timeout), nothing)
        while more:
            events, index, more = self._journal.after(index, limit)
            yield from events

    def ask_plan(self, timeout: float = 5.0) -> tuple[Planned, ...]:
        """Ask the daemon for the current `plan`, and wait up to `timeout` seconds.

        After the first snapshot, the plan has counted work and seconds. Without an answer, returns the last known plan.
        """
        self._ask("plan", timeout, lambda sender, limit: sender.renew_plan(limit))
        return self.plan

    def finish(self, timeout: float = 60.0) -> bool:
        """Send waiting snapshots, close the run, and wait for its last readings; True if all of this was done in time.

        Also False if no snapshot got a value, unless the policy had already ended the run. True if clino is disabled.
        Without a daemon it gives up after a few tries. It reports in one line how the run ended: in the log if the log
        shows it, otherwise on stderr (set a level on the logger "clino" to turn this off). You can call it again
        without harm. A restarted trainer can continue the run: `clino.init(resume=run.key)`.
        """
        return self._guard("finish", lambda: self._finish(_arguments.seconds("timeout", timeout)), False)

    # --- what there is to see

    @property
    def id(self) -> str | None:
        """The id that the daemon gave the run; None until the run is open."""
        return self._link.run_id if self._link else None

    @property
    def key(self) -> str:
        """The key for continuing this run in another process with `clino.init(resume=…)`; known from the start."""
        return self._key

    @property
    def status(self) -> Status:
        """The state of the run: "waiting" until the daemon has it, "away" while the daemon does not answer.

        "refusing" while the daemon answers but accepts nothing, for example because its disk is full. "failed" when
        readings are certainly lost: the run or all of its snapshots were refused, or it ended without any value.
        """
        if self._finished is not None:
            return "finished" if self._finished else "failed"
        sender = self._sender
        if sender is None:
            return "disabled" if self.error is None else "failed"
        if sender.refused is not None or (self._notices.told_error and not self._account.sent):
            return "failed"
        if sender.away:
            return "refusing" if sender.refusing else "away"
        return "waiting" if self.id is None else "running"

    @property
    def error(self) -> str | None:
        """The first error that cost this run readings, as it was reported; None if there was none."""
        return self._notices.error

    @property
    def plan(self) -> tuple[Planned, ...]:
        """The known cost of each measure, in the order in which the measures run.

        Empty until the run is open. Then it is the daemon's prediction, until `ask_plan` or the end of the run updates
        it.
        """
        return self._link.plan if self._link else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the daemon and of this package about the readings, each once.

        For example columns of a probe that the model does not read, or why the trainer's model was not compared with
        its configuration.
        """
        return tuple(self._notices.remarks)

    @property
    def stats(self) -> Stats:
        """Counts for this run so far, such as how many snapshots were sent."""
        return self._account.stats(self._journal.strays())

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            # The error of the loop is the one to see, and soon.
            self.wind_up(_fork.AT_EXIT_TIMEOUT)

    def __reduce__(self) -> tuple[Callable[[bool], Run], tuple[bool]]:
        # A copy, as of a model or callback that holds the run, must neither send twice nor fail over a lock.
        return inert, (self._notices.strict,)

    # --- inside

    @property
    def stops(self) -> bool:
        """Like `should_stop`, but without a warning if the run has no policy."""
        decision = self._decision
        return decision is not None and decision.stops and not self._away

    def _check_policy(self) -> None:
        if self._link is not None and not self._link.decides:
            self._notices.mention("policy", f"there are no decisions: {NO_POLICY}")

    def start(
        self, settings: Settings, request: runs_pb2.OpenRunRequest, check: bool, described: Described | None = None
    ) -> None:
        """Start the threads that talk to the daemon; the calling thread does no network calls."""
        if settings.exposed and settings.access.token:
            self._notices.tell_once("token", "clino: the token can be read on its way: use https:// or unix://")
        question = None if described is None else described.question
        self._checker = Checker(request.groups, check, self._notices.hold, question)
        if request.resume:
            self._key = request.idempotency_key
        else:
            request.idempotency_key = self._key
            request.name = request.name or f"run-{self._key[:8]}"
        self._name = request.name or self._key
        self._slot = Slot(request.delivery == runs_pb2.DELIVERY_EVERY, self._account, self._notices.blame)
        self._link = link = Link(settings, request, described)
        self._sender = sender = Sender(link, self._slot, self._account, self._journal, self._notices)
        self._watcher = watcher = Watcher(link, self._journal, sender, self._notices)
        self._threads = [
            threading.Thread(target=sender.run, name="clino-sender", daemon=True),
            threading.Thread(target=watcher.run, name="clino-watcher", daemon=True),
        ]
        self._inert = False
        _fork.enter(self)
        for thread in self._threads:
            thread.start()
        if self._notices.strict:
            self._check_start(sender)

    def prepare(self, action: Callable[[], None]) -> None:
        """Run the action that begins the run; an error in it is reported and makes the run fail."""
        self._guard("init", action, None)
        if self._inert:
            self._journal.end()

    def remark(self, message: str) -> None:
        """Add a warning about the readings."""
        self._notices.remark(message)

    def push(self, model: Callable[[], object], begun: Callable[[], snapshots_pb2.BeginSnapshot]) -> None:
        """Like `snapshot`, with functions that return the model and the arguments; an error in them is reported."""
        with self._account.timed():
            self._guard("arguments", lambda: self._snapshot(model, begun), None)

    def guarded(self, action: Callable[[], None]) -> None:
        """Run an action of a callback for this run; an error in it is reported like a bad argument."""
        self._guard("arguments", action, None)

    def wind_up(self, timeout: float) -> None:
        """Finish without raising, because another error is already being raised."""
        self._finish(timeout, raising=False)

    def abandon(self) -> object:
        """Make this run inert in a forked child process."""
        self._inert = True
        self._lock = threading.Lock()
        self._threads = []
        self._journal = Journal()
        self._journal.end()
        return (self._link, self._link.abandon() if self._link else None, self._sender, self._watcher)

    def _check_start(self, sender: Sender) -> None:
        sender.described.wait()
        sender.tried.wait(STRICT_TIMEOUT)
        try:
            self._notices.raise_pending()
        except ClinoError:
            self.wind_up(0.0)
            raise

    def _snapshot(self, model: Callable[[], object], begun: Callable[[], snapshots_pb2.BeginSnapshot]) -> None:
        if self._inert and (self._sender is None or self._finished is None):
            return
        self._notices.raise_pending()
        with self._lock:
            self._account.given()
            taken = False
            try:
                taken = self._take(model, begun)
            finally:
                if not taken:
                    self._account.missed()

    def _take(self, model: Callable[[], object], begun: Callable[[], snapshots_pb2.BeginSnapshot]) -> bool:
        """Return whether the sender now has a copy of the model."""
        if self._inert:
            raise ClinoError(OVER.format(repr(self._key)))
        if self._journal.refuted:
            return False  # the daemon would refuse it, as it has said
        begin = _arguments.begun_once(begun(), self._slot.initial_step, self._notices.remark)
        begin, plan = self._prepare(model(), begin)
        buffer = self._slot.claim(plan.nbytes, begin.initialization)
        if buffer is None:
            return False
        plan.copy_into(buffer)
        return self._slot.offer(Copy(begin, buffer))

    def _prepare(
        self, model: object, begin: snapshots_pb2.BeginSnapshot
    ) -> tuple[snapshots_pb2.BeginSnapshot, _tensors.Plan]:
        plan = _tensors.plan(model)
        begin.idempotency_key = f"{self._session}/{next(self._numbers)}"
        begin.tensors.extend(plan.specs())
        begin.aliases.extend(plan.aliases)
        due = self._journal.check_due and self._link is not None and self._link.compares
        check = self._checker.check(model, {spec.name for spec in begin.tensors}) if due else None
        if check is not None:
            begin.model_check.CopyFrom(check)
            self._journal.asks(begin.step)
        return begin, plan

    def _readings(self, wait: float | None) -> list[Reading]:
        if wait is not None and not self._inert:
            limit = _arguments.seconds("wait", wait)
            deadline = time.monotonic() + limit
            self._slot.wait_idle(limit)
            if self._journal.wait_settled(deadline) and self._sender is not None:
                # The decision is made behind the readings, and may be on its way.
                self._sender.hear_decision(deadline - time.monotonic())
        return self._journal.readings()

    @property
    def _decision(self) -> Decision | None:
        return self._link.verdict.decision if self._link else None

    @property
    def _away(self) -> bool:
        sender, watcher = self._sender, self._watcher
        return sender is None or watcher is None or sender.away or watcher.away

    def _ask(self, key: str, timeout: float, question: Callable[[Sender, float], Result | None]) -> Result | None:
        def ask() -> Result | None:
            sender = self._sender
            if self._inert or sender is None:
                return None
            answer = question(sender, _arguments.seconds("timeout", timeout))
            self._notices.raise_pending()
            return answer

        return self._guard(key, ask, None)

    def _finish(self, timeout: float, raising: bool = True) -> bool:
        sender, link, watcher = self._sender, self._link, self._watcher
        if self._inert or sender is None or link is None or watcher is None:
            if sender is None and self.error is not None and self._finished is None:
                self._conclude(None)
            # Where clino is switched off nothing is lost.
            return bool(self._finished) or (sender is None and self.error is None)
        self._inert = True
        self._slot.close()
        ending = Ending(link, sender, watcher, self._threads[1])
        ending.wait(timeout)
        link.stop()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)
        link.close()
        self._journal.end()
        _fork.leave(self)
        self._conclude(ending)
        if raising:
            self._notices.raise_pending()
        return bool(self._finished)

    def _conclude(self, ending: Ending | None) -> None:
        """Decide whether the run succeeded, and report it in one line, without repeating errors reported before."""
        notices, decision, stats = self._notices, self._decision, self.stats
        outcome = self._journal.outcome(self._account.adopted(self._journal.strays()))
        # Of a trainer that gave nothing, nothing is lost; nor of a run that its policy had ended.
        ended = decision is not None and decision.enforced
        some = outcome.measured > outcome.valueless or not stats.snapshots or ended
        self._finished = ending is not None and ending.whole and some
        begun = " ".join(["clino: run", self._name]).rstrip()
        if ending is None:
            notices.conclude(f"{begun}: nothing was measured, it never began", True)
            return
        why = None
        if not self._finished:
            why = ending.reason(self._key if self._account.sent else None, notices.told_error)
            if why is not None and not ending.unread:
                notices.pend(f"clino: {why}")
            why = why or (None if notices.told_error else outcome.reason)
        message = f"{begun}: {summary(stats, outcome, decision)}" + (f": {why}" if why else "")
        notices.conclude(message, not self._finished and not ending.unread, ending.absence)

    def _guard(self, key: str, action: Callable[[], Result], otherwise: Result) -> Result:
        """Run the action. An error in it is reported once and not raised, unless the run is strict."""
        try:
            return action()
        except Exception as error:
            if self._notices.strict:
                raise
            costs = key in ("arguments", "init")
            # Each mistake once, not each step that has it.
            told = f"{key} {type(error).__name__} {kind(str(error))}"
            (self._notices.fail if costs else self._notices.tell)(told, f"clino: {bounded(str(error))}")
            return otherwise


def inert(strict: bool) -> Run:
    """Make a run that does nothing."""
    run = Run(strict)
    run.prepare(lambda: None)
    return run
