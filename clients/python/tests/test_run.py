"""A run against a daemon that behaves."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from support import CONFIG, begin, probes, until, weights

import clino
from clino._journal import Journal
from clino.v1 import runs_pb2, snapshots_pb2, types_pb2


def test_a_whole_run(daemon: FakeDaemon) -> None:
    with begin(daemon.addr, seed=7, name="first run", precision="f64") as run:
        run.snapshot(weights(0.0), 0, init=True)
        run.snapshot(weights(1.0), np.int64(10), kind="ema", attempt=2)
        assert len(run.readings(wait=10)) == 2
    request = daemon.run.request
    assert (request.seed, request.name, request.precision) == (7, "first run", types_pb2.PRECISION_F64)
    assert [measure.name for measure in request.measures] == ["loss"]
    initial, second = daemon.run.received
    assert initial.begin.initialization
    assert (second.begin.step, second.attempt, second.begin.kind) == (10, 2, snapshots_pb2.WEIGHT_KIND_EMA)
    assert second.data == np.full(12, 1.0, np.float32).tobytes()
    assert daemon.run.closed
    assert run.id == daemon.run.id
    stats = run.stats
    assert (stats.snapshots, stats.sent, stats.replaced, stats.failed, stats.bytes_sent) == (2, 2, 0, 0, 96)
    assert 0 < stats.held_last <= stats.held_max <= stats.held_seconds
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("clino")] == []


def test_readings_are_typed(daemon: FakeDaemon) -> None:
    with begin(daemon.addr) as run:
        run.snapshot(weights(), 3)
    (reading,) = run.readings()
    assert reading == clino.Reading(
        measure="loss",
        parameters={},
        group="en",
        step=3,
        attempt=1,
        outcome="measured",
        value=1.5,
        draws=(1.0, 2.0),
        mean=1.5,
        stderr=0.5,
        min=1.0,
        max=2.0,
        interval=clino.Interval(0.5, 2.5, 0.95),
        ended="target",
        parts={"first": 1.5, "none": None},
        tensors={},
        rungs=(),
        runs=(clino.Quadrature((-1.0, 2.0), (0.25, 0.75)),),
        surface=clino.Surface(1, (-1.0, 0.0, 1.0), (2.0, 1.5, None)),
        reason=None,
        remark="of two draws",
        seconds=0.0,
        work=clino.Work(forwards=4.0, backwards=3.0, passes=2.5, operations=1.0),
        precision="f64",
    )
    assert list(run.watch()) == [reading, clino.SnapshotFinished(3, 1, 0.25)]


def test_watch_follows_from_another_thread(daemon: FakeDaemon) -> None:
    run = begin(daemon.addr, delivery="every")
    seen: list[clino.Event] = []
    reader = threading.Thread(target=lambda: seen.extend(run.watch()))
    reader.start()
    for step in range(5):
        run.snapshot(weights(), step)
    assert run.finish()
    reader.join(5)
    assert not reader.is_alive()
    assert [event.step for event in seen if isinstance(event, clino.Reading)] == [0, 1, 2, 3, 4]


def test_watch_ends_when_nothing_comes_for_long(daemon: FakeDaemon) -> None:
    with begin(daemon.addr) as run:
        assert list(run.watch(timeout=0.1)) == []


def test_a_large_snapshot_goes_in_chunks(daemon: FakeDaemon) -> None:
    random = np.random.default_rng(0)
    model: dict[str, np.ndarray[Any, Any]] = {
        "a": random.normal(size=600_001),
        "b": random.normal(size=7).astype(np.float32),
    }
    with begin(daemon.addr) as run:
        run.snapshot(model, 0)
    (received,) = daemon.run.received
    assert received.data == model["a"].tobytes() + model["b"].tobytes()


def test_large_probes_are_stored_apart(daemon: FakeDaemon) -> None:
    with clino.init(CONFIG, probes(100_000), addr=daemon.addr) as run:
        run.snapshot(weights(), 0)
    assert daemon.run.request.groups[0].digest in daemon.probes


def test_over_a_unix_socket(tmp_path: Path) -> None:
    fake = FakeDaemon(f"unix:{tmp_path}/d.sock")
    with begin(f"unix://{tmp_path}/d.sock") as run:
        run.snapshot(weights(), 0)
    assert len(fake.run.received) == 1
    fake.stop()


def test_disabled_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINO_MODE", "disabled")
    before = threading.active_count()
    with clino.init(None, {}, strict=True) as run:
        run.snapshot(object(), 0)
        assert run.readings(wait=10) == []
        assert list(run.watch()) == []
    assert threading.active_count() == before
    assert run.id is None


def test_the_newest_replaces_what_waits(daemon: FakeDaemon) -> None:
    daemon.hold.clear()
    run = begin(daemon.addr)
    run.snapshot(weights(0.0), 0)
    until(lambda: daemon.pushes == 1)
    for step in range(1, 10):
        run.snapshot(weights(step), step)
    daemon.hold.set()
    assert run.finish()
    assert [one.begin.step for one in daemon.run.received] == [0, 9]
    assert daemon.run.received[1].data == weights(9.0)["w"].tobytes()
    assert (run.stats.sent, run.stats.replaced) == (2, 8)


def test_every_waits_instead(daemon: FakeDaemon) -> None:
    daemon.hold.clear()
    run = begin(daemon.addr, delivery="every")
    assert not daemon.runs or daemon.run.request.delivery == runs_pb2.DELIVERY_EVERY
    started = time.monotonic()
    threading.Timer(0.5, daemon.hold.set).start()
    for step in range(4):
        run.snapshot(weights(step), step)
    assert time.monotonic() - started > 0.4
    assert run.finish()
    assert [one.begin.step for one in daemon.run.received] == [0, 1, 2, 3]
    assert run.stats.replaced == 0


def test_the_initialization_is_never_replaced(daemon: FakeDaemon) -> None:
    daemon.hold.clear()
    run = begin(daemon.addr)
    run.snapshot(weights(0.0), 0)
    until(lambda: daemon.pushes == 1)
    run.snapshot(weights(0.5), 0, init=True)
    run.snapshot(weights(1.0), 1)
    run.snapshot(weights(2.0), 2)
    daemon.hold.set()
    assert run.finish()
    assert [(one.begin.step, one.begin.initialization) for one in daemon.run.received] == [
        (0, False),
        (0, True),
        (2, False),
    ]


def test_at_most_two_buffers_beside_the_initialization(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counting(size: int, dtype: type[np.generic]) -> object:
        made.append(size)
        return np.empty(size, dtype)

    monkeypatch.setattr("clino._slot.np", SimpleNamespace(empty=counting, uint8=np.uint8))
    daemon.hold.clear()
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: daemon.pushes == 1)
    for step in range(1, 20):
        run.snapshot(weights(), step)
    daemon.hold.set()
    for step in range(20, 40):
        run.snapshot(weights(), step)
        time.sleep(0.005)
    assert run.finish()
    assert len(made) == 2


def test_late_readers_learn_of_what_was_dropped() -> None:
    journal = Journal(capacity=3)
    for step in range(5):
        journal.add(clino.SnapshotSkipped(step, 1, "for a newer one"))
    events, index, more = journal.after(0, 0)
    assert events[0] == clino.Gap(2)
    assert [event.step for event in events[1:] if isinstance(event, clino.SnapshotSkipped)] == [2, 3, 4]
    assert (index, more) == (5, True)
