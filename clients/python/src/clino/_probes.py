"""From named columns to the tensors of a probe: arrays, lists, ragged rows.

Owns: reading columns, filling up ragged rows, making masks (`_forms` has the forms of groups). May not touch: the
network, what a model makes of a probe (the daemon checks that). Every function raises ValueError or TypeError with the
name of the column at fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clino._forms import COLUMNS, LABELS, columns_of, groups_of
from clino.v1 import runs_pb2, types_pb2

Array = npt.NDArray[Any]

# Columns that are filled up where rows are shorter than the longest, and with what, beside input_ids.
FILLED = {"attention_mask": 0, "token_type_ids": 0}

_DTYPES = {
    "int64": types_pb2.DTYPE_I64,
    "int32": types_pb2.DTYPE_I32,
    "int16": types_pb2.DTYPE_I16,
    "uint16": types_pb2.DTYPE_U16,
    "int8": types_pb2.DTYPE_I8,
    "uint8": types_pb2.DTYPE_U8,
    "bool": types_pb2.DTYPE_BOOL,
    "float64": types_pb2.DTYPE_F64,
    "float32": types_pb2.DTYPE_F32,
    "float16": types_pb2.DTYPE_F16,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# Padding of models whose configuration names none.
_PADDING = {"bert": 0, "roberta": 1, "xlm-roberta": 1}


def groups(probes: object, config_json: str) -> tuple[list[runs_pb2.ProbeGroup], list[str]]:
    """Take groups in any of their forms; the second value says what was left out or made."""
    config = _read_config(config_json)
    features = "inputs" if config.get("model_type", "mlp") == "mlp" else "input_ids"
    found = groups_of(probes, features)
    remarks: list[str] = []
    made = []
    for name, given in found.items():
        field = f"probes[{name!r}]" if isinstance(probes, Mapping) and probes.get(name) is given else "probes"
        columns = labelled(columns_of(field, given, features))
        made.append(_group(field, name, columns, _padding_of(config), remarks))
    return made, remarks


def _group(
    field: str, name: str, columns: Mapping[str, object], padding: int | None, remarks: list[str]
) -> runs_pb2.ProbeGroup:
    arrays: dict[str, Array] = {}
    ragged: dict[str, list[Array]] = {}
    for column, value in columns.items():
        try:
            found = read(f"{field}.{column}", value)
        except (TypeError, ValueError) as error:
            if column in COLUMNS:
                raise
            remarks.append(f"{error}; no model reads this column: it is left out")
            continue
        if isinstance(found, list):
            ragged[column] = found
        else:
            arrays[column] = found
    _fill(field, arrays, ragged, padding, remarks)
    if "input_ids" in arrays and "attention_mask" not in arrays:
        arrays["attention_mask"] = _mask(field, arrays["input_ids"], padding, remarks)
    return group_of(name, arrays)


def group_of(name: str, arrays: Mapping[str, Array]) -> runs_pb2.ProbeGroup:
    """A group of these columns."""
    tensors = [_tensor(column, arrays[column]) for column in sorted(arrays)]
    return runs_pb2.ProbeGroup(name=name, probe=runs_pb2.Probe(tensors=tensors))


def labelled(columns: Mapping[str, object]) -> dict[str, object]:
    """The labels under the name that models read."""
    named = dict(columns)
    other = next((other for other in LABELS if other in named), None)
    if "labels" not in named and other is not None:
        named["labels"] = named.pop(other)
    return named


def read(field: str, value: Any) -> Array | list[Array]:
    """An array of numbers, or its rows where they differ in length."""
    array = _plain(value)
    if array is None or array.dtype.kind == "O":
        rows = [_row(field, index, row) for index, row in enumerate(_listed(field, value))]
        if not rows or any(row.shape[1:] != rows[0].shape[1:] or row.ndim != rows[0].ndim for row in rows):
            raise ValueError(f"{field}: found rows of different shapes, expected numbers or rows of them")
        if len({row.shape for row in rows}) > 1:
            return rows
        array = np.stack(rows)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{field}: found {_kind(array)}, expected numbers{_advice(field)}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 2:
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{field}: found {array.max()}, expected integers below 2**63")
        array = array.astype(np.int64)
    if array.dtype.name not in _DTYPES:
        raise TypeError(f"{field}: found dtype {array.dtype}, expected one of {', '.join(_DTYPES)}: convert it")
    return array


def _row(field: str, index: int, value: Any) -> Array:
    row = _plain(value)
    if row is None and isinstance(value, Sequence):
        try:
            row = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{field}: found lists of different lengths within row {index}, expected numbers"
            ) from error
    if row is None or row.dtype.kind not in "biuf":
        found = _kind(row) if row is not None else type(value).__name__
        raise TypeError(f"{field}: found {found} at row {index}, expected numbers{_advice(field)}")
    # An empty list is one of floats to numpy.
    return row.astype(np.int64) if row.size == 0 else row


def _plain(value: Any) -> Array | None:
    """What is an array already, or a scalar; None where rows have to be looked at one by one."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    if hasattr(value, "__array__") or isinstance(value, (bool, int, float, str, bytes)):
        array = np.asarray(value)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    return None


