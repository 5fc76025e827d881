"""From what a user says of a run to what is asked of the daemon.

Owns: the accepted forms of measures and of what else is said of a run (those of configurations are in `_config`, those
of probes in `_forms`). May not touch: the network.
Every function raises ValueError or TypeError with the name of the argument at fault; what only the daemon can know, it
checks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from clino._arguments import found_of, shown
from clino._grammar import measure_of
from clino.v1 import runs_pb2, types_pb2

MeasureLike = str | Mapping[str, object]

# Probes beyond this many bytes together are stored apart, since one message holds 4 MiB.
INLINE = 2 << 20
# Longest name of a run's key, as the daemon takes it.
MOST_KEY = 128

_PRECISIONS = {
    "auto": types_pb2.PRECISION_AUTO,
    "f32": types_pb2.PRECISION_F32,
    "f64": types_pb2.PRECISION_F64,
}
_DELIVERIES = {"latest": runs_pb2.DELIVERY_LATEST, "every": runs_pb2.DELIVERY_EVERY}


_MEASURES = '["loss", {"name": "sharpness", "alpha": 0.002}]'


def measures(wanted: Iterable[MeasureLike] | None) -> list[runs_pb2.MeasureRequest]:
    """Take names, texts as of the command line, and mappings of `name` and parameters; None is the default set."""
    if isinstance(wanted, (str, Mapping)):
        return [_measure("measures", wanted)]
    if wanted is not None and not isinstance(wanted, Iterable):
        raise TypeError(f"measures: found {shown(wanted)}, expected a list of measures, such as {_MEASURES}")
    return [_measure(f"measures[{index}]", measure) for index, measure in enumerate(wanted or ())]


def key(text: object) -> str:
    """Take what names a run, at most 128 bytes; empty is none."""
    if not isinstance(text, str) or len(text.encode()) > MOST_KEY:
        advice = "a key of your own, or run.key of the run to go on with"
        raise ValueError(f"resume: found {shown(text)}, expected a text of at most {MOST_KEY} bytes: {advice}")
    return text


def precision(name: str) -> types_pb2.Precision:
    """Take auto, f32 or f64."""
    if not isinstance(name, str) or name not in _PRECISIONS:
        raise ValueError(f"precision: found {found_of(name, _PRECISIONS)}, expected one of {', '.join(_PRECISIONS)}")
    return _PRECISIONS[name]


def delivery(name: str) -> runs_pb2.Delivery:
    """Take latest or every."""
    if not isinstance(name, str) or name not in _DELIVERIES:
        raise ValueError(f"delivery: found {found_of(name, _DELIVERIES)}, expected one of {', '.join(_DELIVERIES)}")
    return _DELIVERIES[name]


def budget(seconds: float | None) -> float | None:
    """Take a finite number of seconds above 0, or None for no limit."""
    if seconds is None:
        return None
    try:
        found = float(seconds) if _is_number(seconds) else math.nan
    except OverflowError:
        found = math.inf
    if not 0 < found < math.inf:
        raise ValueError(f"budget: found {seconds!r}, expected a finite number of seconds above 0")
    return found


def tags(wanted: Mapping[str, object] | None) -> dict[str, str]:
    """Take names and texts; numbers and flags are written out."""
    if wanted is None:
        return {}
    if not isinstance(wanted, Mapping):
        raise TypeError(
            f"tags: found {type(wanted).__name__}, expected a mapping of names to texts, such as {{'lr': 0.001}}"
        )
    return {str(name): str(text) for name, text in wanted.items()}


def value_of(field: str, value: object) -> types_pb2.Value:
    """Take a parameter: a number, a text, a flag or a list of numbers."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)):
        return types_pb2.Value(flag=bool(value))
    if _is_number(value):
        return types_pb2.Value(number=float(value))
    if isinstance(value, str):
        return types_pb2.Value(text=value)
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return types_pb2.Value(numbers=types_pb2.Numbers(values=_numbers(field, value)))
    raise TypeError(f"{field}: found {type(value).__name__}, expected a number, text, flag or list of numbers")


def _measure(field: str, measure: object) -> runs_pb2.MeasureRequest:
    if isinstance(measure, str):
        return measure_of(field, measure)
    if not isinstance(measure, Mapping) or not isinstance(measure.get("name"), str):
        found = "a mapping without a name" if isinstance(measure, Mapping) else shown(measure)
        raise ValueError(f"{field}: found {found}, expected a name, or a name with parameters, as in {_MEASURES}")
    parameters = {str(key): value_of(f"{field}.{key}", value) for key, value in measure.items() if key != "name"}
    return runs_pb2.MeasureRequest(name=measure["name"], parameters=parameters)


def _numbers(field: str, values: Sequence[object] | npt.NDArray[Any]) -> list[float]:
    numbers: list[float] = []
    for index, entry in enumerate(values):
        if not _is_number(entry):
            raise TypeError(f"{field}[{index}]: found {entry!r}, expected a number")
        numbers.append(float(entry))
    return numbers


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a real number of Python or numpy; a flag is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
