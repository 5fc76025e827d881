"""Policies and the real daemon, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real import Mlp, RealDaemon, needs_daemon
from support import until

import clino

pytestmark = needs_daemon

# The loss of no model is below zero.
AT_ONCE = clino.Rule("threshold", "loss@pooled", upper=0.0)
PATIENCE = clino.Rule("patience", "loss@pooled", patience=2)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealDaemon]:
    daemon = RealDaemon(tmp_path)
    yield daemon
    daemon.stop()


def opened(real: RealDaemon, rules: list[clino.RuleLike], mode: Any = "advise", **more: Any) -> clino.Run:
    model = Mlp()
    options = {"addr": real.unix, "delivery": "every", "strict": True, "measures": ["loss", "param_norm"], **more}
    policy = clino.Policy(rules, mode)
    return clino.init(model.config, {"en": model.probe(12, 0)}, policy=policy, **options)


def shrunk(by: float, seed: int = 0) -> dict[str, Any]:
    model = Mlp(seed=seed)
    return {name: np.asarray(tensor * by, np.float32) for name, tensor in model.weights.items()}


def not_finite() -> dict[str, Any]:
    model = Mlp()
    model.weights["layers.0.bias"][3] = np.nan
    return dict(model.weights)


def measured(run: clino.Run, model: dict[str, Any], step: int) -> clino.Decision:
    run.snapshot(model, step)
    run.readings(wait=60)
    decision = run.ask_decision()
    assert decision is not None
    return decision


def test_patience_ends_and_names_the_best_step(real: RealDaemon) -> None:
    run = opened(real, [PATIENCE], tags={"lr": 0.1}, experiment="e", project="p")
    advice = []
    # Of larger logits of a model that knows nothing the loss is larger.
    for step, size in enumerate((3.0, 2.0, 2.5, 2.6), 1):
        decision = measured(run, shrunk(size), 10 * step)
        advice.append(decision.advice)
        assert decision.evaluated == clino.Snapshot(10 * step, 1)
        assert decision.staleness == clino.Staleness(0, 0)
    assert advice[-1] == "stop"
    assert "stop" not in advice[:-1]
    until(run.should_stop)
    assert (decision.reason, decision.rule) == ("patience_exhausted", "patience on loss@pooled")
    assert decision.best == clino.Snapshot(20, 1)
    losses = {reading.step: reading.value for reading in run.readings() if reading.group == "pooled"}
    assert decision.best_value == pytest.approx(losses[20])
    assert decision.sentence
    assert decision.compared
    assert decision.latched
    # Advice is advice: snapshots are still taken, and the STOP stands.
    assert measured(run, shrunk(0.1), 50).id == decision.id
    assert run.finish()
    assert run.stats.failed == 0


def test_an_enforced_stop_is_refused_and_taken_back(real: RealDaemon, caplog: pytest.LogCaptureFixture) -> None:
    run = opened(real, [AT_ONCE], "enforce", strict=False)
    assert measured(run, shrunk(1.0), 1).enforced
    for step in range(2, 6):
        run.snapshot(shrunk(1.0), step)
        until(lambda step=step: run.stats.failed == step - 1)  # type: ignore[misc]
    assert run.should_stop()
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "STOP" in said[0]
    decision = run.override("the loss does not matter")
    assert decision is not None
    assert decision.overridden is not None
    assert (decision.overridden.at, decision.overridden.reason) == (clino.Snapshot(1, 1), "the loss does not matter")
    assert not run.should_stop()
    run.snapshot(shrunk(1.0), 6)
    until(lambda: run.stats.sent == 2)
    assert run.finish()


def test_what_is_not_finite_stops_only_who_asked_for_it(real: RealDaemon) -> None:
    careless = opened(real, [PATIENCE, clino.Rule("threshold", "loss@pooled", upper=1e9)], "enforce")
    for step in range(6):
        assert not measured(careless, not_finite(), step).stops
    assert not careless.should_stop()
    assert careless.finish()
    careful = opened(real, [PATIENCE, clino.Rule("non_finite", "param_norm")])
    assert not measured(careful, shrunk(1.0), 0).stops
    decision = measured(careful, not_finite(), 1)
    assert (decision.advice, decision.reason) == ("stop", "non_finite")
    until(careful.should_stop)
    assert careful.finish()


def test_a_killed_daemon_stops_nobody(tmp_path: Path) -> None:
    first = RealDaemon(tmp_path)
    run = opened(first, [AT_ONCE], "enforce", strict=False)
    assert measured(run, shrunk(1.0), 1).stops
    until(run.should_stop)
    first.kill()
    until(lambda: not run.should_stop())
    for step in range(2, 30):
        run.snapshot(shrunk(1.0), step)
        assert not run.should_stop()
    assert run.ask_decision(timeout=0.5) is None
    second = RealDaemon(tmp_path)
    # It kept nothing: the run is opened again, measured again, and stopped again.
    until(run.should_stop, 60)
    decision = run.decision()
    assert decision is not None
    assert decision.run_id == run.id
    run.finish()
    assert second.stop() == 0


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([clino.Rule("patients", "loss@pooled")], "patients"),
        ([{"name": "patience", "on": "loss@fr"}], r"rules\[0\]\.on"),
        ([clino.Rule("patience", "loss@pooled", patience=-1)], "patience"),
        ([], "rules"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_the_name_of_its_field(
    real: RealDaemon, rules: list[clino.RuleLike], words: str
) -> None:
    with pytest.raises(clino.ClinoError, match=words):
        opened(real, rules)
