from __future__ import annotations

import math
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real import BIN, needs_daemon

import clino
from clino import _request
from clino._settings import Settings, check_folder, mode_of, standard_socket
from clino.integrations._follower import Follower


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


KINDS: list[tuple[Any, str, Any]] = [
    (True, "flag", True),
    (False, "flag", False),
    (np.bool_(True), "flag", True),
    (np.array(False), "flag", False),
    (30, "number", 30.0),
    (0.02, "number", 0.02),
    (np.float32(0.5), "number", 0.5),
    (np.int64(200), "number", 200.0),
    (np.array(4.0), "number", 4.0),
    (math.inf, "number", math.inf),
    ("layer", "text", "layer"),
    ("", "text", ""),
    ([0.1, 1], "numbers", [0.1, 1.0]),
    ((2,), "numbers", [2.0]),
    (range(3), "numbers", [0.0, 1.0, 2.0]),
    (np.array([0.25, 0.5], np.float32), "numbers", [0.25, 0.5]),
    ([np.int32(7)], "numbers", [7.0]),
    ([], "numbers", []),
]


@pytest.mark.parametrize(("given", "kind", "sent"), KINDS, ids=[repr(given) for given, _, _ in KINDS])
def test_a_parameter_keeps_its_kind(given: Any, kind: str, sent: Any) -> None:
    (measure,) = _request.measures([{"name": "m", "x": given}])
    value = measure.parameters["x"]
    assert value.WhichOneof("kind") == kind
    found = list(value.numbers.values) if kind == "numbers" else getattr(value, kind)
    assert found == sent
    assert type(found) is type(sent)


def test_targets_and_flags_are_parameters() -> None:
    trace, fisher = _request.measures(
        [
            {"name": "hessian_trace", "rel_stderr": 0.02, "max_draws": 200, "max_seconds": 30},
            {"name": "fisher_trace", "exact": True},
        ]
    )
    assert {name: value.number for name, value in trace.parameters.items()} == {
        "rel_stderr": 0.02,
        "max_draws": 200.0,
        "max_seconds": 30.0,
    }
    assert {name: value.WhichOneof("kind") for name, value in fisher.parameters.items()} == {"exact": "flag"}
    assert fisher.parameters["exact"].flag


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "x"),
        (1j, "x"),
        ({"a": 1}, "x"),
        (b"layer", "x"),
        (["a"], "x[0]"),
        ([1.0, True], "x[1]"),
        ([1.0, "2"], "x[1]"),
        (np.eye(2), "x[0]"),
        (np.array(["a"]), "x[0]"),
    ],
    ids=repr,
)
def test_what_is_no_parameter_is_named(given: Any, field: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"measures[1].{field}: found ")):
        _request.measures(["loss", {"name": "m", "x": given}])


@pytest.mark.parametrize("given", [1e-6, 0.5, 30, np.float32(0.25), np.int64(3)])
def test_a_budget_is_a_number_of_seconds(given: Any) -> None:
    found = _request.budget(given)
    assert found == given
    assert type(found) is float
    assert _request.budget(None) is None


@pytest.mark.parametrize("given", [0, 0.0, -1.0, math.inf, -math.inf, math.nan, 10**400, True, "30", [1.0], 1j])
def test_what_is_no_budget(given: Any) -> None:
    with pytest.raises(ValueError, match=r"budget: found .*, expected a finite number of seconds above 0"):
        _request.budget(given)


def test_measures_as_the_command_line_has_them() -> None:
    profile, paper, fisher, plain = _request.measures(
        ["sharpness_profile:alphas=.0005,.001,1e-2,draws=2", "sharpness_paper:radius=sum", "f:exact=true", "loss"]
    )
    assert profile.name == "sharpness_profile"
    assert list(profile.parameters["alphas"].numbers.values) == [0.0005, 0.001, 0.01]
    assert profile.parameters["draws"].number == 2.0
    assert paper.parameters["radius"].text == "sum"
    assert fisher.parameters["exact"].flag
    assert (plain.name, len(plain.parameters)) == ("loss", 0)
    for text, kind in [("m:x=1_000", "text"), ("m:x= 1", "text"), ("m:x=-inf", "number"), ("m:x=", "text")]:
        assert _request.measures([text])[0].parameters["x"].WhichOneof("kind") == kind
    assert _request.measures("loss") == _request.measures(["loss"])
    assert _request.measures("sharpness:alpha=.002") == _request.measures([{"name": "sharpness", "alpha": 0.002}])
    assert _request.measures({"name": "loss"}) == _request.measures(["loss"])


