from __future__ import annotations

import json
import logging
import math
import re
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from real import RealDaemon, needs_daemon

import clino
from clino import _probes
from clino.v1 import runs_pb2, types_pb2

BERT = json.dumps({"model_type": "bert"})
ROBERTA = json.dumps({"model_type": "xlm-roberta", "pad_token_id": 1})
NAMES = {
    types_pb2.DTYPE_I64: "<i8",
    types_pb2.DTYPE_I32: "<i4",
    types_pb2.DTYPE_I16: "<i2",
    types_pb2.DTYPE_U16: "<u2",
    types_pb2.DTYPE_I8: "i1",
    types_pb2.DTYPE_U8: "u1",
    types_pb2.DTYPE_BOOL: "?",
    types_pb2.DTYPE_F64: "<f8",
    types_pb2.DTYPE_F32: "<f4",
    types_pb2.DTYPE_F16: "<f2",
}


def read(group: runs_pb2.ProbeGroup) -> dict[str, Any]:
    return {
        tensor.spec.name: np.frombuffer(tensor.data, NAMES[tensor.spec.dtype]).reshape(tuple(tensor.spec.shape))
        for tensor in group.probe.tensors
    }


def lists(given: Any, config: str = BERT) -> tuple[dict[str, Any], list[str]]:
    (group,), remarks = _probes.groups({"en": given}, config)
    return {name: array.tolist() for name, array in read(group).items()}, remarks


