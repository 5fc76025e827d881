"""Operators of one operand, element by element.

Owns: their parameters, and those that are made of several. May not touch: operators of two operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from clino.graph._build import BOOL, I64, WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.graph._ops import Binary, Compare, Unary

_KINDS: dict[str, int] = {
    "exp": Unary.KIND_EXP,
    "expm1": Unary.KIND_EXPM1,
    "log": Unary.KIND_LOG,
    "log1p": Unary.KIND_LOG1P,
    "log2": Unary.KIND_LOG2,
    "sqrt": Unary.KIND_SQRT,
    "rsqrt": Unary.KIND_RSQRT,
    "reciprocal": Unary.KIND_RECIPROCAL,
    "sin": Unary.KIND_SIN,
    "cos": Unary.KIND_COS,
    "tan": Unary.KIND_TAN,
    "asin": Unary.KIND_ASIN,
    "acos": Unary.KIND_ACOS,
    "atan": Unary.KIND_ATAN,
    "sinh": Unary.KIND_SINH,
    "cosh": Unary.KIND_COSH,
    "tanh": Unary.KIND_TANH,
    "erf": Unary.KIND_ERF,
    "sigmoid": Unary.KIND_SIGMOID,
    "log_sigmoid": Unary.KIND_LOG_SIGMOID,
    "silu": Unary.KIND_SILU,
    "hardsigmoid": Unary.KIND_HARDSIGMOID,
    "hardswish": Unary.KIND_HARDSWISH,
    "mish": Unary.KIND_MISH,
}
# These leave integers integers.
_KEEPING: dict[str, int] = {
    "neg": Unary.KIND_NEG,
    "abs": Unary.KIND_ABS,
    "sign": Unary.KIND_SIGN,
    "sgn": Unary.KIND_SIGN,
    "relu": Unary.KIND_RELU,
}
_ROUNDING: dict[str, int] = {
    "floor": Unary.KIND_FLOOR,
    "ceil": Unary.KIND_CEIL,
    "trunc": Unary.KIND_TRUNC,
    "round": Unary.KIND_ROUND,
}


Plain = Callable[[Context, Value], Value]


def _work(kind: int) -> Plain:
    def function(f: Context, x: Value) -> Value:
        return f.unary(kind, f.cast(x, WORK))

    return function


def _keeping(kind: int) -> Plain:
    def function(f: Context, x: Value) -> Value:
        return f.unary(kind, f.cast(x, I64) if x.type == BOOL else x)

    return function


def _rounding(kind: int) -> Plain:
    def function(f: Context, x: Value) -> Value:
        return f.unary(kind, x) if x.type == WORK else x

    return function


for _made, _kinds in ((_work, _KINDS), (_keeping, _KEEPING), (_rounding, _ROUNDING)):
    for _name, _kind in _kinds.items():
        fold(_name)(_made(_kind))


@fold("alias", "clone", "lift_fresh_copy", "lift_fresh", "contiguous", "_to_copy", "to.dtype", "to.dtype_layout")
def same(f: Context, x: Value) -> Value:
    """The same elements; the context casts them to the type of the result."""
    return x


@fold("to.device", "to.other", "type_as", "_conj", "resolve_conj", "resolve_neg", "conj_physical", "real", "positive")
def same_too(f: Context, x: Value) -> Value:
    """The same elements."""
    return x


@fold("detach", "detach_copy")
def detach(f: Context, x: Value) -> Value:
    """No gradient goes through; nothing is to be cut where there is none."""
    return f.unary(Unary.KIND_DETACH, x) if x.trained else x


@fold("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def dropout(f: Context, input: Value, train: bool, p: float) -> Value:
    """Nothing, in evaluation mode."""
    return _not_dropped(input, bool(train), p)


@fold("native_dropout")
def native_dropout(f: Context, input: Value, p: float, train: bool | None) -> list[Value | None]:
    """Nothing, in evaluation mode."""
    return [_not_dropped(input, bool(train), p), None]


def _not_dropped(x: Value, train: bool, p: float) -> Value:
    if train and p > 0:
        raise ExportError(
            f"found a dropout of {p} in evaluation mode, expected none: pass training=self.training to it"
        )
    return x


@fold("square")
def square(f: Context, x: Value) -> Value:
    """x²."""
    return f.mul(x, x)


@fold("exp2")
def exp2(f: Context, x: Value) -> Value:
    """2 to the x."""
    return f.unary(Unary.KIND_EXP, f.mul(x, math.log(2)))


@fold("log10")
def log10(f: Context, x: Value) -> Value:
    """By the natural one."""
    return f.mul(f.unary(Unary.KIND_LOG, f.cast(x, WORK)), 1 / math.log(10))


@fold("erfc")
def erfc(f: Context, x: Value) -> Value:
    """1 - erf x."""
    return f.sub(1.0, f.unary(Unary.KIND_ERF, f.cast(x, WORK)))


@fold("atanh")
def atanh(f: Context, x: Value) -> Value:
    """(log(1 + x) - log(1 - x)) / 2."""
    x = f.cast(x, WORK)
    upper, lower = f.unary(Unary.KIND_LOG1P, x), f.unary(Unary.KIND_LOG1P, f.unary(Unary.KIND_NEG, x))
    return f.mul(f.sub(upper, lower), 0.5)


@fold("acosh")
def acosh(f: Context, x: Value) -> Value:
    """log(x + √((x - 1)(x + 1)))."""
    x = f.cast(x, WORK)
    root = f.unary(Unary.KIND_SQRT, f.mul(f.sub(x, 1.0), f.add(x, 1.0)))
    return f.unary(Unary.KIND_LOG, f.add(x, root))


@fold("asinh")
def asinh(f: Context, x: Value) -> Value:
    """For y = |x|: log1p(y + y² / (1 + √(1 + y²))), which loses no digits near 0, with the sign of x."""
    x = f.cast(x, WORK)
    negative = f.compare(Compare.KIND_LT, x, 0.0)
    y = f.where(negative, f.unary(Unary.KIND_NEG, x), x)
    squared = f.mul(y, y)
    root = f.unary(Unary.KIND_SQRT, f.add(squared, 1.0))
    positive = f.unary(Unary.KIND_LOG1P, f.add(y, f.div(squared, f.add(root, 1.0))))
    return f.where(negative, f.unary(Unary.KIND_NEG, positive), positive)


@fold("log_sigmoid_forward")
def log_sigmoid_forward(f: Context, x: Value) -> list[Value | None]:
    """The second result is for the CPU's backward."""
    return [f.unary(Unary.KIND_LOG_SIGMOID, x), None]


