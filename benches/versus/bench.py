"""What every section needs, and how much of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from .cases import Case, Model
from .report import Report

TORCH, BF16, CANDLE, CLINO = "PyTorch f32", "PyTorch bf16", "candle", "clino"
FUSED = "fused"
"""The network of clino's own; the other one is called candle."""


@dataclass(frozen=True)
class Effort:
    """Rounds, repeats of what takes a millisecond, batches of real text, and numbers of parameters."""

    rounds: int
    measure_rounds: int
    repeats: int
    groups: int
    sizes: tuple[int, ...]


FULL = Effort(rounds=7, measure_rounds=3, repeats=20, groups=4, sizes=(22_000_000, 110_000_000))
QUICK = Effort(rounds=3, measure_rounds=1, repeats=5, groups=2, sizes=(22_000_000,))


@dataclass(frozen=True)
class Bench:
    """The program, the models, and where the results go."""

    clino: Path
    threads: list[int]
    effort: Effort
    minilm: Model
    nano: Model
    report: Report

    def each_threads(self) -> Iterator[int]:
        """Thread counts in turn, PyTorch set to each."""
        for threads in self.threads:
            torch.set_num_threads(threads)
            yield threads

    def repeats(self, case: Case) -> int:
        """How often a pass is repeated within a round."""
        return self.effort.repeats if case.folder == self.nano.folder else 1
