"""What is lost on the outputs of a model: said by the user, or found from the head.

Owns: `loss=` in all its forms. May not touch: how Hugging Face calls its heads (that is `_heads`), graphs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from clino.graph import _heads
from clino.graph._errors import ExportError
from clino.v1 import graph_pb2

# The name of the output that holds losses made by the graph, and of their weights.
LOSSES, WEIGHTS = "losses", "loss_weights"

_NAMES: Mapping[str, Callable[[], graph_pb2.LossSpec]] = {
    "cross_entropy": lambda: _heads.cross_entropy(),
    "token_cross_entropy": lambda: _heads.cross_entropy(),
    "causal_lm": lambda: _heads.cross_entropy(shift=1),
    "mse": lambda: graph_pb2.LossSpec(squared_error=graph_pb2.SquaredError()),
    "huber": lambda: graph_pb2.LossSpec(huber=graph_pb2.Huber(delta=1.0)),
    "smooth_l1": lambda: graph_pb2.LossSpec(huber=graph_pb2.Huber(delta=1.0, smooth=True)),
    "bce": lambda: graph_pb2.LossSpec(binary_cross_entropy=graph_pb2.BinaryCrossEntropy()),
}


@dataclass
class Loss:
    """A loss, and what the graph has to give for it."""

    # None until the outputs are seen.
    spec: graph_pb2.LossSpec | None
    # From the model's output and the tensors of labels, if it reads some: outputs by name.
    outputs: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    # Tensors of the probe that are inputs of the graph for the sake of the loss.
    reads: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    # Names of the outputs, as they were when the model was traced.
    seen: list[str] = field(default_factory=list)

    def finished(self, outputs: Mapping[str, Any]) -> graph_pb2.LossSpec:
        """The loss, now that the outputs are known."""
        if self.spec is None:
            self.spec = _assumed(outputs, self.remarks)
        if self.spec.WhichOneof("kind") == "cross_entropy":
            main = outputs[self.spec.output or "logits"]
            if main.dim() < 2:
                raise ExportError(f"loss: found scores of shape {list(main.shape)}, expected [batch, ..., classes]")
            if self.spec.cross_entropy.classes_first and main.dim() == 2:
                self.spec.cross_entropy.classes_first = False
        return self.spec


def loss_of(model: Any, loss: Any, labels: Mapping[str, Any]) -> Loss:
    """The loss that a user means by `loss`, or that the head of the model has."""
    head = _heads.head_of(model)
    if loss is None:
        if head is None:
            return Loss(None, lambda output, _: named(output))
        return Loss(head.spec, head.outputs, head.reads, list(head.remarks))
    if isinstance(loss, graph_pb2.LossSpec):
        return Loss(loss, lambda output, _: every(output))
    if isinstance(loss, str):
        if loss not in _NAMES:
            raise ExportError(
                f"loss: found {loss!r}, expected one of {', '.join(sorted(_NAMES))}, a torch loss or a function"
            )
        return Loss(_NAMES[loss](), lambda output, _: named(output))
    if isinstance(loss, torch.nn.Module):
        return _of_module(loss, head, labels)
    if callable(loss):
        return _of_function(loss, labels)
    raise ExportError(
        f"loss: found {type(loss).__name__}, expected a name, a torch loss or a function of (outputs, labels)"
    )


def named(output: Any) -> dict[str, Any]:
    """The tensor that a loss reads, under the name logits."""
    return {"logits": main_of(output)}


def every(output: Any) -> dict[str, Any]:
    """All floating-point outputs under their names, or the one there is as logits."""
    if not isinstance(output, Mapping):
        return named(output)
    return {str(name): value for name, value in output.items() if isinstance(value, torch.Tensor)}


def main_of(output: Any) -> Any:
    """Scores: the output itself, its logits, or its first floating-point tensor."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping) and isinstance(output.get("logits"), torch.Tensor):
        return output["logits"]
    if isinstance(getattr(output, "logits", None), torch.Tensor):
        return output.logits
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, (list, tuple)) else ()
    for value in values:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value
    raise ExportError(f"found an output of type {type(output).__name__} without a tensor, expected logits")


