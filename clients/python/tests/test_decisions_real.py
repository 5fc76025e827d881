"""Policies and the real daemon, over real sockets."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real import BIN, HELP, Mlp, RealDaemon, needs_daemon
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
    return clino.init(model.config, {"en": model.probe(12, 0)}, policy=policy, check=False, **options)


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
    assert not careless.finish(), "none of it has a value"
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


@pytest.mark.skipif("--tokens" not in HELP, reason="this clino program knows no tokens")
def test_a_token_is_asked_for_and_says_what_one_may_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens.toml"

    def token(name: str, scopes: str) -> str:
        command = [BIN, "token", name, "--project", f"p={scopes}", "--append", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    trainer, admin, pusher = token("trainer", "push,read"), token("admin", "admin"), token("pusher", "push")
    daemon = RealDaemon(tmp_path, "--tokens", str(file))
    # By the socket the owner of the daemon needs none.
    with pytest.raises(clino.ClinoError):
        opened(daemon, [AT_ONCE], addr=daemon.tcp, project="p")
    with pytest.raises(clino.ClinoError):
        opened(daemon, [AT_ONCE], addr=daemon.tcp, project="other", token=trainer)
    run = opened(daemon, [AT_ONCE], addr=daemon.tcp, project="p", token=trainer)
    assert measured(run, shrunk(1.0), 1).stops
    with pytest.raises(clino.ClinoError, match="nothing was overridden"):
        run.override("I may not")
    run.finish()
    run = opened(daemon, [AT_ONCE], addr=daemon.tcp, project="p", token=admin)
    assert measured(run, shrunk(1.0), 1).stops
    decision = run.override("I may")
    assert decision is not None
    assert decision.overridden is not None
    assert decision.overridden.by == "admin"
    run.finish()
    # Who may only send still gets the verdict: with the receipts.
    run = opened(daemon, [AT_ONCE], addr=daemon.tcp, project="p", token=pusher, strict=False)
    for step in range(1, 40):
        run.snapshot(shrunk(1.0), step)
        time.sleep(0.02)
        if run.should_stop():
            break
    assert run.should_stop()
    run.finish()
    assert [r.message for r in caplog.records if "does not tell its readings" in r.message]
    daemon.stop()


@pytest.mark.skipif("--data" not in HELP, reason="this clino program keeps no history")
def test_a_daemon_that_remembers_goes_on_with_the_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = RealDaemon(tmp_path, "--data", str(data))
    run = opened(first, [AT_ONCE], "enforce", strict=False)
    stop = measured(run, shrunk(1.0), 1)
    assert stop.stops
    until(run.should_stop)
    first.kill()
    until(lambda: not run.should_stop())
    second = RealDaemon(tmp_path, "--data", str(data))
    until(run.should_stop, 60)
    decision = run.decision()
    assert decision is not None
    assert decision.id == stop.id
    assert run.override("go on") is not None
    run.snapshot(shrunk(1.0), 2)
    until(run.should_stop, 60)
    run.finish()
    second.stop()
