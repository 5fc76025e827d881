"""What a run's policy says, as plain typed data.

Owns: these structures and their making from messages. May not touch: what a decision leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from clino.v1 import decisions_pb2, types_pb2

Advice = Literal["continue", "stop", "not_enough_data"]
PolicyMode = Literal["advise", "enforce"]

# Advice that this version does not know is no STOP.
_ADVICE: dict[int, Advice] = {
    decisions_pb2.ADVICE_CONTINUE: "continue",
    decisions_pb2.ADVICE_STOP: "stop",
    decisions_pb2.ADVICE_NOT_ENOUGH_DATA: "not_enough_data",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A step of a run, and which try at it."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Staleness:
    """How far measuring is behind the trainer: `snapshots` that the daemon has and has not measured, and steps."""

    snapshots: int
    steps: int


@dataclass(frozen=True, slots=True)
class Overridden:
    """A STOP that was taken back: behind which snapshot (None: there was none), why, and by whom."""

    at: Snapshot | None
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of a run.

    `advice` is "stop" where a rule says so, and `reason` why: "patience_exhausted", "diverged", "non_finite" and so
    on; "no_rule_fired" and "warming_up" otherwise. `sentence` says it for people. `rule` is the one that decided, as
    NAME on SUBJECT, None where none did, and `compared` has the numbers that it compared. `evaluated` is the newest
    snapshot that was looked at, `best` the one to restore, with `best_value`. Before `next_check_step` nothing can
    change (None: it may at any step). A STOP that is `latched` stands until it is overridden. `peers` are ids of the
    runs that were compared with: at most 64 of `peer_count`.
    """

    id: str
    run_id: str
    advice: Advice
    reason: str
    sentence: str
    rule: str | None
    compared: Mapping[str, float]
    evaluated: Snapshot | None
    best: Snapshot | None
    best_value: float | None
    next_check_step: int | None
    peers: tuple[str, ...]
    peer_count: int
    mode: PolicyMode
    latched: bool
    overridden: Overridden | None
    staleness: Staleness | None
    history_digest: str
    policy_digest: str

    @property
    def stops(self) -> bool:
        """Whether it says STOP; what comes of that is the matter of `mode`."""
        return self.advice == "stop"

    @property
    def enforced(self) -> bool:
        """Whether the training ends by it: a STOP of a policy that is to be enforced."""
        return self.stops and self.mode == "enforce"

    @property
    def best_step(self) -> int | None:
        """The step to restore."""
        return self.best.step if self.best else None


def decision_of(message: decisions_pb2.Decision, staleness: decisions_pb2.Staleness | None = None) -> Decision:
    """Make a Decision of its message."""
    return Decision(
        id=message.decision_id,
        run_id=message.run_id,
        advice=_ADVICE.get(message.advice, "continue"),
        reason=_reason(message.reason),
        sentence=message.sentence,
        rule=message.rule or None,
        compared={line.name: line.value for line in message.compared},
        evaluated=_snapshot(message.evaluated) if message.HasField("evaluated") else None,
        best=_snapshot(message.best) if message.HasField("best") else None,
        best_value=message.best_value if message.HasField("best_value") else None,
        next_check_step=message.next_check_step if message.HasField("next_check_step") else None,
        peers=tuple(message.peers),
        peer_count=message.peer_count,
        mode="enforce" if message.mode == decisions_pb2.POLICY_MODE_ENFORCE else "advise",
        latched=message.latched,
        overridden=_overridden(message.overridden) if message.HasField("overridden") else None,
        staleness=Staleness(staleness.snapshots, staleness.steps) if staleness is not None else None,
        history_digest=message.history_digest,
        policy_digest=message.policy_digest,
    )


def _reason(number: int) -> str:
    known = decisions_pb2.Reason.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix("REASON_").lower() if known else f"reason_{number}"


def _snapshot(message: types_pb2.SnapshotRef) -> Snapshot:
    return Snapshot(message.step, message.attempt)


def _overridden(message: decisions_pb2.Overridden) -> Overridden:
    at = _snapshot(message.at) if message.HasField("at") else None
    return Overridden(at, message.reason, message.by)
