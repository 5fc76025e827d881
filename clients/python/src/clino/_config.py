"""What a model is, as a user says it: a configuration in each of its forms, and what to give in the place of a model.

Owns: the accepted forms. May not touch: what a configuration means, the parameters of a model. Every function raises
ValueError or TypeError that says what to give.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MLP = '{"model_type": "mlp", "sizes": [features, …, classes], "hidden_act": "relu"}'
FITS = "docs/models.md says which models fit"

# Activations of torch and their names in a configuration; GELU has two of them.
_ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "SiLU": "silu", "GELU": "gelu"}
# Layers that change nothing in evaluation mode, and those of which a snapshot is warned.
_IGNORED = ("Dropout", "Identity")
_LAST = ("Softmax", "LogSoftmax", "Sigmoid")


def text_of(config: object) -> str:
    """Take a mapping, a path of a config.json or of its folder, JSON text, or a Hugging Face config."""
    if isinstance(config, Mapping):
        return json.dumps(dict(config), default=_plain)
    if isinstance(config, str) and config.lstrip().startswith("{"):
        return config
    if isinstance(config, (str, os.PathLike)):
        return _read(Path(config))
    if hasattr(config, "to_dict") and not isinstance(config, type):
        # Not to_json_string: it leaves out what equals a default of the library.
        return json.dumps(config.to_dict(), default=str)
    expected = "expected a mapping, a path, JSON text or a config object"
    raise TypeError(f"config: found {_found(config)}, {expected}: {_advice(config)}")


def _read(path: Path) -> str:
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        advice = "for a model on the Hugging Face hub give model.config"
        raise ValueError(
            f"config: found no file {str(file)!r}, expected a config.json, its text or a mapping: {advice}"
        )
    return file.read_text(encoding="utf-8")


def _plain(value: Any) -> object:
    """Numbers and lists of numpy and torch as those of Python; the daemon says what is wrong with others."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _found(config: object) -> str:
    return f"{config.__name__}, a class" if isinstance(config, type) else type(config).__name__


def _advice(config: Any) -> str:
    """What to give in the place of what is no configuration."""
    if config is None or isinstance(config, type):
        return f"give model.config for a Hugging Face model, or {MLP} for a chain of linear layers; {FITS}"
    if hasattr(getattr(config, "config", None), "to_dict"):
        return "give model.config, and the model itself to run.snapshot(model, step)"
    if hasattr(config, "state_dict"):
        mapping = _mlp(config)
        return f"give {mapping or f'{MLP} if it is a chain of linear layers'}, and the module itself to " + (
            "run.snapshot(module, step)" if mapping else f"run.snapshot(module, step); {FITS}"
        )
    if isinstance(config, Sequence) and config and all(isinstance(size, int) for size in config):
        return f"give {_written(list(config), 'relu')} with the activation that the model has"
    return f"give model.config for a Hugging Face model, or {MLP} for a chain of linear layers; {FITS}"


def _mlp(module: Any) -> str | None:
    """The configuration of an nn.Sequential of linear layers and one activation; None of anything else."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Sequential):
        return None
    layers = [layer for layer in _layers(module, torch.nn.Sequential) if type(layer).__name__ not in _IGNORED]
    if layers and type(layers[-1]).__name__ in _LAST:
        layers.pop()
    linear, between = layers[::2], layers[1::2]
    if len(layers) % 2 == 0 or any(type(layer).__name__ != "Linear" or layer.bias is None for layer in linear):
        return None
    acts = {_activation(layer) for layer in between} or {"relu"}
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    act = acts.pop()
    chained = all(size == layer.in_features for size, layer in zip(sizes, linear, strict=False))
    return _written(sizes, act) if chained and not acts and act is not None else None


def _activation(layer: Any) -> str | None:
    if getattr(layer, "approximate", "none") == "tanh":
        return "gelu_pytorch_tanh"
    return _ACTIVATIONS.get(type(layer).__name__)


def _layers(module: Any, kind: type) -> Iterator[Any]:
    for layer in module:
        if type(layer) is kind:
            yield from _layers(layer, kind)
        else:
            yield layer


def _written(sizes: list[int], act: str) -> str:
    return json.dumps({"model_type": "mlp", "sizes": sizes, "hidden_act": act})
