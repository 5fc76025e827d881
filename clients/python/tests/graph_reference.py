"""A second evaluator of clino's graphs, with torch, one operator after the other; autograd differentiates it.

It is written from the protocol's comments alone, and shares nothing with the exporter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from clino.v1 import graph_pb2 as pb
from clino.v1 import types_pb2

WORK, I64, BOOL = pb.VALUE_TYPE_WORK, pb.VALUE_TYPE_I64, pb.VALUE_TYPE_BOOL
_U, _B, _C, _R = pb.Unary, pb.Binary, pb.Compare, pb.Reduce

Tensors = Mapping[str, Any]


class Reference:
    """One graph, evaluated in one precision."""

    def __init__(self, graph: pb.Graph, dtype: torch.dtype) -> None:
        self.graph, self.dtype = graph, dtype
        self.values: list[Any] = [None]

    def run(self, tensors: Tensors, inputs: Tensors) -> dict[str, Any]:
        """Outputs by name. Parameters may require gradients."""
        self.values = [None]
        for given in self.graph.tensors:
            self.values.append(self._typed(tensors[given.alias_of or given.name]))
        sizes: dict[int, int] = {}
        for wanted in self.graph.inputs:
            found = self._typed(inputs[wanted.name])
            self._check(wanted, found, sizes)
            self.values.append(found)
        for constant in self.graph.constants:
            self.values.append(self._constant(constant))
        for node in self.graph.nodes:
            name = node.WhichOneof("operator")
            operands = [self.values[number] if number else None for number in node.operands]
            try:
                results = _OPERATORS[name](self, getattr(node, name), operands)
            except Exception as error:
                shapes = [None if o is None else tuple(o.shape) for o in operands]
                raise RuntimeError(f"{name} at {node.origin}: {error}; operands {shapes}; {node}") from error
            results = results if isinstance(results, tuple) else (results,)
            assert len(results) >= max(node.results, 1), name
            for result in results[: max(node.results, 1)]:
                assert isinstance(result, torch.Tensor), name
                assert result.dtype in (self.dtype, torch.int64, torch.bool), (name, result.dtype)
                self.values.append(result)
        return {output.name: self.values[output.value] for output in self.graph.outputs}

    def _check(self, wanted: Any, found: Any, sizes: dict[int, int]) -> None:
        assert found.dim() == len(wanted.shape), (wanted.name, found.shape)
        for axis, size in zip(wanted.shape, found.shape, strict=True):
            if axis.HasField("fixed"):
                assert axis.fixed == size, (wanted.name, found.shape)
            else:
                assert sizes.setdefault(axis.symbol, size) == size, (wanted.name, found.shape)
                symbol = self.graph.symbols[axis.symbol]
                assert max(symbol.least, 1) <= size <= (symbol.most or size), (wanted.name, size, symbol)

    def _typed(self, given: Any) -> Any:
        if given.dtype == torch.bool:
            return given
        return given.to(self.dtype if given.is_floating_point() else torch.int64)

    def _constant(self, constant: Any) -> Any:
        formats: dict[Any, Any] = {
            types_pb2.DTYPE_F32: np.float32,
            types_pb2.DTYPE_F64: np.float64,
            types_pb2.DTYPE_I64: np.int64,
            types_pb2.DTYPE_BOOL: np.bool_,
        }
        array = np.frombuffer(constant.data, dtype=formats[constant.dtype]).reshape(list(constant.shape))
        return self._typed(torch.from_numpy(array.copy()))

    def size(self, size: Any) -> int:
        if size.HasField("value"):
            value = self.values[size.value]
            assert value.dtype == torch.int64
            assert value.dim() == 0
            return int(value)
        return int(size.fixed)

    def sizes(self, given: Any) -> list[int]:
        return [self.size(size) for size in given]

    def type(self, kind: int) -> torch.dtype:
        types: dict[int, torch.dtype] = {WORK: self.dtype, I64: torch.int64, BOOL: torch.bool}
        return types[kind]

    def wider(self, a: Any, b: Any) -> tuple[Any, Any]:
        for dtype in (self.dtype, torch.int64):
            if dtype in (a.dtype, b.dtype):
                return a.to(dtype), b.to(dtype)
        return a, b


Operator = Callable[[Reference, Any, list[Any]], Any]
_OPERATORS: dict[Any, Operator] = {}


def operator(name: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        _OPERATORS[name] = function
        return function

    return register


@operator("reshape")
def _reshape(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].reshape(r.sizes(o.shape))


@operator("permute")
def _permute(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].permute(list(o.axes))


@operator("expand")
def _expand(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].expand(r.sizes(o.shape))


@operator("slice")
def _slice(r: Reference, o: Any, x: list[Any]) -> Any:
    bounds = slice(r.size(o.start), r.size(o.end) if o.HasField("end") else None, o.step or 1)
    return x[0][(slice(None),) * o.axis + (bounds,)]


@operator("flip")
def _flip(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].flip(list(o.axes))


@operator("concat")
def _concat(r: Reference, o: Any, x: list[Any]) -> Any:
    assert len({part.dtype for part in x}) == 1
    return torch.cat(x, o.axis)


def _padding_index(length: int, before: int, after: int, mode: int) -> Any:
    """Which element lies at each place of a padded axis; -1 where it is new."""
    places = torch.arange(-before, length + after)
    if mode == pb.Pad.MODE_REPLICATE:
        return places.clamp(0, length - 1)
    if mode == pb.Pad.MODE_CIRCULAR:
        return places % length
    if mode == pb.Pad.MODE_REFLECT:
        places = places.abs()
        return torch.where(places >= length, 2 * (length - 1) - places, places)
    return torch.where((places < 0) | (places >= length), -1, places)


@operator("pad")
def _pad(r: Reference, o: Any, x: list[Any]) -> Any:
    y = x[0]
    for axis, (before, after) in enumerate(zip(r.sizes(o.before), r.sizes(o.after), strict=True)):
        if before or after:
            places = _padding_index(y.shape[axis], before, after, o.mode)
            new = (places < 0).reshape([-1] + [1] * (y.dim() - axis - 1))
            y = y.index_select(axis, places.clamp(min=0))
            y = torch.where(new, torch.tensor(o.value).to(y.dtype), y)
    return y


@operator("gather")
def _gather(r: Reference, o: Any, x: list[Any]) -> Any:
    y, indices = x[0], x[1:]
    axes = list(o.axes)
    if o.mode == pb.Gather.MODE_TAKE:
        assert len(indices) == 1
        assert len(axes) == 1
        axis, index = axes[0], indices[0]
        index = torch.where(index < 0, index + y.shape[axis], index)
        if o.HasField("padding_index"):
            hidden = (index == o.padding_index).reshape(index.shape + (1,) * (y.dim() - 1))
            assert axis == 0
            found = y[index]
            return torch.where(hidden, found.detach(), found)
        shape = y.shape[:axis] + index.shape + y.shape[axis + 1 :]
        return y.index_select(axis, index.reshape(-1)).reshape(shape)
    if o.mode == pb.Gather.MODE_ALONG:
        assert indices[0].dim() == y.dim()
        index = torch.where(indices[0] < 0, indices[0] + y.shape[axes[0]], indices[0])
        return torch.gather(y, axes[0], index)
    assert o.mode == pb.Gather.MODE_POINTS
    assert len(indices) == len(axes)
    return y[_places(axes, indices)]


def _places(axes: Sequence[int], indices: Sequence[Any]) -> tuple[Any, ...]:
    chosen: list[Any] = [slice(None)] * (max(axes) + 1)
    for axis, index in zip(axes, indices, strict=True):
        chosen[axis] = index
    return tuple(chosen)


@operator("scatter")
def _scatter(r: Reference, o: Any, x: list[Any]) -> Any:
    y, source, indices = x[0], x[1], x[2:]
    if o.mode == pb.Gather.MODE_ALONG:
        assert source.shape == indices[0].shape
        put = y.scatter_add if o.add else y.scatter
        return put(o.axes[0], indices[0], source)
    places = [None] * o.axes[0] + [indices[0]] if o.mode == pb.Gather.MODE_TAKE else None
    if places is None:
        places = [index if isinstance(index, torch.Tensor) else None for index in _places(list(o.axes), indices)]
    assert source.shape == torch.ops.aten.index(y, places).shape, (source.shape, y.shape)
    return torch.ops.aten.index_put(y, places, source, o.add)


@operator("linear")
def _linear(r: Reference, o: Any, x: list[Any]) -> Any:
    return functional.linear(*x)


@operator("matmul")
def _matmul(r: Reference, o: Any, x: list[Any]) -> Any:
    return torch.matmul(*x)


@operator("grouped_matmul")
def _grouped(r: Reference, o: Any, x: list[Any]) -> Any:
    parts, start = [], 0
    for group, end in enumerate(x[2].tolist()):
        parts.append(x[0][start:end] @ x[1][group])
        start = end
    rest = x[0].new_zeros((x[0].shape[0] - start, x[1].shape[2]))
    return torch.cat([*parts, rest])


@operator("conv")
def _conv(r: Reference, o: Any, x: list[Any]) -> Any:
    spatial = x[1].dim() - 2
    bias = x[2] if len(x) > 2 else None
    stride, dilation = list(o.stride), list(o.dilation)
    groups = o.groups or 1
    if o.transposed:
        assert list(o.before) == list(o.after)
        convolution = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[
            spatial - 1
        ]
        more = list(o.output_padding) or 0
        return convolution(x[0], x[1], bias, stride, list(o.before), more, groups, dilation)
    padding = [side for pair in zip(reversed(o.before), reversed(o.after), strict=True) for side in pair]
    plain = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    return plain(functional.pad(x[0], padding), x[1], bias, stride, 0, dilation, groups)


@operator("attention")
def _attention(r: Reference, o: Any, x: list[Any]) -> Any:
    q, k, v = x[:3]
    mask = x[3] if len(x) > 3 else None
    times = q.shape[-3] // k.shape[-3]
    k, v = (part.repeat_interleave(times, -3) if times > 1 else part for part in (k, v))
    scores = q @ k.transpose(-1, -2) * (o.scale if o.HasField("scale") else 1 / math.sqrt(q.shape[-1]))
    if o.causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    blind = (scores == -math.inf).all(-1, keepdim=True)
    shares = torch.softmax(torch.where(blind, 0.0, scores), -1)
    return torch.where(blind, 0.0, shares) @ v


@operator("layer_norm")
def _layer_norm(r: Reference, o: Any, x: list[Any]) -> Any:
    axes = list(range(x[0].dim() - o.axes, x[0].dim()))
    mean = x[0].mean(axes, keepdim=True)
    variance = ((x[0] - mean) ** 2).mean(axes, keepdim=True)
    return _scaled((x[0] - mean) / torch.sqrt(variance + o.epsilon), x[1:])


def _scaled(y: Any, parts: Sequence[Any]) -> Any:
    weight = parts[0] if parts else None
    bias = parts[1] if len(parts) > 1 else None
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@operator("rms_norm")
def _rms_norm(r: Reference, o: Any, x: list[Any]) -> Any:
    axes = list(range(x[0].dim() - o.axes, x[0].dim()))
    return _scaled(x[0] / torch.sqrt((x[0] ** 2).mean(axes, keepdim=True) + o.epsilon), x[1:])


@operator("batch_norm")
def _batch_norm(r: Reference, o: Any, x: list[Any]) -> Any:
    shape = [1, -1] + [1] * (x[0].dim() - 2)
    mean, variance = x[1].reshape(shape), x[2].reshape(shape)
    parts = [None if part is None else part.reshape(shape) for part in x[3:]]
    return _scaled((x[0] - mean) / torch.sqrt(variance + o.epsilon), parts)


@operator("group_norm")
def _group_norm(r: Reference, o: Any, x: list[Any]) -> Any:
    grouped = x[0].reshape(x[0].shape[0], o.groups, -1)
    mean = grouped.mean(-1, keepdim=True)
    variance = ((grouped - mean) ** 2).mean(-1, keepdim=True)
    shape = [1, -1] + [1] * (x[0].dim() - 2)
    parts = [None if part is None else part.reshape(shape) for part in x[1:]]
    return _scaled(((grouped - mean) / torch.sqrt(variance + o.epsilon)).reshape(x[0].shape), parts)


@operator("softmax")
def _softmax(r: Reference, o: Any, x: list[Any]) -> Any:
    return torch.log_softmax(x[0], o.axis) if o.log else torch.softmax(x[0], o.axis)


_UNARY: dict[int, Callable[..., Any]] = {
    _U.KIND_NEG: torch.neg,
    _U.KIND_ABS: torch.abs,
    _U.KIND_SIGN: torch.sign,
    _U.KIND_EXP: torch.exp,
    _U.KIND_EXPM1: torch.expm1,
    _U.KIND_LOG: torch.log,
    _U.KIND_LOG1P: torch.log1p,
    _U.KIND_LOG2: torch.log2,
    _U.KIND_SQRT: torch.sqrt,
    _U.KIND_RSQRT: torch.rsqrt,
    _U.KIND_RECIPROCAL: torch.reciprocal,
    _U.KIND_SIN: torch.sin,
    _U.KIND_COS: torch.cos,
    _U.KIND_TAN: torch.tan,
    _U.KIND_ASIN: torch.asin,
    _U.KIND_ACOS: torch.acos,
    _U.KIND_ATAN: torch.atan,
    _U.KIND_SINH: torch.sinh,
    _U.KIND_COSH: torch.cosh,
    _U.KIND_TANH: torch.tanh,
    _U.KIND_ERF: torch.erf,
    _U.KIND_SIGMOID: torch.sigmoid,
    _U.KIND_LOG_SIGMOID: functional.logsigmoid,
    _U.KIND_SILU: functional.silu,
    _U.KIND_RELU: functional.relu,
    _U.KIND_GELU: functional.gelu,
    _U.KIND_GELU_TANH: lambda x: functional.gelu(x, approximate="tanh"),
    _U.KIND_SOFTPLUS: functional.softplus,
    _U.KIND_ELU: lambda x, alpha, scale, by: torch.ops.aten.elu(x, alpha, scale, by),
    _U.KIND_LEAKY_RELU: functional.leaky_relu,
    _U.KIND_CLAMP: lambda x, low, high: _clamped(x, low, high),
    _U.KIND_HARDTANH: functional.hardtanh,
    _U.KIND_HARDSIGMOID: functional.hardsigmoid,
    _U.KIND_HARDSWISH: functional.hardswish,
    _U.KIND_MISH: functional.mish,
    _U.KIND_FLOOR: torch.floor,
    _U.KIND_CEIL: torch.ceil,
    _U.KIND_TRUNC: torch.trunc,
    _U.KIND_ROUND: torch.round,
    _U.KIND_NOT: torch.bitwise_not,
    _U.KIND_IS_NAN: torch.isnan,
    _U.KIND_IS_INF: torch.isinf,
    _U.KIND_NAN_TO_NUM: torch.nan_to_num,
    _U.KIND_DETACH: torch.detach,
}


def _clamped(x: Any, low: float, high: float) -> Any:
    """The derivative at a bound is 1; torch.clamp's is 0 since 2.15."""
    for bound, beyond in ((low, torch.lt), (high, torch.gt)):
        if not math.isinf(bound):
            limit = torch.tensor(bound).to(x.dtype)
            x = torch.where(beyond(x, limit), limit, x)
    return x