class Dataset:
    """What clino uses of a datasets.Dataset."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self._columns = columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, rows: slice) -> dict[str, list[Any]]:
        return {name: column[rows] for name, column in self._columns.items()}


RAGGED: dict[str, Any] = {"input_ids": [[5, 6, 7], [8], [9, 4]], "labels": [0, 2, 1]}
FILLED = [[5, 6, 7], [8, 1, 1], [9, 4, 1]]
COUNTED = [[True, True, True], [True, False, False], [True, True, False]]


def test_ragged_lists_are_filled_up_and_their_mask_is_made() -> None:
    found, remarks = lists(RAGGED, ROBERTA)
    assert found == {"input_ids": FILLED, "attention_mask": COUNTED, "labels": [0, 2, 1]}
    assert remarks == []


@pytest.mark.parametrize(
    "form",
    [
        RAGGED,
        UserDict(RAGGED),
        Dataset(RAGGED),
        [{"input_ids": ids, "label": label} for ids, label in zip(RAGGED["input_ids"], [0, 2, 1], strict=True)],
        {"input_ids": [np.array(row, np.int32) for row in RAGGED["input_ids"]], "label_ids": np.array([0, 2, 1])},
        {"input_ids": tuple(map(tuple, RAGGED["input_ids"])), "labels": (0, 2, 1)},
    ],
    ids=["mapping", "encoding", "dataset", "rows", "arrays", "tuples"],
)
def test_the_forms_in_which_data_come(form: Any) -> None:
    assert lists(form, ROBERTA)[0] == {"input_ids": FILLED, "attention_mask": COUNTED, "labels": [0, 2, 1]}


def test_columns_beside_ragged_tokens_are_filled_up_with_zeros() -> None:
    types, mask = [[0, 1, 1], [0], [0, 1]], [[1, 1, 1], [1], [1, 1]]
    found, _ = lists({**RAGGED, "token_type_ids": types, "attention_mask": mask})
    assert found["input_ids"] == [[5, 6, 7], [8, 0, 0], [9, 4, 0]]
    assert found["token_type_ids"] == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert found["attention_mask"] == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_a_table_without_a_mask_gets_one() -> None:
    found, remarks = lists({"input_ids": np.array([[5, 6], [7, 1]]), "labels": [0, 1]}, ROBERTA)
    assert found["attention_mask"] == [[True, True], [True, False]]
    assert remarks == ["probes['en'].attention_mask: made from input_ids, 0 where they are the padding 1"]
    found, remarks = lists({"input_ids": [[5, 6], [7, 1]], "labels": [0, 1]})
    assert (found["attention_mask"], remarks) == ([[True, True], [True, True]], [])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint32", "uint64"])
def test_every_width_of_integers_is_sent_exactly(dtype: str) -> None:
    values = np.array([1, 0, 1], dtype)
    (group,), _ = _probes.groups({"en": {"labels": values}}, BERT)
    found = read(group)["labels"]
    assert found.tolist() == [1, 0, 1]
    assert found.dtype == np.int64 if dtype in ("uint32", "uint64") else values.dtype


def test_torch_tensors_of_every_dtype() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        found, _ = lists({"labels": torch.tensor([1, 0]).to(dtype), "inputs": torch.ones(2, 1, dtype=torch.bfloat16)})
        assert found == {"labels": [1, 0], "inputs": [[1.0], [1.0]]}
    rows = [torch.tensor([5, 6]), torch.tensor([7])]
    assert lists({"input_ids": rows, "labels": [torch.tensor(1), torch.tensor(0)]})[0] == {
        "input_ids": [[5, 6], [7, 0]],
        "attention_mask": [[True, True], [True, False]],
        "labels": [1, 0],
    }


def test_what_no_model_reads_is_left_out_and_told() -> None:
    more = {"text": ["a", "b", "c"], "words": [[1], [2, 3], [4]], "note": [None, 1, 2], "idx": [0, 1, 2]}
    found, remarks = lists({**RAGGED, **more})
    assert sorted(found) == ["attention_mask", "idx", "input_ids", "labels"]
    assert remarks == [
        "probes['en'].text: found texts at row 0, expected numbers; no model reads this column: it is left out",
        "probes['en'].note: found NoneType at row 0, expected numbers; no model reads this column: it is left out",
        "probes['en'].words: found rows of different lengths, which no model reads: it is left out",
    ]


WRONG: list[tuple[Any, str]] = [
    (
        {"input_ids": [[1]], "labels": ["yes"]},
        "probes['en'].labels: found texts at row 0, expected numbers, the class of each example: map names to numbers "
        "with label2id of the configuration",
    ),
    (
        {"labels": [0, None]},
        "probes['en'].labels: found NoneType at row 1, expected numbers, the class of each example",
    ),
    (
        {"input_ids": [[1], [2]], "labels": [[0, 1], [0]]},
        "probes['en'].labels: found lists of different lengths, expected one class per example: clino does not "
        "measure labels of tokens",
    ),
    (
        {"input_ids": [[1], [2, 3]], "token_type_ids": [[1], [1, 1, 1]], "labels": [0, 1]},
        "probes['en'].token_type_ids: found shape (3,) at row 1, expected 2 tokens as in input_ids",
    ),
    (
        {"input_ids": [[1], [2, 3]], "attention_mask": [[1, 1], [1]], "labels": [0, 1]},
        "probes['en'].attention_mask: found shape (2,) at row 0, expected 1 tokens as in input_ids",
    ),
    (
        {"inputs": [[1.0], [2.0, 3.0]], "labels": [0, 1]},
        "probes['en'].inputs: found rows of different lengths, expected as many numbers in each",
    ),
    (
        {"labels": np.array([2**63], np.uint64)},
        "probes['en'].labels: found 9223372036854775808, expected integers below 2**63",
    ),
    ({"inputs": np.ones((1, 1), np.longdouble), "labels": [0]}, "probes['en'].inputs: found dtype "),
    ([{"labels": 0}, {"label": 1}], "probes['en'].labels: missing from row 1, which row 0 has"),
    (
        "data.csv",
        "probes['en']: found str, expected a mapping of names to columns, a Hugging Face data set, a data frame, ",
    ),
]


@pytest.mark.parametrize(("form", "message"), WRONG)
def test_what_cannot_be_used_is_named(form: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        lists(form)
    assert str(raised.value).startswith(message)


def test_ragged_lists_need_a_padding() -> None:
    with pytest.raises(ValueError, match="no pad_token_id in the configuration: set it, or pad the rows to one length"):
        lists(RAGGED, json.dumps({"model_type": "other"}))


MLP_CONFIG = json.dumps({"model_type": "mlp"})
FEATURES, CLASSES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 2, 1])


class Frame:
    """What clino uses of a data frame."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns
        self.columns = list(columns)

    def to_dict(self) -> dict[str, Any]:
        return self._columns

    def __getitem__(self, name: str) -> Any:
        column = np.empty(len(self._columns[name]), object)
        column[:] = self._columns[name]
        return SimpleNamespace(to_numpy=lambda: column)


