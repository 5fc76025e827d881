"""A daemon that is there and does not answer: frozen with an upload in flight, which a socket can or cannot hold."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from support import begin, weights

import clino
from clino import _link

LIMIT = 1.0
POLICY = [clino.Rule("patience", "loss@pooled", patience=3)]
CALLS: dict[str, Callable[[clino.Run], object]] = {
    "ask_decision": lambda run: run.ask_decision(LIMIT),
    "override": lambda run: run.override("it has to go on", LIMIT),
    "ask_plan": lambda run: run.ask_plan(LIMIT),
    "readings": lambda run: run.readings(wait=LIMIT),
    "watch": lambda run: list(run.watch(LIMIT)),
    "finish": lambda run: run.finish(LIMIT),
}
SIZES = {"small": 12, "large": 4 << 20}

Delivery = Literal["latest", "every"]


class Freezing:
    """The daemon of a test in another process."""

    def __init__(self, folder: Path) -> None:
        self.addr = f"unix:{folder}/d.sock"
        command = [sys.executable, str(Path(__file__).with_name("frozen.py")), self.addr]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def freezing(tmp_path: Path) -> Iterator[Freezing]:
    daemon = Freezing(tmp_path)
    yield daemon
    daemon.kill()


def frozen_in_an_upload(daemon: Freezing, delivery: Delivery, size: int) -> clino.Run:
    run = begin(daemon.addr, delivery=delivery, policy=POLICY)
    run.snapshot(weights(1.0, size), 0, init=True)
    assert run.readings(wait=30)
    daemon.freeze()
    run.snapshot(weights(2.0, size), 1)
    # The sender is in its call once nothing waits for it.
    while run._slot._waiting is not None:
        time.sleep(0.01)
    return run


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("delivery", ["latest", "every"])
@pytest.mark.parametrize("call", CALLS)
def test_row_64_a_call_keeps_its_time_limit_beside_a_frozen_daemon(
    freezing: Freezing, call: str, delivery: Delivery, size: str
) -> None:
    run = frozen_in_an_upload(freezing, delivery, SIZES[size])
    started = time.monotonic()
    CALLS[call](run)
    took = time.monotonic() - started
    run.wind_up(0.0)
    assert took < LIMIT + 0.5


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_row_64_a_step_is_held_for_a_bounded_time_and_a_daemon_that_thaws_is_found(
    freezing: Freezing, delivery: Delivery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_link, "UPLOAD_PAUSE", 0.3)
    monkeypatch.setattr(_link, "ALIVE_TIMEOUT", 0.3)
    run = frozen_in_an_upload(freezing, delivery, SIZES["large"])
    held: list[Any] = []

    def train() -> None:
        for step in range(2, 8):
            run.snapshot(weights(float(step), SIZES["large"]), step)
            held.append(run.stats.held_last)

    trainer = threading.Thread(target=train, daemon=True)
    trainer.start()
    trainer.join(30)
    assert not trainer.is_alive(), "a frozen daemon stops no training"
    assert len(held) == 6
    assert "does not answer: look whether" in caplog.text or delivery == "latest"
    freezing.thaw()
    assert run.finish(60)
    assert run.readings()[-1].step == 7


def test_a_daemon_that_is_slow_to_take_an_upload_is_not_frozen(
    daemon: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_link, "UPLOAD_PAUSE", 0.1)
    daemon.hold.clear()
    run = begin(daemon.addr, delivery="every")
    run.snapshot(weights(), 1)
    time.sleep(1.0)
    daemon.hold.set()
    assert run.finish(30)
    assert daemon.pushes == 1, "the upload was not begun again"
    assert not caplog.records