@operator("unary")
def _unary(r: Reference, o: Any, x: list[Any]) -> Any:
    return _UNARY[o.kind](x[0], *o.parameters)


_BINARY: dict[int, Callable[..., Any]] = {
    _B.KIND_ADD: torch.add,
    _B.KIND_SUB: torch.sub,
    _B.KIND_MUL: torch.mul,
    _B.KIND_POW: torch.pow,
    _B.KIND_MAXIMUM: torch.maximum,
    _B.KIND_MINIMUM: torch.minimum,
    _B.KIND_FMOD: torch.fmod,
    _B.KIND_REMAINDER: torch.remainder,
    _B.KIND_FLOOR_DIV: lambda a, b: torch.div(a, b, rounding_mode="floor"),
    _B.KIND_TRUNC_DIV: lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    _B.KIND_ATAN2: torch.atan2,
    _B.KIND_AND: torch.bitwise_and,
    _B.KIND_OR: torch.bitwise_or,
    _B.KIND_XOR: torch.bitwise_xor,
    _B.KIND_SHIFT_LEFT: torch.bitwise_left_shift,
    _B.KIND_SHIFT_RIGHT: torch.bitwise_right_shift,
}


@operator("binary")
def _binary(r: Reference, o: Any, x: list[Any]) -> Any:
    if o.kind == _B.KIND_DIV:
        return x[0].to(r.dtype) / x[1].to(r.dtype)
    a, b = r.wider(x[0], x[1])
    if o.kind == _B.KIND_POW and not b.requires_grad and b.dim() == 0:
        return torch.pow(a, b.item())
    assert a.dtype != torch.bool or o.kind in (_B.KIND_AND, _B.KIND_OR, _B.KIND_XOR)
    return _BINARY[o.kind](a, b)


