"""A few examples of a probe, as `_model_check` chooses and `_evaluation` evaluates them.

Owns: their form, what comes of an evaluation, and why there is none. May not touch: which are chosen, how they are
evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

# What to do where nothing else is known.
MODULE = "give clino the module whose forward takes the probe's columns and gives logits, or check=False"


class UncheckedError(Exception):
    """Why a module is not evaluated, and what to do."""

    def __init__(self, why: str, advice: str | None = None) -> None:
        super().__init__(why)
        self.advice = advice or MODULE


@dataclass(frozen=True)
class Rows:
    """A few examples of a probe group, as they are sent to the daemon."""

    group: str
    # Their places in the group, rising.
    places: tuple[int, ...]
    # By name, each [rows, …]; without the labels.
    columns: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[Any]


@dataclass(frozen=True)
class GraphRows:
    """The same of a model that is measured as a graph, whose loss may read several tensors of labels."""

    group: str
    places: tuple[int, ...]
    columns: Mapping[str, npt.NDArray[Any]]
    labels: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Evaluation:
    """The loss of each row in nats, the least precise format of any operation, and what else was seen."""

    losses: list[float]
    dtype: str
    remark: str | None = None
    # Places of the rows in the group, where not all that were asked are evaluated.
    places: tuple[int, ...] | None = None
    # Of the gradient of the mean loss, by tensor, under the names of the evaluated module.
    norms: Mapping[str, float] = field(default_factory=dict)
