"""Elements put into a tensor, or added to it.

Owns: how torch's scatter operators are written as scatter, where and concat. May not touch: reading elements.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from clino.graph._build import BOOL, I64, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._fold.picks import named
from clino.graph._ops import Binary, Gather, Given, Unary, broadcast


@fold("scatter.src")
def scatter_src(f: Context, x: Value, dim: int, index: Value, src: Value) -> Value:
    """An element of the source at each index."""
    return _along(f, x, dim, index, src, add=False)


@fold("scatter_add")
def scatter_add(f: Context, x: Value, dim: int, index: Value, src: Value) -> Value:
    """An element of the source added at each index."""
    return _along(f, x, dim, index, src, add=True)


@fold("scatter.value")
def scatter_value(f: Context, x: Value, dim: int, index: Value, value: Given) -> Value:
    """One value at each index."""
    return _along(f, x, dim, index, f.full(f.sizes(index), value, x.type), add=False)


@fold("scatter_reduce.two")
def scatter_reduce(f: Context, x: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool) -> Value:
    """The source added; no other way."""
    if reduce != "sum" or not include_self:
        raise ExportError(f"found a scatter that reduces by {reduce}, expected sum with include_self=True")
    return _along(f, x, dim, index, src, add=True)


def _along(f: Context, x: Value, dim: int, index: Value, src: Value, add: bool) -> Value:
    if x.rank == 0:
        return f.add(x, src) if add else f.cast(src, x.type)
    src = _as_long(f, src, index)
    return f.scatter(Gather.MODE_ALONG, [dim], x, src, [index], add)


def _as_long(f: Context, src: Value, index: Value) -> Value:
    """Torch reads only as much of the source as there are indices."""
    for axis in range(index.rank):
        size, wanted = src.sizes[axis], index.sizes[axis]
        if size is None or wanted is None or size != wanted:
            same = src.symbols is not None and index.symbols is not None and src.symbols[axis] == index.symbols[axis]
            if not same:
                src = f.slice(src, axis, 0, f.dim(index, axis))
    return src


@fold("index_add")
def index_add(f: Context, x: Value, dim: int, index: Value, source: Value, alpha: Any) -> Value:
    """Rows added along an axis."""
    source = source if isinstance(alpha, (int, float)) and alpha == 1 else f.mul(source, alpha)
    return f.scatter(Gather.MODE_TAKE, [dim], x, source, [index], add=True)


@fold("index_copy")
def index_copy(f: Context, x: Value, dim: int, index: Value, source: Value) -> Value:
    """Rows put in along an axis."""
    return f.scatter(Gather.MODE_TAKE, [dim], x, source, [index])


@fold("index_fill.int_Scalar")
def index_fill(f: Context, x: Value, dim: int, index: Value, value: Given) -> Value:
    """One value in rows along an axis."""
    shape = f.sizes(x)
    shape[dim] = f.dim(index, 0)
    return f.scatter(Gather.MODE_TAKE, [dim], x, f.full(shape, value, x.type), [index])


@fold("index_put", "_unsafe_index_put")
def index_put(f: Context, x: Value, indices: Sequence[Value | None], values: Value, accumulate: bool) -> Value:
    """Elements of several axes at once."""
    masks = [index for index in indices if index is not None and index.type == BOOL]
    if masks:
        return _masked_put(f, x, indices, masks, values, accumulate)
    axes, chosen = named(indices)
    shape = _chosen_sizes(f, x, axes, chosen)
    source = f.cast(values, x.type)
    source = source if source.sizes == shape and None not in shape else _expanded(f, source, x, axes, chosen)
    mode = Gather.MODE_TAKE if len(axes) == 1 else Gather.MODE_POINTS
    return f.scatter(mode, axes, x, source, chosen, accumulate)


def _chosen_sizes(f: Context, x: Value, axes: list[int], chosen: list[Value]) -> tuple[int | None, ...]:
    return f.points(x, axes, chosen).sizes


def _expanded(f: Context, source: Value, x: Value, axes: list[int], chosen: list[Value]) -> Value:
    """The source as large as what the indices choose: reading tells how large that is, and is itself left out."""
    like = f.points(x, axes, chosen)
    sizes: list[SizeLike] = []
    widest = max(chosen, key=lambda index: index.rank)
    place = axes[0] if axes == list(range(axes[0], axes[0] + len(axes))) else 0
    rest = [axis for axis in range(x.rank) if axis not in axes]
    for axis in range(like.rank):
        if like.sizes[axis] is not None:
            sizes.append(like.sizes[axis] or 0)
        elif place <= axis < place + like.rank - len(rest):
            sizes.append(_longest(f, chosen, axis - place, widest.rank))
        else:
            kept = axis if axis < place else axis - (like.rank - len(rest))
            sizes.append(f.dim(x, rest[kept]))
    return f.expand(source, sizes)


def _longest(f: Context, chosen: list[Value], axis: int, rank: int) -> SizeLike:
    """The size of an axis of indices that are broadcast together."""
    for index in chosen:
        own = axis - (rank - index.rank)
        if own >= 0 and index.sizes[own] != 1:
            return f.dim(index, own)
    return 1


def _masked_put(
    f: Context, x: Value, indices: Sequence[Value | None], masks: list[Value], values: Value, accumulate: bool
) -> Value:
    """One value where a mask is true."""
    first = next(place for place, index in enumerate(indices) if index is not None)
    known = 1
    for size in values.sizes:
        known *= -1 if size is None else size
    if len(masks) != 1 or len([index for index in indices if index is not None]) != 1 or known != 1:
        raise ExportError("found x[mask] = values, whose size depends on elements, expected where(mask, values, x)")
    mask = f.reshaped(masks[0], [1] * first + f.lazy(masks[0]) + [1] * (x.rank - first - masks[0].rank))
    value = f.reshape(f.cast(values, x.type), [])
    return f.where(mask, f.add(x, value) if accumulate else value, x)


@fold("masked_scatter")
def masked_scatter(f: Context, x: Value, mask: Value, source: Value) -> Value:
    """The next element of the source where the mask is true."""
    sizes = broadcast(x.sizes, mask.sizes)
    wide = f.expand(mask, f.sizes(x)) if mask.sizes != x.sizes or None in sizes else mask
    flat = f.cast(f.reshape(wide, [-1]), I64)
    places = f.unary(Unary.KIND_CLAMP, f.sub(f.cumulate(flat, 0), 1), 0.0, float("inf"))
    taken = f.reshape(source, [-1])
    last = f.sub(f.value(f.dim(taken, 0)), 1)
    places = f.binary(Binary.KIND_MINIMUM, places, last)
    return f.where(mask, f.reshaped(f.take(taken, 0, places), f.lazy(x)), x)


@fold("slice_scatter")
def slice_scatter(f: Context, x: Value, src: Value, dim: int, start: Any, end: Any, step: int) -> Value:
    """Some elements of an axis replaced."""
    axis = dim % x.rank
    low: Any
    high: Any
    size = f.dim(x, axis)
    if (start is None or isinstance(start, int)) and (end is None or isinstance(end, int)) and isinstance(size, int):
        low, high, _ = slice(start, end, step).indices(size)
        places = f.arange(high, low, step)
    else:
        low, high = start or 0, size if end is None or (isinstance(end, int) and end >= sys.maxsize) else end
        if (isinstance(low, int) and low < 0) or (isinstance(high, int) and high < 0):
            raise ExportError("found x[-n:] = values on an axis whose size differs, expected bounds from its beginning")
        bound = f.binary(Binary.KIND_MINIMUM, high, size)
        places = f.arange(bound, low, step)
    if f.sized(places, (src.sizes[axis],)).sizes == (size,):
        return f.cast(src, x.type)
    return f.scatter(Gather.MODE_TAKE, [axis], x, src, [places])


@fold("select_scatter")
def select_scatter(f: Context, x: Value, src: Value, dim: int, index: SizeLike) -> Value:
    """One element of an axis replaced."""
    axis = dim % x.rank
    places = f.reshape(f.value(index), [1])
    return f.scatter(Gather.MODE_TAKE, [axis], x, f.unsqueeze(src, axis), [places])


@fold("diagonal_scatter")
def diagonal_scatter(f: Context, x: Value, src: Value, offset: int, dim1: int, dim2: int) -> Value:
    """The elements x[i, i + offset] replaced."""
    a, b = dim1 % x.rank, dim2 % x.rank
    order = [*(axis for axis in range(x.rank) if axis not in (a, b)), a, b]
    length = f.dim(src, src.rank - 1)
    rows = f.add(f.arange(length), max(-offset, 0))
    columns = f.add(f.arange(length), max(offset, 0))
    places = [x.rank - 2, x.rank - 1]
    put = f.scatter(Gather.MODE_POINTS, places, f.permute(x, order), src, [rows, columns])
    return f.permute(put, [order.index(axis) for axis in range(x.rank)])
