"""Operators of two operands, and choices between them.

Owns: what alpha and rounding modes mean. May not touch: products of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clino.graph._build import BOOL, I64, WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Binary, Compare, Given, Reduce, Unary

_BINARY: dict[str, int] = {
    "mul": Binary.KIND_MUL,
    "fmod": Binary.KIND_FMOD,
    "remainder": Binary.KIND_REMAINDER,
    "bitwise_and": Binary.KIND_AND,
    "bitwise_or": Binary.KIND_OR,
    "bitwise_xor": Binary.KIND_XOR,
}
_COMPARE: dict[str, int] = {
    "eq": Compare.KIND_EQ,
    "ne": Compare.KIND_NE,
    "lt": Compare.KIND_LT,
    "le": Compare.KIND_LE,
    "gt": Compare.KIND_GT,
    "ge": Compare.KIND_GE,
}


def _binary(kind: int) -> Callable[..., Value]:
    def function(f: Context, x: Given, other: Given) -> Value:
        a, b = f.value(x), f.value(other)
        if kind == Binary.KIND_MUL and f.call.type == BOOL:
            return f.binary(Binary.KIND_AND, a, b)
        return f.binary(kind, a, b)

    return function


def _compare(kind: int) -> Callable[..., Value]:
    def function(f: Context, x: Value, other: Given) -> Value:
        return f.compare(kind, x, other)

    return function


for _name, _kind in _BINARY.items():
    fold(f"{_name}.Tensor", f"{_name}.Scalar")(_binary(_kind))
for _side, _kind in (("left", Binary.KIND_SHIFT_LEFT), ("right", Binary.KIND_SHIFT_RIGHT)):
    _long, _short = f"bitwise_{_side}_shift", f"__{_side[0]}shift__"
    fold(f"{_long}.Tensor", f"{_long}.Tensor_Scalar", f"{_short}.Tensor", f"{_short}.Scalar")(_binary(_kind))
for _name, _kind in _COMPARE.items():
    fold(f"{_name}.Tensor", f"{_name}.Scalar")(_compare(_kind))


@fold("add.Tensor", "add.Scalar")
def add(f: Context, x: Given, other: Given, alpha: Any) -> Value:
    """X + alpha other."""
    if f.call.type == BOOL:
        return f.binary(Binary.KIND_OR, x, other)
    return f.add(x, _times(f, other, alpha))


@fold("sub.Tensor", "sub.Scalar")
def sub(f: Context, x: Given, other: Given, alpha: Any) -> Value:
    """X - alpha other."""
    return f.sub(x, _times(f, other, alpha))


@fold("rsub.Scalar", "rsub.Tensor")
def rsub(f: Context, x: Value, other: Given, alpha: Any) -> Value:
    """Other - alpha x."""
    return f.sub(other, _times(f, x, alpha))


def _times(f: Context, x: Given, alpha: Any) -> Given:
    if isinstance(alpha, (int, float)) and alpha == 1:
        return x
    if isinstance(x, (int, float)) and isinstance(alpha, (int, float)):
        return x * alpha
    return f.mul(x, alpha)


@fold("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(f: Context, x: Given, other: Given) -> Value:
    """The quotient."""
    return f.div(x, other)


@fold("div.Tensor_mode", "div.Scalar_mode")
def div_mode(f: Context, x: Given, other: Given, rounding_mode: str | None) -> Value:
    """The quotient, rounded."""
    kinds = {None: Binary.KIND_DIV, "floor": Binary.KIND_FLOOR_DIV, "trunc": Binary.KIND_TRUNC_DIV}
    return f.binary(kinds[rounding_mode], x, other)


@fold("floor_divide", "floor_divide.Scalar")
def floor_divide(f: Context, x: Given, other: Given) -> Value:
    """The quotient, rounded down."""
    return f.binary(Binary.KIND_FLOOR_DIV, x, other)


@fold("pow.Tensor_Tensor", "pow.Tensor_Scalar", "pow.Scalar")
def power(f: Context, x: Given, exponent: Given) -> Value:
    """X to the exponent."""
    a, b = f.value(x), f.value(exponent)
    return f.binary(Binary.KIND_POW, f.cast(a, f.call.type), b)


@fold("maximum", "max.other")
def maximum(f: Context, x: Value, other: Value) -> Value:
    """The greater; equal operands share the gradient."""
    return f.binary(Binary.KIND_MAXIMUM, x, other)


@fold("minimum", "min.other")
def minimum(f: Context, x: Value, other: Value) -> Value:
    """The lesser."""
    return f.binary(Binary.KIND_MINIMUM, x, other)


@fold("atan2")
def atan2(f: Context, x: Value, other: Value) -> Value:
    """The angle of (other, x)."""
    return f.binary(Binary.KIND_ATAN2, f.cast(x, WORK), f.cast(other, WORK))


@fold("logical_and")
def logical_and(f: Context, x: Value, other: Value) -> Value:
    """Of x != 0."""
    return f.binary(Binary.KIND_AND, f.cast(x, BOOL), f.cast(other, BOOL))


@fold("logical_or")
def logical_or(f: Context, x: Value, other: Value) -> Value:
    """Of x != 0."""
    return f.binary(Binary.KIND_OR, f.cast(x, BOOL), f.cast(other, BOOL))


@fold("logical_xor")
def logical_xor(f: Context, x: Value, other: Value) -> Value:
    """Of x != 0."""
    return f.binary(Binary.KIND_XOR, f.cast(x, BOOL), f.cast(other, BOOL))


@fold("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(f: Context, condition: Value, x: Given, other: Given) -> Value:
    """One of two."""
    return f.where(f.cast(condition, BOOL), _typed(f, x), _typed(f, other))


def _typed(f: Context, given: Given) -> Value:
    """A number as the type of the result, so that none is cast."""
    if not isinstance(given, Value) and f.call.type == WORK:
        return f.scalar(float(given))
    return f.value(given)


@fold("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(f: Context, x: Value, mask: Value, value: Given) -> Value:
    """The value where the mask is true."""
    return f.where(f.cast(mask, BOOL), _typed(f, value), x)


@fold("copy")
def copy(f: Context, x: Value, src: Value) -> Value:
    """The elements of src in the shape of x."""
    return f.expand(f.cast(src, x.type), f.sizes(x)) if src.sizes != x.sizes or None in x.sizes else f.cast(src, x.type)


@fold("prelu", "_prelu_kernel")
def prelu(f: Context, x: Value, weight: Value) -> Value:
    """Weight x below 0; a weight for each channel."""
    if weight.rank == 1 and x.rank > 1 and weight.sizes[0] != 1:
        weight = f.reshape(weight, [1, -1] + [1] * (x.rank - 2))
    elif weight.rank == 1:
        weight = f.reshape(weight, [1] * x.rank) if x.rank else f.squeeze(weight, [0])
    return f.where(f.compare(Compare.KIND_GT, x, 0.0), x, f.mul(x, weight))


@fold("fmax")
def fmax(f: Context, x: Value, other: Value) -> Value:
    """The greater, or the one that is a number."""
    return _unless_nan(f, Binary.KIND_MAXIMUM, x, other)


@fold("fmin")
def fmin(f: Context, x: Value, other: Value) -> Value:
    """The lesser, or the one that is a number."""
    return _unless_nan(f, Binary.KIND_MINIMUM, x, other)


def _unless_nan(f: Context, kind: int, x: Value, other: Value) -> Value:
    if x.type != WORK or other.type != WORK:
        return f.binary(kind, x, other)
    a = f.where(f.unary(Unary.KIND_IS_NAN, x), other, x)
    b = f.where(f.unary(Unary.KIND_IS_NAN, other), x, other)
    return f.binary(kind, a, b)


@fold("isin.Tensor_Tensor")
def isin(f: Context, elements: Value, test_elements: Value, invert: bool) -> Value:
    """Whether an element is one of these."""
    others = f.reshape(test_elements, [-1])
    found = f.reduce(Reduce.KIND_ANY, f.compare(Compare.KIND_EQ, f.unsqueeze(elements, elements.rank), others), [-1])
    return f.unary(Unary.KIND_NOT, found) if invert else found


@fold("searchsorted.Tensor")
def searchsorted(f: Context, sorted_sequence: Value, x: Value, right: bool) -> Value:
    """How many elements of the sequence are below, or not above."""
    return bucketize(f, x, sorted_sequence, right)


@fold("bucketize.Tensor")
def bucketize(f: Context, x: Value, boundaries: Value, right: bool) -> Value:
    """How many boundaries are below, or not above."""
    if boundaries.rank != 1:
        raise ExportError("found sorted sequences with several axes, expected one")
    kind = Compare.KIND_LE if right else Compare.KIND_LT
    return f.reduce(Reduce.KIND_SUM, f.cast(f.compare(kind, boundaries, f.unsqueeze(x, x.rank)), I64), [-1])
