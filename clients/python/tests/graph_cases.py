"""One small module for each ATen name, with inputs that show its derivative; used by test_graph_operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

A = torch.ops.aten
attend: Any = functional.scaled_dot_product_attention


@dataclass(frozen=True)
class Case:
    """A function of a weight w, floats x [batch, 4, 6] and integers i [batch, 5] from 0 to 3."""

    name: str
    function: Callable[[Any, Any, Any], Any]
    weight: tuple[int, ...] = (4, 6)
    # What is done to the weight first: "positive", "unit" (between -1 and 1), "above one", or nothing.
    domain: str = ""


CASES: list[Case] = []


def case(
    name: str, function: Callable[[Any, Any, Any], Any], weight: tuple[int, ...] = (4, 6), domain: str = ""
) -> None:
    CASES.append(Case(name, function, weight, domain))


def _alone(name: str) -> Callable[[Any, Any, Any], Any]:
    return lambda w, x, i: getattr(A, name)(w * x)


def _of_weight(name: str) -> Callable[[Any, Any, Any], Any]:
    return lambda w, x, i: getattr(A, name)(w) * x


_ALONE = """abs neg exp expm1 sin cos tan atan sinh cosh tanh asinh erf sigmoid relu silu gelu elu leaky_relu hardtanh
square sign floor ceil trunc round softplus hardswish hardsigmoid mish log_sigmoid selu celu relu6 erfc exp2 frac"""
for _name in _ALONE.split():
    case(_name, _alone(_name))
for _name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"):
    case(_name, _of_weight(_name), domain="positive")
for _name in ("asin", "acos", "atanh"):
    case(_name, _of_weight(_name), domain="unit")
case("acosh", lambda w, x, i: A.acosh(w) * x, domain="above one")
case("gelu tanh", lambda w, x, i: functional.gelu(w * x, approximate="tanh"))
case("softplus beta", lambda w, x, i: functional.softplus(w * x * 9, beta=2.0, threshold=3.0))
case("clamp", lambda w, x, i: torch.clamp(w * x, -0.4, 0.5))
case(
    "clamp at a bound",
    lambda w, x, i: torch.clamp(w * 0 + w - w.detach() + 0.5, 0.5, 2.0) + torch.clamp(torch.relu(w - 100), min=0) + w,
)
case(
    "clamp of equals",
    lambda w, x, i: torch.clamp(w, w.detach()) + torch.fmax(w, w.detach()) + torch.maximum(w, w.detach()) * 2,
)
case("clamp min", lambda w, x, i: torch.clamp(w * x, min=0.1))
case("clamp.Tensor", lambda w, x, i: torch.clamp(w, x, x + 0.5))
case("threshold", lambda w, x, i: functional.threshold(w * x, 0.1, 7.0))
case("nan_to_num", lambda w, x, i: torch.nan_to_num(w * x + torch.where(x > 1, float("inf"), 0.0), posinf=3.0))
case("isnan isinf", lambda w, x, i: w * torch.where(torch.isinf(1 / torch.relu(x)) | torch.isnan(x), 2.0, x))
case("round.decimals", lambda w, x, i: w * torch.round(x, decimals=1))
case("detach", lambda w, x, i: w * (w.detach() * x))
case("add alpha", lambda w, x, i: torch.add(w, x, alpha=2.5) + torch.sub(x, w, alpha=0.5))
case("add scalar", lambda w, x, i: (2 + w) * (1.5 - x) / (w * w + 3) - A.rsub(w, 2.0))
case("div", lambda w, x, i: x / w + 1 / w + w / 3, domain="positive")
case(
    "div mode", lambda w, x, i: w * torch.div(x, 0.3, rounding_mode="floor") + torch.div(x, 0.7, rounding_mode="trunc")
)
case(
    "fmod remainder",
    lambda w, x, i: torch.fmod(w * x, 0.7) + torch.remainder(x * w, 0.6) + torch.fmod(x, w),
    domain="positive",
)
case("integers", lambda w, x, i: w * ((i // 2 + i % 3) * (i - 1))[:, :4, None] + (i / 2)[:, :4, None])
case("bits", lambda w, x, i: w * ((i & 1) | (i ^ 2) | (~i & 3))[:, :4, None] * ((i << 2) >> 1)[:, :4, None])
case("pow", lambda w, x, i: w**2 + w**0.5 * x + 2.0**w + w ** (x * 0.3) + w**-1, domain="positive")
case("pow integers", lambda w, x, i: w * (i**2)[:, :4, None])
case("maximum", lambda w, x, i: torch.maximum(w, x) + torch.minimum(w, 2 * x))
case("fmax", lambda w, x, i: torch.fmax(w, x) + torch.fmin(w, 2 * x))
case("atan2", lambda w, x, i: torch.atan2(w, x))
case("logical", lambda w, x, i: w * (torch.logical_and(i, i > 1) | torch.logical_xor(i > 0, i < 2))[:, :4, None])
case("logical_not", lambda w, x, i: w * torch.logical_not(i)[:, :4, None] + torch.logical_or(i, i)[:, :4, None] * w)
case("compare", lambda w, x, i: w * ((x > 0) & (x <= 1) | (x != x) | (x == 2) | (x >= 1.5) | (x < -1)))
case("compare integers", lambda w, x, i: w * (i.eq(2) | i.ne(1) & i.ge(i.flip(1)))[:, :4, None])
case("bool arithmetic", lambda w, x, i: w * ((x > 0) * (x < 1) + (x > 1)) * ((x > 0).sum(1, keepdim=True)))
case("where", lambda w, x, i: torch.where(x > 0, w * x, 0.0) + torch.where(x > 1, 2.0, w))
case("masked_fill", lambda w, x, i: (w * x).masked_fill(x > 0, -3.0))
case("prelu", lambda w, x, i: functional.prelu(x, w), (4,))
case(
    "lerp addcmul",
    lambda w, x, i: torch.lerp(x, w, 0.3) + torch.addcmul(x, w, w, value=0.5) + torch.addcdiv(x, x, w),
    domain="positive",
)
case("isin", lambda w, x, i: w * torch.isin(i, torch.tensor([1, 3]))[:, :4, None])
case("bucketize", lambda w, x, i: w * torch.bucketize(x, torch.tensor([-1.0, 0.0, 0.5])))
case("searchsorted right", lambda w, x, i: w * torch.searchsorted(torch.tensor([-1.0, 0.0, 0.5]), x, right=True))
case("complex", lambda w, x, i: _rotated(w, x))
case("fft", lambda w, x, i: torch.fft.fftn(w * x, dim=(0, 2)).real + torch.fft.rfft(w * x, norm="ortho").abs().sum())
case("ifft", lambda w, x, i: torch.fft.ifft(torch.fft.fft(w * x, dim=1), dim=1).imag + torch.fft.fft(w * x).imag)
# Shapes.
case("view", lambda w, x, i: (w * x).view(x.shape[0], -1).view(-1, 3, 8).flatten(1).unflatten(1, (2, 12)))
case("unsqueeze squeeze", lambda w, x, i: (w[None, :, None] * x.unsqueeze(2).unsqueeze(-1).squeeze(-1)).squeeze(2))
case("squeeze all", lambda w, x, i: torch.squeeze((w * x)[:, :1, :1].sum(1, keepdim=True)))
case("permute", lambda w, x, i: (w * x).permute(2, 0, 1) @ w.t()[:4])
case("transpose", lambda w, x, i: (w * x).transpose(1, 2).mT.movedim(1, 2))
case("expand", lambda w, x, i: w[:, None, :].expand(4, x.shape[0], 6) + w.expand(2, 4, 6).sum(0)[:, None])
case("repeat", lambda w, x, i: w.repeat(2, 3) * (w * x).repeat(1, 2, 3))
case("repeat_interleave", lambda w, x, i: torch.repeat_interleave(w * x, 3, dim=1))
case("slice", lambda w, x, i: (w * x)[:, 1:, ::2] + (w * x)[:, :-1, 1::2] + (w * x)[:, -3:, :-3])
case("slice batch", lambda w, x, i: (w * x)[1:] - (w * x)[:-1])
case("select unbind", lambda w, x, i: sum(part for part in (w * x).unbind(1)) + (w * x)[:, 2] - (w * x)[:, -1])
case(
    "split",
    lambda w, x, i: torch.cat([p.exp() for p in torch.split(w * x, [1, 2, 3], 2)], 2) + (w * x).chunk(2, 1)[0].sum(),
)
case("cat stack", lambda w, x, i: torch.cat([x, w * x, x[:, :1]], 1) + torch.stack([x, w + x], 1).sum((1, 2))[:, None])
case("flip roll", lambda w, x, i: (w * x).flip([1, 2]) + torch.roll(w * x, (1, -2), (1, 2)) + torch.roll(w, 3))
case("diagonal", lambda w, x, i: torch.diagonal(w * x, 1, 1, 2) + torch.diagonal(w * x, -1, 2, 1)[:, :4].sum())
case("as_strided", lambda w, x, i: torch.as_strided(w * 1.0, (3, 4), (6, 1), 1) * x[:, :3, :4])
case("unfold", lambda w, x, i: (w * x).unfold(2, 3, 2) * 2)
case("pad", lambda w, x, i: functional.pad(w * x, (1, 2, -1, 1), value=0.5))
case("pad reflect", lambda w, x, i: functional.pad(w * x, (2, 1), mode="reflect"))
case("pad replicate", lambda w, x, i: functional.pad(w * x, (2, 1), mode="replicate"))
case("pad circular", lambda w, x, i: functional.pad(w * x, (2, 1), mode="circular"))
case("pad reflect 2", lambda w, x, i: functional.pad((w * x)[:, None], (2, 1, 1, 2), mode="reflect"))
case("pad replicate 3", lambda w, x, i: functional.pad((w * x)[:, None, None], (2, 1, 1, 2, 1, 1), mode="replicate"))
case("pixel_shuffle", lambda w, x, i: functional.pixel_shuffle((w * x)[..., None].expand(-1, -1, -1, 3), 2))
case("pixel_unshuffle", lambda w, x, i: functional.pixel_unshuffle((w * x)[:, None], 2))
# Reductions.
case("sum mean", lambda w, x, i: (w * x).sum((0, 2)) + (w * x).mean(1).sum() + (w * x).sum() + (w * x).mean())
case("amax amin", lambda w, x, i: (w * x).amax((1, 2)) + (w * x).amin(1, keepdim=True).sum((1, 2)))
case("amax ties", lambda w, x, i: torch.relu(w - 100).amax(1) + torch.relu(w - 100).amin(0).sum() + w[:, 0])
case(
    "max", lambda w, x, i: (w * x).max(2).values + (w * x).min(1, keepdim=True)[0].sum() + (w * x).max() - (w * x).min()
)
case("max ties", lambda w, x, i: torch.relu(w - 100).max(1).values + w[:, 0])
case(
    "argmax", lambda w, x, i: w * torch.argmax(x, 1, keepdim=True) + torch.argmin(x, 2)[..., None] + torch.argmax(x) * w
)
case("prod", lambda w, x, i: (w * x).prod(1) + w.prod())
case("any all", lambda w, x, i: w * (x > 0).any(1, keepdim=True) * (x > -9).all() + (i > 0).all(1)[:, None, None] * w)
case("logsumexp", lambda w, x, i: torch.logsumexp(w * x, (1, 2)))
case("var std", lambda w, x, i: (w * x).var(2) + (w * x).std(2, correction=0) + torch.var_mean(w * x, 1)[0].sum())
case("norm", lambda w, x, i: (w * x).norm(dim=2) + (w * x).norm(p=1, dim=2) + torch.linalg.vector_norm(w * x, 3, 2))
case("norm infinity", lambda w, x, i: torch.linalg.vector_norm(w * x, float("inf"), 2) + (w * x).norm(p=0, dim=2))
case(
    "normalize",
    lambda w, x, i: functional.normalize(w * x, dim=-1) + functional.cosine_similarity(w, x, 1)[..., None].sum(),
)
case("cumsum cumprod", lambda w, x, i: torch.cumsum(w * x, 1) + torch.cumprod(w * x, 2) + torch.cumsum(x > 0, 2))
case(
    "sort", lambda w, x, i: torch.sort(w * x, 2).values * torch.sort(x, 1, descending=True)[1] + torch.argsort(x, 2) * w
)
case("topk", lambda w, x, i: torch.topk(w * x, 3, 2).values * torch.topk(x, 3, 2, largest=False)[1])
case("kthvalue", lambda w, x, i: torch.kthvalue(w * x, 2, 2).values + torch.median(w * x, 2).values)
case("histc", lambda w, x, i: w[:, 0] * torch.histc(i.float(), bins=4, min=0, max=3))
# Indices.
case("embedding", lambda w, x, i: functional.embedding(i, w) + functional.embedding(i, w, padding_idx=2))
case("index_select", lambda w, x, i: torch.index_select(w * x, 2, torch.tensor([3, 0, 3])))
case("gather", lambda w, x, i: torch.gather(w * x, 2, i[:, :4, None].expand(-1, -1, 2)))
case("index one", lambda w, x, i: (w * x)[:, torch.tensor([1, -1, 0])] + w[i].sum())
case("index two", lambda w, x, i: w[i[:, :2], i[:, 1:3]] + (w * x)[:, torch.tensor([0, 1]), torch.tensor([2, -1])])
case("index apart", lambda w, x, i: (w * x)[torch.tensor([0, 1]), :, torch.tensor([2, 3])])
case("take", lambda w, x, i: torch.take(w, i))
case(
    "scatter",
    lambda w, x, i: (
        torch.scatter(x, 2, i[:, :4, None], (w * x)[:, :, :1]) + torch.scatter(w * x, 1, i[:, None, :], 2.0)
    ),
)
case("scatter_add", lambda w, x, i: torch.scatter_add(w * x, 2, i[:, :4, None].expand(-1, -1, 3), (w * x)[..., :3]))
case("scatter_reduce", lambda w, x, i: torch.scatter_reduce(x, 2, i[:, :4, None], (w * x)[:, :, :1], "sum"))
case("index_add", lambda w, x, i: torch.index_add(x, 1, torch.tensor([0, 2, 0]), (w * x)[:, :3], alpha=2))
case("index_copy", lambda w, x, i: torch.index_copy(x * w, 1, torch.tensor([0, 2]), (w * x * 2)[:, :2]))
case(
    "index_put",
    lambda w, x, i: A.index_put(w * x, [None, torch.tensor([0, 2])], w[:2]) + A.index_put(w, [i[:, 0]], w[0], True),
)
case("index_put two", lambda w, x, i: A.index_put(w * 1.0, [i[:, 0], i[:, 1]], x[:, 0, 0], True))
case("index_put mask", lambda w, x, i: A.index_put(w * x, [x > 0], torch.tensor(0.25)))
case("assign", lambda w, x, i: _assigned(w, x))
case("masked_scatter", lambda w, x, i: (w * x).masked_scatter(x > 0, (w * x * 2).flip(0)))
case(
    "slice_scatter",
    lambda w, x, i: A.slice_scatter(x, (w * x)[:, 1:3], 1, 1, 3) + A.slice_scatter(w * x, x[:, ::2], 1, 0, 4, 2),
)
case("select_scatter", lambda w, x, i: A.select_scatter(w * x, w[:, 0].expand(x.shape[0], 4) * 2, 2, -1))
case("diagonal_scatter", lambda w, x, i: torch.diagonal_scatter(w, x[0, 0, :4], 1) * x)
case(
    "tril triu",
    lambda w, x, i: torch.tril(w * x, 1) + torch.triu(w * x, -1) + torch.tril(torch.ones(4, 6, dtype=torch.bool)) * w,
)
# Products.
case("linear", lambda w, x, i: functional.linear(x, w, w[:, 0]) + functional.linear(x, w[:, :].flip(1)))
case(
    "matmul",
    lambda w, x, i: (
        x @ w.t() + torch.mm(w, w.t()) + (x[:, 0] @ w.t())[:, None] + torch.bmm(x, x.transpose(1, 2)) * w[:, :4]
    ),
)
case(
    "addmm",
    lambda w, x, i: (
        torch.addmm(w[:, :4], w, w.t(), beta=0.5, alpha=2)
        + torch.baddbmm(w[None, :, :4].expand(x.shape[0], 4, 4), x, x.mT)
    ),
)
case(
    "vectors",
    lambda w, x, i: (
        torch.mv(w, w[0]) + torch.dot(w[0], w[1]) + torch.outer(w[:, 0], w[0]).sum(1) + torch.addmv(w[:, 0], w, w[1])
    ),
)
case(
    "einsum",
    lambda w, x, i: (
        torch.einsum("bij,kj->bik", x, w)
        + torch.einsum("bij,bkj->bik", x, w * x)
        + torch.einsum("bij,ij->b", x, w)[:, None, None]
    ),
)
case("cdist", lambda w, x, i: torch.cdist(x, w) + torch.cdist(x, w, p=1.0))
case("pdist", lambda w, x, i: torch.nn.functional.pdist(w) * x[:, :1, 0])
case("cross", lambda w, x, i: torch.linalg.cross((w * x)[..., :3], x[..., 3:]))
case("trace", lambda w, x, i: torch.trace(w) * x)
case("conv1d", lambda w, x, i: functional.conv1d(x, w.reshape(3, 4, 2), w[0, :3], 2, 1, 1), (4, 6))
case("conv1d same", lambda w, x, i: functional.conv1d(x, w.reshape(3, 4, 2), padding="same", dilation=3))
case(
    "conv2d",
    lambda w, x, i: functional.conv2d(
        x[:, None], w.reshape(2, 1, 3, 4), stride=(1, 2), padding=(2, 1), dilation=(2, 1)
    ),
)
case("conv2d groups", lambda w, x, i: functional.conv2d(x[:, :, None], w.reshape(8, 1, 1, 3), groups=4, padding=(0, 1)))
case("conv3d", lambda w, x, i: functional.conv3d(x[:, None, None], w.reshape(1, 1, 1, 4, 6), padding=(1, 1, 2)))
case("conv single", lambda w, x, i: functional.conv1d(x[0], w.reshape(3, 4, 2)))
case(
    "conv_transpose",
    lambda w, x, i: functional.conv_transpose1d(
        x, w.reshape(4, 2, 3), stride=2, padding=1, output_padding=1, dilation=2
    ),
)
case(
    "conv_transpose2d",
    lambda w, x, i: functional.conv_transpose2d(x[:, :, None], w.reshape(4, 1, 2, 3), groups=2, stride=(2, 1)),
)
case("attention", lambda w, x, i: attend(*[(w * x)[:, None] * k for k in (1, 2, 3)]))
case(
    "attention causal",
    lambda w, x, i: attend(*[(w * x)[:, None] * k for k in (1, 2, 3)], is_causal=True, scale=0.3),
)
case(
    "attention mask",
    lambda w, x, i: attend(x * w, x + w, w * x * x, attn_mask=(x[:, :, :4] > -0.5)),
)
case(
    "attention added",
    lambda w, x, i: attend(x * w, x + w, w * x * x, attn_mask=(x * w)[:, :, :4]),
)
case(
    "attention groups",
    lambda w, x, i: attend(
        *[
            (w * x).reshape(-1, n, 24 // (n * 3), 3) if n == 4 else (w * x)[:, :, :3].reshape(-1, 2, 2, 3)
            for n in (4, 2, 2)
        ],
        enable_gqa=True,
    ),
)
# Norms.
case("softmax", lambda w, x, i: torch.softmax(w * x, 1) + torch.log_softmax(w * x, -1))
case(
    "layer_norm", lambda w, x, i: functional.layer_norm(x * w, (6,), w[0], w[1]) + functional.layer_norm(x * w, (4, 6))
)
case(
    "native_layer_norm",
    lambda w, x, i: (
        sum(p * w.sum() for p in A.native_layer_norm(x, [6], None, None, 1e-3))
        + A.native_layer_norm(x * w, [6], w[0], w[1], 1e-3)[0]
    ),
)
case("rms_norm", lambda w, x, i: functional.rms_norm(x * w, (6,), w[0], eps=1e-3))
case("group_norm", lambda w, x, i: functional.group_norm(x * w, 2, w[:, 0], w[:, 1]))
case(
    "native_group_norm",
    lambda w, x, i: (
        sum(
            part.reshape(x.shape[0], -1).sum(1)
            for part in A.native_group_norm(x, None, None, x.shape[0], 4, 6, 2, 1e-4)
        )
        + A.native_group_norm(x * w, w[:, 0], None, x.shape[0], 4, 6, 2, 1e-4)[0].sum((1, 2))
    ),
)
case(
    "batch_norm", lambda w, x, i: functional.batch_norm(x, x[0, :, 0] * 0 + 0.3, x[0, :, 0] * 0 + 2.0, w[:, 0], w[:, 1])
)
case("batch_norm own", lambda w, x, i: functional.batch_norm(x * w, None, None, w[:, 0], w[:, 1], training=True))
case("instance_norm", lambda w, x, i: functional.instance_norm(x * w, weight=w[:, 0], bias=w[:, 1]))
case("weight_norm", lambda w, x, i: x @ torch._weight_norm(w, w[:, :1].exp(), 0).t())
case("local_response_norm", lambda w, x, i: functional.local_response_norm(x * w, 3))
# Windows.
case("max_pool1d", lambda w, x, i: functional.max_pool1d(x * w, 3, 2, 1))
case("max_pool2d", lambda w, x, i: functional.max_pool2d((x * w)[:, None], 2, (1, 2), 1, ceil_mode=True))
case("max_pool indices", lambda w, x, i: functional.max_pool2d((x * w)[:, None], 2, return_indices=True)[1] * w[0, :3])
case("max_pool3d", lambda w, x, i: functional.max_pool3d((x * w)[:, None, None], (1, 2, 2), dilation=(1, 1, 2)))
case("avg_pool1d", lambda w, x, i: functional.avg_pool1d(x * w, 3, 2, 1, count_include_pad=False))
case("avg_pool2d", lambda w, x, i: functional.avg_pool2d((x * w)[:, None], (2, 3), (1, 2), (1, 1), ceil_mode=True))
case("avg_pool2d divisor", lambda w, x, i: functional.avg_pool2d((x * w)[:, None], 2, divisor_override=3))
case("avg_pool3d", lambda w, x, i: functional.avg_pool3d((x * w)[:, None, None], (1, 2, 2)))
case(
    "adaptive_avg_pool",
    lambda w, x, i: (
        functional.adaptive_avg_pool2d((x * w)[:, None], (3, 4)) + functional.adaptive_avg_pool1d(x * w, 4)[:, None, :3]
    ),
)
case("adaptive_avg_pool3d", lambda w, x, i: functional.adaptive_avg_pool3d((x * w)[:, None, None], (1, 3, 5)))
case(
    "adaptive_max_pool",
    lambda w, x, i: (
        functional.adaptive_max_pool2d((x * w)[:, None], (3, 4)) + functional.adaptive_max_pool1d(x * w, 4)[:, None, :3]
    ),
)
case(
    "upsample nearest",
    lambda w, x, i: functional.interpolate(x * w, scale_factor=2) + functional.interpolate(x * w, size=12),
)
case(
    "upsample factor",
    lambda w, x, i: functional.interpolate((x * w)[:, None], scale_factor=(1.5, 1.3), mode="bilinear"),
)
case("upsample exact", lambda w, x, i: functional.interpolate((x * w)[:, None], size=(7, 5), mode="nearest-exact"))
case(
    "upsample bilinear",
    lambda w, x, i: functional.interpolate((x * w)[:, None], size=(7, 9), mode="bilinear", align_corners=True),
)
case("upsample linear", lambda w, x, i: functional.interpolate(x * w, size=9, mode="linear"))
case("upsample bicubic", lambda w, x, i: functional.interpolate((x * w)[:, None], size=(7, 9), mode="bicubic"))
case(
    "upsample trilinear",
    lambda w, x, i: functional.interpolate((x * w)[:, None, None], size=(2, 7, 9), mode="trilinear"),
)
case(
    "unfold images",
    lambda w, x, i: functional.unfold((x * w)[:, None], (2, 3), dilation=(2, 1), padding=1, stride=(1, 2)),
)
case("fold images", lambda w, x, i: functional.fold(x * w, (3, 4), (2, 2), padding=0, stride=(1, 1)))
case("fold padded", lambda w, x, i: functional.fold(x * w, (2, 4), (2, 2), padding=(1, 0), stride=(2, 1)))
case(
    "grid_sample",
    lambda w, x, i: functional.grid_sample(
        (x * w)[:, None], torch.tanh(x[:, :, :2] * w[:, :2])[:, None], align_corners=False
    ),
)
# Made of sizes.
case(
    "fresh",
    lambda w, x, i: (
        w * torch.ones_like(x) + torch.full((4, 6), 2.0) * w + torch.zeros(x.shape[0], 4, 6) + x.new_zeros(6)
    ),
)
case(
    "arange",
    lambda w, x, i: (
        w * torch.arange(6)
        + torch.arange(x.shape[0], dtype=x.dtype)[:, None, None] * w
        + torch.arange(0.5, 2.0, 0.25, dtype=x.dtype) * w
    ),
)
case("linspace eye", lambda w, x, i: w * torch.linspace(-1, 1, 6, dtype=x.dtype) + torch.eye(4, 6, dtype=x.dtype) * w)
case("one_hot", lambda w, x, i: functional.one_hot(i, 4).to(x.dtype) @ w)
case("sizes", lambda w, x, i: w * x.shape[0] + x.sum(0) / x.shape[0] + w * (x.numel() // 5) + w * (x.shape[0] ** -0.5))
case("scalar_tensor", lambda w, x, i: w * torch.tensor(2.5) + torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None] * w)
case("dropout", lambda w, x, i: functional.dropout(w * x, 0.5, training=False))
case("glu", lambda w, x, i: functional.glu(w * x, 2))
case("meshgrid", lambda w, x, i: sum(torch.meshgrid(w[:, 0], w[0], indexing="ij")) * x)


def _assigned(w: Any, x: Any) -> Any:
    y = torch.zeros_like(x)
    y[:, 1:3] = (w * x)[:, :2]
    y[:, 0, ::2] = w[0, :3]
    y[..., -1] += 2 * w[:, 1]
    return y


def _rotated(w: Any, x: Any) -> Any:
    """Rotary tables as complex numbers."""
    angles = torch.arange(4, dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.5, 0.25], dtype=x.dtype)
    table = torch.polar(torch.ones_like(angles), angles)[None]
    y = torch.view_as_complex((w * x).unflatten(-1, (3, 2)).contiguous())
    turned = torch.view_as_real(y * table + y * 0.5 - y.conj().transpose(1, 2).transpose(1, 2)).flatten(-2)
    return turned + (y * table).abs().repeat(1, 1, 2) + y.real.sum() - torch.complex(w, 2 * w).imag
