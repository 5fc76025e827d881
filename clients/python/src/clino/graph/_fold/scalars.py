"""Arithmetic of sizes that torch does not keep as an expression of integers, such as 1 / √size.

Owns: functions of Python's numbers. May not touch: tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clino.graph._build import I64, WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context
from clino.graph._ops import Binary, Compare, Unary

SCALARS: dict[str, Callable[..., Any]] = {}

_BINARY: dict[str, int] = {
    "add": Binary.KIND_ADD,
    "sub": Binary.KIND_SUB,
    "mul": Binary.KIND_MUL,
    "truediv": Binary.KIND_DIV,
    "floordiv": Binary.KIND_FLOOR_DIV,
    "mod": Binary.KIND_REMAINDER,
    "pow": Binary.KIND_POW,
    "sym_max": Binary.KIND_MAXIMUM,
    "sym_min": Binary.KIND_MINIMUM,
    "and_": Binary.KIND_AND,
    "or_": Binary.KIND_OR,
}
_COMPARE: dict[str, int] = {
    "eq": Compare.KIND_EQ,
    "ne": Compare.KIND_NE,
    "lt": Compare.KIND_LT,
    "le": Compare.KIND_LE,
    "gt": Compare.KIND_GT,
    "ge": Compare.KIND_GE,
}
_WORK: dict[str, int] = {
    "sqrt": Unary.KIND_SQRT,
    "_sym_sqrt": Unary.KIND_SQRT,
    "sym_sqrt": Unary.KIND_SQRT,
    "exp": Unary.KIND_EXP,
    "log": Unary.KIND_LOG,
}
_ROUND: dict[str, int] = {
    "ceil": Unary.KIND_CEIL,
    "floor": Unary.KIND_FLOOR,
    "trunc": Unary.KIND_TRUNC,
    "round": Unary.KIND_ROUND,
}


def _register() -> None:
    for name, kind in _BINARY.items():
        SCALARS[name] = lambda f, a, b, kind=kind: f.binary(kind, a, b)
    for name, kind in _COMPARE.items():
        SCALARS[name] = lambda f, a, b, kind=kind: f.compare(kind, a, b)
    for name, kind in _WORK.items():
        SCALARS[name] = lambda f, a, kind=kind: f.unary(kind, f.cast(f.value(a), WORK))
    for name, kind in _ROUND.items():
        SCALARS[name] = lambda f, a, kind=kind: f.cast(f.unary(kind, f.value(a)), I64)
    SCALARS["neg"] = lambda f, a: f.unary(Unary.KIND_NEG, f.value(a))
    SCALARS["sym_float"] = lambda f, a: f.cast(f.value(a), WORK)
    SCALARS["sym_int"] = lambda f, a: f.cast(f.value(a), I64)
    SCALARS["sym_not"] = lambda f, a: f.unary(Unary.KIND_NOT, f.value(a))
    SCALARS["sym_ite"] = lambda f, c, a, b: f.where(f.value(c), a, b)
    SCALARS["aten.sym_size.int"] = lambda f, x, axis: f.dim(x, axis % x.rank)
    SCALARS["aten.sym_numel.default"] = _numel
    SCALARS["aten._local_scalar_dense.default"] = _item
    SCALARS["aten.item.default"] = _item


def _numel(f: Context, x: Value) -> Any:
    found: Any = 1
    for size in f.sizes(x):
        found = size if found == 1 else f.arithmetic(Binary.KIND_MUL, found, size)
    return found


def _item(f: Context, x: Value) -> Any:
    """A number read from a tensor: a scalar like any other, unless shapes or branches depend on it."""
    found = f.reshape(x, [])
    if found.type == I64 and found.elements:
        raise ExportError(
            "found an integer that is read from the elements of a tensor (.item(), int(...)), "
            "expected a forward whose shapes and branches depend on shapes alone"
        )
    return f.unary(Unary.KIND_DETACH, found) if found.trained else found


_register()