@fold("gelu")
def gelu(f: Context, x: Value, approximate: str) -> Value:
    """By the error function or by tanh."""
    return f.unary(Unary.KIND_GELU_TANH if approximate == "tanh" else Unary.KIND_GELU, x)


@fold("softplus")
def softplus(f: Context, x: Value, beta: float, threshold: float) -> Value:
    """log(1 + exp(beta x)) / beta."""
    return f.unary(Unary.KIND_SOFTPLUS, x, beta, threshold)


@fold("elu")
def elu(f: Context, x: Value, alpha: float, scale: float, input_scale: float) -> Value:
    """Also selu and celu."""
    return f.unary(Unary.KIND_ELU, x, alpha, scale, input_scale)


@fold("selu")
def selu(f: Context, x: Value) -> Value:
    """With its two constants."""
    return f.unary(Unary.KIND_ELU, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)


@fold("celu")
def celu(f: Context, x: Value, alpha: float) -> Value:
    """By alpha (exp(x / alpha) - 1) below 0."""
    return f.unary(Unary.KIND_ELU, x, alpha, 1.0, 1.0 / alpha)


@fold("leaky_relu")
def leaky_relu(f: Context, x: Value, negative_slope: float) -> Value:
    """By slope x below 0."""
    return f.unary(Unary.KIND_LEAKY_RELU, x, negative_slope)


@fold("relu6")
def relu6(f: Context, x: Value) -> Value:
    """From 0 to 6."""
    return f.unary(Unary.KIND_HARDTANH, x, 0.0, 6.0)


@fold("hardtanh")
def hardtanh(f: Context, x: Value, min_val: float, max_val: float) -> Value:
    """Between two bounds, at which the derivative is 0."""
    return f.unary(Unary.KIND_HARDTANH, x, min_val, max_val)


