"""From a model to bytes on the host.

Owns: which tensors are sent, their order, ties between them, and the copy. May not touch: queues, the network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from clino import _whole
from clino.v1 import types_pb2

Bytes = npt.NDArray[np.uint8]

# The wire's name of each dtype that can be measured, and its size in bytes.
_FLOATS: dict[str, tuple[types_pb2.Dtype, int]] = {
    "float64": (types_pb2.DTYPE_F64, 8),
    "float32": (types_pb2.DTYPE_F32, 4),
    "float16": (types_pb2.DTYPE_F16, 2),
    "bfloat16": (types_pb2.DTYPE_BF16, 2),
}
_COUNTS = ("bool", "int", "uint")


@dataclass(frozen=True)
class Source:
    """One tensor of a model, before it is copied."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    # Equal for two names of the same memory or object; None where that cannot be told.
    identity: Hashable
    write: Callable[[Bytes], None]

    @property
    def nbytes(self) -> int:
        """Size on the wire."""
        size = _FLOATS[self.dtype][1]
        for extent in self.shape:
            size *= extent
        return size


@dataclass
class Plan:
    """What will be copied, and where to: tensors in the order of the manifest, tied ones once."""

    sources: list[Source] = field(default_factory=list)
    aliases: list[types_pb2.Alias] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Size of all tensors together."""
        return sum(source.nbytes for source in self.sources)

    def specs(self) -> list[types_pb2.TensorSpec]:
        """The manifest."""
        return [
            types_pb2.TensorSpec(
                name=source.name,
                dtype=_FLOATS[source.dtype][0],
                shape=source.shape,
                byte_length=source.nbytes,
            )
            for source in self.sources
        ]

    def copy_into(self, buffer: Bytes) -> None:
        """Copy every tensor to its place in `buffer`, which has at least `nbytes`."""
        offset = 0
        for source in self.sources:
            if source.nbytes:
                source.write(buffer[offset : offset + source.nbytes])
            offset += source.nbytes


def plan(model: object) -> Plan:
    """Name what a module, a state_dict or a mapping of arrays holds; TypeError or ValueError says what is wrong.

    Integer and boolean entries are buffers that no measure reads: they are left out. Larger dtypes come first, so
    that every tensor is aligned to its own size in the common buffer. A model of which this rank has only a part is
    refused before anything is asked of it.
    """
    found = Plan()
    first: dict[Hashable, str] = {}
    objects = _objects(model)
    for name, value in _entries(model).items():
        source = _source(name, value, objects.get(name, value))
        if source is None:
            continue
        target = first.get(source.identity) if source.identity is not None else None
        if target is not None:
            found.aliases.append(types_pb2.Alias(name=name, target=target))
            continue
        if source.identity is not None:
            first[source.identity] = name
        found.sources.append(source)
    if not found.sources:
        raise ValueError("model: found no floating-point tensor, expected at least one: give the model that is trained")
    found.sources.sort(key=lambda source: -_FLOATS[source.dtype][1])
    return found


def _entries(model: object) -> Mapping[str, object]:
    torch = _torch()
    if torch is not None and isinstance(model, torch.nn.Module):
        _whole.check_module(model)
        return dict(model.state_dict())
    if isinstance(model, Mapping):
        for name in model:
            if not isinstance(name, str):
                raise TypeError(f"model: found a key {name!r}, expected names of tensors")
        return model
    expected = "expected a torch module or a mapping of names to arrays"
    raise TypeError(f"model: found {type(model).__name__}, {expected}: {_advice(model)}")


def _advice(given: Any) -> str:
    """What to give in the place of what is no model."""
    if isinstance(given, (str, os.PathLike)):
        return "load the file first, and give the model or its state_dict"
    if hasattr(given, "param_groups"):
        return "give the model that this optimizer trains"
    if isinstance(getattr(given, "model", None), _modules()):
        return "give its .model"
    if hasattr(given, "layers") and hasattr(given, "get_weights"):
        return (
            "give {name: array} under the names of the configuration, as ClinoCallback of clino.integrations.keras does"
        )
    return "give the model that is trained, or model.state_dict()"


def _modules() -> tuple[type, ...]:
    torch = _torch()
    return () if torch is None else (torch.nn.Module,)


def _objects(model: object) -> Mapping[str, object]:
    """The tensors of a module themselves: its state_dict has new ones in their place."""
    torch = _torch()
    if torch is None or not isinstance(model, torch.nn.Module):
        return {}
    return dict(_whole.tensors_of(model))


def _source(name: str, value: object, holder: object) -> Source | None:
    torch = _torch()
    if torch is not None and isinstance(value, torch.Tensor):
        return _torch_source(name, value, holder)
    if name.endswith("_extra_state"):
        return None
    if not hasattr(value, "__array__"):
        raise TypeError(f"{name}: found {type(value).__name__}, expected an array or a tensor{_entry(name, value)}")
    return _numpy_source(name, np.asarray(value))


def _entry(name: str, value: object) -> str:
    """What to do about an entry of a mapping that is none of a model."""
    if isinstance(value, (Mapping, *_modules())):
        return f": from a checkpoint give the part with the parameters, such as checkpoint[{name!r}]"
    return ": give the model's state_dict, and leave out everything else"


def _numpy_source(name: str, array: npt.NDArray[Any]) -> Source | None:
    dtype = array.dtype.name
    if dtype.startswith(_COUNTS):
        return None
    _check_dtype(name, dtype)

    def write(place: Bytes) -> None:
        if dtype == "bfloat16":
            np.copyto(place.view("<u2").reshape(array.shape), array.view(np.uint16))
        else:
            np.copyto(place.view(array.dtype.newbyteorder("<")).reshape(array.shape), array)

    address = array.__array_interface__["data"][0]
    identity = (address, array.shape, array.strides, dtype) if array.size else None
    return Source(name, dtype, array.shape, identity, write)


def _torch_source(name: str, tensor: Any, holder: object) -> Source | None:
    torch = _torch()
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype.startswith(_COUNTS):
        return None
    _whole.check_tensor(name, tensor)
    _check_dtype(name, dtype)
    _check_values(name, tensor)

    def write(place: Bytes) -> None:
        target = torch.from_numpy(place).view(tensor.dtype).view(tensor.shape)
        target.copy_(tensor.detach())

    return Source(name, dtype, tuple(tensor.shape), _torch_identity(tensor, holder, dtype), write)


def dtype_of(name: str) -> types_pb2.Dtype | None:
    """The wire's name of a dtype; None of what is not sent."""
    return _FLOATS[name][0] if name in _FLOATS else None


