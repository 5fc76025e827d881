"""Examples of a model that is measured as a graph: which columns are which arguments, and what fills them up."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest
from test_probes import Dataset, Frame, Tensors, read

torch = pytest.importorskip("torch")

from clino import _graph_probes
from clino._graph_probes import Reader

nn = torch.nn
X, Y = np.arange(24.0).reshape(6, 4), np.arange(6) % 3
IDS = [[5, 6, 7], [8], [9, 4]]


class Takes(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any, scale: Any = None) -> Any:
        return x


class Anything(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, **columns: Any) -> Any:
        return columns


class Reads(nn.Module):  # type: ignore[misc, name-defined]
    """As models of transformers are."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        self.config = type("Config", (), {"pad_token_id": padding})()

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, labels: Any = None
    ) -> Any:
        return input_ids


class Bare(Reads):
    def forward(self, input_ids: Any) -> Any:  # type: ignore[override]
        return input_ids


def groups(probes: Any, module: Any, loss: Any = None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    found, remarks = _graph_probes.groups(probes, module, Reader.of(module, loss))
    return {group.name: read(group) for group in found}, remarks


def lists(probe: Any, module: Any, loss: Any = None) -> dict[str, Any]:
    ((_, columns),) = groups(probe, module, loss)[0].items()
    return {name: array.tolist() for name, array in columns.items()}


FORMS: dict[str, Any] = {
    "mapping": {"x": X, "labels": Y},
    "other name": {"inputs": X, "label": Y},
    "encoding": UserDict({"x": torch.tensor(X), "labels": torch.tensor(Y)}),
    "data set": Dataset({"x": X.tolist(), "labels": Y.tolist()}),
    "frame": Frame({"x": X.tolist(), "label": Y.tolist()}),
    "pair": (X, Y),
    "tensors": Tensors(X, Y),
    "rows": [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)],
    "pairs": [(x, y) for x, y in zip(X, Y, strict=True)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [True, False])
def test_the_forms_in_which_data_come(form: str, named: bool) -> None:
    found, remarks = groups({"x": FORMS[form]} if named else FORMS[form], Takes())
    ((name, columns),) = found.items()
    assert name == ("x" if named else "probe")
    assert {key: array.tolist() for key, array in columns.items()} == {"x": X.tolist(), "labels": Y.tolist()}
    assert remarks == []


def test_tuples_are_arguments_in_their_order_and_labels_of_any_shape() -> None:
    scale, several = np.ones((6, 1)), np.eye(6)
    found = lists((X, scale, several), Takes())
    assert found == {"x": X.tolist(), "scale": scale.tolist(), "labels": several.tolist()}


def test_columns_of_every_name_are_kept() -> None:
    columns = {"pixels": X, "words": Y, "start_positions": Y, "end_positions": Y}
    assert sorted(lists(columns, Anything())) == sorted(columns)
    found, remarks = groups(
        {"en": {"x": X, "labels": Y, "idx": Y, "text": list("abcdef"), "ends": [[1]] * 5 + [[]]}}, Takes()
    )
    assert sorted(found["en"]) == ["idx", "labels", "x"]
    left = "the model does not read this column: it is left out"
    assert remarks == [
        f"probes['en'].text: found texts at row 0, expected numbers; {left}",
        f"probes['en'].ends: found rows of different lengths, and {left}",
    ]


def test_ragged_tokens_and_their_labels_are_filled_up() -> None:
    given = {"input_ids": IDS, "labels": IDS, "token_type_ids": [[1, 1, 1], [1], [1, 1]]}
    mask = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    types = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    labels = [[5, 6, 7], [8, -100, -100], [9, 4, -100]]
    expected = {"attention_mask": mask, "token_type_ids": types, "labels": labels}
    assert lists(given, Reads(3)) == {**expected, "input_ids": [[5, 6, 7], [8, 3, 3], [9, 4, 3]]}
    assert lists(given, Reads()) == {**expected, "input_ids": [[5, 6, 7], [8, 0, 0], [9, 4, 0]]}
    assert lists(given, Reads(), nn.CrossEntropyLoss(ignore_index=-1))["labels"] == [[5, 6, 7], [8, -1, -1], [9, 4, -1]]
    assert lists({"input_ids": IDS, "labels": [0, 1, 2]}, Bare(3)) == {
        "input_ids": [[5, 6, 7], [8, 3, 3], [9, 4, 3]],
        "labels": [0, 1, 2],
    }


def test_a_mask_that_one_group_has_all_have() -> None:
    found, _ = groups(
        {"en": {"input_ids": IDS, "labels": IDS}, "de": {"input_ids": [[1, 2]], "labels": [[1, 2]]}}, Reads()
    )
    assert found["de"]["attention_mask"].tolist() == [[1, 1]]
    assert sorted(groups({"de": {"input_ids": [[1, 2]], "labels": [[1, 2]]}}, Reads())[0]["de"]) == [
        "input_ids",
        "labels",
    ]


WRONG: list[tuple[Any, Any, Any, str]] = [
    ({"x": X, "y": X, "labels": Y}, nn.Linear(4, 3), None, "probes: found columns x, y, expected some of input, the"),
    (
        {"en": {"x": X}},
        Takes(),
        None,
        "probes['en'].labels: missing, expected what the loss is held against: for a lang",
    ),
    (
        {"input_ids": IDS, "labels": Y[:3]},
        Bare(),
        None,
        "probes.input_ids: found rows of different lengths and no pad_tok",
    ),
    (
        {"input_ids": IDS, "labels": IDS},
        Reads(),
        "mse",
        "probes.labels: found rows of different lengths and nothing in",
    ),
    (
        {"x": [[1.0], [1.0, 2.0]], "labels": [0, 1]},
        Takes(),
        None,
        "probes.x: found rows of different lengths and nothing to",
    ),
    (
        {"input_ids": IDS, "attention_mask": [[1]] * 3, "labels": Y[:3]},
        Reads(),
        None,
        "probes.attention_mask: found shape (3, 1), expected (3, 3) as of",
    ),
    ((X, X, X, Y), Takes(), None, "probes: found 4 tensors, expected at most 2 for x, scale and the labels: give a"),
    ({"x": np.ones((0, 4)), "labels": []}, Takes(), None, "probes.labels: found rows of different shapes"),
    (
        {"x": np.ones((0, 4)), "labels": Y[:0]},
        Takes(),
        None,
        "probes.x: found shape (0, 4), expected a row for each exam",
    ),
    ({"x": ["a"] * 6, "labels": Y}, Takes(), None, "probes.x: found texts at row 0, expected numbers"),
    (None, Takes(), None, "probes: found NoneType, expected at least one group of examples"),
]


@pytest.mark.parametrize(("probes", "module", "loss", "message"), WRONG)
def test_what_cannot_be_used_is_named(probes: Any, module: Any, loss: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        groups(probes, module, loss)
    assert str(raised.value).startswith(message)


def test_the_export_gets_two_rows_of_what_the_model_reads() -> None:
    module = Takes()
    for rows in (1, 6):
        probe = {"x": X[:rows], "labels": Y[:rows].astype(np.int8), "idx": Y[:rows]}
        (group,), _ = _graph_probes.groups({"en": probe}, module, Reader.of(module, None))
        found = _graph_probes.examples(group, Reader.of(module, None))
        assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {"x": (2, 4), "labels": (2,)}
        assert found["labels"].dtype == torch.int64
        assert found["x"][1].tolist() == X[1 % rows].tolist()


def test_a_decoder_gets_what_it_makes_of_labels() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0))
    found = lists({"input_ids": [[3, 4]], "labels": [[5, 6, 7]]}, model)
    assert found["decoder_input_ids"] == [[0, 5, 6]]
