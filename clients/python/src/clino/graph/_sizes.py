"""Sizes that are worked out of sizes: from torch's symbolic integers to scalars of the graph.

Owns: what a symbol of a size is in the graph. May not touch: tensors' elements.

Torch keeps every size as an expression in the sizes of the inputs. It is written out of these again wherever it is
needed, so that no size depends on a tensor that would have to be computed for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clino.graph._build import SizeLike, Value
from clino.graph._ops import Binary, Ops

# What torch's own functions of integers are here.
_FUNCTIONS = {
    "FloorDiv": Binary.KIND_FLOOR_DIV,
    "CleanDiv": Binary.KIND_FLOOR_DIV,
    "Mod": Binary.KIND_REMAINDER,
    "PythonMod": Binary.KIND_REMAINDER,
    "Max": Binary.KIND_MAXIMUM,
    "Min": Binary.KIND_MINIMUM,
    "BitwiseFn_bitwise_and": Binary.KIND_AND,
    "BitwiseFn_bitwise_or": Binary.KIND_OR,
    "LShift": Binary.KIND_SHIFT_LEFT,
    "RShift": Binary.KIND_SHIFT_RIGHT,
}


class Sizes:
    """The sizes of one graph."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops
        # By expression: what gives it.
        self._known: dict[Any, Callable[[], SizeLike]] = {}

    def input_axis(self, expression: Any, value: Value, axis: int) -> None:
        """An axis of an input whose size this is; the first one stays."""
        self._known.setdefault(expression, lambda: self._ops.one("dim", [value], 2, (), axis=axis))
        free = sorted(expression.free_symbols, key=str)
        if expression.is_Symbol or len(free) != 1 or free[0] in self._known:
            return
        # 2 s + 1 where no input has s itself.
        factor, rest = expression.coeff(free[0]), expression.subs(free[0], 0)
        if factor.is_Integer and rest.is_Integer and expression == factor * free[0] + rest:
            self._known[free[0]] = lambda: self._solved(value, axis, int(factor), int(rest))

    def known(self, expression: Any, value: SizeLike) -> None:
        """A size that a node gives."""
        self._known.setdefault(expression, lambda: value)

    def _solved(self, value: Value, axis: int, factor: int, rest: int) -> SizeLike:
        size: SizeLike = self._ops.one("dim", [value], 2, (), axis=axis)
        size = self._ops.arithmetic(Binary.KIND_SUB, size, rest) if rest else size
        return self._ops.arithmetic(Binary.KIND_FLOOR_DIV, size, factor)

    def of(self, expression: Any) -> SizeLike | None:
        """What an expression is in the graph; None if it has something in it that is not known here."""
        if expression in self._known:
            return self._known[expression]()
        if expression.is_Integer:
            return int(expression)
        if expression.is_Add or expression.is_Mul:
            return self._chain(Binary.KIND_ADD if expression.is_Add else Binary.KIND_MUL, expression.args)
        if expression.is_Pow and expression.exp.is_Integer and 0 < int(expression.exp) < 16:
            return self._chain(Binary.KIND_MUL, [expression.base] * int(expression.exp))
        kind = _FUNCTIONS.get(type(expression).__name__)
        return None if kind is None else self._chain(kind, expression.args)

    def _chain(self, kind: int, arguments: Any) -> SizeLike | None:
        # Numbers first, so that -1 + s is s - 1 wherever it is written.
        parts = [self.of(argument) for argument in arguments]
        if any(part is None for part in parts):
            return None
        found = parts[0]
        for part in parts[1:]:
            found = self._pair(kind, found, part)
        return found

    def _pair(self, kind: int, a: Any, b: Any) -> SizeLike:
        if kind == Binary.KIND_ADD and isinstance(a, int) and a < 0 and isinstance(b, Value):
            return self._ops.binary(Binary.KIND_SUB, b, -a)
        return self._ops.binary(kind, a, b)
