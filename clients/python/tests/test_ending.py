"""How a run ends beside a daemon that is dead, stopped, new or full: what is said of it, and how to go on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake import FakeDaemon, say
from real import Mlp, RealDaemon, needs_daemon
from support import begin, until, weights

import clino


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def measured(real: RealDaemon, **options: Any) -> clino.Run:
    """A run of which all is measured."""
    model = Mlp((8, 3))
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, check=False, **options)
    run.snapshot(model.weights, 0, init=True)
    assert run.readings(wait=30)
    return run


# --- finish()


@needs_daemon
def test_beside_a_dead_daemon_the_end_says_so_and_how_to_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real = RealDaemon(tmp_path)
    run = measured(real)
    real.kill()
    started = time.monotonic()
    assert not run.finish(120)
    assert time.monotonic() - started < 60, "it does not wait for what cannot come"
    (line,) = warnings(caplog)
    assert f"1 of 1 snapshots measured: no daemon at {real.unix} (Connection refused): start one with" in line
    assert f"then go on with clino.init(…, resume={run.key!r}); run.readings() has what was measured" in line
    assert "within" not in line
    assert run.readings()
    assert run.error is not None
    assert run.error.startswith("no daemon at ")


@needs_daemon
def test_beside_a_stopped_daemon_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A busy machine has time to ask, too: without an answer in the last second, finish() does not know.
    timeout = 20.0
    real = RealDaemon(tmp_path)
    run = measured(real)
    real._process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    assert not run.finish(timeout)
    assert time.monotonic() - started < timeout + 10
    real.kill()
    (line,) = warnings(caplog)
    expected = f"the daemon at {real.unix} does not answer: look whether `clino serve` runs there, or give another "
    assert f"1 of 1 snapshots measured: {expected}" in line
    assert f"resume={run.key!r}" in line


@needs_daemon
def test_a_strict_run_raises_that_the_daemon_is_gone(tmp_path: Path) -> None:
    real = RealDaemon(tmp_path)
    run = measured(real, strict=True)
    real.kill()
    with pytest.raises(clino.ClinoError, match="no daemon at"):
        run.finish(20)


@needs_daemon
def test_a_new_daemon_in_its_place_is_told_of_the_run_and_the_older_readings_are_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real = RealDaemon(tmp_path)
    run = measured(real, delivery="every")
    real.kill()
    real = RealDaemon(tmp_path)
    assert run.finish(60)
    real.stop()
    (warning,) = run.warnings
    assert warning.startswith(f"the daemon at {real.unix} did not know the run any more, and it began anew: ")
    assert warning.endswith("`clino serve --data DIR` keeps them")
    assert sum(line == f"clino: {warning}" for line in warnings(caplog)) == 1
    assert run.stats.sent == 1


@needs_daemon
def test_a_daemon_that_kept_the_run_is_no_new_one(tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path / "data"))
    real = RealDaemon(tmp_path, *flags)
    run = measured(real)
    real.kill()
    real = RealDaemon(tmp_path, *flags)
    assert run.finish(60)
    real.stop()
    assert run.warnings == ()


def test_the_time_that_is_said_is_the_time_that_was_waited(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.hold.clear()
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: daemon.pushes == 1)
    started = time.monotonic()
    assert not run.finish(1.5)
    took = time.monotonic() - started
    said = warnings(caplog)[0].partition("within ")[2].partition(" s")[0]
    assert 1.5 <= float(said) <= took + 0.1


def test_a_run_that_may_not_be_closed_is_said(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "found no access to write")

    daemon.on_close = refuse
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: bool(run.readings()))
    assert not run.finish(10)
    assert warnings(caplog)[0].endswith("the run could not be closed: found no access to write")


# --- what costs readings


@needs_daemon
def test_losses_for_want_of_disk_are_the_error_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    real = RealDaemon(tmp_path, "--data", str(tmp_path / "data"), "--reserve", str(1 << 60))
    model = Mlp((8, 3))
    run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, check=False)
    run.snapshot(model.weights, 0)
    until(lambda: run.status == "refusing")
    assert run.error is None, "nothing is lost yet"
    for step in range(1, 4):
        run.snapshot(model.weights, step)
    assert run.status == "refusing"
    (warning,) = run.warnings
    assert warning.startswith(f"the daemon at {real.unix} accepts nothing now: ")
    assert "free" in warning
    assert run.error is not None
    assert run.error.startswith(f"the daemon at {real.unix} accepts nothing now: ")
    assert run.error.endswith("; snapshots that came meanwhile are lost")
    assert not run.finish(10)
    real.stop()
    assert sum("accepts nothing now" in line for line in warnings(caplog)) == 2, "when it begins, and at the end"


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_a_disk_that_is_full_for_a_while(daemon: FakeDaemon, code: grpc.StatusCode) -> None:
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: bool(run.readings()))
    daemon.on_chunk = lambda number, context: say(context, code, "the disk is full: free some of it")
    for step in range(1, 5):
        run.snapshot(weights(), step)
        until(lambda: run.status == "refusing")
    daemon.on_chunk = lambda number, context: None
    until(lambda: run.status == "running")
    assert run.finish(30)
    full = f"the daemon at {daemon.addr} accepts nothing now: the disk is full: free some of it"
    assert run.error == f"{full}; snapshots that came meanwhile are lost"
    assert run.warnings == (f"{full}; training goes on, and clino keeps trying",)
    assert run.stats.replaced == 3


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_what_is_replaced_while_the_daemon_is_away_is_a_loss_where_every_one_was_asked_for(
    tmp_path: Path, delivery: Any
) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address, delivery=delivery)
    until(lambda: run.id is not None)
    first.stop()
    run.snapshot(weights(), 0)
    until(lambda: run.status == "away")
    for step in (1, 2, 3):
        run.snapshot(weights(), step)
    second = FakeDaemon(address)
    second.runs = first.runs
    assert run.finish(30)
    second.stop()
    assert (run.error is None) == (delivery == "latest")
    assert run.stats.replaced == 3


# --- when a decision is known


@needs_daemon
def test_after_readings_that_were_waited_for_the_decision_is_known(tmp_path: Path) -> None:
    real, model = RealDaemon(tmp_path), Mlp((8, 3))
    policy = [clino.Rule("threshold", "loss@en", upper=0.0)]
    for _ in range(10):
        options: dict[str, Any] = {"addr": real.unix, "check": False, "policy": policy}
        run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], **options)
        run.snapshot(model.weights, 1)
        assert run.readings(wait=30)
        assert run.should_stop()
        assert run.finish()
    real.stop()


# --- children of a data loader


def test_forks_write_nothing_on_stderr(daemon: FakeDaemon) -> None:
    code = """
import os, sys, time, numpy, clino
assert "GRPC_VERBOSITY" not in os.environ, "what is started from here has its own"
probe = {"inputs": [[0.0] * 4], "labels": [0]}
run = clino.init({"model_type": "mlp", "sizes": [4, 3]}, probe, addr=sys.argv[1], check=False)
for step in range(5):
    run.snapshot({"w": numpy.ones(4)}, step)
    run.ask_plan()
    if os.fork() == 0:
        os._exit(0)
    os.wait()
print(run.finish())
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    command = [sys.executable, "-c", code, daemon.addr]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout == "True\n"
    assert [line for line in done.stderr.splitlines() if not line.startswith("clino: run ")] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("os.environ['GRPC_VERBOSITY'] = 'DEBUG'", "DEBUG"), ("import grpc", None), ("pass", None)],
)
def test_what_the_user_said_of_grpc_stays(before: str, after: str | None) -> None:
    code = f"import os; {before}; import clino; print(os.environ.get('GRPC_VERBOSITY'))"
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout == f"{after}\n"