@operator("compare")
def _compare(r: Reference, o: Any, x: list[Any]) -> Any:
    a, b = r.wider(x[0], x[1])
    kinds = {
        _C.KIND_EQ: torch.eq,
        _C.KIND_NE: torch.ne,
        _C.KIND_LT: torch.lt,
        _C.KIND_LE: torch.le,
        _C.KIND_GT: torch.gt,
        _C.KIND_GE: torch.ge,
    }
    return kinds[o.kind](a, b)


@operator("where")
def _where(r: Reference, o: Any, x: list[Any]) -> Any:
    assert x[0].dtype == torch.bool
    assert x[1].dtype == x[2].dtype
    return torch.where(*x)


def _over(x: Any, axes: Sequence[int]) -> list[int]:
    return list(axes) or list(range(x.dim()))


def _axis_by_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, axes: Sequence[int], keep: bool, _: float) -> Any:
        for axis in sorted(axes, reverse=True):
            x = function(x, axis, keepdim=keep)
        return x

    return reduced


def _placed(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, axes: Sequence[int], keep: bool, _: float) -> Any:
        assert len(axes) == 1
        return function(x, axes[0], keepdim=keep)

    return reduced


_REDUCE: dict[int, Callable[..., Any]] = {
    _R.KIND_SUM: lambda x, axes, keep, _: x.sum(axes, keepdim=keep),
    _R.KIND_MEAN: lambda x, axes, keep, _: x.mean(axes, keepdim=keep),
    _R.KIND_MAX: lambda x, axes, keep, _: x.amax(axes, keepdim=keep),
    _R.KIND_MIN: lambda x, axes, keep, _: x.amin(axes, keepdim=keep),
    _R.KIND_PROD: _axis_by_axis(torch.prod),
    _R.KIND_ANY: _axis_by_axis(torch.any),
    _R.KIND_ALL: _axis_by_axis(torch.all),
    _R.KIND_ARGMAX: _placed(torch.argmax),
    _R.KIND_ARGMIN: _placed(torch.argmin),
    _R.KIND_LOGSUMEXP: lambda x, axes, keep, _: x.logsumexp(axes, keepdim=keep),
    _R.KIND_VARIANCE: lambda x, axes, keep, by: x.var(axes, correction=by, keepdim=keep),
    _R.KIND_NORM: lambda x, axes, keep, order: torch.linalg.vector_norm(x, order, axes, keepdim=keep),
}


