"""The losses of Hugging Face's heads, which a model computes itself when it is given labels.

Owns: what a head is called, and what its loss is. May not touch: losses that the user gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from clino.graph._errors import ExportError
from clino.v1 import graph_pb2

# What Hugging Face's losses leave out.
IGNORED = -100


@dataclass(frozen=True)
class Head:
    """A loss, and the outputs that it reads."""

    spec: graph_pb2.LossSpec
    outputs: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    # Labels that are inputs of the graph.
    reads: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def cross_entropy(ignore: int = IGNORED, shift: int = 0, classes_first: bool = False) -> graph_pb2.LossSpec:
    """Cross-entropy of classes, without the labels that are left out."""
    kind = graph_pb2.CrossEntropy(ignore_index=ignore, shift=shift, classes_first=classes_first)
    return graph_pb2.LossSpec(cross_entropy=kind)


def head_of(model: Any) -> Head | None:
    """The head of a model of Hugging Face, also inside PEFT or a module that holds it alone; None of anything else."""
    found = _inside(model)
    if found is None:
        return None
    name = type(found).__name__
    for ending, make in _ENDINGS:
        if ending in name:
            return make(found)
    return None


def _inside(model: Any) -> Any:
    """The first model with a configuration and a head's name, along modules that hold a single one."""
    part = model
    for _ in range(4):
        if hasattr(part, "get_base_model") and hasattr(part, "peft_config"):
            part = part.get_base_model()
        if hasattr(getattr(part, "config", None), "model_type") and any(e in type(part).__name__ for e, _ in _ENDINGS):
            return part
        children = list(part.children())
        if len(children) != 1:
            return None
        part = children[0]
    return None


def logits(output: Any, _: Mapping[str, Any]) -> dict[str, Any]:
    """The logits alone."""
    found = getattr(output, "logits", None)
    if found is None:
        found = output["logits"] if isinstance(output, Mapping) else output
    found = found[0] if isinstance(found, tuple) else found
    return {"logits": found}


def _classes(model: Any) -> Head:
    """One class of several, several classes, or a number, as the configuration says."""
    configuration = model.config
    kind, count = getattr(configuration, "problem_type", None), int(getattr(configuration, "num_labels", 2))
    if kind is None and count == 1:
        kind = "regression"
    if kind == "regression":
        return Head(graph_pb2.LossSpec(squared_error=graph_pb2.SquaredError()), _numbers if count == 1 else logits)
    if kind == "multi_label_classification":
        return Head(graph_pb2.LossSpec(binary_cross_entropy=graph_pb2.BinaryCrossEntropy()), logits)
    return Head(cross_entropy(), logits)


def _numbers(output: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
    """One number an example, of the shape of its label."""
    found = logits(output, labels)["logits"]
    return {"logits": found.squeeze(-1) if found.dim() == 2 and found.shape[-1] == 1 else found}


def _tokens(model: Any) -> Head:
    return Head(cross_entropy(), logits)


def _decoder(model: Any) -> Head:
    return _with_experts(model, cross_entropy(shift=1))


def _conditional(model: Any) -> Head:
    """An encoder and a decoder, whose labels are in place; or a decoder that reads more than text."""
    coupled = bool(getattr(model.config, "is_encoder_decoder", False))
    return _with_experts(model, cross_entropy(shift=0 if coupled else 1))


def _with_experts(model: Any, spec: graph_pb2.LossSpec) -> Head:
    """The balance of experts is added where the configuration says so."""
    configuration = model.config
    weight = getattr(configuration, "router_aux_loss_coef", None)
    if not getattr(configuration, "output_router_logits", False) or weight is None:
        return Head(spec, logits)
    spec.auxiliary.append(graph_pb2.AuxiliaryLoss(output="aux_loss", weight=float(weight)))

    def outputs(output: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        balance = getattr(output, "aux_loss", None)
        if not isinstance(balance, torch.Tensor):
            raise ExportError("found output_router_logits in the configuration, and no aux_loss in the output")
        return {**logits(output, labels), "aux_loss": balance}

    return Head(spec, outputs)


def _answers(model: Any) -> Head:
    """The places where an answer begins and ends: the mean of both losses."""
    spec = graph_pb2.LossSpec(given=graph_pb2.Given(weights="loss_weights"), output="losses")
    return Head(spec, _spans, ("start_positions", "end_positions"))


def _spans(output: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
    losses, weights = [], []
    for name, scores in (("start_positions", output.start_logits), ("end_positions", output.end_logits)):
        places = labels[name]
        # Hugging Face leaves out answers beyond the end.
        inside = (places >= 0) & (places < scores.shape[1])
        found = functional.log_softmax(scores, -1).gather(1, torch.where(inside, places, 0).unsqueeze(1)).squeeze(1)
        losses.append(torch.where(inside, -found, 0.0))
        weights.append(inside.to(scores.dtype))
    return {
        "start_logits": output.start_logits,
        "end_logits": output.end_logits,
        "losses": torch.stack(losses, 1),
        "loss_weights": torch.stack(weights, 1),
    }


def _segments(model: Any) -> Head:
    """A class for each pixel, of scores as large as the image."""
    ignored = int(getattr(model.config, "semantic_loss_ignore_index", 255))

    def outputs(output: Any, labels: Mapping[str, Any]) -> dict[str, Any]:
        scores = logits(output, labels)["logits"]
        size = getattr(model.config, "image_size", None)
        size = (size, size) if isinstance(size, int) else size
        if size is not None and tuple(scores.shape[-2:]) != tuple(size):
            scores = functional.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
        return {"logits": scores}

    return Head(cross_entropy(ignored, classes_first=True), outputs)


def _two_losses(model: Any) -> Head:
    name = type(model).__name__
    raise ExportError(
        f"loss: found {name}, whose loss is a sum of several, expected loss= as a function of (outputs, labels)"
    )


def _alignment(model: Any) -> Head:
    raise ExportError(f"loss: found {type(model).__name__}, whose loss (CTC) clino does not know, expected loss=")


# By what a class is called; the first one that fits.
_ENDINGS: tuple[tuple[str, Callable[[Any], Head]], ...] = (
    ("ForSequenceClassification", _classes),
    ("ForImageClassification", _classes),
    ("ForAudioClassification", _classes),
    ("ForVideoClassification", _classes),
    ("ForTokenClassification", _tokens),
    ("ForMaskedLM", _tokens),
    ("ForNextSentencePrediction", _tokens),
    ("ForMultipleChoice", _tokens),
    ("ForQuestionAnswering", _answers),
    ("ForSemanticSegmentation", _segments),
    ("ForCTC", _alignment),
    ("ForPreTraining", _two_losses),
    ("DoubleHeadsModel", _two_losses),
    ("ForConditionalGeneration", _conditional),
    ("ForSpeechSeq2Seq", _conditional),
    ("ForCausalLM", _decoder),
    ("LMHeadModel", _decoder),
)
