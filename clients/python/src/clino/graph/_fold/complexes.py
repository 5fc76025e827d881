"""Complex numbers as pairs of real ones, as far as rotary tables and Fourier transforms use them.

Owns: which operators know pairs. May not touch: operators of real numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clino.graph._build import WORK, Value
from clino.graph._fold._table import Context
from clino.graph._ops import Binary, Unary


@dataclass(frozen=True, eq=False)
class Pair:
    """A real and an imaginary part."""

    real: Value
    imag: Value


# What is done to each part alone.
_EACH = (
    "alias.default",
    "cat.default",
    "clone.default",
    "detach.default",
    "expand.default",
    "flip.default",
    "index.Tensor",
    "index_select.default",
    "permute.default",
    "repeat.default",
    "reshape.default",
    "select.int",
    "slice.Tensor",
    "squeeze.dim",
    "squeeze.dims",
    "stack.default",
    "transpose.int",
    "unsqueeze.default",
    "view.default",
    "_to_copy.default",
    "neg.default",
    "_unsafe_view.default",
    "contiguous.default",
    "sum.dim_IntList",
    "mean.dim",
)
EACH = frozenset(f"aten.{name}" for name in _EACH)


def _polar(f: Context, abs: Value, angle: Value) -> Pair:
    return Pair(f.mul(abs, f.unary(Unary.KIND_COS, angle)), f.mul(abs, f.unary(Unary.KIND_SIN, angle)))


def _complex(f: Context, real: Value, imag: Value) -> Pair:
    return Pair(real, imag)


def _from_real(f: Context, x: Value) -> Pair:
    """The last axis, of size 2, is the pair."""
    return Pair(f.select(x, x.rank - 1, 0), f.select(x, x.rank - 1, 1))


def _to_real(f: Context, x: Pair) -> Value:
    rank = x.real.rank
    return f.concat([f.unsqueeze(x.real, rank), f.unsqueeze(x.imag, rank)], rank)


def _product(f: Context, x: Any, other: Any) -> Pair:
    a, b = _pair(f, x), _pair(f, other)
    if not isinstance(other, Pair) or not isinstance(x, Pair):
        pair, factor = (x, other) if isinstance(x, Pair) else (other, x)
        return Pair(f.mul(pair.real, factor), f.mul(pair.imag, factor))
    real = f.sub(f.mul(a.real, b.real), f.mul(a.imag, b.imag))
    return Pair(real, f.add(f.mul(a.real, b.imag), f.mul(a.imag, b.real)))


def _sum(f: Context, x: Any, other: Any) -> Pair:
    a, b = _pair(f, x), _pair(f, other)
    return Pair(f.add(a.real, b.real), f.add(a.imag, b.imag))


def _difference(f: Context, x: Any, other: Any) -> Pair:
    a, b = _pair(f, x), _pair(f, other)
    return Pair(f.sub(a.real, b.real), f.sub(a.imag, b.imag))


def _pair(f: Context, given: Any) -> Pair:
    return given if isinstance(given, Pair) else Pair(f.value(given), f.scalar(0.0))


def _conjugate(f: Context, x: Pair) -> Pair:
    return Pair(x.real, f.unary(Unary.KIND_NEG, x.imag))


def _length(f: Context, x: Pair) -> Value:
    return f.unary(Unary.KIND_SQRT, f.add(f.mul(x.real, x.real), f.mul(x.imag, x.imag)))


def _lifted(f: Context, x: Value) -> Pair:
    """A real number as a complex one."""
    x = f.cast(x, WORK)
    return Pair(x, f.full(f.sizes(x), 0.0, WORK))


def _transformed(f: Context, x: Any, dims: list[int], normalization: int, sign: float) -> Pair:
    """A Fourier transform as products with tables of cosines and sines."""
    found = _pair(f, x) if isinstance(x, Pair) else _lifted(f, x)
    for dim in dims:
        axis = dim % found.real.rank
        size = f.dim(found.real, axis)
        steps = f.arange(size)
        turns = f.binary(Binary.KIND_REMAINDER, f.mul(f.unsqueeze(steps, 1), steps), size)
        angle = f.div(f.mul(turns, 2 * math.pi), size)
        cosine, sine = f.unary(Unary.KIND_COS, angle), f.mul(f.unary(Unary.KIND_SIN, angle), sign)
        re, im = f.swap(found.real, axis, -1), f.swap(found.imag, axis, -1)
        real = f.sub(f.matmul(re, cosine), f.matmul(im, sine))
        imag = f.add(f.matmul(im, cosine), f.matmul(re, sine))
        if normalization:
            by = f.cast(f.value(size), WORK)
            by = f.unary(Unary.KIND_SQRT, by) if normalization == 1 else by
            real, imag = f.div(real, by), f.div(imag, by)
        found = Pair(f.swap(real, axis, -1), f.swap(imag, axis, -1))
    return found


def _fft(f: Context, x: Pair, dims: list[int], normalization: int, forward: bool) -> Pair:
    return _transformed(f, x, dims, normalization, -1.0 if forward else 1.0)


def _fft_of_real(f: Context, x: Value, dims: list[int], normalization: int, onesided: bool) -> Pair:
    found = _transformed(f, x, dims, normalization, -1.0)
    if not onesided:
        return found
    last = dims[-1] % x.rank
    half = f.arithmetic(Binary.KIND_FLOOR_DIV, f.dim(x, last), 2)
    half = f.arithmetic(Binary.KIND_ADD, half, 1)
    return Pair(f.slice(found.real, last, 0, half), f.slice(found.imag, last, 0, half))


COMPLEX: Mapping[str, Callable[..., Any]] = {
    "aten.polar.default": _polar,
    "aten.complex.default": _complex,
    "aten.view_as_complex.default": _from_real,
    "aten.view_as_real.default": _to_real,
    "aten.mul.Tensor": _product,
    "aten.add.Tensor": _sum,
    "aten.sub.Tensor": _difference,
    "aten._conj.default": _conjugate,
    "aten.conj_physical.default": _conjugate,
    "aten.real.default": lambda f, x: x.real,
    "aten.imag.default": lambda f, x: x.imag,
    "aten.abs.default": _length,
    "aten._to_copy.default": _lifted,
    "aten._fft_c2c.default": _fft,
    "aten._fft_r2c.default": _fft_of_real,
}