@operator("reduce")
def _reduce(r: Reference, o: Any, x: list[Any]) -> Any:
    y = x[0]
    if o.kind in (_R.KIND_ANY, _R.KIND_ALL):
        assert y.dtype == torch.bool
    if y.dim() == 0:
        return _REDUCE[o.kind](y.reshape(1), [0], False, o.parameter)
    return _REDUCE[o.kind](y, _over(y, o.axes), o.keep, o.parameter)


@operator("cumulate")
def _cumulate(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].cumprod(o.axis) if o.product else x[0].cumsum(o.axis)


@operator("top_k")
def _top_k(r: Reference, o: Any, x: list[Any]) -> Any:
    return tuple(torch.topk(x[0], r.size(o.k), o.axis, largest=not o.least))


@operator("sort")
def _sort(r: Reference, o: Any, x: list[Any]) -> Any:
    return tuple(torch.sort(x[0], dim=o.axis, descending=o.falling, stable=True))


@operator("count")
def _count(r: Reference, o: Any, x: list[Any]) -> Any:
    bins = r.size(o.bins)
    return (x[0].reshape(-1, 1) == torch.arange(bins)).sum(0)


@operator("arange")
def _arange(r: Reference, o: Any, x: list[Any]) -> Any:
    dtype = r.dtype if o.work else torch.int64
    return torch.arange(r.size(o.start), r.size(o.end), r.size(o.step), dtype=dtype)


