"""From what a loop says to numbers and names that go with a snapshot.

Owns: the accepted forms of steps, attempts, kinds and time limits. May not touch: the model. Every function raises
ValueError or TypeError with the name of the argument at fault, what was found, and what to give.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np

from clino.v1 import snapshots_pb2

Given = ParamSpec("Given")
Result = TypeVar("Result")
Kind = Literal["live", "master", "ema", "swa"]

_KINDS = {
    "live": snapshots_pb2.WEIGHT_KIND_LIVE,
    "master": snapshots_pb2.WEIGHT_KIND_MASTER,
    "ema": snapshots_pb2.WEIGHT_KIND_EMA,
    "swa": snapshots_pb2.WEIGHT_KIND_SWA,
}
STEP_ADVICE = "give the number of steps that are done, such as run.snapshot(model, step=100)"
ATTEMPT_ADVICE = "leave it out for the next free one of the step"
SEED_ADVICE = "leave it out for 0"
# Largest numbers of 32 and 64 bits.
MOST_32, MOST_64 = (1 << 32) - 1, (1 << 64) - 1
# Seconds that every wait of Python takes.
LONGEST = 1e8
# Floats up to here have every integer.
_EXACT = 2.0**53


def shown(value: object) -> str:
    """A value as a message repeats it: plain ones with their type, others by their type alone."""
    if isinstance(value, (bool, int, float, str, np.generic)):
        return f"{value!r:.80} ({type(value).__name__})"
    return type(value).__name__


def whole(field: str, given: object, most: int, advice: str) -> int:
    """Take an integer of Python, numpy or torch from 0 to `most`, or a float that is one."""
    found = _integer(given)
    if found is None or not 0 <= found <= most:
        least = "an integer of at least 0" if found is None or found < 0 else f"an integer of at most {most}"
        raise (TypeError if found is None else ValueError)(f"{field}: found {shown(given)}, expected {least}: {advice}")
    return found


def _integer(given: Any) -> int | None:
    try:
        return operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        pass
    if isinstance(given, (str, bytes)) or not hasattr(given, "__float__"):
        return None
    try:
        number = float(given)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return int(number) if number.is_integer() and abs(number) <= _EXACT else None


def kind_of(given: object) -> snapshots_pb2.WeightKind:
    """Take live, master, ema or swa."""
    if isinstance(given, str) and given in _KINDS:
        return _KINDS[given]
    advice = "leave it out for the parameters that are trained"
    raise ValueError(f"kind: found {found_of(given, _KINDS)}, expected one of {', '.join(_KINDS)}: {advice}")


def found_of(given: object, known: Any) -> str:
    """A value that is none of the known names, with the one that may be meant."""
    near = get_close_matches(given.lower(), list(known), 1) if isinstance(given, str) else []
    return f"{shown(given) if not isinstance(given, str) else repr(given)}" + (
        f" (did you mean {near[0]}?)" if near else ""
    )


def flag(field: str, given: object) -> bool:
    """Take True or False."""
    if isinstance(given, (bool, np.bool_)):
        return bool(given)
    raise TypeError(f"{field}: found {shown(given)}, expected True or False")


def text(field: str, given: object) -> str:
    """Take a text, or None for none."""
    if given is None or isinstance(given, str):
        return given or ""
    raise TypeError(f"{field}: found {shown(given)}, expected a text: give str(…) of it")


def seconds(field: str, given: object) -> float:
    """Take a number of seconds of at least 0."""
    try:
        found = float(given) if not isinstance(given, (str, bytes)) else -1.0  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = -1.0
    if not found >= 0:
        raise TypeError(f"{field}: found {shown(given)}, expected a number of seconds of at least 0, such as 60")
    return min(found, LONGEST)


def limit(field: str, given: object) -> float | None:
    """As above, or None for no limit."""
    return None if given is None else seconds(field, given)


def names_checked(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Have a misspelled argument of a function told with the name that may be meant."""
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        check_names(function.__name__, kwargs, known)
        return function(*args, **kwargs)

    return call


def check_names(function: str, given: Iterable[str], known: Iterable[str], more: Iterable[str] = ()) -> None:
    """TypeError for the first name that is none of the known ones; `more` are such that may be meant, too."""
    known = list(known)
    for name in given:
        if name not in known:
            near = get_close_matches(name, [*known, *more], 1)
            advice = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known)}"
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}: {advice}")


def begun_of(step: object, attempt: object, kind: object, init: object) -> snapshots_pb2.BeginSnapshot:
    """What is said of a snapshot, checked."""
    return snapshots_pb2.BeginSnapshot(
        step=whole("step", step, MOST_64, STEP_ADVICE),
        attempt=whole("attempt", attempt, MOST_32, ATTEMPT_ADVICE),
        kind=kind_of(kind),
        initialization=flag("init", init),
    )


def begun_once(
    begin: snapshots_pb2.BeginSnapshot, first: int | None, remark: Callable[[str, str], None]
) -> snapshots_pb2.BeginSnapshot:
    """Turn every initialization after the first one, of this step, into an ordinary snapshot."""
    if begin.initialization and first is not None:
        begin.initialization = False
        first_is = f"expected it once: the initialization is that of step {first}, and this is an ordinary snapshot"
        remark(f"init: found True again at step {begin.step}, {first_is}: leave out init=True", "init")
    return begin
