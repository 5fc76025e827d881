"""A failed run looks like one, and a good one says how it went: in one line, whatever logging shows."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import grpc
import numpy as np
import pytest
from fake import FakeDaemon
from real import Mlp, RealDaemon, needs_daemon
from support import CONFIG, begin, probes, until, weights

import clino
from clino._journal import Outcome
from clino._summary import Stats, summary

NOWHERE = "http://127.0.0.1:1"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_run_that_went_well_says_so_in_one_line(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(daemon.addr, delivery="every", policy=[clino.Rule("patience", "loss@en", patience=3)])
    run.snapshot(weights(), 0, init=True)
    until(lambda: run.status == "running" and bool(daemon.run.received))
    daemon.decide("CONTINUE")
    run.snapshot(weights(), 1)
    assert run.finish()
    assert (run.status, run.error) == ("finished", None)
    name = daemon.run.request.name
    assert capsys.readouterr().err == f"clino: run {name}: 2 of 2 snapshots measured; last decision CONTINUE\n"
    assert run.finish()
    assert capsys.readouterr().err == "", "once"
    assert caplog.records == []


def test_the_line_goes_to_the_log_where_that_shows_it(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        run = begin(daemon.addr)
        run.snapshot(weights(), 1)
        assert run.finish()
    assert any("1 of 1 snapshots measured" in record.message for record in caplog.records)
    assert capsys.readouterr().err == ""


def test_a_level_of_our_logger_ends_the_line(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("clino"), "level", logging.CRITICAL)
    with begin(daemon.addr) as run:
        run.snapshot(weights(), 1)
    assert capsys.readouterr().err == ""


def test_what_became_of_snapshots_is_counted() -> None:
    def stats(snapshots: int, replaced: int = 0, failed: int = 0) -> Stats:
        return Stats(snapshots, 0.0, 0.0, 0.0, snapshots, 0, replaced, failed)

    assert summary(stats(22, replaced=10), Outcome(7, 5, 0, None), None) == (
        "7 of 22 snapshots measured, 15 replaced by newer ones"
    )
    assert summary(stats(9, failed=2), Outcome(3, 0, 1, "why"), None) == (
        "3 of 9 snapshots measured, 1 without any reading, 2 failed, 3 not measured"
    )
    assert summary(stats(0), Outcome(0, 0, 0, None), None) == "no snapshot was given"


def test_a_refused_run_is_an_error_once_and_finish_is_false(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(request: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "config_json: found a model that is not supported")

    daemon.on_open = refuse
    run = begin(daemon.addr)
    until(lambda: run.status == "failed")
    for step in range(3):
        run.snapshot(weights(), step)
    assert not run.finish()
    told = ["clino: the daemon does not accept the run: config: found a model that is not supported"]
    assert errors(caplog) == told
    assert run.error == told[0].removeprefix("clino: ")
    assert run.status == "failed"
    assert "0 of 3 snapshots measured" in capsys.readouterr().err, "one line in any case"


def test_bad_arguments_make_a_failed_run(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    run = clino.init(None, probes())
    assert (run.status, run.id) == ("failed", None)
    assert run.error is not None
    assert "config" in run.error
    assert not run.finish()
    assert len(errors(caplog)) == 1
    assert capsys.readouterr().err == "clino: run: nothing was measured, it never began\n"


def test_snapshots_that_are_all_refused_make_a_failed_run(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(number: int, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "tensors: found no layers.0.weight")

    daemon.on_chunk = refuse
    run = begin(daemon.addr)
    for step in range(3):
        run.snapshot(weights(), step)
        until(lambda step=step: run.stats.failed == step + 1)  # type: ignore[misc]
    assert run.status == "failed"
    assert not run.finish()
    assert errors(caplog) == ["clino: a snapshot was not accepted: tensors: found no layers.0.weight"]


def test_a_daemon_that_never_came_is_an_error_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    run = begin(NOWHERE)
    run.snapshot(weights(), 1)
    until(lambda: run.status == "away")
    assert errors(caplog) == []
    assert not run.finish(5)
    assert len(errors(caplog)) == 1
    assert "0 of 1 snapshots measured" in errors(caplog)[0]
    absent = f"no daemon at {NOWHERE} (Connection refused): start one with `clino serve`, or give another address with "
    assert errors(caplog)[0].endswith(f"{absent}addr= or CLINO_ADDR")
    assert run.error == f"{absent}addr= or CLINO_ADDR"
    assert run.status == "failed"


def test_a_disabled_run_says_nothing(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    run = clino.init(CONFIG, probes(), mode="disabled")
    run.snapshot(weights(), 1)
    assert run.finish(), "nothing is lost where nothing is to be done"
    assert (run.status, run.error) == ("disabled", None)
    assert caplog.records == []
    assert capsys.readouterr().err == ""


def test_a_version_is_there() -> None:
    assert clino.__version__ == "0.1.0"


@needs_daemon
def test_nothing_is_hidden_by_a_level_of_logging(tmp_path: Any) -> None:
    """As found with `logging.basicConfig(level=ERROR)`: a refused model looked like a run without readings."""
    real = RealDaemon(tmp_path)
    code = """
import logging, sys, numpy as np, clino
logging.basicConfig(level=logging.ERROR)
probe = {"inputs": np.zeros((4, 8), np.float32), "labels": np.zeros(4, int)}
run = clino.init({"model_type": "mlp", "sizes": [8, 32, 3]}, {"val": probe}, addr=sys.argv[1], name="level")
run.snapshot({"0.weight": np.zeros((32, 8), np.float32)}, 0, init=True)
print(run.finish(), run.status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, real.unix], capture_output=True, text=True, check=True, timeout=60
    )
    real.stop()
    assert done.stdout == "False failed\n"
    assert done.stderr.count("ERROR:clino:") == 1
    assert "0 of 1 snapshots measured" in done.stderr


@needs_daemon
def test_measured_without_any_reading_is_a_failure(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    real = RealDaemon(tmp_path)
    model = Mlp()
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["distance"], addr=real.unix)
    run.snapshot(model.weights, 5)
    assert not run.finish()
    real.stop()
    assert "1 without any reading: no initialization" in errors(caplog)[0]
    assert np.isfinite(run.stats.held_max)
