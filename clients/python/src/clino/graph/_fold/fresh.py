"""Tensors that are made of sizes and numbers.

Owns: what empty means (zeros), and how ranges are made. May not touch: random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clino.graph._build import I64, WORK, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Compare


@fold("full", "full_like", "new_full")
def full(f: Context, fill_value: Any) -> Value:
    """A shape filled with a number."""
    return f.full(f.result_sizes(), fill_value, f.call.type)


@fold("zeros", "zeros_like", "new_zeros", "empty.memory_format", "empty_like", "new_empty", "zero")
def zeros(f: Context) -> Value:
    """Zeros; what is empty is filled before it is read."""
    return f.full(f.result_sizes(), 0, f.call.type)


@fold("empty_strided", "empty_permuted", "new_empty_strided")
def empty(f: Context) -> Value:
    """Zeros, whatever the strides."""
    return f.full(f.result_sizes(), 0, f.call.type)


@fold("ones", "ones_like", "new_ones")
def ones(f: Context) -> Value:
    """Ones."""
    return f.full(f.result_sizes(), 1, f.call.type)


@fold("scalar_tensor")
def scalar_tensor(f: Context, s: Any) -> Value:
    """A number."""
    if not isinstance(s, Value) and f.call.type == WORK:
        return f.scalar(float(s))
    return f.cast(f.value(s), f.call.type)


@fold("arange")
def arange_end(f: Context, end: Any) -> Value:
    """From 0."""
    return _arange(f, 0, end, 1)


@fold("arange.start")
def arange_start(f: Context, start: Any, end: Any) -> Value:
    """By 1."""
    return _arange(f, start, end, 1)


@fold("arange.start_step")
def arange(f: Context, start: Any, end: Any, step: Any) -> Value:
    """Numbers at equal distances."""
    return _arange(f, start, end, step)


def _arange(f: Context, start: Any, end: Any, step: Any) -> Value:
    whole = [int(given) if isinstance(given, float) and given.is_integer() else given for given in (start, end, step)]
    if all(isinstance(given, int) or (isinstance(given, Value) and given.type == I64) for given in whole):
        return f.arange(whole[1], whole[0], whole[2], work=f.call.type == WORK)
    # Not whole numbers: so many as torch says, from start on.
    places = f.arange(f.result_sizes()[0], work=True)
    return f.add(f.mul(places, step), start)


@fold("linspace")
def linspace(f: Context, start: Any, end: Any, steps: SizeLike) -> Value:
    """From start to end, both of them."""
    places = f.arange(steps, work=True)
    if not isinstance(steps, int):
        last = f.sub(f.value(steps), 1)
        return f.add(f.mul(places, f.div(f.sub(end, start), last)), start)
    step = (end - start) / max(steps - 1, 1)
    # From the end backwards in the second half, as torch does.
    from_end = f.sub(float(end), f.mul(f.sub(float(steps - 1), places), step))
    return f.where(f.compare(Compare.KIND_LT, places, steps // 2), f.add(f.mul(places, step), start), from_end)


@fold("eye", "eye.m")
def eye(f: Context) -> Value:
    """Ones on the diagonal."""
    rows, columns = f.result_sizes()
    return f.cast(f.compare(Compare.KIND_EQ, f.unsqueeze(f.arange(rows), 1), f.arange(columns)), f.call.type)


@fold("tril_indices")
def tril_indices(f: Context) -> Value:
    """Refused with a reason: their number depends on sizes in a way that has no operator."""
    raise ExportError("found tril_indices, expected a mask: arange(n)[:, None] >= arange(n)")


@fold("one_hot")
def one_hot(f: Context, x: Value, num_classes: int) -> Value:
    """1 at the place of the class."""
    if num_classes < 0:
        raise ExportError("found one_hot without a number of classes, expected num_classes=")
    return f.cast(f.compare(Compare.KIND_EQ, f.unsqueeze(x, x.rank), f.arange(num_classes)), I64)


@fold("meshgrid")
def meshgrid(f: Context, tensors: Sequence[Value]) -> list[Value]:
    """Each vector along an axis of its own."""
    sizes = f.result_sizes()
    found = []
    for axis, part in enumerate(tensors):
        shape: list[SizeLike] = [1] * len(sizes)
        shape[axis] = -1
        found.append(f.expand(f.reshape(part, shape), sizes))
    return found
