"""Normalization, and softmax.

Owns: which statistics a norm reads. May not touch: dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

from clino.graph._build import WORK, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Compare, Reduce, Unary


@fold("layer_norm")
def layer_norm(
    f: Context,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> Value:
    """Over the last axes."""
    operands = [input, weight, bias]
    return f.one("layer_norm", operands, WORK, input.sizes, axes=len(normalized_shape), epsilon=eps)


@fold("native_layer_norm")
def native_layer_norm(
    f: Context,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> list[Value]:
    """The same, with the statistics."""
    axes = list(range(input.rank - len(normalized_shape), input.rank))
    return [layer_norm(f, input, normalized_shape, weight, bias, eps), *_statistics(f, input, axes, eps)]


def _statistics(f: Context, x: Value, axes: list[int], epsilon: float) -> list[Value]:
    """Mean and 1 / √(variance + epsilon), with the axes kept."""
    spread = f.add(f.reduce(Reduce.KIND_VARIANCE, x, axes, True, 0), epsilon)
    return [f.reduce(Reduce.KIND_MEAN, x, axes, True), f.unary(Unary.KIND_RSQRT, spread)]


@fold("rms_norm", "_fused_rms_norm")
def rms_norm(
    f: Context,
    input: Value,
    normalized_shape: Sequence[int],
    weight: Value | None,
    eps: float | None,
) -> Value:
    """By the mean of squares of the last axes."""
    import torch

    epsilon = torch.finfo(f.call.metas[0].dtype).eps if eps is None else eps
    operands = [input, weight]
    return f.one("rms_norm", operands, WORK, input.sizes, axes=len(normalized_shape), epsilon=epsilon)


@fold("group_norm")
def group_norm(
    f: Context,
    input: Value,
    num_groups: int,
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> Value:
    """Over groups of channels."""
    return f.one("group_norm", [input, weight, bias], WORK, input.sizes, groups=num_groups, epsilon=eps)


@fold("native_group_norm")
def native_group_norm(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    N: SizeLike,  # noqa: N803
    group: int,
    eps: float,
) -> list[Value]:
    """The same, with the statistics."""
    grouped = f.reshape(input, [N, group, -1])
    statistics = [f.squeeze(part, [2]) for part in _statistics(f, grouped, [2], eps)]
    return [group_norm(f, input, group, weight, bias, eps), *statistics]


def _batch_norm(
    f: Context, x: Value, weight: Value | None, bias: Value | None, mean: Value, variance: Value, eps: float
) -> Value:
    return f.one("batch_norm", [x, mean, variance, weight, bias], WORK, x.sizes, epsilon=eps)


@fold("_native_batch_norm_legit_no_training")
def batch_norm_no_training(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value,
    running_var: Value,
    eps: float,
) -> list[Value | None]:
    """By the running statistics."""
    return [_batch_norm(f, input, weight, bias, running_mean, running_var, eps), None, None]


@fold("batch_norm")
def batch_norm(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool,
    eps: float,
) -> Value:
    """By the running statistics, or those of the batch where a layer keeps none."""
    if not training and running_mean is not None and running_var is not None:
        return _batch_norm(f, input, weight, bias, running_mean, running_var, eps)
    if running_mean is not None:
        raise ExportError("found a batch norm in training mode, expected evaluation mode: its forward may set it")
    return _coupled(f, input, weight, bias, eps)


@fold("_native_batch_norm_legit.no_stats")
def batch_norm_no_stats(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    training: bool,
    eps: float,
) -> list[Value | None]:
    """By the statistics of the batch."""
    return [_coupled(f, input, weight, bias, eps), None, None]


@fold("_native_batch_norm_legit", "native_batch_norm", "_native_batch_norm_legit_functional", "cudnn_batch_norm")
def native_batch_norm(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    training: bool,
    eps: float = 1e-5,
) -> list[Value | None]:
    """As batch_norm, with the statistics."""
    return [batch_norm(f, input, weight, bias, running_mean, running_var, training, eps), None, None, None, None]


def _coupled(f: Context, x: Value, weight: Value | None, bias: Value | None, eps: float) -> Value:
    """Statistics of the batch itself, through which a gradient goes: examples of a batch depend on each other."""
    axes = [axis for axis in range(x.rank) if axis != 1]
    mean, scale = _statistics(f, x, axes, eps)
    found = f.mul(f.sub(x, mean), scale)
    by_channel = [1, -1] + [1] * (x.rank - 2)
    found = found if weight is None else f.mul(found, f.reshape(weight, by_channel))
    return found if bias is None else f.add(found, f.reshape(bias, by_channel))


@fold("instance_norm")
def instance_norm(
    f: Context,
    input: Value,
    weight: Value | None,
    bias: Value | None,
    running_mean: Value | None,
    running_var: Value | None,
    use_input_stats: bool,
    eps: float,
) -> Value:
    """A group for each channel, or running statistics."""
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _batch_norm(f, input, weight, bias, running_mean, running_var, eps)
    channels = input.sizes[1]
    if channels is None:
        raise ExportError("found channels whose number differs from batch to batch, expected a fixed one")
    return group_norm(f, input, channels, weight, bias, eps)


@fold("softmax.int", "_softmax")
def softmax(f: Context, x: Value, dim: int) -> Value:
    """Shares along an axis."""
    return f.softmax(x, dim)


@fold("log_softmax.int", "_log_softmax")
def log_softmax(f: Context, x: Value, dim: int) -> Value:
    """Their logarithms."""
    return f.softmax(x, dim, log=True)


@fold("_safe_softmax")
def safe_softmax(f: Context, x: Value, dim: int) -> Value:
    """Zeros where all are -inf."""
    hidden = f.compare(Compare.KIND_EQ, x, float("-inf"))
    nothing = f.reduce(Reduce.KIND_ALL, hidden, [dim], True)
    shares = f.softmax(f.where(nothing, 0.0, x), dim)
    return f.where(nothing, 0.0, shares)
