"""How a run went: counts of its snapshots, and one line that says it.

Owns: these counts and their wording. May not touch: where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from clino._decisions import Decision
from clino._journal import Outcome


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of a run so far; times in seconds.

    After the end each snapshot that was given is sent, replaced or failed: the three add up.
    """

    # Calls of snapshot(), and the time that they held the trainer: all together, the last, the longest.
    snapshots: int
    held_seconds: float
    held_last: float
    held_max: float
    # Received by the daemon, each once; and the bytes that went there, those of an initialization whenever it was sent.
    sent: int
    bytes_sent: int
    # Given up for a newer one while the sender was busy or the daemon away.
    replaced: int
    # Refused by the daemon, bad arguments, or not sent at the end.
    failed: int


def summary(stats: Stats, outcome: Outcome, decision: Decision | None) -> str:
    """Say in one line what became of the snapshots of a run."""
    if not stats.snapshots:
        return "no snapshot was given"
    said = [f"{outcome.measured} of {stats.snapshots} snapshots measured"]
    if outcome.valueless:
        which = "none of them has" if outcome.valueless == outcome.measured else f"{outcome.valueless} of them without"
        said.append(f"{which} a value")
    replaced = stats.replaced + outcome.skipped
    rest = stats.snapshots - outcome.measured - replaced - outcome.unmeasured - stats.failed
    said += [f"{replaced} replaced by newer ones"] if replaced else []
    said += [f"{outcome.unmeasured} without any reading"] if outcome.unmeasured else []
    said += [f"{stats.failed} failed"] if stats.failed else []
    said += [f"{rest} not measured"] if rest > 0 else []
    line = ", ".join(said)
    return line if decision is None else f"{line}; last decision {decision.advice.upper()}"
