"""Graphs of modules that this process has exported before.

Owns: when a graph is that of the module as it is now. May not touch: files. What a forward reads beside its module
(globals, functions of other files) has no key that another process could trust, so nothing is kept beyond this one;
and a module of which any attribute is more than numbers, texts and tensors is exported each time.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch

from clino._exporting import Outcome
from clino.v1 import graph_pb2

# What a module has beside what it computes with, and parameters once more, in recurrent layers.
_OWN = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training", "_is_full_backward_hook"}
_OWN |= {"_flat_weights", "_flat_weight_refs"}
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, enum.Enum, type(None))

_kept: WeakKeyDictionary[Any, tuple[bytes, Outcome]] = WeakKeyDictionary()


class _UnknownError(Exception):
    """A value that may change without its key."""


def key_of(module: Any, examples: Mapping[str, Any], loss: object, space: str) -> bytes | None:
    """What the graph of a module depends on; None where that cannot be told."""
    digest = hashlib.sha256()
    try:
        for part in (_module(module), _examples(examples), _loss(loss), space):
            digest.update(repr(part).encode())
    except _UnknownError:
        return None
    return digest.digest()


def found(module: Any, key: bytes | None) -> Outcome | None:
    """The graph that was made of this very module, if it is still the same."""
    kept = _kept.get(module)
    return kept[1] if kept is not None and kept[0] == key else None


def keep(module: Any, key: bytes | None, made: Outcome) -> None:
    """Keep the graph of a module as long as the module is there."""
    if key is not None and made.model is not None:
        _kept[module] = (key, made)


def _module(module: Any) -> list[object]:
    """Names, kinds and attributes of all parts; of tensors that snapshots do not bring the elements."""
    first: dict[int, int] = {}
    said: list[object] = []
    for name, part in module.named_modules(remove_duplicate=False):
        said.append((name, _class(type(part)), first.setdefault(id(part), len(first))))
        for own, parameter in part._parameters.items():
            said.append((own, parameter is not None and _shape(parameter, first.setdefault(id(parameter), len(first)))))
        for own, buffer in part._buffers.items():
            lasts = own not in part._non_persistent_buffers_set
            if own == "num_batches_tracked" and isinstance(part, torch.nn.modules.batchnorm._NormBase):
                continue  # counted in training, and not read in evaluation mode
            held = buffer is not None and lasts and buffer.is_floating_point()
            said.append((own, lasts, _shape(buffer, 0) if held else _value(buffer)))
        others = {own: value for own, value in vars(part).items() if own not in _OWN and "_hooks" not in own}
        said.append(_value(others))
    return said


def _class(kind: type) -> tuple[str, int]:
    """A class by its identity; one that is typed in may call functions that are typed in again."""
    if kind.__module__ == "__main__":
        raise _UnknownError
    return kind.__qualname__, id(kind)


def _shape(tensor: Any, identity: int) -> object:
    return tuple(tensor.shape), str(tensor.dtype), str(tensor.device.type), tensor.requires_grad, identity


def _examples(examples: Mapping[str, Any]) -> list[object]:
    return [(name, _shape(tensor, 0)) for name, tensor in examples.items()]


def _loss(loss: object) -> object:
    if isinstance(loss, torch.nn.Module):
        return _module(loss)
    if isinstance(loss, graph_pb2.LossSpec):
        return loss.SerializeToString(deterministic=True)
    return _value(loss)


def _value(value: Any) -> object:
    """A value in words that change with it."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, torch.Tensor):
        return _shape(value, 0), None if value.is_meta else _elements(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value).__name__, _all(sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value)
    if isinstance(value, Mapping):
        return type(value).__name__, [(_value(name), _value(one)) for name, one in value.items()]
    if hasattr(value, "to_dict") and type(value).__module__.startswith("transformers."):
        return _value(vars(value))
    if inspect.isfunction(value) and value.__closure__ is None and value.__module__ != "__main__":
        return value.__qualname__, id(value.__code__)
    if inspect.isbuiltin(value) or isinstance(value, type):
        return str(value), id(value)
    raise _UnknownError


def _all(values: Iterable[Any]) -> list[object]:
    return [_value(value) for value in values]


def _elements(tensor: Any) -> str:
    plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8) if tensor.numel() else tensor
    return hashlib.sha256(plain.numpy().tobytes()).hexdigest()
