"""The first initialization stays; a model that nothing compares and readings without a value are said."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from real import Mlp, RealDaemon, needs_daemon
from support import CONFIG, begin, probes, until, weights

import clino
from clino.v1 import reports_pb2


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def moved(model: Mlp, by: float) -> dict[str, Any]:
    """The first matrix moved: its distance from where it was is known."""
    first = "layers.0.weight"
    return {**model.weights, first: model.weights[first] + np.float32(by)}


def distances(run: clino.Run) -> list[tuple[int, float | None]]:
    return [(one.step, one.value and round(one.value, 3)) for one in run.readings() if one.measure == "distance"]


# --- init=True


@needs_daemon
@pytest.mark.parametrize("delivery", ["latest", "every"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_second_initialization_is_an_ordinary_snapshot_and_said_once(
    tmp_path: Path, delivery: Any, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    options: dict[str, Any] = {"addr": real.unix, "delivery": delivery, "check": False}
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["distance"], **options)
    for step in (0, 10, 20, 30):
        run.snapshot(moved(model, step / 10), step, init=True)
        if waits:
            run.readings(wait=30)
    assert run.finish()
    real.stop()
    away = 24**0.5  # of a matrix of 24 numbers, each moved by one
    expected = {0: 0.0, 10: away, 20: 2 * away, 30: 3 * away}
    found = distances(run)
    assert [step for step, _ in found][:1] == [0], "the first is never replaced"
    for step, value in found:
        assert value == pytest.approx(expected[step], abs=1e-3)
    if waits or delivery == "every":
        assert len(found) == 4
    assert warnings(caplog) == [
        "clino: init: found True again at step 10, expected it once: the initialization is that of step 0, and this is "
        "an ordinary snapshot: leave out init=True"
    ]
    assert len(run.warnings) == 1
    assert run.error is None


def test_one_that_was_refused_makes_room_for_another(daemon: FakeDaemon) -> None:
    run = begin(daemon.addr, delivery="every")
    run.snapshot({"w": object()}, 0, init=True)
    run.snapshot(weights(), 1, init=True)
    until(lambda: run.stats.sent == 1)
    assert run.finish()
    assert [one.begin.initialization for one in daemon.run.received] == [True]
    assert run.warnings == ()


@needs_daemon
def test_a_daemon_that_lost_its_initialization_takes_that_of_the_next_start(tmp_path: Path) -> None:
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    for first in (0, 5):
        options: dict[str, Any] = {"addr": real.unix, "delivery": "every", "check": False, "resume": "k"}
        run = clino.init(model.config, {"en": model.probe(8, 0)}, ["distance"], **options)
        run.snapshot(moved(model, first), first, init=True)
        run.snapshot(moved(model, first + 1), first + 1)
        assert run.finish()
    real.stop()
    assert {one.outcome for one in run.readings()} == {"measured"}


@needs_daemon
@pytest.mark.parametrize("step", [0, 5])
def test_a_daemon_that_has_an_initialization_keeps_it(tmp_path: Path, step: int) -> None:
    real, model = RealDaemon(tmp_path, "--data", str(tmp_path / "data")), Mlp((8, 3))
    options: dict[str, Any] = {"addr": real.unix, "delivery": "every", "check": False, "resume": "k"}
    first = clino.init(model.config, {"en": model.probe(8, 0)}, ["distance"], **options)
    first.snapshot(moved(model, 0), 0, init=True)
    assert first.finish()
    again = clino.init(model.config, {"en": model.probe(8, 0)}, ["distance"], **options)
    again.snapshot(moved(model, 1), step, init=True)
    again.snapshot(moved(model, 2), 20)
    assert again.finish()
    real.stop()
    if not again.warnings:
        pytest.skip("this daemon is of before it kept the first initialization, and said so in the receipt")
    assert any("initialization" in warning for warning in again.warnings)
    step, distance = distances(again)[-1]
    assert step == 20
    assert distance == pytest.approx(2 * 24**0.5, abs=1e-3)


# --- what is not compared


@needs_daemon
def test_a_mapping_is_said_not_to_be_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, delivery="every")
    for step in range(3):
        run.snapshot(model.weights, step)
    assert run.finish()
    (warning,) = run.warnings
    assert warning == (
        "the model is not compared with its configuration: found a mapping of names to tensors (a state_dict), which "
        "cannot be evaluated; readings are of the model that the configuration describes, which may differ from the "
        "trainer's: give the torch module itself; where there is none, compare a loss with your own, and then give "
        "check=False"
    )
    assert warnings(caplog) == [f"clino: {warning}"]
    silent = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, check=False)
    silent.snapshot(model.weights, 0)
    assert silent.finish()
    real.stop()
    assert silent.warnings == ()


def test_a_module_after_a_mapping_is_compared(daemon: FakeDaemon) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 3)
    run = begin(daemon.addr, delivery="every", check=True)
    for model in (module.state_dict(), module):
        run.snapshot(model, 1)
    assert run.finish()
    assert [one.begin.HasField("model_check") for one in daemon.run.received] == [False, True]


@needs_daemon
@pytest.mark.parametrize(
    "probe", [{"inputs": np.zeros((6, 9))}, {"labels": np.full(6, 7)}], ids=lambda one: next(iter(one))
)
def test_one_mistake_in_a_probe_is_one_message(
    tmp_path: Path, probe: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    torch = pytest.importorskip("torch")
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    given = {"inputs": np.zeros((6, 8)), "labels": np.arange(6) % 3, **probe}
    run = clino.init(model.config, {"en": given}, ["loss"], addr=real.unix)
    for step in range(2):
        run.snapshot(torch.nn.Sequential(torch.nn.Linear(8, 3)), step)
    assert not run.finish()
    real.stop()
    (said,) = warnings(caplog)
    assert said.startswith("clino: the daemon does not accept the run: probes['en'].")
    assert run.warnings == ()


# --- readings without a value


@needs_daemon
def test_parameters_that_are_not_numbers_are_said_and_finish_is_false(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    broken = {name: tensor.copy() for name, tensor in model.weights.items()}
    broken["layers.0.bias"][1] = np.nan
    options: dict[str, Any] = {"addr": real.unix, "delivery": "every", "check": False}
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss", "param_norm"], **options)
    broken_more = {**broken, "layers.0.weight": np.full((3, 8), np.inf, np.float32)}
    for step, given in [(12, broken), (13, broken_more)]:
        run.snapshot(given, step)
    assert not run.finish()
    assert run.warnings == (
        "step 12: no reading has a value: 1 of 27 parameters are not finite, the first in layers.0.bias",
    )
    first, last = warnings(caplog)
    assert first == f"clino: {run.warnings[0]}"
    assert "2 of 2 snapshots measured, none of them has a value: 1 of 27 parameters are not finite" in last
    assert run.status == "failed"
    assert run.error is not None
    mixed = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], **options)
    for step, given in [(1, model.weights), (2, broken)]:
        mixed.snapshot(given, step)
    assert mixed.finish()
    real.stop()
    assert mixed.warnings[0].startswith("step 2: no reading has a value")
    assert mixed.error is None


def test_readings_that_failed_are_said_like_those_that_are_undefined(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once for each kind of reason; and some are no failure of the run."""
    tell = daemon._tell

    def failing(run: Any, event: reports_pb2.WatchResponse) -> None:
        if event.HasField("reading") and event.reading.snapshot.step > 1:
            event.reading.ClearField("value")
            event.reading.outcome = reports_pb2.OUTCOME_FAILED
            event.reading.reason = f"the device was lost after {event.reading.snapshot.step} s"
        tell(run, event)

    daemon._tell = failing  # type: ignore[method-assign]
    run = begin(daemon.addr, delivery="every")
    for step in (1, 2, 3):
        run.snapshot(weights(), step)
    assert run.finish()
    assert run.warnings == ("step 2: no reading has a value: the device was lost after 2 s",)
    assert "1 of 3 snapshots measured, 2 without any reading\n" in capsys.readouterr().err


def test_a_run_that_is_switched_off_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINO_MODE", "disabled")
    run = clino.init(CONFIG, probes())
    run.snapshot(weights(), 0, init=True)
    assert run.finish()
    monkeypatch.setenv("CLINO_MODE", "offline")
    assert not clino.init(CONFIG, probes()).finish(), "a mistake is none that is switched off"