@operator("full")
def _full(r: Reference, o: Any, x: list[Any]) -> Any:
    value = x[0] if x else torch.tensor(o.value, dtype=torch.float64)
    return value.to(r.type(o.type)).expand(r.sizes(o.shape))


@operator("cast")
def _cast(r: Reference, o: Any, x: list[Any]) -> Any:
    return x[0].to(r.type(o.type))


@operator("pool")
def _pool(r: Reference, o: Any, x: list[Any]) -> Any:
    spatial = x[0].dim() - 2
    if o.kind == pb.Pool.KIND_MAX:
        pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[spatial - 1]
        dilation = list(o.dilation) or 1
        fields = {"ceil_mode": o.ceil, "return_indices": True}
        return pool(x[0], list(o.kernel), list(o.stride), list(o.padding), dilation, **fields)
    if o.kind == pb.Pool.KIND_MEAN:
        if spatial == 1:
            assert not o.divisor
            return functional.avg_pool1d(x[0], list(o.kernel), list(o.stride), list(o.padding), o.ceil, o.count_padding)
        mean = functional.avg_pool2d if spatial == 2 else functional.avg_pool3d
        return mean(x[0], list(o.kernel), list(o.stride), list(o.padding), o.ceil, o.count_padding, o.divisor or None)
    sizes = r.sizes(o.output)
    if o.kind == pb.Pool.KIND_ADAPTIVE_MEAN:
        adaptive: Any = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)
        return adaptive[spatial - 1](x[0], sizes)
    greatest = (functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d)
    return greatest[spatial - 1](x[0], sizes, return_indices=True)


