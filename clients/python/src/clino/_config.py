"""What a model is, as a user says it: a configuration in each of its forms, and what to give in the place of a model.

Owns: the accepted forms. May not touch: what a configuration means, the parameters of a model. Every function raises
ValueError or TypeError that says what to give.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MLP = '{"model_type": "mlp", "sizes": [features, …, classes], "hidden_act": "relu"}'
FITS = "docs/models.md says which models fit"

# Classes of transformers that a configuration describes, if they choose one of several classes.
_KNOWN = ("BertForSequenceClassification", "RobertaForSequenceClassification", "XLMRobertaForSequenceClassification")


def module_of(model: object) -> Any:
    """The torch module that a model is; None of anything else."""
    torch = sys.modules.get("torch")
    return model if torch is not None and isinstance(model, torch.nn.Module) else None


def describes(model: Any) -> bool:
    """Whether the configuration of a model of transformers says all of it that is measured."""
    config = getattr(model, "config", None)
    if type(model).__name__ not in _KNOWN or not type(model).__module__.startswith("transformers."):
        return False
    kind = getattr(config, "problem_type", None)
    return (
        kind in (None, "single_label_classification")
        and getattr(config, "num_labels", 2) > 1
        and getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
        and not getattr(config, "is_decoder", False)
    )


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
    expected = "expected a torch module, or a configuration: a mapping, a path, JSON text or a config object"
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
    if hasattr(getattr(config, "config", None), "to_dict"):
        return "give its .config, and its parameters to run.snapshot({name: array}, step)"
    if isinstance(config, Sequence) and config and all(isinstance(size, int) for size in config):
        return f"give {_written(list(config), 'relu')} with the activation that the model has"
    return f"give the torch module that is trained, or for a chain of linear layers {MLP}; {FITS}"


def _written(sizes: list[int], act: str) -> str:
    return json.dumps({"model_type": "mlp", "sizes": sizes, "hidden_act": act})