def _listed(field: str, value: Any) -> Iterable[object]:
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return value
    raise TypeError(f"{field}: found {type(value).__name__}, expected an array, a tensor or a list")


def _advice(field: str) -> str:
    return (
        ", the class of each example: map names to numbers with label2id of the configuration"
        if field.endswith(".labels")
        else ""
    )


def _kind(array: Array) -> str:
    return "texts" if array.dtype.kind in "US" else f"dtype {array.dtype}"


def _fill(
    field: str, arrays: dict[str, Array], ragged: dict[str, list[Array]], padding: int | None, remarks: list[str]
) -> None:
    """Make tables of ragged columns, filled up on the right as far as the longest row."""
    lengths = [len(row) for row in ragged.get("input_ids", ())]
    for column, rows in ragged.items():
        if column == "labels":
            raise ValueError(
                f"{field}.labels: found lists of different lengths, expected one class per example: clino does not "
                "measure labels of tokens"
            )
        if column != "input_ids" and column not in FILLED:
            if column in COLUMNS:
                raise ValueError(f"{field}.{column}: found rows of different lengths, expected as many numbers in each")
            remarks.append(f"{field}.{column}: found rows of different lengths, which no model reads: it is left out")
            continue
        check_lengths(f"{field}.{column}", rows, lengths)
        fill = FILLED.get(column, padding)
        if fill is None:
            raise ValueError(
                f"{field}.input_ids: found rows of different lengths and no pad_token_id in the configuration: set it, "
                "or pad the rows to one length"
            )
        arrays[column] = table_of(rows, fill)
    if "input_ids" in ragged and "attention_mask" not in arrays:
        arrays["attention_mask"] = np.arange(max(lengths)) < np.array(lengths)[:, None]


def table_of(rows: Sequence[Array], fill: int) -> Array:
    """Rows of integers, filled up on the right as far as the longest one."""
    table = np.full((len(rows), max(len(row) for row in rows)), fill, np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table


def check_lengths(field: str, rows: list[Array], lengths: list[int]) -> None:
    """ValueError for rows that are not as long as those of input_ids."""
    for index, (row, length) in enumerate(zip(rows, lengths, strict=False)):
        if row.ndim != 1 or len(row) != length:
            raise ValueError(
                f"{field}: found shape {row.shape} at row {index}, expected {length} tokens as in input_ids"
            )


def _mask(field: str, ids: Array, padding: int | None, remarks: list[str]) -> Array:
    """The mask of a table without one: padding does not count."""
    mask: Array = np.ones(ids.shape, np.bool_) if padding is None else np.asarray(ids != padding)
    if not mask.all():
        remarks.append(f"{field}.attention_mask: made from input_ids, 0 where they are the padding {padding}")
    return mask


def _read_config(config_json: str) -> Mapping[str, Any]:
    """A configuration; empty where it is none: the daemon says what is wrong with it."""
    try:
        config = json.loads(config_json)
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _padding_of(config: Mapping[str, Any]) -> int | None:
    found = config.get("pad_token_id")
    return found if isinstance(found, int) else _PADDING.get(str(config.get("model_type")))


def array_of(tensor: runs_pb2.ProbeTensor) -> Array:
    """The array that a tensor of these probes was made of."""
    dtype = np.dtype(_NAMES[tensor.spec.dtype]).newbyteorder("<")
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.spec.shape))


def _tensor(name: str, array: Array) -> runs_pb2.ProbeTensor:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    spec = types_pb2.TensorSpec(
        name=name, dtype=_DTYPES[array.dtype.name], shape=array.shape, byte_length=little.nbytes
    )
    return runs_pb2.ProbeTensor(spec=spec, data=little.tobytes())
