"""The table of ATen names, and what a fold may use.

Owns: registration. May not touch: what operators mean.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from clino.graph._build import SizeLike
from clino.graph._ops import Ops

Function = TypeVar("Function", bound=Callable[..., Any])


class Context(Ops):
    """What a fold is given: the operators, and the result as torch has it."""

    call: Any

    def result_sizes(self, place: int = 0) -> list[SizeLike]:
        """The sizes that torch gives a result."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fold:
    """How an ATen operator is written, and which of its arguments that takes."""

    function: Callable[..., Any]
    names: frozenset[str]


FOLDS: dict[str, Fold] = {}
# By name: why there is no graph with it.
REFUSED: dict[str, str] = {}


def fold(*names: str) -> Callable[[Function], Function]:
    """Register a function for ATen names; its parameters are called as in the schema, `x` in the place of `self`."""

    def register(function: Function) -> Function:
        entry = Fold(function, frozenset(list(inspect.signature(function).parameters)[1:]))
        for name in names:
            full = name if name.count(".") == 2 else (f"aten.{name}" if "." in name else f"aten.{name}.default")
            if full in FOLDS:
                raise ValueError(f"{full} is registered twice")
            FOLDS[full] = entry
        return function

    return register


def refuse(why: str, *names: str) -> None:
    """Register names that no graph can have."""
    for name in names:
        full = f"aten.{name}" if "." in name else f"aten.{name}.default"
        REFUSED[full] = f"found {full}, {why}"
