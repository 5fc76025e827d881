"""How time is taken: everyone in turn, round after round, so that a busy minute hits all alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median

REST = 0.02
"""Seconds between contestants: threads of the one before may still spin for work."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds of the wall and of the processor, what came out, and the work where it is known."""

    wall: float
    cpu: float
    result: float = math.nan
    flops: float = math.nan
    bytes: float = math.nan

    def seconds(self, clock: str) -> float:
        """By one of the two clocks."""
        return self.wall if clock == "wall" else self.cpu


@dataclass(frozen=True)
class Contestant:
    """A name for the table and something that can be run again and again."""

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True)
class Spread:
    """The middle of some seconds, and their ends."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Race:
    """Samples of every contestant in one discipline."""

    samples: dict[str, list[Sample]]
    threads: int

    @property
    def clock(self) -> str:
        """What is judged: on one thread the processor's time, which other programs disturb less."""
        return "cpu" if self.threads == 1 else "wall"

    def spread(self, name: str, clock: str) -> Spread:
        """Seconds of one contestant."""
        seconds = [sample.seconds(clock) for sample in self.samples[name]]
        return Spread(median(seconds), min(seconds), max(seconds))

    def ratio(self, other: str, name: str, clock: str) -> float:
        """How many times faster `name` is."""
        return self.spread(other, clock).middle / self.spread(name, clock).middle

    def rate(self, name: str, of: str) -> float:
        """`flops` or `bytes` a second, by the clock that is judged."""
        return float(median(getattr(one, of) / one.seconds(self.clock) for one in self.samples[name]))


def race(contestants: list[Contestant], threads: int, rounds: int, repeats: int = 1) -> Race:
    """Run everyone in turn. The first round warms up and is dropped.

    What takes a millisecond is repeated within a round, and the round's sample is the median.
    """
    samples: dict[str, list[Sample]] = {contestant.name: [] for contestant in contestants}
    for turn in range(rounds + 1):
        for contestant in contestants:
            time.sleep(REST)
            taken = [contestant.run() for _ in range(repeats)]
            if turn > 0:
                samples[contestant.name].append(middle(taken))
    return Race(samples, threads)


def middle(samples: list[Sample]) -> Sample:
    """One sample for several of the same work."""
    wall, cpu = median(sample.wall for sample in samples), median(sample.cpu for sample in samples)
    last = samples[-1]
    return Sample(wall, cpu, last.result, last.flops, last.bytes)


def total(samples: list[Sample]) -> Sample:
    """One sample for the batches of a case: times and work add up, losses are averaged."""
    return Sample(
        sum(sample.wall for sample in samples),
        sum(sample.cpu for sample in samples),
        fmean(sample.result for sample in samples),
        sum(sample.flops for sample in samples),
        sum(sample.bytes for sample in samples),
    )


def timed(work: Callable[[], float | None]) -> Sample:
    """A run in this process, by the same two clocks that clino reads in its own."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sample(wall, cpu, math.nan if result is None else result)
