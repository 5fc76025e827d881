"""From the forms in which examples come to groups of named columns: mappings, data sets, data frames, pairs, rows.

Owns: which forms are taken, and what to give in the place of others. May not touch: what a column holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# What models read. Whatever else is numbers goes to the daemon, which names what its model does not read.
COLUMNS = ("input_ids", "attention_mask", "token_type_ids", "labels", "inputs")
# What data sets call the labels, as the collators of Hugging Face take them.
LABELS = ("label", "label_ids")
# The group of examples that were given without a name, as on the command line.
UNNAMED = "probe"

_ROWS = 'a list of rows: [dataset[i] for i in range(256)], each {"labels": …, …} or (x, y)'


def groups_of(probes: Any, features: str, known: Sequence[str] = COLUMNS) -> dict[str, object]:
    """Groups by name; examples without one, under `known` names of columns, are those of a group called "probe"."""
    example = f'probes={{"val": {_example(features)}}}'
    if probes is None or (isinstance(probes, (Mapping, Sequence)) and not probes):
        found = type(probes).__name__ if probes is None else f"an empty {type(probes).__name__}"
        raise ValueError(f"probes: found {found}, expected at least one group of examples: {example}")
    if not isinstance(probes, Mapping):
        return {UNNAMED: probes}
    for name in probes:
        if not isinstance(name, str):
            raise TypeError(f"probes: found a group called {name!r:.80}, expected a text as its name: {example}")
    columns = [name for name in probes if name in (*known, *LABELS) and not _is_group(probes[name])]
    others = [name for name in probes if _is_group(probes[name])]
    if columns and others:
        found = f"columns ({', '.join(columns)}) beside groups ({', '.join(others)})"
        raise ValueError(f"probes: found {found}, expected groups alone: give these columns a group, {example}")
    return {UNNAMED: probes} if columns else dict(probes)


def columns_of(field: str, given: Any, features: str) -> dict[str, object]:
    """Names and values of a mapping, a data set or frame, a pair of features and classes, or rows."""
    columns = given
    if hasattr(given, "column_names") and hasattr(given, "__len__"):
        columns = given[:]
    elif _is_frame(given):
        columns = {column: given[column].to_numpy() for column in given.columns}
    elif _is_pair(pair := getattr(given, "tensors", given)):
        columns = dict(zip((features, "labels"), pair, strict=True))
    elif isinstance(given, Sequence) and given and all(isinstance(row, Mapping) for row in given):
        columns = {column: _gather(f"{field}.{column}", column, given) for column in given[0]}
    elif isinstance(given, Sequence) and given and all(isinstance(row, tuple) and len(row) == 2 for row in given):
        columns = {features: [row[0] for row in given], "labels": [row[1] for row in given]}
    if not isinstance(columns, Mapping):
        expected = (
            "a mapping of names to columns, a Hugging Face data set, a data frame, a pair (x, y) or a list of rows "
            "with the same names"
        )
        raise TypeError(f"{field}: found {type(given).__name__}, expected {expected}: give {_advice(given, features)}")
    return {str(column): value for column, value in columns.items()}


def _is_group(given: Any) -> bool:
    """Whether it is examples with names, not a column of them."""
    rows = isinstance(given, Sequence) and bool(given) and all(isinstance(row, Mapping) for row in given)
    return rows or isinstance(given, Mapping) or hasattr(given, "column_names") or _is_frame(given)


def _is_frame(given: Any) -> bool:
    return hasattr(given, "columns") and hasattr(given, "to_dict") and not isinstance(given, Mapping)


def _is_pair(given: Any) -> bool:
    """Whether it is a table of features and a class for each of its rows."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return False
    try:
        return len(given[0]) == len(given[1]) > 0 and _is_scalar(given[1][0]) and not _is_scalar(given[0][0])
    except (TypeError, KeyError, IndexError):
        return False


def _is_scalar(given: Any) -> bool:
    return tuple(getattr(given, "shape", ())) in ((), (1,)) and not isinstance(given, (Sequence, Mapping))


def _gather(field: str, column: object, rows: Sequence[Any]) -> list[object]:
    for index, row in enumerate(rows):
        if column not in row:
            raise ValueError(f"{field}: missing from row {index}, which row 0 has")
    return [row[column] for row in rows]


def _example(features: str) -> str:
    if features == "input_ids":
        return '{"input_ids": ids, "attention_mask": mask, "labels": y}'
    return f'{{"{features}": x, "labels": y}}'


def _advice(given: Any, features: str) -> str:
    """What to give in the place of what is no group."""
    if isinstance(given, (str, os.PathLike)):
        return f"what the file holds: {_example(features)}"
    if hasattr(given, "dataset") and hasattr(given, "batch_size"):
        return f"its data set (loader.dataset) if that is one of these, or the columns: {_example(features)}"
    if hasattr(given, "shape"):
        return f"it a name, and the classes: {_example(features)}"
    if hasattr(given, "tensors"):
        return f"its tensors by name: {_example(features)}"
    if isinstance(given, Iterator) or (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        return f"the columns: {_example(features)}, or {_ROWS}"
    return _example(features)
