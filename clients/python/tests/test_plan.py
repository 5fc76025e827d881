"""What measures cost and how much they may: the plan of a run, and its budget."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake import FakeDaemon
from support import CONFIG, begin, probes, until, weights

import clino

PREDICTED = clino.Planned("loss", clino.Work(2.0, 0.0, 1.5, 3.0), counted=False, seconds=None)
COUNTED = clino.Planned("loss", clino.Work(2.0, 0.5, 1.5, 3.0), counted=True, seconds=0.25)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_plan_is_known_when_the_run_is_open_and_renewed_when_asked_for(daemon: FakeDaemon) -> None:
    run = begin(daemon.addr, strict=True)
    assert run.plan == (PREDICTED,)
    assert run.ask_plan() == (PREDICTED,)
    run.snapshot(weights(), 0)
    assert len(run.readings(wait=10)) == 1
    assert run.plan == (PREDICTED,), "nobody asked"
    assert run.ask_plan() == (COUNTED,)
    assert run.plan == (COUNTED,)
    assert run.finish()


def test_the_plan_is_in_the_daemons_order(daemon: FakeDaemon) -> None:
    measures: list[clino.MeasureLike] = ["loss", {"name": "margin"}, "sharpness"]
    with clino.init(CONFIG, probes(), measures, addr=daemon.addr, strict=True) as run:
        assert [planned.measure for planned in run.plan] == ["loss", "margin", "sharpness"]


def test_the_plan_of_a_run_that_is_over_is_that_of_its_last_snapshot(daemon: FakeDaemon) -> None:
    with begin(daemon.addr) as run:
        run.snapshot(weights(), 0)
    assert run.plan == (COUNTED,)
    daemon.stop()
    assert run.ask_plan() == (COUNTED,)


def test_an_end_without_a_plan_is_an_end(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    daemon.on_get = lambda request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
    run = begin(daemon.addr, strict=True)
    run.snapshot(weights(), 0)
    assert run.finish()
    assert run.plan == (PREDICTED,)
    assert warnings(caplog) == []


def test_there_is_no_plan_before_a_run_is_open(caplog: pytest.LogCaptureFixture) -> None:
    run = begin("http://127.0.0.1:1")
    assert run.plan == ()
    started = time.monotonic()
    assert run.ask_plan() == ()
    assert time.monotonic() - started < 20
    run.finish(timeout=2)
    assert run.plan == ()
    with clino.init(None, {}, mode="disabled") as off:
        assert (off.plan, off.ask_plan()) == ((), ())
    away, lost = warnings(caplog)
    assert "no daemon" in away
    assert "no snapshot was given: no daemon at http://127.0.0.1:1 (Connection refused): start one with" in lost


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED])
def test_a_plan_that_is_refused_warns_once_or_raises(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, code: grpc.StatusCode
) -> None:
    daemon.on_get = lambda request, context: context.abort(code, "no plan today")
    run = begin(daemon.addr)
    until(lambda: run.id is not None)
    for _ in range(3):
        assert run.ask_plan() == (PREDICTED,)
    assert warnings(caplog) == ["clino: the daemon did not tell the plan: no plan today"]
    run.snapshot(weights(), 0)
    assert run.finish()
    strict = begin(daemon.addr, strict=True)
    with pytest.raises(clino.ClinoError, match="no plan today"):
        strict.ask_plan()
    assert strict.plan == (PREDICTED,)
    assert strict.finish()


def test_who_asks_for_the_plan_waits_no_longer_than_said(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    held = threading.Event()

    def hold(request: object, context: object) -> None:
        held.wait(60)

    daemon.on_get = hold
    run = begin(daemon.addr)
    until(lambda: run.id is not None)
    started = time.monotonic()
    assert run.ask_plan(timeout=0.2) == (PREDICTED,)
    assert time.monotonic() - started < 30
    held.set()
    assert run.ask_plan(timeout="soon") == (PREDICTED,)  # type: ignore[arg-type]
    late, wrong = warnings(caplog)
    assert "the daemon did not tell the plan" in late
    assert late.endswith(": give it a longer timeout")
    assert "timeout: found 'soon'" in wrong
    assert "did not tell the plan" in warnings(caplog)[0]
    daemon.on_get = lambda request, context: None
    assert run.finish()


def test_a_daemon_that_went_away_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address)
    until(lambda: run.id is not None)
    first.stop()
    for step in range(3):
        assert run.ask_plan() == (PREDICTED,)
        run.snapshot(weights(), step)
        time.sleep(0.05)
    assert len(warnings(caplog)) == 1
    assert "no daemon" in warnings(caplog)[0]
    assert not run.finish(timeout=5)


def test_a_daemon_that_forgot_the_run_is_told_again(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    run = begin(daemon.addr, budget=0.5)
    run.snapshot(weights(), 0, init=True)
    assert len(run.readings(wait=10)) == 1
    asked = daemon.run.request
    assert run.ask_plan() == (COUNTED,)
    daemon.runs.clear()
    assert run.ask_plan() == (COUNTED,)
    run.snapshot(weights(), 1)
    until(lambda: bool(daemon.runs) and len(daemon.run.received) == 2)
    assert daemon.run.request == asked
    assert run.finish()
    assert run.plan == (COUNTED,)
    (warning,) = warnings(caplog)
    assert "did not know the run any more, and it began anew" in warning


@pytest.mark.parametrize("budget", [None, 1e-6, 30])
def test_the_budget_goes_with_the_run(daemon: FakeDaemon, budget: Any) -> None:
    with begin(daemon.addr, budget=budget, strict=True):
        request = daemon.run.request
    assert request.HasField("budget_seconds") == (budget is not None)
    assert request.budget_seconds == (budget or 0.0)


def test_a_budget_that_is_none_is_named(daemon: FakeDaemon) -> None:
    with pytest.raises(ValueError, match="budget: found -1"):
        begin(daemon.addr, budget=-1, strict=True)
    assert daemon.opened == 0