@fold("threshold")
def threshold(f: Context, x: Value, threshold: float, value: float) -> Value:
    """X where it is above the threshold."""
    return f.where(f.compare(Compare.KIND_GT, x, threshold), x, value)


def _bounded() -> int:
    """The operator whose derivative at a bound is that of this torch's clamp: it was 1, and is 0 since 2.15."""
    import torch

    x = torch.zeros((), requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(torch.clamp(x, min=0.0), x)
    return Unary.KIND_CLAMP if float(slope) == 1.0 else Unary.KIND_HARDTANH


@fold("clamp", "clip")
def clamp(f: Context, x: Value, min: object, max: object) -> Value:
    """Between two bounds."""
    x = f.cast(x, f.call.type)
    low = -math.inf if min is None else min
    high = math.inf if max is None else max
    if isinstance(low, Value) or isinstance(high, Value):
        x = x if min is None else f.binary(Binary.KIND_MAXIMUM, x, min)  # type: ignore[arg-type]
        return x if max is None else f.binary(Binary.KIND_MINIMUM, x, max)  # type: ignore[arg-type]
    kind = _bounded() if x.trained else Unary.KIND_CLAMP
    return f.unary(kind, x, low, high)  # type: ignore[arg-type]


@fold("clamp_min")
def clamp_min(f: Context, x: Value, min: object) -> Value:
    """No less than this."""
    return clamp(f, x, min, None)


@fold("clamp_max")
def clamp_max(f: Context, x: Value, max: object) -> Value:
    """No more than this."""
    return clamp(f, x, None, max)


@fold("clamp.Tensor", "clip.Tensor")
def clamp_tensor(f: Context, x: Value, min: Value | None, max: Value | None) -> Value:
    """Between tensors, which share the gradient where they are equal."""
    x = x if min is None else f.binary(Binary.KIND_MAXIMUM, x, min)
    return x if max is None else f.binary(Binary.KIND_MINIMUM, x, max)


@fold("round.decimals")
def round_decimals(f: Context, x: Value, decimals: int) -> Value:
    """To so many digits."""
    return f.div(f.unary(Unary.KIND_ROUND, f.mul(x, 10.0**decimals)), 10.0**decimals)


@fold("frac")
def frac(f: Context, x: Value) -> Value:
    """What is behind the point."""
    return f.sub(x, f.unary(Unary.KIND_TRUNC, x))


@fold("logical_not")
def logical_not(f: Context, x: Value) -> Value:
    """Of x != 0."""
    return f.unary(Unary.KIND_NOT, f.cast(x, BOOL))


@fold("bitwise_not")
def bitwise_not(f: Context, x: Value) -> Value:
    """Bit by bit."""
    return f.unary(Unary.KIND_NOT, x)


@fold("isnan")
def isnan(f: Context, x: Value) -> Value:
    """Whether it is no number."""
    return f.unary(Unary.KIND_IS_NAN, f.cast(x, WORK))


@fold("isinf")
def isinf(f: Context, x: Value) -> Value:
    """Whether it is infinite."""
    return f.unary(Unary.KIND_IS_INF, f.cast(x, WORK))


@fold("isfinite")
def isfinite(f: Context, x: Value) -> Value:
    """Neither of both."""
    return f.unary(Unary.KIND_NOT, f.binary(Binary.KIND_OR, isnan(f, x), isinf(f, x)))


@fold("nan_to_num")
def nan_to_num(f: Context, x: Value, nan: float | None, posinf: float | None, neginf: float | None) -> Value:
    """Numbers in the place of what is none."""
    import torch

    meta = f.call.metas[0]
    most = torch.finfo(meta.dtype).max if meta.dtype.is_floating_point else 0.0
    high = most if posinf is None else posinf
    return f.unary(Unary.KIND_NAN_TO_NUM, x, nan or 0.0, high, -most if neginf is None else neginf)


@fold("fill.Scalar", "fill.Tensor")
def fill(f: Context, x: Value, value: object) -> Value:
    """One value everywhere."""
    return f.full(f.sizes(x), value, x.type)  # type: ignore[arg-type]
