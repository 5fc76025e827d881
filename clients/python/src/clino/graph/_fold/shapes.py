"""Operators that only rearrange elements.

Owns: how torch's views are written as reshape, permute, expand, slice, flip, concat, pad. May not touch: elements.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from clino.graph._build import SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Binary, Pad


@fold("view", "reshape", "_unsafe_view", "view_copy", "_reshape_copy")
def view(f: Context, x: Value, size: Sequence[SizeLike] = (), shape: Sequence[SizeLike] = ()) -> Value:
    """As another shape, whatever the strides."""
    return f.reshape(x, list(size or shape or ()))


@fold("flatten.using_ints", "unflatten.int", "view_as", "reshape_as")
def as_result(f: Context, x: Value) -> Value:
    """As the shape that torch gives it."""
    return f.reshaped_like(x, f.result_sizes())


@fold("unsqueeze", "unsqueeze_copy")
def unsqueeze(f: Context, x: Value, dim: int) -> Value:
    """One more axis."""
    return f.unsqueeze(x, dim)


@fold("squeeze.dim", "squeeze.dims", "squeeze", "squeeze_copy.dim", "squeeze_copy.dims")
def squeeze(f: Context, x: Value, dim: Any = None) -> Value:
    """Axes of size 1 go; others stay."""
    named = list(range(x.rank)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return f.squeeze(x, [axis % x.rank for axis in named if x.rank and x.sizes[axis % x.rank] == 1])


@fold("permute", "permute_copy")
def permute(f: Context, x: Value, dims: Sequence[int]) -> Value:
    """Axes in another order."""
    return f.permute(x, dims)


@fold("transpose.int", "transpose_copy.int", "swapaxes")
def transpose(f: Context, x: Value, dim0: int, dim1: int) -> Value:
    """Two axes exchanged."""
    return f.swap(x, dim0, dim1) if x.rank else x


@fold("t", "numpy_T", "mT")
def matrix_transpose(f: Context, x: Value) -> Value:
    """The transpose of a matrix."""
    return f.swap(x) if x.rank > 1 else x


@fold("movedim.int")
def movedim(f: Context, x: Value, source: int, destination: int) -> Value:
    """One axis elsewhere."""
    order = [axis for axis in range(x.rank) if axis != source % x.rank]
    order.insert(destination % x.rank, source % x.rank)
    return f.permute(x, order)


@fold("expand", "expand_copy", "broadcast_to")
def expand(f: Context, x: Value, size: Sequence[SizeLike]) -> Value:
    """Repeated without a copy."""
    return f.expand(x, list(size))


@fold("expand_as")
def expand_as(f: Context, x: Value, other: Value) -> Value:
    """To the shape of another."""
    return f.expand(x, f.sizes(other))


@fold("repeat", "tile")
def repeat(f: Context, x: Value, repeats: Sequence[SizeLike] = (), dims: Sequence[SizeLike] = ()) -> Value:
    """All of x, so many times along each axis."""
    named = list(repeats or dims)
    times: list[SizeLike] = [*[1] * (x.rank - len(named)), *named]
    sizes: list[SizeLike] = [*[1] * (len(times) - x.rank), *f.sizes(x)]
    if all(count == 1 for count in times):
        return f.reshape(x, sizes)
    between: list[SizeLike] = []
    wide: list[SizeLike] = []
    last: list[SizeLike] = []
    for count, size in zip(times, sizes, strict=True):
        between += [1, size] if count != 1 else [size]
        wide += [count, -1] if count != 1 else [-1]
        last.append(f.arithmetic(Binary.KIND_MUL, count, size))
    return f.reshape(f.expand(f.reshape(x, between), wide), last)


@fold("repeat_interleave.self_int")
def repeat_interleave(
    f: Context, x: Value, repeats: SizeLike, dim: int | None, output_size: SizeLike | None = None
) -> Value:
    """Each element, so many times."""
    if dim is None:
        x, dim = f.reshape(x, [-1]), 0
    dim %= x.rank
    sizes: list[SizeLike] = f.sizes(x)
    wide = f.expand(f.unsqueeze(x, dim + 1), [-1] * (dim + 1) + [repeats] + [-1] * (x.rank - dim - 1))
    sizes[dim] = f.arithmetic(Binary.KIND_MUL, sizes[dim], repeats)
    return f.reshape(wide, sizes)


@fold("slice.Tensor", "slice_copy.Tensor")
def slice_tensor(f: Context, x: Value, dim: int, start: Any, end: Any, step: int) -> Value:
    """Some elements of an axis."""
    return f.slice(x, dim, 0 if start is None else start, _end(end), step)


def _end(end: Any) -> Any:
    return None if isinstance(end, int) and end >= sys.maxsize else end


@fold("narrow")
def narrow(f: Context, x: Value, dim: int, start: SizeLike, length: SizeLike) -> Value:
    """So many elements of an axis."""
    return f.slice(x, dim, start, f.arithmetic(Binary.KIND_ADD, start, length))


@fold("select.int", "select_copy.int")
def select(f: Context, x: Value, dim: int, index: SizeLike) -> Value:
    """One element of an axis."""
    return f.select(x, dim, index)


@fold("unbind.int", "unbind_copy.int")
def unbind(f: Context, x: Value, dim: int) -> list[Value]:
    """All elements of an axis."""
    return [f.select(x, dim, index) for index in range(len(f.call.metas))]


@fold("split_with_sizes", "split_with_sizes_copy")
def split_with_sizes(f: Context, x: Value, split_sizes: Sequence[SizeLike], dim: int) -> list[Value]:
    """Pieces of these lengths."""
    pieces, start = [], 0
    place: SizeLike = start
    for length in split_sizes:
        end = f.arithmetic(Binary.KIND_ADD, place, length)
        pieces.append(f.slice(x, dim, place, end))
        place = end
    return pieces


@fold("split.Tensor", "chunk", "tensor_split.sections")
def split(f: Context, x: Value, dim: int) -> list[Value]:
    """Pieces as long as torch makes them."""
    axis = dim % x.rank
    return split_with_sizes(f, x, [f.result_sizes(place)[axis] for place in range(len(f.call.metas))], axis)


@fold("cat", "concat")
def cat(f: Context, tensors: Sequence[Value], dim: int) -> Value:
    """One after the other; empty vectors do not count, as in torch."""
    rank = max(part.rank for part in tensors)
    return f.concat([part for part in tensors if part.rank == rank or part.sizes != (0,)], dim)


@fold("stack")
def stack(f: Context, tensors: Sequence[Value], dim: int) -> Value:
    """Along a new axis."""
    axis = dim % (tensors[0].rank + 1)
    return f.concat([f.unsqueeze(part, axis) for part in tensors], axis)


@fold("flip")
def flip(f: Context, x: Value, dims: Sequence[int]) -> Value:
    """Backwards along axes."""
    return f.one("flip", [x], x.type, x.sizes, axes=[axis % x.rank for axis in dims]) if dims else x


@fold("roll")
def roll(f: Context, x: Value, shifts: Sequence[int], dims: Sequence[int]) -> Value:
    """What leaves an axis at its end comes back at its beginning."""
    if not dims:
        flat = roll(f, f.reshape(x, [-1]), shifts, [0])
        return f.reshaped(flat, f.lazy(x))
    for shift, dim in zip(shifts, dims, strict=True):
        known = x.sizes[dim]
        if not isinstance(shift, int):
            raise ExportError("found a roll by a size that differs from batch to batch, expected a number")
        by = shift % known if known else shift
        if by:
            sizes = x.sizes
            x = f.sized(f.concat([f.slice(x, dim, -by, None), f.slice(x, dim, 0, -by)], dim), sizes)
    return x


@fold("diagonal", "diagonal_copy")
def diagonal(f: Context, x: Value, offset: int, dim1: int, dim2: int) -> Value:
    """The elements x[i, i + offset], as the last axis."""
    a, b = dim1 % x.rank, dim2 % x.rank
    moved = f.permute(x, [*(axis for axis in range(x.rank) if axis not in (a, b)), a, b])
    length = f.result_sizes()[-1]
    rows, columns = f.arange(length), f.arange(length)
    if offset > 0:
        columns = f.add(columns, offset)
    elif offset < 0:
        rows = f.add(rows, -offset)
    return f.points(moved, [x.rank - 2, x.rank - 1], [rows, columns])


@fold("as_strided", "as_strided_copy")
def as_strided(
    f: Context, x: Value, size: Sequence[SizeLike], stride: Sequence[SizeLike], storage_offset: Any
) -> Value:
    """Elements of the flattened x at computed places."""
    index: Value = f.value(storage_offset or 0)
    for axis, (length, step) in enumerate(zip(size, stride, strict=True)):
        places = f.mul(f.arange(length), step)
        shape: list[SizeLike] = [1] * len(size)
        shape[axis] = -1
        index = f.add(index, f.reshape(places, shape))
    return f.take(f.reshape(x, [-1]), 0, index)


@fold("unfold", "unfold_copy")
def unfold(f: Context, x: Value, dimension: int, size: int, step: int) -> Value:
    """Windows of an axis, as a new last axis."""
    axis = dimension % x.rank
    starts = f.mul(f.arange(f.result_sizes()[axis]), step)
    taken = f.take(x, axis, f.add(f.unsqueeze(starts, 1), f.arange(size)))
    order = list(range(taken.rank))
    order.append(order.pop(axis + 1))
    return f.permute(taken, order)


@fold("constant_pad_nd")
def constant_pad(f: Context, x: Value, pad: Sequence[SizeLike], value: float) -> Value:
    """The value around x."""
    return _padded(f, x, pad, Pad.MODE_CONSTANT, value)


@fold("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(f: Context, x: Value, padding: Sequence[SizeLike]) -> Value:
    """What lies within the edge."""
    return _padded(f, x, padding, Pad.MODE_REFLECT, 0.0)


@fold("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(f: Context, x: Value, padding: Sequence[SizeLike]) -> Value:
    """The edge."""
    return _padded(f, x, padding, Pad.MODE_REPLICATE, 0.0)


@fold("_pad_circular")
def circular_pad(f: Context, x: Value, pad: Sequence[SizeLike]) -> Value:
    """The other end."""
    return _padded(f, x, pad, Pad.MODE_CIRCULAR, 0.0)


def _padded(f: Context, x: Value, pad: Sequence[SizeLike], mode: int, value: float) -> Value:
    """Torch counts from the last axis, in pairs."""
    before: list[SizeLike] = [0] * x.rank
    after: list[SizeLike] = [0] * x.rank
    for place in range(len(pad) // 2):
        before[x.rank - 1 - place], after[x.rank - 1 - place] = pad[2 * place], pad[2 * place + 1]
    return f.pad(x, before, after, mode, value)


@fold("pixel_shuffle")
def pixel_shuffle(f: Context, x: Value, upscale_factor: int) -> Value:
    """Channels become rows and columns."""
    r, (h, w) = upscale_factor, f.sizes(x)[-2:]
    lead, channels = f.sizes(x)[:-3], x.sizes[-3]
    n = len(lead)
    split_up = f.reshape(x, [*lead, (channels or 0) // (r * r), r, r, h, w])
    return f.reshape(f.permute(split_up, [*range(n), n, n + 3, n + 1, n + 4, n + 2]), f.result_sizes())


@fold("pixel_unshuffle")
def pixel_unshuffle(f: Context, x: Value, downscale_factor: int) -> Value:
    """Rows and columns become channels."""
    r, result = downscale_factor, f.result_sizes()
    lead, n = f.sizes(x)[:-3], x.rank - 3
    split_up = f.reshape(x, [*lead, x.sizes[-3] or 0, result[-2], r, result[-1], r])
    return f.reshape(f.permute(split_up, [*range(n), n, n + 2, n + 4, n + 1, n + 3]), result)
