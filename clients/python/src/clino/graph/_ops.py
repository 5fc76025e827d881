"""The operators of a graph as functions of values, with the sizes of their results as far as they are known.

Owns: types and sizes of results. May not touch: torch, ATen names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Union

from clino.graph._build import BOOL, I64, WORK, Builder, SizeLike, Value
from clino.graph._errors import ExportError
from clino.v1 import graph_pb2

Unary, Binary, Compare, Reduce = graph_pb2.Unary, graph_pb2.Binary, graph_pb2.Compare, graph_pb2.Reduce
Gather, Pad = graph_pb2.Gather, graph_pb2.Pad

# What an operand may be given as.
Given = Union[Value, bool, int, float]  # noqa: UP007 (evaluated)
Sizes = tuple["int | None", ...]

_WIDER: dict[int, int] = {BOOL: 0, I64: 1, WORK: 2}
_LOGICAL = (Binary.KIND_AND, Binary.KIND_OR, Binary.KIND_XOR)


class Ops(Builder):
    """A builder with a function for each operator."""

    def value(self, given: Given) -> Value:
        """A value, made a constant if it is a number."""
        return given if isinstance(given, Value) else self.scalar(given)

    def one(self, name: str, operands: Sequence[Value | None], result: int, sizes: Sizes, /, **fields: object) -> Value:
        """A node with one result."""
        return self.emit(name, operands, [(result, sizes)], **fields)[0]

    # Elements.

    def cast(self, x: Value, kind: int) -> Value:
        """X as another type."""
        return x if x.type == kind else self.one("cast", [x], kind, x.sizes, type=kind)

    def unary(self, kind: int, x: Value, *parameters: float) -> Value:
        """One operand, element by element."""
        result = BOOL if kind in (Unary.KIND_IS_NAN, Unary.KIND_IS_INF) else x.type
        return self.one("unary", [x], result, x.sizes, kind=kind, parameters=[float(p) for p in parameters])

    def binary(self, kind: int, a: Given, b: Given) -> Value:
        """Two operands, element by element."""
        x, y = self.value(a), self.value(b)
        result = max((x.type, y.type), key=_WIDER.__getitem__)
        if kind == Binary.KIND_DIV:
            result = WORK
        elif result == BOOL and kind not in _LOGICAL:
            x, result = self.cast(x, I64), I64
        return self.one("binary", [x, y], result, broadcast(x.sizes, y.sizes), kind=kind)

    def add(self, a: Given, b: Given) -> Value:
        """The sum."""
        return self.binary(Binary.KIND_ADD, a, b)

    def sub(self, a: Given, b: Given) -> Value:
        """The difference."""
        return self.binary(Binary.KIND_SUB, a, b)

    def mul(self, a: Given, b: Given) -> Value:
        """The product, element by element."""
        return self.binary(Binary.KIND_MUL, a, b)

    def div(self, a: Given, b: Given) -> Value:
        """The quotient: WORK."""
        return self.binary(Binary.KIND_DIV, a, b)

    def compare(self, kind: int, a: Given, b: Given) -> Value:
        """Two operands, compared."""
        x, y = self.value(a), self.value(b)
        return self.one("compare", [x, y], BOOL, broadcast(x.sizes, y.sizes), kind=kind)

    def where(self, condition: Value, a: Given, b: Given) -> Value:
        """One of two, element by element."""
        x, y = self.value(a), self.value(b)
        kind = max((x.type, y.type), key=_WIDER.__getitem__)
        sizes = broadcast(condition.sizes, broadcast(x.sizes, y.sizes))
        return self.one("where", [condition, self.cast(x, kind), self.cast(y, kind)], kind, sizes)

    # Sizes.

    def dim(self, x: Value, axis: int) -> SizeLike:
        """The size of an axis."""
        known = x.sizes[axis]
        return self.one("dim", [x], I64, (), axis=axis) if known is None else known

    def sizes(self, x: Value) -> list[SizeLike]:
        """The sizes of all axes."""
        return [self.dim(x, axis) for axis in range(x.rank)]

    def arithmetic(self, kind: int, a: SizeLike, b: SizeLike) -> SizeLike:
        """A size from two."""
        if isinstance(a, int) and isinstance(b, int):
            known: dict[int, Callable[[], int]] = {
                Binary.KIND_ADD: lambda: a + b,
                Binary.KIND_SUB: lambda: a - b,
                Binary.KIND_MUL: lambda: a * b,
                Binary.KIND_FLOOR_DIV: lambda: a // b,
            }
            return known[kind]()
        return self.binary(kind, a, b)

    # Shapes.

    def reshape(self, x: Value, shape: Sequence[SizeLike]) -> Value:
        """X as another shape."""
        sizes: Sizes = tuple(s if isinstance(s, int) and s >= 0 else None for s in shape)
        sizes = _left(x.sizes, sizes)
        if None not in sizes and sizes == x.sizes:
            return x
        return self.one("reshape", [x], x.type, sizes, shape=list(shape))

    def reshaped_like(self, x: Value, source: Sequence[SizeLike]) -> Value:
        """X as a shape some of whose sizes are values: if it is one, it is what is left."""
        values = [place for place, size in enumerate(source) if isinstance(size, Value)]
        shape: list[SizeLike] = list(source)
        if len(values) == 1 and 0 not in shape:
            shape[values[0]] = -1
        return self.reshape(x, shape)

    def unsqueeze(self, x: Value, axis: int) -> Value:
        """X with one more axis, of size 1."""
        axis %= x.rank + 1
        sizes = self.lazy(x)
        return self.reshaped(x, [*sizes[:axis], 1, *sizes[axis:]])

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        """X without these axes, each of size 1."""
        gone = {axis % max(x.rank, 1) for axis in axes}
        return self.reshaped(x, [size for axis, size in enumerate(self.lazy(x)) if axis not in gone])

    def lazy(self, x: Value) -> list[int | tuple[Value, int]]:
        """Sizes of x, those that are not known as the axis that has them: no node is made before it is needed."""
        return [(x, axis) if size is None else size for axis, size in enumerate(x.sizes)]

    def reshaped(self, x: Value, shape: Sequence[int | tuple[Value, int]]) -> Value:
        """X as a shape of lazy sizes; a single unknown one is what is left."""
        unknown = [place for place, size in enumerate(shape) if not isinstance(size, int)]
        if len(unknown) == 1 and 0 not in shape:
            return self.reshape(x, [size if isinstance(size, int) else -1 for size in shape])
        return self.reshape(x, [size if isinstance(size, int) else self.dim(*size) for size in shape])

    def permute(self, x: Value, axes: Sequence[int]) -> Value:
        """Axes in another order."""
        order = [axis % x.rank for axis in axes]
        if order == list(range(x.rank)):
            return x
        return self.one("permute", [x], x.type, tuple(x.sizes[axis] for axis in order), axes=order)

    def swap(self, x: Value, a: int = -1, b: int = -2) -> Value:
        """Two axes exchanged."""
        order = list(range(x.rank))
        a, b = a % x.rank, b % x.rank
        order[a], order[b] = order[b], order[a]
        return self.permute(x, order)

    def expand(self, x: Value, shape: Sequence[SizeLike]) -> Value:
        """X repeated along axes of size 1 and new ones in front."""
        new = len(shape) - x.rank
        sizes: list[int | None] = []
        for place, size in enumerate(shape):
            if isinstance(size, Value):
                sizes.append(None)
            else:
                sizes.append(x.sizes[place - new] if size == -1 else size)
        if new == 0 and None not in sizes and tuple(sizes) == x.sizes:
            return x
        return self.one("expand", [x], x.type, tuple(sizes), shape=list(shape))

    def slice(self, x: Value, axis: int, start: SizeLike, end: SizeLike | None, step: int = 1) -> Value:
        """Some of the elements of an axis."""
        axis %= x.rank
        size, length = x.sizes[axis], None
        if isinstance(start, int) and (end is None or isinstance(end, int)) and size is not None:
            length = len(range(*slice(start, end, step).indices(size)))
            if length == size and step == 1:
                return x
        if isinstance(start, int) and start == 0 and end is None and step == 1:
            return x
        sizes = (*x.sizes[:axis], length, *x.sizes[axis + 1 :])
        return self.one("slice", [x], x.type, sizes, axis=axis, start=start, end=end, step=step)

    def select(self, x: Value, axis: int, index: SizeLike) -> Value:
        """One element of an axis, and the axis gone."""
        axis %= x.rank
        end: SizeLike | None = self.arithmetic(Binary.KIND_ADD, index, 1)
        piece = self.slice(x, axis, index, None if index == -1 else end)
        piece = self.sized(piece, (*x.sizes[:axis], 1, *x.sizes[axis + 1 :]))
        return self.squeeze(piece, [axis])

    def sized(self, x: Value, sizes: Sizes) -> Value:
        """X, about whose sizes more is known than its operands tell."""
        if len(sizes) == x.rank:
            x.sizes = tuple(known if known is not None else size for known, size in zip(x.sizes, sizes, strict=True))
        return x

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        """All parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        kind = max((part.type for part in parts), key=_WIDER.__getitem__)
        cast = [self.cast(part, kind) for part in parts]
        axis %= cast[0].rank
        lengths = [part.sizes[axis] for part in cast]
        total = None if None in lengths else sum(length for length in lengths if length is not None)
        known = cast[0].sizes
        for part in cast[1:]:
            known = tuple(a if a is not None else b for a, b in zip(known, part.sizes, strict=True))
        return self.one("concat", cast, kind, (*known[:axis], total, *known[axis + 1 :]), axis=axis)

    def pad(
        self, x: Value, before: Sequence[SizeLike], after: Sequence[SizeLike], mode: int = 0, value: float = 0.0
    ) -> Value:
        """More elements around x."""
        mode = mode or Pad.MODE_CONSTANT
        sizes: list[int | None] = []
        for size, low, high in zip(x.sizes, before, after, strict=True):
            known = size is not None and isinstance(low, int) and isinstance(high, int)
            sizes.append(size + low + high if known else None)  # type: ignore[operator]
        fields = {"mode": mode, "value": float(value), "before": list(before), "after": list(after)}
        return self.one("pad", [x], x.type, tuple(sizes), **fields)

    def take(self, x: Value, axis: int, index: Value, padding: int | None = None) -> Value:
        """Rows of x along an axis, chosen by an index of any shape."""
        axis %= x.rank
        sizes = (*x.sizes[:axis], *index.sizes, *x.sizes[axis + 1 :])
        fields = {"mode": Gather.MODE_TAKE, "axes": [axis], "padding_index": padding}
        return self.one("gather", [x, self.cast(index, I64)], x.type, sizes, **fields)

    def along(self, x: Value, axis: int, index: Value) -> Value:
        """One element of an axis for each element of the index."""
        fields = {"mode": Gather.MODE_ALONG, "axes": [axis % x.rank]}
        return self.one("gather", [x, self.cast(index, I64)], x.type, index.sizes, **fields)

    def points(self, x: Value, axes: Sequence[int], indices: Sequence[Value]) -> Value:
        """Elements of several axes at once, as in NumPy."""
        if len(axes) == 1:
            return self.take(x, axes[0], indices[0])
        chosen: Sizes = ()
        for index in indices:
            chosen = broadcast(chosen, index.sizes)
        adjacent = list(axes) == list(range(axes[0], axes[0] + len(axes)))
        rest = [size for axis, size in enumerate(x.sizes) if axis not in axes]
        place = axes[0] if adjacent else 0
        sizes = (*rest[:place], *chosen, *rest[place:])
        operands = [x, *(self.cast(index, I64) for index in indices)]
        return self.one("gather", operands, x.type, sizes, mode=Gather.MODE_POINTS, axes=list(axes))

    def scatter(
        self, mode: int, axes: Sequence[int], x: Value, source: Value, indices: Sequence[Value], add: bool = False
    ) -> Value:
        """X with elements put in, or added."""
        operands = [x, self.cast(source, x.type), *(self.cast(index, I64) for index in indices)]
        places = [axis % max(x.rank, 1) for axis in axes]
        return self.one("scatter", operands, x.type, x.sizes, mode=mode, axes=places, add=add)

    # Sums and products.

    def reduce(self, kind: int, x: Value, axes: Sequence[int] = (), keep: bool = False, parameter: float = 0) -> Value:
        """One result for the elements along axes."""
        gone = sorted({axis % x.rank for axis in axes}) if x.rank else []
        every = gone or list(range(x.rank))
        result = x.type
        if kind in (Reduce.KIND_ANY, Reduce.KIND_ALL):
            result = BOOL
        elif kind in (Reduce.KIND_ARGMAX, Reduce.KIND_ARGMIN):
            result = I64
        sizes = tuple(1 if axis in every else size for axis, size in enumerate(x.sizes) if keep or axis not in every)
        return self.one("reduce", [x], result, sizes, kind=kind, axes=gone, keep=bool(keep), parameter=float(parameter))

    def matmul(self, a: Value, b: Value) -> Value:
        """A product of matrices; batches broadcast."""
        if a.rank == 0 or b.rank == 0:
            raise ExportError("found a matrix product of a scalar, expected vectors or matrices")
        batch = broadcast(a.sizes[:-2], b.sizes[:-2])
        rows = a.sizes[-2:-1] if a.rank > 1 else ()
        columns = b.sizes[-1:] if b.rank > 1 else ()
        return self.one("matmul", [a, b], WORK, (*batch, *rows, *columns))

    def softmax(self, x: Value, axis: int, log: bool = False) -> Value:
        """Shares along an axis, or their logarithms."""
        if x.rank == 0:
            return self.squeeze(self.softmax(self.reshape(x, [1]), 0, log), [0])
        return self.one("softmax", [self.cast(x, WORK)], WORK, x.sizes, axis=axis % x.rank, log=log)

    def cumulate(self, x: Value, axis: int, product: bool = False) -> Value:
        """Sums or products so far."""
        if x.rank == 0:
            return x
        return self.one("cumulate", [x], x.type, x.sizes, axis=axis % x.rank, product=product)

    # What is made of nothing.

    def full(self, shape: Sequence[SizeLike], value: Given, kind: int) -> Value:
        """A shape filled with one value."""
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        if isinstance(value, Value):
            operand = self.cast(value, kind)
            return self.one("full", [operand], kind, sizes, shape=list(shape), type=kind)
        return self.one("full", [], kind, sizes, shape=list(shape), value=float(value), type=kind)

    def arange(self, end: SizeLike, start: SizeLike = 0, step: SizeLike = 1, work: bool = False) -> Value:
        """Numbers at equal distances."""
        known = isinstance(start, int) and isinstance(end, int) and isinstance(step, int)
        length = len(range(start, end, step)) if known else None  # type: ignore[arg-type]
        kind = WORK if work else I64
        return self.one("arange", [], kind, (length,), start=start, end=end, step=step, work=work)


def broadcast(a: Sizes, b: Sizes) -> Sizes:
    """The sizes of two operands broadcast together."""
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(_wider(x, y) for x, y in zip(left, right, strict=True))


def _wider(a: int | None, b: int | None) -> int | None:
    if a == 1:
        return b
    if b == 1 or a is not None:
        return a
    return b


def _left(before: Sizes, after: Sizes) -> Sizes:
    """Sizes of a reshape: a single unknown one is what is left, if all others are known."""
    if None in before or after.count(None) != 1:
        return after
    total, rest = 1, 1
    for size in before:
        total *= size or 0
    for size in after:
        rest *= 1 if size is None else size
    return tuple(total // rest if size is None and rest else size for size in after)