class Tensors:
    """What clino uses of a TensorDataset."""

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tensors


NAMED: dict[str, Any] = {"inputs": FEATURES, "labels": CLASSES}
PAIRS: dict[str, Any] = {
    "pair": (FEATURES, CLASSES),
    "classes in a column": (FEATURES, CLASSES[:, None]),
    "pair of lists": (FEATURES.tolist(), CLASSES),
    "list": [FEATURES, CLASSES],
    "tensors": Tensors(FEATURES, CLASSES),
    "rows": [(row, label) for row, label in zip(FEATURES, CLASSES, strict=True)],
    "frame": Frame({"inputs": FEATURES.tolist(), "label": CLASSES.tolist()}),
}


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("named", [True, False])
def test_pairs_and_frames_are_groups(form: str, named: bool) -> None:
    given = PAIRS[form]
    (group,), remarks = _probes.groups({"val": given} if named else given, MLP_CONFIG)
    found = read(group)
    assert group.name == ("val" if named else "probe")
    assert (found["inputs"] == FEATURES).all()
    assert (found["labels"].ravel() == CLASSES).all()
    assert remarks == []


def test_a_pair_for_a_transformer_is_its_tokens() -> None:
    found, _ = lists((np.array([[5, 6], [7, 0]]), np.array([0, 1])))
    assert found == {"input_ids": [[5, 6], [7, 0]], "attention_mask": [[True, True], [True, False]], "labels": [0, 1]}


def test_pairs_of_torch_are_groups() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(FEATURES), torch.tensor(CLASSES)
    for given in ((x, y), torch.utils.data.TensorDataset(x, y), [(x[i], y[i]) for i in range(3)]):
        (group,), _ = _probes.groups({"val": given}, MLP_CONFIG)
        assert read(group)["labels"].tolist() == [0, 2, 1]


@pytest.mark.parametrize("given", [NAMED, UserDict(NAMED), Dataset(NAMED), [{"inputs": [1.0], "label": 0}]])
def test_examples_without_a_group_are_one(given: Any) -> None:
    (group,), _ = _probes.groups(given, MLP_CONFIG)
    assert group.name == "probe"
    assert sorted(read(group)) == ["inputs", "labels"]


def test_a_group_may_be_called_like_a_column() -> None:
    found, _ = _probes.groups({"labels": NAMED, "inputs": Dataset(NAMED)}, MLP_CONFIG)
    assert [group.name for group in found] == ["labels", "inputs"]


EXAMPLE = '{"inputs": x, "labels": y}'
GROUPS = f'probes={{"val": {EXAMPLE}}}'


class Loader:
    dataset, batch_size = (), 4


class Rows:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return FEATURES[index], CLASSES[index]


