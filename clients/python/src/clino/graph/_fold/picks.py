"""Elements chosen by indices.

Owns: how torch's index operators are written as the three modes of gather. May not touch: writing elements (that is
`puts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from clino.graph._build import BOOL, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold


@fold("embedding")
def embedding(f: Context, weight: Value, indices: Value, padding_idx: int) -> Value:
    """Rows of a table."""
    return f.take(weight, 0, indices, padding_idx if padding_idx >= 0 else None)


@fold("index_select")
def index_select(f: Context, x: Value, dim: int, index: Value) -> Value:
    """Rows along an axis."""
    index = index if index.rank else f.unsqueeze(index, 0)
    return f.take(x, dim, index) if x.rank else x


@fold("gather")
def gather(f: Context, x: Value, dim: int, index: Value) -> Value:
    """One element of an axis for each index."""
    if x.rank == 0:
        return f.expand(x, f.sizes(index))
    return f.along(x, dim, index if index.rank else f.unsqueeze(index, 0))


@fold("take_along_dim")  # torch itself takes one size of the batch here
def take_along_dim(f: Context, x: Value, indices: Value, dim: int | None) -> Value:
    """As gather, flattened where no axis is named."""
    if dim is None:
        return f.along(f.reshape(x, [-1]), 0, f.reshape(indices, [-1]))
    return f.along(x, dim, indices)


@fold("take")
def take(f: Context, x: Value, index: Value) -> Value:
    """Elements of the flattened x."""
    return f.take(f.reshape(x, [-1]), 0, index)


@fold("index.Tensor", "_unsafe_index.Tensor")
def index_tensor(f: Context, x: Value, indices: Sequence[Value | None]) -> Value:
    """Elements of several axes at once."""
    axes, chosen = named(indices)
    return f.points(x, axes, chosen)


def named(indices: Sequence[Value | None]) -> tuple[list[int], list[Value]]:
    """The axes that indices choose from, and those indices."""
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    chosen = [index for index in indices if index is not None]
    if any(index.type == BOOL for index in chosen):
        raise ExportError(
            "found an index of booleans, whose result has a size that depends on elements, "
            "expected where(mask, x, other), or integers"
        )
    return axes, chosen