def _assumed(outputs: Mapping[str, Any], remarks: list[str]) -> graph_pb2.LossSpec:
    """A loss by the shape of the output, where nothing is said."""
    main = outputs["logits"]
    if main.dim() < 2 or main.shape[-1] == 1:
        spec, what = graph_pb2.LossSpec(squared_error=graph_pb2.SquaredError()), "squared error"
    else:
        spec = _heads.cross_entropy(classes_first=main.dim() > 3)
        what = "cross-entropy of classes" if main.dim() == 2 else "cross-entropy of each token, without a shift"
    remarks.append(
        f"no loss is given and the model has no head of Hugging Face: {what} is taken, from the output's shape "
        f"{[str(size) for size in main.shape]}; give loss= if it is another"
    )
    return spec


def _of_module(loss: Any, head: _heads.Head | None, labels: Mapping[str, Any]) -> Loss:
    """A loss of torch by its attributes; any other module as a function."""
    kind = type(loss).__name__
    make = _MODULES.get(kind)
    if make is None:
        single = copy.copy(loss)
        if hasattr(single, "reduction"):
            single.reduction = "none"
        return _of_function(lambda outputs, given: single(main_of(outputs), given), labels)
    reduction = getattr(loss, "reduction", "mean")
    if reduction == "sum":
        raise ExportError(f"loss: found {kind}(reduction='sum'), expected the mean: it does not grow with the batch")
    spec = make(loss)
    outputs = (lambda output, _: named(output)) if head is None or head.reads else head.outputs
    both = head is not None and head.spec.WhichOneof("kind") == "cross_entropy" == spec.WhichOneof("kind")
    if both and head is not None:
        # Where the head has its classes, and whether it shifts, is the head's; the rest is the loss's.
        spec.cross_entropy.shift = head.spec.cross_entropy.shift
        spec.cross_entropy.classes_first = head.spec.cross_entropy.classes_first
    return Loss(spec, outputs)


def _cross_entropy(loss: Any) -> graph_pb2.LossSpec:
    spec = _heads.cross_entropy(ignore=loss.ignore_index, classes_first=True)
    spec.cross_entropy.smoothing = float(getattr(loss, "label_smoothing", 0.0))
    if loss.weight is not None:
        spec.cross_entropy.class_weights.extend(loss.weight.detach().double().cpu().tolist())
    return spec


def _binary(loss: Any) -> graph_pb2.LossSpec:
    if loss.weight is not None:
        raise ExportError("loss: found BCEWithLogitsLoss(weight=...), expected pos_weight alone, or a function")
    weights = [] if loss.pos_weight is None else loss.pos_weight.detach().double().cpu().reshape(-1).tolist()
    return graph_pb2.LossSpec(binary_cross_entropy=graph_pb2.BinaryCrossEntropy(positive_weights=weights))


_MODULES: Mapping[str, Callable[[Any], graph_pb2.LossSpec]] = {
    "CrossEntropyLoss": _cross_entropy,
    # Of log-probabilities the softmax is themselves.
    "NLLLoss": _cross_entropy,
    "MSELoss": lambda _: graph_pb2.LossSpec(squared_error=graph_pb2.SquaredError()),
    "HuberLoss": lambda loss: graph_pb2.LossSpec(huber=graph_pb2.Huber(delta=float(loss.delta))),
    "SmoothL1Loss": lambda loss: graph_pb2.LossSpec(huber=graph_pb2.Huber(delta=float(loss.beta), smooth=True)),
    "BCEWithLogitsLoss": _binary,
}


def _of_function(loss: Callable[..., Any], labels: Mapping[str, Any]) -> Loss:
    """Losses by example that a function of the outputs and labels makes, as a part of the graph."""
    if not labels:
        raise ExportError("inputs: found no labels, expected them beside the inputs: the loss is a function of them")
    one = next(iter(labels)) if len(labels) == 1 else None
    spec = graph_pb2.LossSpec(given=graph_pb2.Given(), output=LOSSES)

    def outputs(output: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        found = loss(output, given[one] if one else dict(given))
        if not isinstance(found, torch.Tensor) or not found.is_floating_point():
            raise ExportError(f"loss: found a {type(found).__name__}, expected a tensor with the loss of each example")
        first = next(iter(given.values()))
        if found.dim() == 0:
            # A scalar couples the batch: each of its examples has it, and so has their mean.
            spec.batch_coupled = True
            found = found.expand(first.shape[0])
        elif found.dim() > 2:
            found = found.flatten(1).mean(1)
        try:
            main = named(output)
        except ExportError:
            main = {}
        return {**main, LOSSES: found}

    return Loss(spec, outputs, tuple(labels))
