"""A measure with its parameters in one text, as `--measure` of the command line has it.

Owns: that grammar: NAME[:key=value,…], where a piece without `=` goes on with the list of the key before it. May not
touch: which measures there are; src/cli/arguments.rs has the same.
"""

from __future__ import annotations

import re

from clino.v1 import runs_pb2, types_pb2

_EXAMPLE = "such as 'sharpness:alpha=0.002,draws=4'"
# What is a number to the command line, too: Python alone takes underscores and spaces.
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)


def measure_of(field: str, text: str) -> runs_pb2.MeasureRequest:
    """Take a name, or a name with parameters; ValueError names the piece at fault."""
    name, colon, rest = text.partition(":")
    if not name.strip():
        raise ValueError(f"{field}: found {text!r:.200}, expected a name before the parameters, {_EXAMPLE}")
    if "," in name:
        each = ", ".join(f'"{part.strip()}"' for part in text.split(",") if part.strip())
        raise ValueError(f"{field}: found {text!r:.200}, expected one measure: give a list of them, measures=[{each}]")
    found: dict[str, list[str]] = {}
    for piece in rest.split(",") if colon else ():
        key, equals, value = piece.partition("=")
        if equals and key in found:
            raise ValueError(
                f"{field}.{key}: found it twice in {text!r:.200}, expected each parameter once, {_EXAMPLE}"
            )
        if equals and key:
            found[key] = [value]
        elif found and not equals:
            list(found.values())[-1].append(piece)
        else:
            raise ValueError(f"{field}: found {piece!r:.80} in {text!r:.200}, expected key=value, {_EXAMPLE}")
    parameters = {key: _value(f"{field}.{key}", values) for key, values in found.items()}
    return runs_pb2.MeasureRequest(name=name, parameters=parameters)


def _value(field: str, values: list[str]) -> types_pb2.Value:
    (first, *rest) = values
    if not rest and first in ("true", "false"):
        return types_pb2.Value(flag=first == "true")
    wrong = next((value for value in values if not _NUMBER.fullmatch(value)), None)
    if not rest:
        return types_pb2.Value(text=first) if wrong is not None else types_pb2.Value(number=float(first))
    if wrong is not None:
        raise ValueError(f"{field}: found {wrong!r:.80} among {','.join(values)!r:.200}, expected a list of numbers")
    return types_pb2.Value(numbers=types_pb2.Numbers(values=map(float, values)))
