from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import CONFIG

from clino import _request
from clino._settings import Settings, mode_of
from clino.v1 import types_pb2


def test_a_config_in_each_of_its_forms(tmp_path: Path) -> None:
    class HfLike:
        def to_dict(self) -> dict[str, Any]:
            return {**CONFIG, "dtype": np.dtype("float32")}

    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    for form in (CONFIG, json.dumps(CONFIG), str(path), path, tmp_path):
        assert json.loads(_request.config_text(form)) == CONFIG
    assert json.loads(_request.config_text(HfLike())) == {**CONFIG, "dtype": "float32"}


@pytest.mark.parametrize("form", ["nowhere.json", 7, None])
def test_what_is_no_config(form: object) -> None:
    with pytest.raises((TypeError, ValueError), match="config: found"):
        _request.config_text(form)


def test_probes_from_arrays_and_lists() -> None:
    (group,) = _request.groups({"en": {"input_ids": [[5, 6], [7, 1]], "labels": np.array([0, 1], np.uint8)}})
    tensors = {tensor.spec.name: tensor for tensor in group.probe.tensors}
    assert group.name == "en"
    assert tensors["input_ids"].spec.dtype == types_pb2.DTYPE_I64
    assert list(tensors["input_ids"].spec.shape) == [2, 2]
    assert np.frombuffer(tensors["labels"].data, "<i8").tolist() == [0, 1]


def test_measures_with_parameters_of_every_kind() -> None:
    plain, full = _request.measures(
        ["margin", {"name": "sharpness", "alpha": 0.001, "draws": 4, "on": True, "scope": "layer", "alphas": [1, 2]}]
    )
    assert plain.name == "margin"
    assert full.parameters["alpha"].number == 0.001
    assert full.parameters["draws"].number == 4
    assert full.parameters["on"].WhichOneof("kind") == "flag"
    assert full.parameters["scope"].text == "layer"
    assert list(full.parameters["alphas"].numbers.values) == [1, 2]
    assert _request.measures(None) == []


@pytest.mark.parametrize("wanted", ["loss", [{"alpha": 1}], [{"name": "loss", "x": object()}]])
def test_what_is_no_measure(wanted: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="measures"):
        _request.measures(wanted)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.of(None).target == "127.0.0.1:7411"
    assert Settings.of("http://[::1]:80").target == "[::1]:80"
    assert Settings.of("localhost:5").target == "localhost:5"
    unix = Settings.of("unix:///run/clino/a b.sock")
    assert unix.target == "unix:/run/clino/a b.sock"
    assert ("grpc.default_authority", "localhost") in unix.options
    monkeypatch.setenv("CLINO_ADDR", "http://far:1")
    assert Settings.of(None).target == "far:1"
    assert Settings.of("near:2").target == "near:2"


@pytest.mark.parametrize("addr", ["https://host:1", "http://host:1/path", "unix://", "ftp://x"])
def test_what_is_no_address(addr: str) -> None:
    with pytest.raises(ValueError, match="addr: found"):
        Settings.of(addr)


def test_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mode_of(None) == "online"
    monkeypatch.setenv("CLINO_MODE", "disabled")
    assert mode_of(None) == "disabled"
    assert mode_of("online") == "online"
    with pytest.raises(ValueError, match="mode: found 'offline'"):
        mode_of("offline")
