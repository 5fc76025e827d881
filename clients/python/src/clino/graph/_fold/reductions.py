"""Operators that make one number of several, or sort them.

Owns: which axes are meant, and how ties share a gradient. May not touch: norms of layers.
"""

from __future__ import annotations

from typing import Any

from clino.graph._build import BOOL, I64, WORK, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Reduce, Unary


def axes_of(x: Value, dim: Any) -> list[int]:
    """Axes from one, several, or none, which means all."""
    if dim is None or dim == []:
        return list(range(x.rank))
    return [dim % max(x.rank, 1)] if isinstance(dim, int) else [axis % max(x.rank, 1) for axis in dim]


def _reduced(f: Context, kind: int, x: Value, dim: Any, keep: bool, parameter: float = 0) -> Value:
    return f.reduce(kind, x, axes_of(x, dim), keep, parameter) if x.rank else f.reduce(kind, x)


@fold("sum", "sum.dim_IntList")
def sums(f: Context, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The sum, in the type of the result."""
    return _reduced(f, Reduce.KIND_SUM, f.cast(x, f.call.type), dim, keepdim)


@fold("mean", "mean.dim")
def mean(f: Context, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The mean."""
    return _reduced(f, Reduce.KIND_MEAN, f.cast(x, WORK), dim, keepdim)


@fold("prod", "prod.dim_int")
def prod(f: Context, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The product."""
    return _reduced(f, Reduce.KIND_PROD, f.cast(x, f.call.type), dim, keepdim)


@fold("amax")
def amax(f: Context, x: Value, dim: Any, keepdim: bool) -> Value:
    """The greatest; equal ones share the gradient."""
    return _reduced(f, Reduce.KIND_MAX, x, dim, keepdim)


@fold("amin")
def amin(f: Context, x: Value, dim: Any, keepdim: bool) -> Value:
    """The least; equal ones share the gradient."""
    return _reduced(f, Reduce.KIND_MIN, x, dim, keepdim)


@fold("max")
def max_all(f: Context, x: Value) -> Value:
    """The greatest of all."""
    return _reduced(f, Reduce.KIND_MAX, x, None, False)


@fold("min")
def min_all(f: Context, x: Value) -> Value:
    """The least of all."""
    return _reduced(f, Reduce.KIND_MIN, x, None, False)


@fold("max.dim")
def max_dim(f: Context, x: Value, dim: int, keepdim: bool) -> list[Value]:
    """The greatest and its place; it alone has the gradient."""
    return _picked(f, Reduce.KIND_ARGMAX, x, dim, keepdim)


@fold("min.dim")
def min_dim(f: Context, x: Value, dim: int, keepdim: bool) -> list[Value]:
    """The least and its place; it alone has the gradient."""
    return _picked(f, Reduce.KIND_ARGMIN, x, dim, keepdim)


def _picked(f: Context, kind: int, x: Value, dim: int, keep: bool) -> list[Value]:
    if x.rank == 0:
        return [x, f.scalar(0)]
    places = f.reduce(kind, x, [dim], True)
    found = f.along(x, dim, places)
    return [found, places] if keep else [f.squeeze(found, [dim]), f.squeeze(places, [dim])]


@fold("argmax")
def argmax(f: Context, x: Value, dim: int | None, keepdim: bool) -> Value:
    """The place of the first greatest."""
    return _place(f, Reduce.KIND_ARGMAX, x, dim, keepdim)


@fold("argmin")
def argmin(f: Context, x: Value, dim: int | None, keepdim: bool) -> Value:
    """The place of the first least."""
    return _place(f, Reduce.KIND_ARGMIN, x, dim, keepdim)


def _place(f: Context, kind: int, x: Value, dim: int | None, keep: bool) -> Value:
    if x.type == BOOL:
        x = f.cast(x, I64)
    if dim is not None and x.rank:
        return f.reduce(kind, x, [dim], keep)
    found = f.reduce(kind, f.reshape(x, [-1]), [0], False)
    return f.reshape(found, [1] * x.rank) if keep and x.rank else found


@fold("any", "any.dim", "any.dims")
def any_of(f: Context, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Whether one is not 0."""
    return _reduced(f, Reduce.KIND_ANY, f.cast(x, BOOL), dim, keepdim)


@fold("all", "all.dim", "all.dims")
def all_of(f: Context, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Whether none is 0."""
    return _reduced(f, Reduce.KIND_ALL, f.cast(x, BOOL), dim, keepdim)


@fold("logsumexp")
def logsumexp(f: Context, x: Value, dim: Any, keepdim: bool) -> Value:
    """The logarithm of the sum of exponentials."""
    return _reduced(f, Reduce.KIND_LOGSUMEXP, f.cast(x, WORK), dim, keepdim)


@fold("var.correction", "var.dim", "var")
def var(
    f: Context,
    x: Value,
    dim: Any = None,
    correction: float | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
) -> Value:
    """The variance; torch divides by the count less 1 if nothing else is said."""
    by = float(unbiased) if correction is None else float(correction)
    return _reduced(f, Reduce.KIND_VARIANCE, x, dim, keepdim, by)


@fold("std.correction", "std.dim", "std")
def std(
    f: Context,
    x: Value,
    dim: Any = None,
    correction: float | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
) -> Value:
    """Its root."""
    return f.unary(Unary.KIND_SQRT, var(f, x, dim, correction, unbiased, keepdim))


@fold("var_mean.correction", "var_mean.dim")
def var_mean(
    f: Context,
    x: Value,
    dim: Any = None,
    correction: float | None = None,
    unbiased: bool = True,
    keepdim: bool = False,
) -> list[Value]:
    """Both."""
    return [var(f, x, dim, correction, unbiased, keepdim), mean(f, x, dim, keepdim)]


@fold("linalg_vector_norm")
def vector_norm(f: Context, x: Value, ord: float, dim: Any, keepdim: bool) -> Value:
    """The norm of this order."""
    return _reduced(f, Reduce.KIND_NORM, x, dim, keepdim, float(ord))


@fold("norm.ScalarOpt_dim", "norm.Scalar")
def norm(f: Context, x: Value, p: float | None, dim: Any = None, keepdim: bool = False) -> Value:
    """The norm of this order, 2 if none is given."""
    return _reduced(f, Reduce.KIND_NORM, x, dim, keepdim, 2.0 if p is None else float(p))


@fold("cumsum")
def cumsum(f: Context, x: Value, dim: int) -> Value:
    """Sums so far."""
    return f.cumulate(f.cast(x, f.call.type), dim)


@fold("cumprod")
def cumprod(f: Context, x: Value, dim: int) -> Value:
    """Products so far."""
    return f.cumulate(f.cast(x, f.call.type), dim, product=True)


@fold("sort", "sort.stable")
def sort(f: Context, x: Value, dim: int, descending: bool) -> list[Value]:
    """All elements in order, equal ones as they were."""
    if x.rank == 0:
        return [x, f.scalar(0)]
    results = [(x.type, x.sizes), (I64, x.sizes)]
    return list(f.emit("sort", [x], results, axis=dim % x.rank, falling=bool(descending)))


@fold("argsort", "argsort.stable")
def argsort(f: Context, x: Value, dim: int, descending: bool) -> Value:
    """The places of all elements in order."""
    return sort(f, x, dim, descending)[1]


@fold("topk")
def topk(f: Context, x: Value, k: SizeLike, dim: int, largest: bool) -> list[Value]:
    """The greatest or least, in order."""
    axis = dim % x.rank
    sizes = (*x.sizes[:axis], k if isinstance(k, int) else None, *x.sizes[axis + 1 :])
    return list(f.emit("top_k", [x], [(x.type, sizes), (I64, sizes)], axis=axis, k=k, least=not largest))


@fold("kthvalue")
def kthvalue(f: Context, x: Value, k: int, dim: int, keepdim: bool) -> list[Value]:
    """The k-th least."""
    found = [f.slice(part, dim, k - 1, k) for part in sort(f, x, dim, False)]
    return found if keepdim else [f.squeeze(part, [dim]) for part in found]


@fold("median.dim")
def median(f: Context, x: Value, dim: int, keepdim: bool) -> list[Value]:
    """The lower of both in the middle."""
    size = x.sizes[dim]
    if size is None:
        raise ExportError("found a median over an axis whose size differs from batch to batch, expected a fixed one")
    return kthvalue(f, x, (size + 1) // 2, dim, keepdim)


@fold("histc")
def histc(f: Context, x: Value, bins: int, min: float, max: float) -> Value:
    """Counts of whole numbers from 0 on, one a bin, as routers of experts use it."""
    if (min, max) != (0, bins - 1):
        raise ExportError(
            f"found a histogram of {bins} bins from {min} to {max}, expected one bin for each of 0, 1, ..."
        )
    return f.one("count", [f.cast(f.reshape(x, [-1]), I64)], I64, (bins,), bins=bins)
