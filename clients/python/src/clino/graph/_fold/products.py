"""Products of matrices, and distances.

Owns: how torch's many products are written as linear, matmul and grouped_matmul. May not touch: convolutions.
"""

from __future__ import annotations

from typing import Any

from clino.graph._build import BOOL, I64, WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Binary, Compare, Reduce


@fold("linear")
def linear(f: Context, input: Value, weight: Value, bias: Value | None) -> Value:
    """X wᵀ + b; a weight that is a vector gives a scalar for each row."""
    if weight.rank == 1:
        found = f.matmul(input, weight)
        return found if bias is None else f.add(found, bias)
    if bias is not None and bias.rank != 1:
        return f.add(linear(f, input, weight, None), bias)
    operands = [input, weight] if bias is None else [input, weight, bias]
    return f.one("linear", operands, WORK, (*input.sizes[:-1], weight.sizes[0]))


@fold("mm")
def mm(f: Context, x: Value, mat2: Value) -> Value:
    """Two matrices."""
    return _product(f, x, mat2)


@fold("bmm")
def bmm(f: Context, x: Value, mat2: Value) -> Value:
    """A matrix for each of a batch."""
    return _product(f, x, mat2)


@fold("matmul", "dot", "vdot", "inner", "linalg_matmul")
def matmul(f: Context, x: Value, other: Any = None, tensor: Any = None) -> Value:
    """As in NumPy."""
    return _product(f, x, tensor if other is None else other)


@fold("mv")
def mv(f: Context, x: Value, vec: Value) -> Value:
    """A matrix and a vector."""
    return _product(f, x, vec)


def _product(f: Context, a: Value, b: Value) -> Value:
    """A product of floating-point numbers."""
    if f.call.type != WORK:
        raise ExportError("found a matrix product of integers, expected floating-point numbers")
    return f.matmul(a, b)


@fold("addmm")
def addmm(f: Context, x: Value, mat1: Value, mat2: Value, beta: Any, alpha: Any) -> Value:
    """Beta x + alpha a b."""
    return _added(f, x, f.matmul(mat1, mat2), beta, alpha)


@fold("baddbmm")
def baddbmm(f: Context, x: Value, batch1: Value, batch2: Value, beta: Any, alpha: Any) -> Value:
    """The same for a batch."""
    return _added(f, x, f.matmul(batch1, batch2), beta, alpha)


@fold("addmv")
def addmv(f: Context, x: Value, mat: Value, vec: Value, beta: Any, alpha: Any) -> Value:
    """Beta x + alpha a v."""
    return _added(f, x, f.matmul(mat, vec), beta, alpha)


def _added(f: Context, x: Value, product: Value, beta: Any, alpha: Any) -> Value:
    product = product if alpha == 1 else f.mul(product, alpha)
    if beta == 0:
        return product
    return f.add(product, x if beta == 1 else f.mul(x, beta))


@fold("ger", "outer")
def outer(f: Context, x: Value, vec2: Value) -> Value:
    """All products of two vectors' elements."""
    return f.mul(f.unsqueeze(x, 1), vec2)


@fold("transformers.grouped_mm_fallback.default")
def grouped_fallback(f: Context, input: Value, weight: Value, offs: Value) -> Value:
    """Rows by group, each with a weight of its own, as transformers' experts have it."""
    return _grouped(f, input, weight, offs)


@fold("_grouped_mm")
def grouped_mm(f: Context, x: Value, mat2: Value, offs: Value | None, bias: Value | None) -> Value:
    """Rows by group, each with a weight of its own."""
    if offs is None or x.rank != 2 or mat2.rank != 3 or bias is not None:
        raise ExportError(
            "found grouped products without offsets, expected rows [rows, in] and weights [groups, in, out]"
        )
    return _grouped(f, x, mat2, offs)


def _grouped(f: Context, x: Value, weight: Value, ends: Value) -> Value:
    return f.one("grouped_matmul", [x, weight, ends], WORK, (x.sizes[0], weight.sizes[2]))


@fold("_cdist_forward")
def cdist(f: Context, x1: Value, x2: Value, p: float) -> Value:
    """Distances of all pairs of rows."""
    difference = f.sub(f.unsqueeze(x1, x1.rank - 1), f.unsqueeze(x2, x2.rank - 2))
    return f.reduce(Reduce.KIND_NORM, difference, [-1], False, p)


@fold("_pdist_forward")
def pdist(f: Context, x: Value, p: float) -> Value:
    """Distances of all pairs of rows, each pair once."""
    count = x.sizes[0]
    if count is None:
        raise ExportError("found the distances of all pairs of a batch whose size differs, expected a fixed size")
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    rows, columns = (f.concat([f.full([1], pair[side], I64) for pair in pairs], 0) for side in (0, 1))
    return f.reduce(Reduce.KIND_NORM, f.sub(f.take(x, 0, rows), f.take(x, 0, columns)), [-1], False, p)


@fold("cosine_similarity")
def cosine_similarity(f: Context, x1: Value, x2: Value, dim: int, eps: float) -> Value:
    """The product of both, each over its norm."""
    rank = max(x1.rank, x2.rank)
    dim, parts = dim % rank, []
    for given in (x1, x2):
        x = f.reshaped(given, [*[1] * (rank - given.rank), *f.lazy(given)])
        length = f.reduce(Reduce.KIND_NORM, x, [dim], True, 2.0)
        parts.append(f.div(x, f.where(f.compare(Compare.KIND_GT, length, eps), length, eps)))
    return f.reduce(Reduce.KIND_SUM, f.mul(*parts), [dim], False)


@fold("_weight_norm_interface")
def weight_norm(f: Context, v: Value, g: Value, dim: int) -> list[Value]:
    """V over its norm by rows, times g."""
    axes = [axis for axis in range(v.rank) if axis != dim % v.rank]
    length = f.reduce(Reduce.KIND_NORM, v, axes, True, 2.0)
    return [f.mul(v, f.div(g, length)), length]


@fold("linalg_cross")
def cross(f: Context, x: Value, other: Value, dim: int) -> Value:
    """The cross product."""
    axis = dim % x.rank
    one, two = ([1, 2, 0], [2, 0, 1])

    def turned(value: Value, order: list[int]) -> Value:
        return f.concat([f.slice(value, axis, place, place + 1) for place in order], axis)

    return f.sub(f.mul(turned(x, one), turned(other, two)), f.mul(turned(x, two), turned(other, one)))


@fold("trace")
def trace(f: Context, x: Value) -> Value:
    """The sum of the diagonal."""
    places = f.arange(f.dim(x, 0))
    return f.reduce(Reduce.KIND_SUM, f.points(x, [0, 1], [places, places]))


@fold("tril")
def tril(f: Context, x: Value, diagonal: int) -> Value:
    """What is on the diagonal and below."""
    return _triangle(f, x, diagonal, Compare.KIND_GE)


@fold("triu")
def triu(f: Context, x: Value, diagonal: int) -> Value:
    """What is on the diagonal and above."""
    return _triangle(f, x, diagonal, Compare.KIND_LE)


def _triangle(f: Context, x: Value, diagonal: int, kind: int) -> Value:
    rows = f.unsqueeze(f.arange(f.dim(x, x.rank - 2)), 1)
    rows = f.add(rows, diagonal) if diagonal else rows
    kept = f.compare(kind, rows, f.arange(f.dim(x, x.rank - 1)))
    if x.type == BOOL:
        return f.binary(Binary.KIND_AND, kept, x)
    return f.where(kept, x, 0.0 if x.type == WORK else 0)
