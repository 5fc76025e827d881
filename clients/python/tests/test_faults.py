"""The promise: whatever the daemon does, the training loop neither stops nor waits."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake import FakeDaemon
from support import CONFIG, begin, probes, until, weights

import clino

NOWHERE = "http://127.0.0.1:1"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_daemon_that_is_away_costs_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    run = begin(NOWHERE)
    run.snapshot(weights(), 0, init=True)
    for step in range(1, 100):
        run.snapshot(weights(), step)
        time.sleep(0.005)
    started = time.monotonic()
    assert not run.finish()
    assert time.monotonic() - started < 5
    away, lost = warnings(caplog)
    assert "no daemon" in away
    assert "0 of 100 snapshots measured" in lost
    assert run.stats.sent == 0
    assert run.stats.held_max < 0.5


def test_every_does_not_wait_for_a_daemon_that_is_away() -> None:
    run = begin(NOWHERE, delivery="every")
    started = time.monotonic()
    for step in range(20):
        run.snapshot(weights(), step)
    assert time.monotonic() - started < 5
    run.finish(timeout=2)


def test_a_daemon_that_comes_later_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = f"unix:{tmp_path}/d.sock"
    run = begin(address)
    run.snapshot(weights(0.5), 0, init=True)
    run.snapshot(weights(), 1)
    until(lambda: bool(warnings(caplog)))
    fake = FakeDaemon(address)
    until(lambda: bool(run.readings()), 30)
    assert run.finish()
    fake.stop()
    assert [one.begin.step for one in fake.run.received] == [0, 1]
    assert len(warnings(caplog)) == 1


def test_a_daemon_killed_in_a_push_and_back_gets_the_initialization_again(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address, budget=2.5, gpu_only=True)
    run.snapshot(weights(0.5), 0, init=True)
    until(lambda: len(run.readings()) == 1)
    first.slow.set()
    run.snapshot({"w": np.ones(20 << 20, np.float32)}, 1)
    until(lambda: first.pushes == 2)
    first.stop()
    second = FakeDaemon(address)
    until(lambda: len(second.runs) == 1 and len(second.run.received) == 2, 30)
    assert run.finish()
    second.stop()
    assert second.run.request.idempotency_key == first.run.request.idempotency_key
    assert first.run.request.budget_seconds == 2.5
    assert first.run.request.gpu_only
    assert second.run.request == first.run.request
    assert [(one.begin.step, one.begin.initialization) for one in second.run.received] == [(0, True), (1, False)]
    assert len(second.run.received[1].data) == 80 << 20
    assert second.run.received[0].begin.idempotency_key == first.run.received[0].begin.idempotency_key


def test_a_daemon_that_forgot_the_run_is_told_again(daemon: FakeDaemon) -> None:
    run = begin(daemon.addr)
    run.snapshot(weights(0.5), 0, init=True)
    until(lambda: bool(run.readings()))
    daemon.runs.clear()
    run.snapshot(weights(), 1)
    until(lambda: bool(daemon.runs) and len(daemon.run.received) == 2)
    assert run.finish()
    assert [one.begin.initialization for one in daemon.run.received] == [True, False]


def test_a_daemon_that_lost_its_last_events_is_followed_from_there(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address, delivery="every")
    for step in (1, 2):
        run.snapshot(weights(), step)
    until(lambda: len(run.readings()) == 2)
    watcher = run._watcher
    assert watcher is not None
    first.stop()
    until(lambda: watcher.away)
    second = FakeDaemon(address)
    second.runs = first.runs
    del second.run.events[2:]
    until(lambda: not watcher.away, 30)
    run.snapshot(weights(), 3)
    assert run.finish()
    second.stop()
    assert [reading.step for reading in run.readings()] == [1, 2, 3]


def test_a_daemon_that_does_not_read_holds_only_the_sender(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.hold.clear()
    run = begin(daemon.addr)
    for step in range(50):
        run.snapshot(weights(size=1 << 18), step)
    assert run.stats.held_max < 0.5
    started = time.monotonic()
    assert not run.finish(timeout=0.5)
    assert time.monotonic() - started < 5
    assert "within 0.5 s" in warnings(caplog)[0]


def forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)


def test_a_daemon_that_is_slow_to_answer_is_not_away(daemon: FakeDaemon) -> None:
    """As one that has just bound its socket on a busy machine."""
    listener = socket.create_server(("127.0.0.1", 0))

    def late() -> None:
        near, _ = listener.accept()
        time.sleep(1.0)
        far = socket.create_connection(("127.0.0.1", daemon.port))
        threading.Thread(target=forward, args=(far, near), daemon=True).start()
        forward(near, far)

    threading.Thread(target=late, daemon=True).start()
    with begin(f"http://127.0.0.1:{listener.getsockname()[1]}", strict=True) as run:
        run.snapshot(weights(), 0)
        assert run.finish()
    listener.close()


def test_a_lost_answer_is_asked_for_again_without_sending_twice(daemon: FakeDaemon) -> None:
    def fail_once(number: int, context: grpc.ServicerContext) -> None:
        if number == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer got lost")

    daemon.on_commit = fail_once
    with begin(daemon.addr) as run:
        run.snapshot(weights(), 4)
    assert [(one.begin.step, one.attempt) for one in daemon.run.received] == [(4, 1)]
    assert run.stats.sent == 1


def test_damage_is_retried_a_few_times_only(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def damaged(number: int, context: grpc.ServicerContext) -> None:
        if number > 1:
            context.abort(grpc.StatusCode.DATA_LOSS, "crc32c: the bytes arrived damaged")

    daemon.on_chunk = damaged
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: run.stats.sent == 1)
    run.snapshot(weights(), 1)
    until(lambda: run.stats.failed == 1)
    assert run.finish()
    assert daemon.pushes == 5
    assert warnings(caplog) == ["clino: a snapshot was not accepted: crc32c: the bytes arrived damaged"]


def test_a_refused_snapshot_does_not_stop_the_next(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def refuse_first(number: int, context: grpc.ServicerContext) -> None:
        if number <= 2:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tensors[0].shape: found [12], expected [4, 3]")

    daemon.on_chunk = refuse_first
    run = begin(daemon.addr)
    for step in range(3):
        run.snapshot(weights(), step)
        until(lambda step=step: run.stats.failed + run.stats.sent == step + 1)  # type: ignore[misc]
    assert run.finish()
    assert (run.stats.failed, run.stats.sent) == (2, 1)
    assert len(warnings(caplog)) == 1


def test_a_refused_initialization_does_not_stop_the_snapshots(daemon: FakeDaemon) -> None:
    def refuse_first(number: int, context: grpc.ServicerContext) -> None:
        if number == 1:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it has one")

    daemon.on_chunk = refuse_first
    run = begin(daemon.addr)
    run.snapshot(weights(), 0, init=True)
    run.snapshot(weights(), 1)
    assert run.finish()
    assert [one.begin.step for one in daemon.run.received] == [1]


def refuse(request: object, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "measures[0].name: found 'losss', expected one of ...")


def test_a_refused_run_is_said_once(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    daemon.on_open = refuse
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    # Until the answer is there, a later snapshot takes the place of one that waits.
    until(lambda: run.stats.failed == 1)
    for step in range(1, 10):
        run.snapshot(weights(), step)
    assert list(run.watch()) == []
    assert not run.finish()
    assert warnings(caplog) == [
        "clino: the daemon does not accept the run: measures[0].name: found 'losss', expected one of ..."
    ]
    assert run.stats.failed == 10


BAD: list[dict[str, Any]] = [
    {"config": "nowhere.json"},
    {"probes": {}},
    {"probes": {"en": {"labels": ["a", "b"]}}},
    {"measures": "loss,accuracy"},
    {"seed": "x"},
    {"seed": -1},
    {"addr": "ftp://host"},
    {"mode": "offline"},
    {"delivery": "some"},
    {"precision": "f8"},
    {"budget": 0},
    {"budget": "1 s"},
    {"tags": ["a"]},
    {"policy": "patience"},
    {"policy": [{"name": "patience"}]},
    {"policy": [clino.Rule("patience", "loss", patience=object())]},
    {"policy": clino.Policy([], mode="force")},  # type: ignore[arg-type]
    {"policy": {"rule": []}},
    {"token": "two words"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: "-".join(bad))
def test_bad_arguments_of_init_warn_once_or_raise(bad: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    arguments: dict[str, Any] = {"config": CONFIG, "probes": probes(), "addr": NOWHERE, **bad}
    run = clino.init(**arguments)
    run.snapshot(weights(), 0)
    assert run.readings(wait=10) == []
    assert list(run.watch()) == []
    assert not run.finish()
    assert len(warnings(caplog)) == 1
    with pytest.raises((TypeError, ValueError)):
        clino.init(**arguments, strict=True)


def test_bad_snapshots_warn_once_or_raise(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    bad: list[tuple[Any, Any]] = [("model.pt", 0), ({"w": object()}, 0), (weights(), 1.5), (weights(), -1)]
    with begin(daemon.addr) as run:
        for model, step in [*bad, *bad, (weights(), 2.5), (weights(), -2)]:
            run.snapshot(model, step)
        run.snapshot(weights(), 0)
    assert len(warnings(caplog)) == 4, "each mistake once"
    assert (run.stats.failed, run.stats.sent) == (10, 1)
    with begin(daemon.addr, strict=True) as run:
        for model, step in bad:
            with pytest.raises((TypeError, ValueError)):
                run.snapshot(model, step)
        with pytest.raises(ValueError, match="kind: found 'best'"):
            run.snapshot(weights(), 0, kind="best")  # type: ignore[arg-type]


def test_strict_raises_what_happens_in_the_background(daemon: FakeDaemon) -> None:
    with pytest.raises(clino.ClinoError, match="no daemon"):
        begin(NOWHERE, strict=True)
    run = begin(daemon.addr, strict=True)
    daemon.on_chunk = lambda number, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tensors: wrong")
    run.snapshot(weights(), 0)
    until(lambda: run.stats.failed == 1)
    with pytest.raises(clino.ClinoError, match="tensors: wrong"):
        run.snapshot(weights(), 1)
    run.snapshot(weights(), 2)
    with pytest.raises(clino.ClinoError, match="tensors: wrong"):
        run.finish()
    daemon.on_open = refuse
    with pytest.raises(clino.ClinoError, match="losss"):
        begin(daemon.addr, strict=True)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clino")]


def test_an_error_of_the_loop_is_not_hidden(daemon: FakeDaemon) -> None:
    def loop() -> None:
        with begin(daemon.addr) as run:
            run.snapshot(weights(), 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert daemon.run.closed


@pytest.mark.parametrize("finish", ["run.finish()", "pass"])
def test_a_process_ends_in_time_with_or_without_finish(daemon: FakeDaemon, finish: str) -> None:
    code = f"""
import numpy, clino
run = clino.init({CONFIG!r}, {{"en": {{"inputs": [[0.0] * 4], "labels": [0]}}}}, addr={daemon.addr!r}, check=False)
run.snapshot({{"w": numpy.ones(3)}}, 0)
{finish}
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"clino: run {daemon.run.request.name}: 1 of 1 snapshots measured"]
    assert len(daemon.run.received) == 1
    assert daemon.run.closed
