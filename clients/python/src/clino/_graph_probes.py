"""From examples to the probes of a model that is measured as a graph: columns by the names that its forward has.

Owns: which column is which argument, what fills up ragged ones, the examples of the export. May not touch: the forms of
groups (`_forms`), how one column is read (`_probes`), the model. Every function raises ValueError or TypeError with the
name of the column at fault.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clino import _forms, _probes
from clino._probes import Array
from clino.v1 import graph_pb2, runs_pb2

# Tensors that a loss reads, by the names that data sets give them.
LABELS = ("labels", "start_positions", "end_positions")
# What the losses of Hugging Face leave out.
IGNORED = -100
# Rows that the export is given.
EXAMPLES = 2
_IDS, _MASK = "input_ids", "attention_mask"
_LANGUAGE = "for a language model, the input_ids, and -100 where nothing is predicted"


@dataclass(frozen=True)
class Reader:
    """What a model reads: the arguments of its forward, and what fills up ragged columns."""

    names: tuple[str, ...]
    # Whether its forward takes any name.
    every: bool
    padding: int | None
    # What stands where no label is; None where the loss has nothing for that.
    ignored: int | None

    @staticmethod
    def of(module: Any, loss: Any) -> Reader:
        """That of a module, and of the loss of `clino.init`."""
        taken = inspect.signature(_forward(module)).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names = tuple(one.name for one in taken if one.kind in kinds and one.name not in LABELS)
        padding = getattr(getattr(module, "config", None), "pad_token_id", None)
        return Reader(
            names,
            any(one.kind is one.VAR_KEYWORD for one in taken),
            padding if isinstance(padding, int) and padding >= 0 else None,
            _ignored(loss),
        )

    def reads(self, column: str, columns: Iterable[str]) -> bool:
        """Whether the forward gets a column; one that takes any name does so where it names none of them."""
        if column in LABELS:
            return False
        return column in self.names or (self.every and not any(name in self.names for name in columns))


def _forward(module: Any) -> Any:
    """The forward that says what it reads: not that of adapters or of autocast around it, which may take anything."""
    inside = module.get_base_model() if hasattr(module, "peft_config") else module
    return vars(inside).get("_original_forward") or inside.forward


def _ignored(loss: Any) -> int | None:
    if loss is None or isinstance(loss, str):
        return IGNORED if loss in (None, "cross_entropy", "token_cross_entropy", "causal_lm") else None
    if isinstance(loss, graph_pb2.LossSpec):
        kind = loss.cross_entropy
        return kind.ignore_index if kind.HasField("ignore_index") else None
    found = getattr(loss, "ignore_index", None)
    return found if isinstance(found, int) else None


def groups(probes: Any, module: Any, reader: Reader) -> tuple[list[runs_pb2.ProbeGroup], list[str]]:
    """Take groups in any of their forms; the second value says what was left out."""
    first = reader.names[0] if reader.names else "inputs"
    remarks: list[str] = []
    made: dict[str, dict[str, Array]] = {}
    for name, given in _forms.groups_of(probes, first, (*_forms.COLUMNS, *LABELS)).items():
        field = f"probes[{name!r}]" if isinstance(probes, Mapping) and probes.get(name) is given else "probes"
        columns = _probes.labelled(_columns(field, given, reader.names or (first,)))
        arrays = _named(field, _arrays(field, columns, reader, remarks), reader)
        if not any(label in arrays for label in LABELS):
            raise ValueError(f"{field}.labels: missing, expected what the loss is held against: {_LANGUAGE}")
        for column, array in arrays.items():
            if not array.ndim or not len(array):
                raise ValueError(f"{field}.{column}: found shape {array.shape}, expected a row for each example")
        _decoder_inputs(module, arrays)
        made[name] = arrays
    _mask_all(list(made.values()))
    return [_probes.group_of(name, arrays) for name, arrays in made.items()], remarks


def _mask_all(groups: list[dict[str, Array]]) -> None:
    """Where one group has a mask, all need one: it is an input of the graph."""
    if any(_MASK in arrays for arrays in groups):
        for arrays in groups:
            if _IDS in arrays and _MASK not in arrays:
                arrays[_MASK] = np.ones(arrays[_IDS].shape, np.int64)


def examples(group: runs_pb2.ProbeGroup, reader: Reader) -> dict[str, Any]:
    """Rows of a group as tensors, for the export: inputs of the forward and labels."""
    arrays = {tensor.spec.name: _probes.array_of(tensor) for tensor in group.probe.tensors}
    rows = rows_of(arrays)
    places = np.arange(EXAMPLES) % rows
    taken = {name: array for name, array in arrays.items() if name in LABELS or reader.reads(name, arrays)}
    return {name: tensor_of(array[places] if len(array) == rows else array) for name, array in taken.items()}


def rows_of(arrays: Mapping[str, Array]) -> int:
    """How many examples there are: as many as labels."""
    return len(next(arrays[name] for name in LABELS if name in arrays))


def tensor_of(array: Array) -> torch.Tensor:
    """The array as trainers have it: whole numbers in 64 bits."""
    tensor = torch.from_numpy(np.array(array))
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.to(torch.int64)


def _is_tuple(given: Any) -> bool:
    """Whether it is tensors of as many rows, one for each argument and one for the labels."""
    if not isinstance(given, tuple) or len(given) < 2:
        return False
    if not all(hasattr(part, "__len__") and not isinstance(part, (str, Mapping)) for part in given):
        return False
    return len({len(part) for part in given}) == 1


def _columns(field: str, given: Any, names: Sequence[str]) -> dict[str, object]:
    """Names and values: tuples are the first arguments of the forward and the labels."""
    parts = getattr(given, "tensors", given)
    rows: Any = given if isinstance(given, list) else ()
    if _is_tuple(parts):
        columns = list(parts)
    elif rows and all(isinstance(row, tuple) and len(row) == len(rows[0]) > 1 for row in rows):
        columns = [list(column) for column in zip(*rows, strict=True)]
    else:
        return _forms.columns_of(field, given, names[0])
    if len(columns) > len(names) + 1:
        raise ValueError(
            f"{field}: found {len(columns)} tensors, expected at most {len(names)} for {', '.join(names)} and the "
            "labels: give a mapping of names to columns"
        )
    return {**dict(zip(names, columns[:-1], strict=False)), "labels": columns[-1]}


def _named(field: str, arrays: dict[str, Array], reader: Reader) -> dict[str, Array]:
    """Columns under the names of the forward; a single one is its first argument, whatever it is called."""
    others = [name for name in arrays if name not in LABELS]
    if any(reader.reads(name, arrays) for name in others):
        return arrays
    if len(others) != 1 or not reader.names:
        names = ", ".join(reader.names) or "any"
        found = f"found columns {', '.join(others) or 'of labels alone'}"
        raise ValueError(f"{field}: {found}, expected some of {names}, the arguments of the model's forward")
    return {reader.names[0] if name == others[0] else name: array for name, array in arrays.items()}


def _arrays(field: str, columns: Mapping[str, object], reader: Reader, remarks: list[str]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    ragged: dict[str, list[Array]] = {}
    for column, value in columns.items():
        needed = column in LABELS or column in reader.names
        try:
            found = _probes.read(f"{field}.{column}", value)
        except (TypeError, ValueError) as error:
            if needed:
                raise
            remarks.append(f"{error}; the model does not read this column: it is left out")
            continue
        if not isinstance(found, list):
            arrays[column] = found
        elif needed or column in (_IDS, *_probes.FILLED):
            ragged[column] = found
        else:
            remarks.append(
                f"{field}.{column}: found rows of different lengths, and the model does not read this "
                "column: it is left out"
            )
    _fill(field, arrays, ragged, reader)
    return arrays


def _fill(field: str, arrays: dict[str, Array], ragged: Mapping[str, list[Array]], reader: Reader) -> None:
    """Make tables of ragged columns, filled up on the right as far as the longest row."""
    lengths = [len(row) for row in ragged.get(_IDS, ())]
    masked = _MASK in ragged or _MASK in arrays or _MASK in reader.names
    for column, rows in ragged.items():
        place = f"{field}.{column}"
        if column == _IDS:
            fill = reader.padding if reader.padding is not None or not masked else 0
            why = "no pad_token_id in the model's configuration, nor an attention_mask"
        elif column == "labels":
            fill, why = reader.ignored, "nothing in the loss that marks what does not count"
        else:
            fill, why = _probes.FILLED.get(column), "nothing to fill them up with"
        if fill is None or rows[0].ndim != 1 or rows[0].dtype.kind not in "biu":
            raise ValueError(f"{place}: found rows of different lengths and {why}: pad them to one length")
        if column in _probes.FILLED:
            _probes.check_lengths(place, rows, lengths)
        arrays[column] = _probes.table_of(rows, fill)
    for column in set(_probes.FILLED).intersection(arrays).difference(ragged) if lengths else ():
        found, expected = arrays[column].shape, arrays[_IDS].shape
        if found != expected:
            raise ValueError(f"{field}.{column}: found shape {found}, expected {expected} as of the padded input_ids")
    if lengths and _MASK in reader.names and _MASK not in arrays:
        arrays[_MASK] = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)


def _decoder_inputs(module: Any, arrays: dict[str, Array]) -> None:
    """What a decoder of Hugging Face makes of its labels is an input of the graph."""
    make = getattr(module, "prepare_decoder_input_ids_from_labels", None)
    coupled = getattr(getattr(module, "config", None), "is_encoder_decoder", False)
    if coupled and make is not None and "labels" in arrays and "decoder_input_ids" not in arrays:
        arrays["decoder_input_ids"] = make(tensor_of(arrays["labels"])).numpy()
