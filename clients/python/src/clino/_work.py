"""What measures cost: the work of one, and the plan of a run.

Owns: these two structures and their making from messages. May not touch: where they come from or go to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clino.v1 import runs_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class Work:
    """What was or will be done on one probe group.

    `forwards` and `backwards` count passes over the examples of the group, `passes` those over all parameters, and
    `operations` floating-point operations beside the network.
    """

    forwards: float
    backwards: float
    passes: float
    operations: float


@dataclass(frozen=True, slots=True)
class Planned:
    """What one measure of a run costs.

    `work` is on one group, less what a measure before it has made already: predicted, or (`counted`) as it was on
    the pooled group of the snapshot that was measured last. `seconds` is the time of all groups of that snapshot
    together, None before the first one.
    """

    measure: str
    work: Work
    counted: bool
    seconds: float | None


def work_of(message: types_pb2.Work) -> Work:
    """Make a Work of its message."""
    return Work(message.forwards, message.backwards, message.passes, message.operations)


def plan_of(messages: Iterable[runs_pb2.Planned]) -> tuple[Planned, ...]:
    """Make a plan of its messages, in their order: that in which the measures are made."""
    return tuple(
        Planned(
            measure=message.measure,
            work=work_of(message.work),
            counted=message.counted,
            seconds=message.seconds if message.HasField("seconds") else None,
        )
        for message in messages
    )
