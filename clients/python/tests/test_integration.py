"""The client and the real daemon, over real sockets."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from real import BIN, Mlp, RealDaemon, needs_daemon
from support import until

import clino

pytestmark = needs_daemon

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "finetune.py"
SHARPNESS = {"name": "sharpness", "draws": 3}
MEASURES: list[clino.MeasureLike] = ["loss", "accuracy", "margin", "param_norm", "distance", SHARPNESS]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealDaemon]:
    daemon = RealDaemon(tmp_path)
    yield daemon
    daemon.stop()


def by_name(readings: list[clino.Reading], step: int) -> dict[tuple[str, str | None], clino.Reading]:
    return {(reading.measure, reading.group): reading for reading in readings if reading.step == step}


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_readings_are_those_of_numpy(real: RealDaemon, way: str) -> None:
    first, model = Mlp(seed=1), Mlp(seed=2)
    probes: dict[str, Any] = {"en": model.probe(33, 3), "sw": model.probe(20, 4)}
    addr = real.unix if way == "unix" else real.tcp
    with clino.init(model.config, probes, MEASURES, addr=addr, delivery="every", strict=True) as run:
        run.snapshot(first.weights, 0, init=True)
        run.snapshot(model.weights, 7)
        assert run.finish()
    found = by_name(run.readings(), 7)
    probes["pooled"] = {key: np.concatenate([probe[key] for probe in probes.values()]) for key in ("inputs", "labels")}
    for group, probe in probes.items():
        facts = model.facts(probe)
        assert found["loss", group].value == pytest.approx(facts["loss"], rel=1e-12)
        assert found["accuracy", group].value == facts["accuracy"]
        assert found["margin", group].parts["prob_mean"] == pytest.approx(facts["prob_mean"], rel=1e-10)
        assert found["margin", group].parts["logit_mean"] == pytest.approx(facts["logit_mean"], rel=1e-10)
        sharpness = found["sharpness", group]
        assert len(sharpness.draws) == 3
        assert sharpness.value == pytest.approx(np.mean(sharpness.draws), rel=1e-12)
        assert sharpness.stderr == pytest.approx(np.std(sharpness.draws, ddof=1) / 3**0.5, rel=1e-9)
    moved = float(np.linalg.norm(model.flat() - first.flat()))
    assert found["distance", None].parts["l2"] == pytest.approx(moved, rel=1e-12)
    assert found["param_norm", None].value == pytest.approx(float(np.linalg.norm(model.flat())), rel=1e-12)
    assert {reading.precision for reading in found.values()} == {"f64"}


@pytest.mark.parametrize("name", ["a b.sock", "a%20b.sock", "a?b.sock", "a#b.sock", "é 日.sock"])
def test_row_60_a_socket_path_is_taken_as_it_stands(tmp_path: Path, name: str) -> None:
    daemon, model = RealDaemon(tmp_path, name=name), Mlp()
    try:
        with clino.init(model.config, {"en": model.probe(4, 0)}, ["loss"], addr=daemon.unix, strict=True) as run:
            run.snapshot(model.weights, 1)
            assert run.finish(30)
        assert by_name(run.readings(), 1)["loss", "en"].value == pytest.approx(model.facts(model.probe(4, 0))["loss"])
    finally:
        daemon.stop()


def test_names_of_any_kind_are_data(real: RealDaemon) -> None:
    model, group = Mlp(), "xlm-r/en (#1), lr=1e-3"
    policy = [clino.Rule("threshold", f'loss@"{group}"', upper=1e9)]
    options: dict[str, Any] = {"name": "sweep/7 + ünï", "project": "a/b", "experiment": "e=f", "tags": {"k/v": "(x)"}}
    with clino.init(
        model.config, {group: model.probe(4, 0)}, ["loss"], addr=real.unix, strict=True, policy=policy, **options
    ) as run:
        run.snapshot(model.weights, 1)
        assert run.finish(30)
    assert by_name(run.readings(), 1)["loss", group].value is not None
    decision = run.decision()
    assert decision is not None
    assert not decision.stops


def test_curvature_comes_with_its_runs_its_surface_its_work_and_what_ended_it(real: RealDaemon) -> None:
    model = Mlp()
    probes = {"en": model.probe(12, 0), "de": model.probe(9, 1)}
    measures: list[clino.MeasureLike] = [
        "loss",
        {"name": "hessian_density", "steps": 4, "runs": 2},
        {"name": "landscape", "dims": 2, "points": 5, "span": 0.5},
        {"name": "fisher_trace", "exact": True},
        {"name": "hessian_trace", "method": "hutchinson", "rel_stderr": 0.1, "max_draws": 2000, "max_seconds": 30},
        {"name": "hessian_trace", "method": "hutchinson", "stderr": 1e-9, "max_draws": 12},
    ]
    names = [measure if isinstance(measure, str) else measure["name"] for measure in measures]
    with clino.init(model.config, probes, measures, addr=real.unix, strict=True) as run:
        predicted = run.plan
        assert sorted(planned.measure for planned in predicted) == sorted(map(str, names))
        assert {(planned.counted, planned.seconds) for planned in predicted} == {(False, None)}
        assert all(planned.work.forwards > 0 for planned in predicted)
        run.snapshot(model.weights, 3)
        readings = run.readings(wait=60)
        asked = run.ask_plan()
    assert {reading.outcome for reading in readings} == {"measured"}
    assert len(readings) == 3 * len(measures)
    found = by_name(readings, 3)
    for group in probes:
        facts = model.facts(probes[group])
        hessian, fisher = model.traces(probes[group])

        density = found["hessian_density", group]
        assert density.ended == "draws"
        assert len(density.runs) == len(density.draws) == 2
        for seen, draw in zip(density.runs, density.draws, strict=True):
            assert len(seen.nodes) == len(seen.weights) == 4
            assert list(seen.nodes) == sorted(seen.nodes)
            assert sum(seen.weights) == pytest.approx(1.0, rel=1e-9)
            assert np.dot(seen.nodes, seen.weights) * len(model.flat()) == pytest.approx(draw, rel=1e-6)

        landscape = found["landscape", group]
        surface = landscape.surface
        assert surface is not None
        assert (surface.dimensions, surface.axis) == (2, (-0.5, -0.25, 0.0, 0.25, 0.5))
        assert [len(row) for row in surface.grid] == [5] * 5
        assert surface.grid[2][2] == pytest.approx(facts["loss"], rel=1e-12)
        assert len(set(surface.losses)) == 25

        exact = found["fisher_trace", group]
        assert exact.parameters["exact"] is True
        assert (exact.draws, exact.ended) == ((), None)
        assert exact.value == pytest.approx(fisher, rel=1e-5)

        traces = {r.ended: r for r in readings if (r.measure, r.group) == ("hessian_trace", group)}
        target, short = traces["target"], traces["max_draws"]
        assert target.parameters["rel_stderr"] == 0.1
        assert target.value is not None
        assert target.stderr is not None
        assert target.stderr <= 0.1 * abs(target.value)
        assert abs(target.value - hessian) < 4 * target.stderr
        assert len(short.draws) == 12
        assert short.draws == target.draws[:12]
        for reading in (density, landscape, exact, target, short):
            assert reading.work.forwards > 0
            assert (reading.work.backwards > 0) == (reading is not landscape)
        assert [found["loss", group].ended, found["loss", group].surface, found["loss", group].runs] == [None, None, ()]
    assert run.plan == asked
    assert [planned.measure for planned in asked] == [planned.measure for planned in predicted]
    for planned in asked:
        assert planned.counted
        if planned.measure != "hessian_trace":
            took = sum(reading.seconds for reading in readings if reading.measure == planned.measure)
            assert planned.seconds == pytest.approx(took, rel=1e-6)


def test_what_does_not_fit_into_the_budget_is_skipped_with_a_reason(real: RealDaemon) -> None:
    model = Mlp()
    probes, measures = {"en": model.probe(12, 0)}, ["loss", "margin", "sharpness"]
    with clino.init(model.config, probes, measures, addr=real.unix, budget=1e-6, strict=True) as tight:
        tight.snapshot(model.weights, 0)
    readings = tight.readings()
    assert len(readings) == 6
    skipped = [reading for reading in readings if reading.outcome == "skipped"]
    # At most the first one begins while there is a part of the microsecond left.
    assert len(skipped) >= 5
    for reading in skipped:
        assert reading.reason is not None
        assert "budget" in reading.reason
        assert (reading.value, reading.draws, reading.ended, reading.seconds) == (None, (), None, 0.0)
    assert [planned.seconds for planned in tight.plan if planned.measure == "sharpness"] == [None]
    with clino.init(model.config, probes, measures, addr=real.unix, budget=600, strict=True) as ample:
        ample.snapshot(model.weights, 0)
    assert {reading.outcome for reading in ample.readings()} == {"measured"}


def test_wrappers_and_bfloat16(real: RealDaemon) -> None:
    model = Mlp()
    rounded = Mlp()
    rounded.weights = {name: np.asarray(t, ml_dtypes.bfloat16).astype(np.float32) for name, t in model.weights.items()}
    probe = model.probe(16, 1)
    wrapped = {f"module._orig_mod.{name}": t.astype(ml_dtypes.bfloat16) for name, t in model.weights.items()}
    with clino.init(model.config, {"en": probe}, ["loss"], addr=real.unix, strict=True) as run:
        run.snapshot(wrapped, 0)
    (reading,) = [reading for reading in run.readings() if reading.group == "en"]
    assert reading.value == pytest.approx(rounded.facts(probe)["loss"], rel=1e-12)
    assert abs(rounded.facts(probe)["loss"] - model.facts(probe)["loss"]) > 1e-6


def test_probes_too_large_for_a_message(real: RealDaemon) -> None:
    model = Mlp()
    probes = {group: model.probe(60_000, seed) for seed, group in enumerate(("en", "de"))}
    with clino.init(model.config, probes, ["loss"], addr=real.unix, strict=True) as run:
        run.snapshot(model.weights, 0)
    found = by_name(run.readings(), 0)
    for group, probe in probes.items():
        assert found["loss", group].value == pytest.approx(model.facts(probe)["loss"], rel=1e-12)


def test_every_step_is_measured_when_asked_for(real: RealDaemon) -> None:
    model = Mlp()
    with clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, delivery="every") as run:
        for step in range(30):
            run.snapshot(model.weights, step)
    assert [reading.step for reading in run.readings() if reading.group == "en"] == list(range(30))


def test_repeated_and_rewound_steps_are_kept_apart(real: RealDaemon) -> None:
    model = Mlp()
    with clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, delivery="every") as run:
        for step in (5, 5, 3, 5):
            run.snapshot(model.weights, step)
    found = [(reading.step, reading.attempt) for reading in run.readings() if reading.group == "en"]
    assert found == [(5, 1), (5, 2), (3, 1), (5, 3)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measures": ["losss"]}, "losss"),
        ({"measures": [{"name": "sharpness", "alfa": 1}]}, "alfa"),
        ({"config": {"model_type": "mlp", "sizes": [8]}}, "sizes"),
        ({"config": {"model_type": "gpt"}}, "gpt"),
        ({"probes": {"en": {"inputs": [[0.0] * 8]}}}, "labels"),
        ({"probes": {"en": {"inputs": [[0.0] * 7], "labels": [0]}}}, "inputs"),
        ({"probes": {"en": {"inputs": [[0.0] * 8], "labels": [3]}}}, "labels"),
        ({"name": "../../etc\n"}, "name"),
    ],
)
def test_a_run_that_cannot_be_is_refused_by_the_name_of_its_field(
    real: RealDaemon, change: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Mlp()
    arguments: dict[str, Any] = {"config": model.config, "probes": {"en": model.probe(4, 0)}, "addr": real.unix}
    with pytest.raises(clino.ClinoError, match=words):
        clino.init(**{**arguments, **change}, strict=True)
    run = clino.init(**{**arguments, **change})
    run.snapshot(model.weights, 0)
    assert not run.finish()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_snapshot_of_another_shape_is_refused_and_the_next_is_not(
    real: RealDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    model = Mlp()
    run = clino.init(model.config, {"en": model.probe(4, 0)}, ["loss"], addr=real.unix, delivery="every")
    run.snapshot({**model.weights, "layers.0.bias": np.zeros(17, np.float32)}, 0)
    run.snapshot(model.weights, 1)
    assert run.finish()
    assert (run.stats.failed, run.stats.sent) == (1, 1)
    assert "layers.0.bias" in caplog.text


def test_a_killed_daemon_comes_back_to_the_same_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Mlp(sizes=(8, 2048, 2048, 3))
    probes = {"en": model.probe(4, 0)}
    daemon = RealDaemon(tmp_path)
    run = clino.init(model.config, probes, ["loss", "distance"], addr=daemon.unix)
    run.snapshot(model.weights, 0, init=True)
    until(lambda: run.stats.sent == 1, 60)
    stop = threading.Event()

    def loop() -> None:
        step = 0
        # A step takes a trainer its time; without any, copies alone would keep a small machine busy.
        while not stop.wait(0.05):
            step += 1
            run.snapshot(model.weights, step)

    trainer = threading.Thread(target=loop, daemon=True)
    trainer.start()
    try:
        until(lambda: run.stats.sent >= 2, 60)
        daemon.kill()
        until(lambda: "no daemon" in caplog.text, 60)
        old = run.id
        again = RealDaemon(tmp_path)
        until(lambda: run.id not in (None, old) and bool(run.readings()) and run.readings()[-1].step > 0, 60)
    finally:
        stop.set()
        trainer.join()
    assert run.finish()
    last = by_name(run.readings(), run.readings()[-1].step)
    assert last["distance", None].outcome == "measured", "the new daemon has the initialization"
    assert last["distance", None].value == 0.0
    assert run.stats.held_max < 2.0
    assert again.stop() == 0


def test_a_daemon_that_drains_ends_the_trainer_in_time(real: RealDaemon) -> None:
    model = Mlp()
    run = clino.init(model.config, {"en": model.probe(4, 0)}, ["loss"], addr=real.unix)
    run.snapshot(model.weights, 0)
    until(lambda: bool(run.readings()))
    assert real.stop() == 0
    run.snapshot(model.weights, 1)
    assert not run.finish()


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the examples are not beside this copy of the package")
def test_the_example_prints_its_table() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, str(EXAMPLE), "--clino", BIN, "--steps", "4", "--every", "2", "--probe", "4"]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no daemon" not in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    groups = {row[1] for row in rows if row and row[0] == "4"}
    assert groups >= {"en", "de", "fr", "es", "ru", "hi", "zh", "sw", "pooled"}
    assert all("±" in row for row in rows if row and row[0] == "4")
    assert {row[0] for row in rows if len(row) > 1 and row[1] == "pooled"} == {"0", "2", "4"}