AS_IN = 'expected a name, or a name with parameters, as in ["loss", {"name": "sharpness", "alpha": 0.002}]'
SUCH = "such as 'sharpness:alpha=0.002,draws=4'"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([{"alpha": 1}], f"measures[0]: found a mapping without a name, {AS_IN}"),
        ({"sharpness": {"alpha": 1}}, f"measures: found a mapping without a name, {AS_IN}"),
        (["loss", ("sharpness", 2)], f"measures[1]: found tuple, {AS_IN}"),
        (7, 'measures: found 7 (int), expected a list of measures, such as ["loss", {"name": "sharpness", "alpha": '),
        ([{"name": "loss", "x": object()}], "measures[0].x: found object, expected a number, text, flag or list"),
        (
            "loss,accuracy",
            "measures: found 'loss,accuracy', expected one measure: give a list of them, measures=[\"loss\", "
            '"accuracy"]',
        ),
        (
            ["loss, margin"],
            "measures[0]: found 'loss, margin', expected one measure: give a list of them, "
            'measures=["loss", "margin"]',
        ),
        ("", "measures: found '', expected a name before the parameters"),
        ([":a=1"], f"measures[0]: found ':a=1', expected a name before the parameters, {SUCH}"),
        (["loss:"], f"measures[0]: found '' in 'loss:', expected key=value, {SUCH}"),
        (["loss:1"], f"measures[0]: found '1' in 'loss:1', expected key=value, {SUCH}"),
        (["loss:=1"], f"measures[0]: found '=1' in 'loss:=1', expected key=value, {SUCH}"),
        (["loss:a=1,=2"], f"measures[0]: found '=2' in 'loss:a=1,=2', expected key=value, {SUCH}"),
        (["loss:a=1,a=2"], f"measures[0].a: found it twice in 'loss:a=1,a=2', expected each parameter once, {SUCH}"),
        (["loss:a=x,1"], "measures[0].a: found 'x' among 'x,1', expected a list of numbers"),
        (["loss:a=1,x"], "measures[0].a: found 'x' among '1,x', expected a list of numbers"),
    ],
)
def test_what_is_no_measure_is_named(wanted: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        _request.measures(wanted)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("measure", "did you mean measures?"),
        ("probe", "did you mean probes?"),
        ("x", "expected some of model, probes"),
    ],
)
def test_a_misspelled_argument_is_told_the_name_that_may_be_meant(name: str, advice: str) -> None:
    options: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError) as raised:
        clino.init({}, {}, **options)
    assert str(raised.value).startswith(f"init() got an unexpected keyword argument {name!r}: {advice}")


def test_a_misspelled_argument_of_a_callback_is_told_before_training() -> None:
    for name, near in [("measure", "measures"), ("evry", "every"), ("polcy", "policy")]:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}': did you mean {near}"):
            Follower({}, None, 1, {name: 1})
    Follower({}, None, 1, {"policy": None, "strict": True, "resume": "k"})


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.of("http://[::1]:80").target == "[::1]:80"
    assert Settings.of("localhost:5").target == "localhost:5"
    unix = Settings.of("unix:///run/clino/a b.sock")
    assert unix.target == "unix:/run/clino/a%20b.sock"
    assert unix.address == "unix:///run/clino/a b.sock"
    assert Settings.of("unix:/run/a%20b?c#d.sock").target == "unix:/run/a%2520b%3Fc%23d.sock"
    assert ("grpc.default_authority", "localhost") in unix.options
    monkeypatch.setenv("CLINO_ADDR", "http://far:1")
    assert Settings.of(None).target == "far:1"
    assert Settings.of("near:2").target == "near:2"


def test_without_an_address_it_is_the_socket_of_the_users_own_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    settings = Settings.of(None)
    assert settings.target == "unix:/run/user/7/clino/clino.sock"
    assert settings.address == "unix:///run/user/7/clino/clino.sock"
    assert ("grpc.default_authority", "localhost") in settings.options
    assert not settings.exposed


PLACES = Path(__file__).resolve().parents[3] / "tests" / "places.tsv"


@pytest.mark.skipif(not PLACES.exists(), reason="outside the repository")
def test_the_order_of_places_is_that_of_the_daemon() -> None:
    rows = [line.split("\t") for line in PLACES.read_text().splitlines() if not line.startswith("#")]
    assert len(rows) > 5
    for runtime, uid, socket in rows:
        assert standard_socket(None if runtime == "-" else runtime, int(uid)) == socket


@needs_daemon
@pytest.mark.parametrize("runtime", ["/run/user/7", "", None])
def test_the_commands_look_in_the_same_place(runtime: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    said = subprocess.run([BIN, "runs", "--help"], capture_output=True, text=True, check=True).stdout
    assert f"[default: {Settings.of(None).address}]" in " ".join(said.split())


def test_a_folder_that_others_can_change_is_not_trusted(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    check_folder(str(folder), os.geteuid())
    folder.mkdir(0o700)
    link.symlink_to(folder)
    check_folder(str(folder), os.geteuid())
    with pytest.raises(ValueError, match=r"addr: .*found a link"):
        check_folder(str(link), os.geteuid())
    with pytest.raises(ValueError, match=r"addr: .*found a folder of user"):
        check_folder(str(folder), os.geteuid() + 1)
    folder.chmod(0o770)
    with pytest.raises(ValueError, match=r"addr: .*found mode 0770"):
        check_folder(str(folder), os.geteuid())


@pytest.mark.parametrize("addr", ["https://host:1/path", "http://host:1/path", "unix://", "ftp://x"])
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


def test_the_version_that_is_told_is_the_one_of_the_package() -> None:
    told = dict(Settings.of(None).access.metadata())
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert f'\nversion = "{told["clino-client-version"]}"\n' in pyproject.read_text(encoding="utf-8")
