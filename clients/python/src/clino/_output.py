"""What the forward of a live module gives: scores of classes, or something that is not measured.

Owns: telling the two apart, and their words. May not touch: the module, beyond reading what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from clino._rows import UncheckedError

FITS = "docs/models.md says what fits"
# How far the sum of a row of probabilities may be from 1, beside what its format rounds.
CLOSE = 1e-6

PROBABILITIES = (
    "model: its forward gives probabilities (no number below 0, each row's sum 1), expected logits: clino measures the "
    "cross-entropy of logits, and nn.CrossEntropyLoss of probabilities is another loss. Leave the softmax out of the "
    "model, since cross-entropy takes logits; a model that has it in evaluation only, and is trained on its logits, is "
    "fine as it is"
)
SIGMOID = (
    "model: its forward ends in a Sigmoid, which gives each class a number from 0 to 1, expected logits: clino "
    "measures the cross-entropy of logits, and a loss of a Sigmoid's numbers is another one. Leave the Sigmoid out of "
    "the model, and train it with nn.CrossEntropyLoss; clino does not measure several labels per example yet"
)


def scores_of(output: Any, module: Any) -> Any:
    """The logits [1, classes] in the output for one row; UncheckedError says what it is instead."""
    found = output
    if isinstance(output, Mapping) and "logits" in output:
        found = output["logits"]
    elif isinstance(output, (tuple, list)) and output:
        found = output[0]
    found = getattr(found, "logits", found)
    if isinstance(found, torch.Tensor) and found.ndim == 2 and len(found) == 1:
        return found
    what, advice = _of_tensor(found, module) if isinstance(found, torch.Tensor) else _of_names(found)
    raise UncheckedError(f"its forward of one row gives {what}, expected logits of shape [1, classes]", advice)


def _of_tensor(found: Any, module: Any) -> tuple[str, str | None]:
    """What a tensor of another shape is, and what to do."""
    shape = f"shape {list(found.shape)}"
    if found.ndim != 3:
        return f"{shape}{', a single number such as a loss' if found.numel() == 1 else ''}", None
    config = getattr(module, "config", None)
    tokens, last = found.shape[1], found.shape[2]
    if last == getattr(config, "vocab_size", None):
        return f"{shape}, a score for each word of the vocabulary: a language model, which clino does not measure", FITS
    if last == getattr(config, "hidden_size", None) and "TokenClassification" not in type(module).__name__:
        return f"{shape}, the hidden states: {_BODY}", _HEAD
    return f"{shape}, a label for each of {tokens} tokens: a token classifier, which clino does not measure yet", FITS


_BODY = "a body without a classification head, which clino does not measure"
_HEAD = f"create the classifier with AutoModelForSequenceClassification.from_pretrained; {FITS}"


def _of_names(found: Any) -> tuple[str, str | None]:
    kind = type(found).__name__
    if not isinstance(found, Mapping):
        return kind, None
    if "start_logits" in found:
        return f"{kind}, the two ends of an answer: a question-answering model, which clino does not measure", FITS
    if "prediction_logits" in found:
        return f"{kind}, scores of words: a pretraining language model, which clino does not measure", FITS
    if "last_hidden_state" in found:
        return f"{kind}, the hidden states: {_BODY}", _HEAD
    return f"a {kind} of {', '.join(map(str, found)) or 'nothing'}, none of which is called logits", None


def are_probabilities(scores: Any, dtype: torch.dtype) -> bool:
    """Whether every row has no number below 0 and the sum 1, up to the rounding of a format."""
    close = max(CLOSE, 2 * torch.finfo(dtype).eps)
    return bool(scores.shape[1] > 1 and (scores >= 0).all() and ((scores.sum(1) - 1).abs() <= close).all())


def end_in_sigmoid(scores: Any, module: Any) -> bool:
    """Whether the layer that stands last is a Sigmoid, and the scores are as it gives them.

    Strictly between 0 and 1: a head that begins at zero gives logits that are 0.
    """
    *_, last = module.modules()
    return isinstance(last, torch.nn.Sigmoid) and bool(((scores > 0) & (scores < 1)).all())