def _torch_identity(tensor: Any, holder: object, dtype: str) -> Hashable:
    if _is_wrapper(tensor):
        # Its address says nothing: only the same object is the same memory for sure.
        return ("object", id(holder))
    if not tensor.numel() or not tensor.data_ptr():
        return None
    return (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), dtype, str(tensor.device))


def _check_values(name: str, tensor: Any) -> None:
    """TypeError for a tensor that has no dense values in memory."""
    torch = _torch()
    if tensor.layout != torch.strided or tensor.is_meta:
        found = "a sparse or meta tensor"
    elif any(base.__name__ == "FakeTensor" for base in type(tensor).__mro__):
        found = "a fake tensor"
    elif not _is_wrapper(tensor) and tensor.device.type in ("cpu", "cuda") and _released(tensor):
        found = "a tensor whose memory was given back (offloaded or sharded)"
    else:
        return
    raise TypeError(f"{name}: found {found}, expected a dense one with its values: load it first")


def _is_wrapper(tensor: Any) -> bool:
    """Whether it is a subclass that keeps its values in other tensors, as those of quantization do."""
    torch = _torch()
    return bool(type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__)


def _released(tensor: Any) -> bool:
    return bool(tensor.numel()) and tensor.untyped_storage().nbytes() == 0


def _check_dtype(name: str, dtype: str) -> None:
    if dtype not in _FLOATS:
        raise TypeError(f"{name}: found dtype {dtype}, expected one of {', '.join(_FLOATS)}")


def _torch() -> Any:
    """Torch if the user imported it: this package never does."""
    return sys.modules.get("torch")
