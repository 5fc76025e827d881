"""Counts of snapshots add up to what was given, whatever the daemon does and whatever the loop gives."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake import FakeDaemon, say
from support import begin, until, weights

import clino
from clino._account import Account
from clino.v1 import snapshots_pb2

CODES = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DATA_LOSS]
REFUSED = grpc.StatusCode.INVALID_ARGUMENT


def check(run: clino.Run, given: int) -> None:
    """Of the run's end: every snapshot is one of the three, and no reading is of one that was not sent."""
    stats = run.stats
    assert stats.snapshots == given, stats
    assert stats.sent + stats.replaced + stats.failed == given, stats
    assert len({(reading.step, reading.attempt) for reading in run.readings()}) <= stats.sent


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_whatever_happens_the_counts_add_up(
    daemon: FakeDaemon, delivery: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "CLOSING_PAUSE"):
        monkeypatch.setattr(f"clino._sender.{name}", 0.01)
    chance = random.Random(seed)

    def lose(number: int, context: grpc.ServicerContext) -> None:
        """It is received, and the answer gets lost."""
        if chance.random() < 0.3:
            context.abort(chance.choice(CODES), "no luck")

    def refuse(number: int, context: grpc.ServicerContext) -> None:
        if chance.random() < 0.1:
            context.abort(chance.choice([*CODES, REFUSED]), "no luck")

    daemon.on_commit, daemon.on_chunk = lose, refuse
    run = begin(daemon.addr, delivery=delivery)
    models: list[Any] = [weights(), weights(), weights(), {"w": object()}]
    given = 30
    for step in range(given):
        run.snapshot(chance.choice(models), step // 2, init=chance.random() < 0.3)
        if chance.random() < 0.3:
            time.sleep(0.02)
        if chance.random() < 0.05:
            daemon.runs.clear()
    run.finish(10)
    check(run, given)


def test_they_add_up_beside_no_daemon_and_in_strict_runs(daemon: FakeDaemon) -> None:
    run = begin("http://127.0.0.1:1")
    for step in range(5):
        run.snapshot(weights(), step, init=step in (1, 3))
    run.finish(2)
    check(run, 5)
    strict = begin(daemon.addr, strict=True)
    for model in (weights(), {"w": object()}, weights()):
        try:
            strict.snapshot(model, 1)
        except TypeError:
            continue
    assert strict.finish()
    check(strict, 3)
    assert strict.stats.failed == 1


def test_an_initialization_that_is_sent_again_counts_once(daemon: FakeDaemon) -> None:
    run = begin(daemon.addr)
    run.snapshot(weights(), 0, init=True)
    until(lambda: bool(run.readings()))
    daemon.runs.clear()
    run.snapshot(weights(), 1)
    assert run.finish()
    assert (run.stats.sent, run.stats.bytes_sent) == (2, 3 * 48)
    check(run, 2)


def test_an_initialization_that_a_later_daemon_never_got_is_no_failure(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/d.sock"
    first = FakeDaemon(address)
    run = begin(address)
    run.snapshot(weights(), 0, init=True)
    until(lambda: bool(run.readings()))
    first.stop()
    second = FakeDaemon(address)
    second.on_chunk = lambda number, context: context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not that one")
    run.snapshot(weights(), 1)
    run.finish(20)
    second.stop()
    check(run, 2)
    assert (run.stats.sent, run.stats.failed) == (1, 1)


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_what_was_measured_without_a_receipt_is_not_called_replaced(daemon: FakeDaemon, code: grpc.StatusCode) -> None:
    """As where the disk fills up between taking a snapshot on and writing that down."""

    def full(number: int, context: grpc.ServicerContext) -> None:
        if number >= 2:
            daemon.on_chunk = lambda number, context: say(context, code, "the disk is full")
            say(context, code, "the disk is full")

    daemon.on_commit = full
    run = begin(daemon.addr, delivery="every")
    run.snapshot(weights(), 0)
    until(lambda: bool(run.readings()))
    run.snapshot(weights(), 1)
    until(lambda: run.status == "refusing")
    # The same key would get the first receipt.
    daemon.run.receipts.clear()
    for step in (2, 3, 4):
        run.snapshot(weights(), step)
    until(lambda: run.stats.replaced == 2)
    daemon.on_commit = daemon.on_chunk = lambda number, context: None
    assert run.finish(30)
    stats = run.stats
    assert {reading.step for reading in run.readings()} == {0, 1, 4}
    assert (stats.snapshots, stats.sent, stats.replaced, stats.failed) == (5, 3, 2, 0)


def test_the_end_counts_it_as_measured(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    def lost(number: int, context: grpc.ServicerContext) -> None:
        daemon.run.receipts.clear()
        daemon.on_chunk = lambda number, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no more")
        context.abort(grpc.StatusCode.UNAVAILABLE, "the answer got lost")

    daemon.on_commit = lost
    run = begin(daemon.addr)
    run.snapshot(weights(), 3)
    until(lambda: bool(run.readings()))
    assert run.finish(10)
    check(run, 1)
    assert run.stats.failed == 0
    assert "1 of 1 snapshots measured\n" in capsys.readouterr().err


def test_a_snapshot_of_another_is_not_taken_for_one_of_ours() -> None:
    account = Account()
    account.given()
    begin = snapshots_pb2.BeginSnapshot(step=4, idempotency_key="a")
    account.give_up(begin, "replaced")
    assert account.stats([(4, 1)]).replaced == 1, "its upload never began"
    account.given()
    again = snapshots_pb2.BeginSnapshot(step=4, idempotency_key="b")
    account.unanswered(again)
    account.give_up(again, "replaced")
    assert account.adopted([(5, 1)]) == {}
    assert account.adopted([(4, 1), (4, 2)]) == {(4, 1): "replaced"}
    assert account.stats([(4, 1), (4, 2)]).replaced == 1
