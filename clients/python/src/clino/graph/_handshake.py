"""What the live model says of a few rows: its loss, and how large its gradient is, tensor by tensor.

Owns: how the loss of a `LossSpec` is computed with torch. May not touch: the live model's state, graphs.

Norms by tensor, not of the whole gradient: a wrong gradient of attention changes single tensors by a factor, and the
norm of all by three in ten thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from clino._evaluation import _undisturbed, unwrapped
from clino.graph import _loss
from clino.graph._errors import ExportError
from clino.v1 import graph_pb2


@dataclass(frozen=True)
class Handshake:
    """The loss of rows, and the norm of its gradient by tensor."""

    loss: float
    gradient_norm: float
    by_tensor: dict[str, float]


def handshake(model: Any, inputs: Mapping[str, Any], labels: Any = None, loss: Any = None) -> Handshake:
    """Compute the loss of some rows and its gradient with the live model, in evaluation mode.

    `labels` is a tensor, or a mapping of several; labels among the inputs are taken where it is not given. Tied
    tensors have
    the sum of their gradients, under the first name. Nothing of the model is changed: its gradients, its mode,
    buffers and random states are afterwards as they were.
    """
    module = unwrapped(model)
    rows = {name: value for name, value in inputs.items() if name not in _LABELS}
    given = labels if isinstance(labels, Mapping) else {"labels": labels} if labels is not None else {}
    given = {**{name: inputs[name] for name in _LABELS if name in inputs}, **given}
    wanted = _loss.loss_of(module, loss, given)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise ExportError("model: found no parameter that is trained, expected some")
    with _undisturbed(module, next(iter(trained.values())).device), torch.enable_grad():
        outputs = wanted.outputs(module(**rows), given)
        value = spec_loss(wanted.finished(outputs), outputs, given)
        gradients = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    norms = {
        name: 0.0 if gradient is None else float(gradient.detach().double().norm())
        for name, gradient in zip(trained, gradients, strict=True)
    }
    return Handshake(float(value), sum(norm**2 for norm in norms.values()) ** 0.5, norms)


_LABELS = ("labels", "label", "label_ids", "start_positions", "end_positions")


def spec_loss(spec: graph_pb2.LossSpec, outputs: Mapping[str, Any], labels: Mapping[str, Any]) -> Any:
    """The mean loss over units that a specification means, as torch computes it."""
    output = outputs[spec.output or "logits"]
    kind = spec.WhichOneof("kind")
    if kind == "given":
        weights = outputs[spec.given.weights] if spec.given.weights else torch.ones_like(output)
        value = (output * weights).sum() / weights.sum()
    else:
        target = next(iter(labels.values())) if spec.labels not in labels else labels[spec.labels]
        value = _KINDS[str(kind)](spec, output, target)
    for auxiliary in spec.auxiliary:
        value = value + auxiliary.weight * outputs[auxiliary.output]
    return value


def _cross_entropy(spec: graph_pb2.LossSpec, scores: Any, labels: Any) -> Any:
    kind = spec.cross_entropy
    if kind.classes_first and scores.dim() > 2:
        scores = scores.movedim(1, -1)
    if kind.shift:
        scores, labels = scores[:, : -kind.shift], labels[:, kind.shift :]
    weight = (
        torch.tensor(list(kind.class_weights), dtype=scores.dtype, device=scores.device) if kind.class_weights else None
    )
    ignored = kind.ignore_index if kind.HasField("ignore_index") else -1
    return functional.cross_entropy(
        scores.reshape(-1, scores.shape[-1]),
        labels.reshape(-1).long(),
        weight=weight,
        ignore_index=ignored,
        label_smoothing=kind.smoothing,
    )


def _squared(spec: graph_pb2.LossSpec, output: Any, labels: Any) -> Any:
    return functional.mse_loss(output, labels.to(output.dtype).reshape(output.shape))


def _huber(spec: graph_pb2.LossSpec, output: Any, labels: Any) -> Any:
    labels = labels.to(output.dtype).reshape(output.shape)
    if spec.huber.smooth:
        return functional.smooth_l1_loss(output, labels, beta=spec.huber.delta)
    return functional.huber_loss(output, labels, delta=spec.huber.delta)


def _binary(spec: graph_pb2.LossSpec, output: Any, labels: Any) -> Any:
    given = list(spec.binary_cross_entropy.positive_weights)
    weights = torch.tensor(given, dtype=output.dtype, device=output.device) if given else None
    return functional.binary_cross_entropy_with_logits(
        output, labels.to(output.dtype).reshape(output.shape), pos_weight=weights
    )


_KINDS = {
    "cross_entropy": _cross_entropy,
    "squared_error": _squared,
    "huber": _huber,
    "binary_cross_entropy": _binary,
}