@operator("upsample")
def _upsample(r: Reference, o: Any, x: list[Any]) -> Any:
    sizes, spatial = r.sizes(o.output), x[0].dim() - 2
    scales = list(o.scales) or [None] * spatial
    names = {
        pb.Upsample.KIND_NEAREST: f"upsample_nearest{spatial}d",
        pb.Upsample.KIND_NEAREST_EXACT: f"_upsample_nearest_exact{spatial}d",
        pb.Upsample.KIND_LINEAR: f"upsample_{('linear', 'bilinear', 'trilinear')[spatial - 1]}{spatial}d",
        pb.Upsample.KIND_BICUBIC: "upsample_bicubic2d",
    }
    corners = [o.align_corners] if o.kind in (pb.Upsample.KIND_LINEAR, pb.Upsample.KIND_BICUBIC) else []
    return getattr(torch.ops.aten, names[o.kind])(x[0], sizes, *corners, *scales)


@operator("dim")
def _dim(r: Reference, o: Any, x: list[Any]) -> Any:
    return torch.tensor(x[0].shape[o.axis])


def _cell(kind: int, x: Any, h: Any, c: Any, w: Sequence[Any]) -> tuple[Any, Any]:
    """One step of a layer: weights of the input and the state, and two biases or none."""
    a, b = (
        functional.linear(x, w[0], w[2] if len(w) > 2 else None),
        functional.linear(h, w[1], w[3] if len(w) > 2 else None),
    )
    if kind == pb.Recurrent.KIND_LSTM:
        i, f, g, o = (a + b).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    if kind == pb.Recurrent.KIND_GRU:
        (ar, az, an), (br, bz, bn) = a.chunk(3, -1), b.chunk(3, -1)
        z = torch.sigmoid(az + bz)
        return (1 - z) * torch.tanh(an + torch.sigmoid(ar + br) * bn) + z * h, c
    return (torch.tanh(a + b) if kind == pb.Recurrent.KIND_TANH else torch.relu(a + b)), c


@operator("recurrent")
def _recurrent(r: Reference, o: Any, x: list[Any]) -> Any:
    has_cell = o.kind == pb.Recurrent.KIND_LSTM
    first = 3 if has_cell else 2
    y = x[0].transpose(0, 1) if o.batch_first else x[0]
    ways, each = 2 if o.bidirectional else 1, 4 if o.biases else 2
    weights, last_h, last_c = x[first:], [], []
    for layer in range(o.layers):
        directions = []
        for way in range(ways):
            place = layer * ways + way
            w = weights[place * each : (place + 1) * each]
            zeros = y.new_zeros((y.shape[1], w[1].shape[1]))
            h = zeros if x[1] is None else x[1][place]
            c = zeros if not has_cell or x[2] is None else x[2][place]
            states = []
            for step in range(y.shape[0]) if way == 0 else reversed(range(y.shape[0])):
                h, c = _cell(o.kind, y[step], h, c, w)
                states.append(h)
            directions.append(torch.stack(states if way == 0 else states[::-1]))
            last_h.append(h)
            last_c.append(c)
        y = torch.cat(directions, -1)
    y = y.transpose(0, 1) if o.batch_first else y
    return (y, torch.stack(last_h), torch.stack(last_c)) if has_cell else (y, torch.stack(last_h))
