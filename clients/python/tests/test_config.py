"""A configuration in each of its forms; and what a user is told who gives a model, or something else, in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import CONFIG

from clino import _config


def test_a_config_in_each_of_its_forms(tmp_path: Path) -> None:
    class HfLike:
        def to_dict(self) -> dict[str, Any]:
            return {**CONFIG, "dtype": np.dtype("float32")}

    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    for form in (CONFIG, json.dumps(CONFIG), str(path), path, tmp_path):
        assert json.loads(_config.text_of(form)) == CONFIG
    assert json.loads(_config.text_of(HfLike())) == {**CONFIG, "dtype": "float32"}
    assert json.loads(_config.text_of({**CONFIG, "sizes": np.array([4, 3])})) == CONFIG
    assert json.loads(_config.text_of({**CONFIG, "sizes": [np.int64(4), 3]})) == CONFIG


def said(wrong: object) -> str:
    with pytest.raises((TypeError, ValueError)) as raised:
        _config.text_of(wrong)
    return str(raised.value)


EXPECTED = "expected a mapping, a path, JSON text or a config object"
WHICH = (
    'give model.config for a Hugging Face model, or {"model_type": "mlp", "sizes": [features, …, classes], '
    '"hidden_act": "relu"} for a chain of linear layers; docs/models.md says which models fit'
)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (7, f"config: found int, {EXPECTED}: {WHICH}"),
        (None, f"config: found NoneType, {EXPECTED}: {WHICH}"),
        (dict, f"config: found dict, a class, {EXPECTED}: {WHICH}"),
        (
            "bert-base-cased",
            "config: found no file 'bert-base-cased', expected a config.json, its text or a mapping: for a model on "
            "the Hugging Face hub give model.config",
        ),
        (
            [8, 32, 3],
            f'config: found list, {EXPECTED}: give {{"model_type": "mlp", "sizes": [8, 32, 3], "hidden_act": "relu"}} '
            "with the activation that the model has",
        ),
    ],
)
def test_what_is_no_config_is_told_what_is(wrong: object, message: str) -> None:
    assert said(wrong) == message


def test_of_a_sequence_of_linear_layers_the_very_mapping_is_told() -> None:
    nn = pytest.importorskip("torch").nn
    inner = nn.Sequential(nn.Linear(32, 16), nn.GELU(approximate="tanh"))
    chain = nn.Sequential(nn.Linear(8, 32), nn.GELU(approximate="tanh"), nn.Dropout(0.1), inner, nn.Linear(16, 3))
    assert said(chain) == (
        f'config: found Sequential, {EXPECTED}: give {{"model_type": "mlp", "sizes": [8, 32, 16, 3], "hidden_act": '
        '"gelu_pytorch_tanh"}, and the module itself to run.snapshot(module, step)'
    )
    named = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.SiLU: "silu", nn.GELU: "gelu"}
    for kind, name in named.items():
        told = said(nn.Sequential(nn.Linear(8, 32), kind(), nn.Linear(32, 3), nn.Softmax(-1)))
        assert f'{{"model_type": "mlp", "sizes": [8, 32, 3], "hidden_act": "{name}"}}' in told
    assert '"sizes": [8, 3], "hidden_act": "relu"' in said(nn.Sequential(nn.Linear(8, 3)))


def test_of_other_modules_nothing_is_made_up() -> None:
    nn = pytest.importorskip("torch").nn
    others = [
        nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(5, 3)),
        nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Linear(4, 3)),
        nn.Sequential(),
        nn.Linear(8, 3),
    ]
    for module in others:
        told = said(module)
        assert '"sizes": [features, …, classes]' in told
        assert told.endswith("run.snapshot(module, step); docs/models.md says which models fit")


def test_a_model_of_hugging_face_is_told_of_its_config() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
    assert said(model) == (
        f"config: found BertForSequenceClassification, {EXPECTED}: give model.config, and the model itself to "
        "run.snapshot(model, step)"
    )
