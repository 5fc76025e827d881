"""What comes back, as plain typed data.

Owns: the events of a run and their making from messages. May not touch: where they come from or go to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from clino._decisions import Decision, decision_of
from clino._fields import named
from clino._work import Work, work_of
from clino.v1 import reports_pb2, types_pb2

Outcome = Literal["measured", "undefined", "unavailable", "failed", "skipped"]
Ended = Literal["draws", "target", "max_draws", "max_seconds"]
ParameterValue = float | str | bool | tuple[float, ...]

_OUTCOMES: dict[int, Outcome] = {
    reports_pb2.OUTCOME_MEASURED: "measured",
    reports_pb2.OUTCOME_UNDEFINED: "undefined",
    reports_pb2.OUTCOME_UNAVAILABLE: "unavailable",
    reports_pb2.OUTCOME_FAILED: "failed",
    reports_pb2.OUTCOME_SKIPPED: "skipped",
}
_ENDED: dict[int, Ended] = {
    reports_pb2.ENDED_DRAWS: "draws",
    reports_pb2.ENDED_TARGET: "target",
    reports_pb2.ENDED_MAX_DRAWS: "max_draws",
    reports_pb2.ENDED_MAX_SECONDS: "max_seconds",
}


@dataclass(frozen=True, slots=True)
class Rung:
    """One radius of a sharpness profile."""

    alpha: float
    value: float
    draws: tuple[float, ...]
    stderr: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """Between which numbers a value lies, at a level of confidence (0.95)."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class Quadrature:
    """A spectral density as one run of Lanczos' iteration saw it: rising eigenvalues, and their shares of one."""

    nodes: tuple[float, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Surface:
    """Losses on a line (`dimensions` 1) or a square plane (2) through the snapshot, None where one is not finite.

    `axis` has the coordinates along each direction. `losses` are row-major: a row is at one coordinate along the
    first direction.
    """

    dimensions: int
    axis: tuple[float, ...]
    losses: tuple[float | None, ...]

    @property
    def grid(self) -> tuple[tuple[float | None, ...], ...]:
        """The losses row by row; of a line, a single row."""
        width = max(1, len(self.axis))
        return tuple(self.losses[start : start + width] for start in range(0, len(self.losses), width))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one measure says of one snapshot on one probe group.

    `value` is the principal number, for random measures the mean of `draws`; it is None where `outcome` is not
    `measured`, and `reason` says why; "skipped" is what did not fit into the budget. `interval` stands beside every
    `stderr`. `ended` says what ended the draws, and is None for measures without. `group` is None for measures of the
    weights alone and "pooled" for all groups together. `remark` is what is to be known of the value. `seconds` is the
    time that the daemon took, and `work` what it did in it; what readings share counts for the one that came first.
    """

    measure: str
    parameters: Mapping[str, ParameterValue]
    group: str | None
    step: int
    attempt: int
    outcome: Outcome
    value: float | None
    draws: tuple[float, ...]
    mean: float | None
    stderr: float | None
    min: float | None
    max: float | None
    interval: Interval | None
    ended: Ended | None
    parts: Mapping[str, float | None]
    tensors: Mapping[str, Mapping[str, float | None]]
    rungs: tuple[Rung, ...]
    runs: tuple[Quadrature, ...]
    surface: Surface | None
    reason: str | None
    remark: str | None
    seconds: float
    work: Work
    precision: str


@dataclass(frozen=True, slots=True)
class SnapshotFinished:
    """All readings of a snapshot are made; `seconds` is what they took together."""

    step: int
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SnapshotSkipped:
    """A snapshot was received and will not be measured."""

    step: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that were lost before they could be read here."""

    lost: int


@dataclass(frozen=True, slots=True)
class ModelChecked:
    """What came of comparing the trainer's model with its configuration on `rows` examples of a group.

    `trainer_loss` and `configured_loss` are mean cross-entropies in nats: by the live model, and by the daemon from
    configuration and parameters. Where they do not agree the run has no readings; `sentence` says so for people.
    """

    step: int
    attempt: int
    group: str
    rows: int
    trainer_loss: float
    configured_loss: float
    agrees: bool
    sentence: str


Event = Reading | SnapshotFinished | SnapshotSkipped | Decision | ModelChecked | Gap


def reading_of(message: reports_pb2.Reading) -> Reading:
    """Make a Reading of its message; an outcome that this version does not know counts as failed."""
    estimate = message.estimate if message.HasField("estimate") else None
    return Reading(
        measure=message.measure,
        parameters={name: _parameter(value) for name, value in message.parameters.items()},
        group=message.group if message.HasField("group") else None,
        step=message.snapshot.step,
        attempt=message.snapshot.attempt,
        outcome=_OUTCOMES.get(message.outcome, "failed"),
        value=message.value if message.HasField("value") else None,
        draws=tuple(message.draws),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate and estimate.HasField("stderr") else None,
        min=estimate.min if estimate else None,
        max=estimate.max if estimate else None,
        interval=_interval(message.interval) if message.HasField("interval") else None,
        ended=_ENDED.get(message.ended),
        parts=_parts(message.parts),
        tensors={entry.tensor: _parts(entry.parts) for entry in message.tensors},
        rungs=tuple(_rung(rung) for rung in message.rungs),
        runs=tuple(Quadrature(tuple(run.nodes), tuple(run.weights)) for run in message.runs),
        surface=_surface(message.surface) if message.HasField("surface") else None,
        reason=named(message.reason) or None,
        remark=message.remark or None,
        seconds=message.seconds,
        work=work_of(message.work),
        precision=types_pb2.Precision.Name(message.precision).removeprefix("PRECISION_").lower(),
    )


def checked_of(message: types_pb2.ModelChecked) -> ModelChecked:
    """Make a ModelChecked of its message."""
    return ModelChecked(
        step=message.snapshot.step,
        attempt=message.snapshot.attempt,
        group=message.group,
        rows=message.rows,
        trainer_loss=message.trainer_loss,
        configured_loss=message.configured_loss,
        agrees=message.agrees,
        sentence=named(message.sentence),
    )


def event_of(message: reports_pb2.WatchResponse) -> Event | None:
    """Make an event for the user of what the daemon tells; None for what is only of use to this client."""
    kind = message.WhichOneof("event")
    if kind == "reading":
        return reading_of(message.reading)
    if kind == "finished":
        finished = message.finished
        return SnapshotFinished(finished.snapshot.step, finished.snapshot.attempt, finished.seconds)
    if kind == "skipped":
        skipped = message.skipped
        return SnapshotSkipped(skipped.snapshot.step, skipped.snapshot.attempt, skipped.reason)
    if kind == "decided":
        return decision_of(message.decided)
    if kind == "checked":
        return checked_of(message.checked)
    if kind == "gap":
        return Gap(message.gap.lost)
    return None


def _parts(parts: Iterable[reports_pb2.Part]) -> dict[str, float | None]:
    return {part.name: part.value if part.HasField("value") else None for part in parts}


def _rung(rung: reports_pb2.Rung) -> Rung:
    return Rung(rung.alpha, rung.value, tuple(rung.draws), rung.stderr if rung.HasField("stderr") else None)


def _interval(interval: reports_pb2.Interval) -> Interval:
    return Interval(interval.low, interval.high, interval.level)


def _surface(surface: reports_pb2.Surface) -> Surface:
    losses = tuple(loss if math.isfinite(loss) else None for loss in surface.losses)
    return Surface(surface.dimensions, tuple(surface.axis), losses)


def _parameter(value: types_pb2.Value) -> ParameterValue:
    kind = value.WhichOneof("kind")
    if kind == "text":
        return value.text
    if kind == "flag":
        return value.flag
    if kind == "numbers":
        return tuple(value.numbers.values)
    return value.number
