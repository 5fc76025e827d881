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


EXPECTED = "expected a torch module, or a configuration: a mapping, a path, JSON text or a config object"
WHICH = (
    "give the torch module that is trained, or for a chain of linear layers "
    '{"model_type": "mlp", "sizes": [features, …, classes], "hidden_act": "relu"}; docs/models.md says which models fit'
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


def test_of_a_model_of_another_library_the_parts_are_told() -> None:
    class Model:
        config = type("Config", (), {"to_dict": dict})()

    assert said(Model()) == (
        f"config: found Model, {EXPECTED}: give its .config, and its parameters to run.snapshot({{name: array}}, step)"
    )


def test_configurations_describe_the_classifiers_that_the_daemon_knows() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    kind = transformers.BertForSequenceClassification

    def described(name: str = "BertForSequenceClassification", **more: Any) -> bool:
        return _config.describes(getattr(transformers, name)(transformers.BertConfig(**sizes, **more)))

    assert described()
    assert described(num_labels=5, problem_type="single_label_classification")
    assert not described(num_labels=1)
    assert not described(problem_type="multi_label_classification")
    assert not described(is_decoder=True)
    assert not described("BertForTokenClassification")
    assert not _config.describes(type("Pooled", (kind,), {})(transformers.BertConfig(**sizes)))
    distil = transformers.DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    assert not _config.describes(transformers.DistilBertForSequenceClassification(distil))