NO_GROUPS: list[tuple[Any, str, str]] = [
    (None, "probes: found NoneType, expected at least one group", GROUPS),
    ({}, "probes: found an empty dict, expected at least one group", GROUPS),
    ([], "probes: found an empty list, expected at least one group", GROUPS),
    ({0: NAMED}, "probes: found a group called 0, expected a text as its name", GROUPS),
    ({**NAMED, "val": NAMED}, "probes: found columns (inputs, labels) beside groups (val), expected groups", GROUPS),
    (7, "probes: found int, expected a mapping of names to columns", f"give {EXAMPLE}"),
    (FEATURES, "probes: found ndarray, expected", f"give it a name, and the classes: {EXAMPLE}"),
    ({"val": FEATURES}, "probes['val']: found ndarray, expected", f"give it a name, and the classes: {EXAMPLE}"),
    (
        {"val": Loader()},
        "probes['val']: found Loader, expected",
        f"(loader.dataset) if that is one of these, or the columns: {EXAMPLE}",
    ),
    (
        {"val": Rows()},
        "probes['val']: found Rows, expected",
        '[dataset[i] for i in range(256)], each {"labels": …, …} or (x, y)',
    ),
    ({"val": iter([NAMED])}, "probes['val']: found list_iterator, expected", 'each {"labels": …, …} or (x, y)'),
    (
        {"val": Tensors(FEATURES, FEATURES, CLASSES)},
        "probes['val']: found Tensors, expected",
        f"its tensors by name: {EXAMPLE}",
    ),
    ({"val": "data.csv"}, "probes['val']: found str, expected", f"give what the file holds: {EXAMPLE}"),
]


@pytest.mark.parametrize(("wrong", "first", "last"), NO_GROUPS)
def test_what_is_no_group_is_told_what_is(wrong: Any, first: str, last: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        _probes.groups(wrong, MLP_CONFIG)
    assert str(raised.value).startswith(first)
    assert str(raised.value).endswith(last)


def test_a_transformers_example_has_its_columns() -> None:
    with pytest.raises(TypeError, match=re.escape('give {"input_ids": ids, "attention_mask": mask, "labels": y}')):
        _probes.groups(7, BERT)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealDaemon]:
    daemon = RealDaemon(tmp_path)
    yield daemon
    daemon.stop()


MLP = {"model_type": "mlp", "sizes": [2, 3], "hidden_act": "relu"}


def inputs(rows: int = 3) -> dict[str, Any]:
    return {"inputs": np.linspace(-1, 1, 2 * rows).reshape(rows, 2), "labels": np.arange(rows, dtype=np.int8) % 3}


@needs_daemon
def test_more_columns_cost_no_run_and_are_told_once(served: RealDaemon, caplog: pytest.LogCaptureFixture) -> None:
    probe = {**inputs(), "idx": [0, 1, 2], "text": ["a", "b", "c"]}
    weights = {"layers.0.weight": np.zeros((3, 2), np.float32), "layers.0.bias": np.zeros(3, np.float32)}
    caplog.set_level(logging.WARNING, "clino")
    with clino.init(MLP, {"en": probe}, ["loss"], addr=served.unix, strict=True, check=False) as run:
        run.snapshot(weights, 0)
        (loss, _) = run.readings(wait=30)
    assert loss.value == pytest.approx(math.log(3))
    unread = 'column "idx" of group "en" is left out: this model reads inputs, labels'
    assert run.warnings == (
        "probes['en'].text: found texts at row 0, expected numbers; no model reads this column: it is left out",
        unread,
    )
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"clino: {warning}" for warning in run.warnings]


@needs_daemon
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.array([0.0, 1.0, 2.0]),
            "found dtype F64, expected integers from 0 to 2, the class of each example: floats",
        ),
        (np.array([-100, -100, -100]), "found -100 for all 3 examples, expected the class of each, 0 to 2: a split"),
        (np.eye(3, dtype=np.int64), "found shape [3, 3], expected [examples], one class per example"),
    ],
)
def test_labels_of_another_task_are_refused_before_training(served: RealDaemon, labels: Any, message: str) -> None:
    with pytest.raises(clino.ClinoError) as raised:
        clino.init(MLP, {"en": {**inputs(), "labels": labels}}, ["loss"], addr=served.unix, strict=True)
    assert message in str(raised.value)


@needs_daemon
def test_one_label_is_refused_before_training(served: RealDaemon) -> None:
    with pytest.raises(clino.ClinoError, match=r"config.sizes\[1\]: found 1 label, expected at least 2: a model with"):
        clino.init({**MLP, "sizes": [2, 1]}, {"en": inputs()}, ["loss"], addr=served.unix, strict=True)
