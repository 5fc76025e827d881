"""Files of tensors: the safetensors format, which is short enough to need no library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

KINDS: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
NAMES = {kind: name for name, kind in KINDS.items()}

Arrays = dict[str, np.ndarray]
Config = dict[str, Any]
"""What a config.json holds."""


def read_config(folder: Path) -> Config:
    """Of the model in a folder."""
    config: Config = json.loads((folder / "config.json").read_text())
    return config


def read(path: Path) -> Arrays:
    """Tensors by name: a length, a header of kinds, shapes and places, then the numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        kind = KINDS[entry["dtype"]]
        numbers = np.frombuffer(data, kind, (last - first) // kind.itemsize, start + first)
        arrays[name] = numbers.reshape(entry["shape"])
    return arrays


def write(path: Path, arrays: Arrays) -> None:
    """The same, the other way. The header is padded so that the numbers start on eight bytes."""
    header: dict[str, Any] = {}
    place = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": (place, place + array.nbytes),
        }
        place += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
