"""Convolutions, pools, and more or fewer pixels.

Owns: paddings by name, missing batches, scale factors. May not touch: padding as an operator of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clino.graph._build import I64, WORK, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Binary, Gather, Reduce
from clino.v1 import graph_pb2

Pool, Upsample = graph_pb2.Pool, graph_pb2.Upsample


def _each(given: Any, count: int) -> list[int]:
    """A number for each spatial axis."""
    found = [given] if isinstance(given, int) else list(given or [])
    return found * count if len(found) == 1 else found


def _with_batch(f: Context, x: Value, spatial: int, work: Callable[[Value], list[Value]]) -> list[Value]:
    """Work on a batch of one where x has no batch."""
    if x.rank == spatial + 2:
        return work(x)
    return [f.squeeze(value, [0]) for value in work(f.unsqueeze(x, 0))]


def _known(f: Context) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in f.result_sizes())


def _conv(f: Context, x: Value, weight: Value, bias: Value | None, **fields: Any) -> Value:
    spatial = weight.rank - 2
    for name in ("stride", "dilation", "before", "after"):
        fields[name] = _each(fields[name], spatial)
    sizes = _known(f)
    batched = sizes if x.rank == spatial + 2 else (1, *sizes)
    operands = [weight] if bias is None else [weight, bias]
    return _with_batch(f, x, spatial, lambda y: [f.one("conv", [y, *operands], WORK, batched, **fields)])[0]


@fold("conv1d", "conv2d", "conv3d")
def conv(
    f: Context,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Value:
    """Padding in numbers."""
    return _conv(f, input, weight, bias, stride=stride, before=padding, after=padding, dilation=dilation, groups=groups)


@fold("conv1d.padding", "conv2d.padding", "conv3d.padding")
def conv_padding(
    f: Context,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: str,
    dilation: Any,
    groups: int,
) -> Value:
    """Padding by name: one more at the end where the sum is odd."""
    spatial = weight.rank - 2
    steps, kernel = _each(dilation, spatial), [size or 1 for size in weight.sizes[2:]]
    total = [step * (size - 1) if padding == "same" else 0 for step, size in zip(steps, kernel, strict=True)]
    before = [part // 2 for part in total]
    after = [whole - part for whole, part in zip(total, before, strict=True)]
    return _conv(f, input, weight, bias, stride=stride, before=before, after=after, dilation=dilation, groups=groups)


@fold("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input")
def conv_transpose(
    f: Context,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Value:
    """The transpose of a convolution."""
    fields = {"stride": stride, "before": padding, "after": padding, "dilation": dilation, "groups": groups}
    more = _each(output_padding, weight.rank - 2)
    return _conv(f, input, weight, bias, transposed=True, output_padding=more, **fields)


@fold("convolution", "_convolution")
def convolution(
    f: Context,
    input: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Value:
    """Either of both."""
    fields = {"stride": stride, "before": padding, "after": padding, "dilation": dilation, "groups": groups}
    if transposed:
        more = _each(output_padding, weight.rank - 2)
        return _conv(f, input, weight, bias, transposed=True, output_padding=more, **fields)
    return _conv(f, input, weight, bias, **fields)


def _pool(f: Context, x: Value, kind: int, spatial: int, results: int = 1, **fields: Any) -> list[Value]:
    sizes = _known(f)
    batched = sizes if x.rank == spatial + 2 else (1, *sizes)
    kinds = [(x.type, batched), (I64, batched)][:results]
    return _with_batch(f, x, spatial, lambda y: list(f.emit("pool", [y], kinds, kind=kind, **fields)))


def _max_pool(spatial: int) -> Callable[..., list[Value]]:
    def function(
        f: Context, x: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> list[Value]:
        """The greatest of a window, and its place."""
        fields = _windows(kernel_size, stride, padding, spatial)
        dilated = _each(dilation, spatial)
        return _pool(f, x, Pool.KIND_MAX, spatial, results=2, dilation=dilated, ceil=bool(ceil_mode), **fields)

    return function


def _windows(kernel: Any, stride: Any, padding: Any, spatial: int) -> dict[str, Any]:
    sizes = _each(kernel, spatial)
    return {"kernel": sizes, "stride": _each(stride, spatial) or sizes, "padding": _each(padding, spatial)}


def _max_pool_alone(spatial: int) -> Callable[..., Value]:
    both = _max_pool(spatial)

    def function(
        f: Context, x: Value, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> Value:
        """The greatest of a window."""
        return both(f, x, kernel_size, stride, padding, dilation, ceil_mode)[0]

    return function


def _mean_pool(spatial: int) -> Callable[..., Value]:
    def function(
        f: Context,
        x: Value,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None = None,
    ) -> Value:
        """The mean of a window."""
        fields = _windows(kernel_size, stride, padding, spatial)
        more = {"ceil": bool(ceil_mode), "count_padding": bool(count_include_pad), "divisor": divisor_override or 0}
        return _pool(f, x, Pool.KIND_MEAN, spatial, **fields, **more)[0]

    return function


def _adaptive(spatial: int, kind: int, results: int = 1) -> Callable[..., Any]:
    def function(f: Context, x: Value, output_size: Sequence[SizeLike]) -> Any:
        """Windows that cover x."""
        wanted = [output_size] if isinstance(output_size, (int, Value)) else list(output_size)
        if (
            kind == Pool.KIND_ADAPTIVE_MEAN
            and all(size == 1 for size in wanted if isinstance(size, int))
            and all(isinstance(size, int) for size in wanted)
        ):
            return f.reduce(Reduce.KIND_MEAN, x, list(range(x.rank - spatial, x.rank)), True)
        found = _pool(f, x, kind, spatial, results, output=wanted)
        return found if results > 1 else found[0]

    return function


def _register() -> None:
    for n in (1, 2, 3):
        fold(f"max_pool{n}d_with_indices")(_max_pool(n))
        fold(f"max_pool{n}d")(_max_pool_alone(n))
        fold(f"avg_pool{n}d")(_mean_pool(n))
        fold(f"adaptive_avg_pool{n}d")(_adaptive(n, Pool.KIND_ADAPTIVE_MEAN))
        if n > 1:
            fold(f"_adaptive_avg_pool{n}d")(_adaptive(n, Pool.KIND_ADAPTIVE_MEAN))
        fold(f"adaptive_max_pool{n}d")(_adaptive(n, Pool.KIND_ADAPTIVE_MAX, 2))
    names = {
        Upsample.KIND_NEAREST: [f"upsample_nearest{n}d" for n in (1, 2, 3)],
        Upsample.KIND_NEAREST_EXACT: [f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)],
        Upsample.KIND_LINEAR: ["upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"],
        Upsample.KIND_BICUBIC: ["upsample_bicubic2d"],
    }
    for kind, listed in names.items():
        for name in listed:
            _register_upsample(kind, name)


def _register_upsample(kind: int, name: str) -> None:
    spatial = int(name[-2])
    aligned = kind in (Upsample.KIND_LINEAR, Upsample.KIND_BICUBIC)

    def vec(f: Context, input: Value, scale_factors: Any, align_corners: bool = False) -> Value:
        """To a size, or by factors."""
        return _upsampled(f, kind, spatial, input, align_corners, list(scale_factors or []))

    def plain(
        f: Context,
        x: Value,
        align_corners: bool = False,
        scales_d: Any = None,
        scales_h: Any = None,
        scales_w: Any = None,
        scales: Any = None,
    ) -> Value:
        """To a size, by factors if there are some."""
        given = [scale for scale in (scales_d, scales_h, scales_w, scales) if scale is not None]
        return _upsampled(f, kind, spatial, x, align_corners, given)

    fold(f"{name}.vec")(vec if aligned else _without_corners(vec))
    fold(name)(plain)


def _without_corners(vec: Callable[..., Value]) -> Callable[..., Value]:
    def function(f: Context, input: Value, scale_factors: Any) -> Value:
        """To a size, or by factors."""
        return vec(f, input, scale_factors)

    return function


def _upsampled(f: Context, kind: int, spatial: int, x: Value, align: Any, scales: list[float]) -> Value:
    if scales and len(scales) != spatial:
        raise ExportError(f"found {len(scales)} scale factors, expected {spatial}, or none")
    output = f.result_sizes()[2:]
    fields = {"kind": kind, "output": output, "align_corners": bool(align), "scales": [float(s) for s in scales]}
    return f.one("upsample", [x], WORK, _known(f), **fields)


@fold("im2col")
def im2col(f: Context, x: Value, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Value:
    """All windows of an image as columns."""
    if x.rank == 3:
        raise ExportError("found unfold of an image without a batch, expected [batch, channels, rows, columns]")
    k, d, p, s = (_each(given, 2) for given in (kernel_size, dilation, padding, stride))
    padded = f.pad(x, [0, 0, *p], [0, 0, *p]) if any(p) else x
    index = [_window_places(f, padded, axis, k[axis], d[axis], s[axis]) for axis in (0, 1)]
    rows = f.reshape(index[0], [k[0], 1, -1, 1])
    columns = f.reshape(index[1], [1, k[1], 1, -1])
    return f.reshape(f.points(padded, [2, 3], [rows, columns]), f.result_sizes())


def _window_places(f: Context, x: Value, axis: int, kernel: int, dilation: int, stride: int) -> Value:
    """Places [kernel, windows] along a spatial axis."""
    span = dilation * (kernel - 1)
    last = f.arithmetic(Binary.KIND_SUB, f.dim(x, 2 + axis), span)
    starts = f.arange(last, 0, stride)
    return f.add(f.unsqueeze(f.mul(f.arange(kernel), dilation), 1), starts)


@fold("col2im")
def col2im(
    f: Context, x: Value, output_size: Sequence[int], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Value:
    """The transpose of im2col: columns added where they came from."""
    if x.rank == 2:
        return f.squeeze(col2im(f, f.unsqueeze(x, 0), output_size, kernel_size, dilation, padding, stride), [0])
    k, d, p, s = (_each(given, 2) for given in (kernel_size, dilation, padding, stride))
    channels = (x.sizes[1] or 0) // (k[0] * k[1])
    whole = [output_size[axis] + 2 * p[axis] for axis in (0, 1)]
    empty = f.full([f.dim(x, 0), channels, *whole], 0.0, WORK)
    index = [_window_places(f, empty, axis, k[axis], d[axis], s[axis]) for axis in (0, 1)]
    counts = [index[axis].sizes[1] or -1 for axis in (0, 1)]
    shaped = f.reshape(x, [f.dim(x, 0), channels, k[0], k[1], *counts])
    rows, columns = f.reshape(index[0], [k[0], 1, -1, 1]), f.reshape(index[1], [1, k[1], 1, -1])
    summed = f.scatter(Gather.MODE_POINTS, [2, 3], empty, shaped, [rows, columns], add=True)
    minus = [0, 0, -p[0], -p[1]]
    return f.pad(summed, minus, minus) if any(p) else summed


_register()
