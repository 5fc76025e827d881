"""A trainer that starts again goes on with its run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from real import Mlp, RealDaemon, channel, needs_daemon
from support import begin, until, weights
from test_integrations import bert
from test_last_step import Fitting, fit_lightning, module_of

import clino
from clino.v1 import runs_pb2


def steps(daemon: FakeDaemon) -> list[tuple[int, int, bool]]:
    return [(one.begin.step, one.attempt, one.begin.initialization) for one in daemon.run.received]


# --- clino.init


def test_a_key_of_ones_own_names_the_run(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(daemon.addr, resume="job-7", name="mine", delivery="every")
    first.snapshot(weights(), 0, init=True)
    first.snapshot(weights(), 10)
    assert first.finish()
    monkeypatch.setenv("CLINO_RUN_ID", "job-7")
    again = begin(daemon.addr, delivery="every")
    again.snapshot(weights(), 10)
    assert again.finish()
    assert again.id == first.id
    assert again.key == first.key == "job-7"
    assert steps(daemon) == [(0, 1, True), (10, 1, False), (10, 2, False)]
    assert [reading.attempt for reading in again.readings() if reading.step == 10] == [1, 2], "all of the run's"


def test_any_run_can_be_gone_on_with_by_its_key_or_its_id(daemon: FakeDaemon) -> None:
    first = begin(daemon.addr)
    first.snapshot(weights(), 1)
    assert first.finish()
    assert first.id is not None
    for name in (first.key, first.id):
        again = begin(daemon.addr, resume=name)
        again.snapshot(weights(), 2)
        assert again.finish()
        assert again.id == first.id
    assert len(daemon.runs) == 1


def test_snapshots_of_two_processes_are_two(daemon: FakeDaemon) -> None:
    for _ in range(2):
        run = begin(daemon.addr, resume="k")
        run.snapshot(weights(), 1)
        assert run.finish()
    assert [attempt for _, attempt, _ in steps(daemon)] == [1, 2], "not taken for a repeated upload"


def test_whether_it_has_an_initialization_is_for_the_daemon_to_know(daemon: FakeDaemon) -> None:
    for step in (0, 20):
        run = begin(daemon.addr, resume="k", delivery="every")
        run.snapshot(weights(), step, init=True)
        run.snapshot(weights(), step + 5)
        assert run.finish()
    assert steps(daemon) == [(0, 1, True), (5, 1, False), (20, 1, True), (25, 1, False)]


def test_a_run_that_was_closed_for_good_is_a_clear_answer(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    first = begin(daemon.addr, resume="k")
    first.snapshot(weights(), 1)
    assert first.finish()
    daemon.run.resumable = False
    again = begin(daemon.addr, resume="k")
    until(lambda: again.status == "failed")
    assert again.error is not None
    assert "closed for good" in again.error
    assert not again.finish()


def test_an_id_that_the_daemon_does_not_have_is_said(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    wanted = "01985a2e-7c1f-7d4e-8a55-0123456789ab"
    run = begin(daemon.addr, resume=wanted)
    run.snapshot(weights(), 1)
    assert run.finish()
    assert f"found no run {wanted} on this daemon: a new run has begun" in caplog.text
    (warning,) = run.warnings
    assert warning.startswith(f"resume: found no run {wanted} on this daemon")
    with pytest.raises(clino.ClinoError, match="resume: found no run"):
        begin(daemon.addr, resume=wanted.replace("ab", "cd"), strict=True)


def test_an_old_stop_that_was_taken_back_stops_nobody(daemon: FakeDaemon) -> None:
    policy = clino.Policy([clino.Rule("patience", "loss@en", patience=1)], mode="enforce")
    first = begin(daemon.addr, resume="k", policy=policy)
    first.snapshot(weights(), 1)
    until(lambda: bool(first.readings()))
    daemon.decide("STOP")
    daemon.decide("CONTINUE")
    assert first.finish()
    again = begin(daemon.addr, resume="k", policy=policy)
    for _ in range(200):
        assert not again.should_stop()
        if len(again.readings()) == 1 and again.decision() is not None:
            break
        until(lambda: True)
    assert again.finish()


def test_a_key_is_a_short_text(caplog: pytest.LogCaptureFixture) -> None:
    run = clino.init({"model_type": "mlp", "sizes": [4, 3]}, {"en": {}}, resume="x" * 129)
    assert run.error is not None
    assert "resume" in run.error


# --- callbacks


def test_a_checkpoint_of_transformers_goes_on_with_its_run(
    daemon: FakeDaemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from clino.integrations.transformers import ClinoCallback

    def train(steps: int, checkpoint: str | None) -> Any:
        model, data, rows = bert()
        ours = ClinoCallback({"en": data}, ["loss"], every=4, addr=daemon.addr, delivery="every", strict=True)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            run_name="bert/with a slash",
            max_steps=steps,
            per_device_train_batch_size=4,
            use_cpu=True,
            save_strategy="steps",
            save_steps=6,
            report_to=[],
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[ours])
        trainer.train(resume_from_checkpoint=checkpoint)
        assert ours.run is not None
        return ours.run.id

    first = train(10, None)
    assert daemon.run.request.name == "bert-with a slash"
    again = train(12, str(tmp_path / "out" / "checkpoint-6"))
    assert again == first
    received = [(0, 1, True), (4, 1, False), (8, 1, False), (10, 1, False)]
    assert steps(daemon) == [*received, (6, 1, False), (8, 2, False), (12, 1, False)]
    assert train(4, None) != first, "a training from the start is another run"


def test_a_checkpoint_of_lightning_goes_on_with_its_run(daemon: FakeDaemon, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    checkpoint = tmp_path / "kept.ckpt"
    trainer = fit_lightning(daemon, tmp_path, module_of(), lambda ours: [ours], max_epochs=2)
    trainer.save_checkpoint(checkpoint)
    (first,) = daemon.runs
    fit_lightning(daemon, tmp_path, module_of(), lambda ours: [ours], checkpoint=str(checkpoint), max_epochs=4)
    assert list(daemon.runs) == [first]
    assert [step for step, _, _ in steps(daemon)] == [0, 5, 6, 6, 10, 12]
    assert [initial for _, _, initial in steps(daemon)].count(True) == 1


def test_a_run_is_called_like_the_logger_of_lightning(daemon: FakeDaemon, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    logger = lightning.pytorch.loggers.CSVLogger(tmp_path, name="mnist", version=3)
    fit_lightning(daemon, tmp_path, module_of(), lambda ours: [ours], logger=logger, max_epochs=1)
    assert daemon.run.request.name == "mnist version_3"


def test_a_second_fit_of_keras_goes_on_with_its_run(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    fitting = Fitting(daemon)
    fitting.fit(epochs=2)
    fitting.fit(epochs=4, initial_epoch=2)
    assert [step for step, _, _ in steps(daemon)] == [0, 5, 8, 8, 10, 15, 16]
    assert len(daemon.runs) == 1


# --- the daemon itself


def losses(seed: int = 3) -> list[float]:
    """Of snapshots that get better and then do not."""
    random = np.random.default_rng(seed)
    return [*np.linspace(1.0, 0.2, 5), *(0.25 + 0.1 * random.random(6))]


@needs_daemon
def test_early_stopping_and_distances_go_on_over_restarts_of_trainer_and_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Mlp()
    probe = model.probe(16, 0)
    policy = [clino.Rule("patience", "loss@en", patience=3)]

    def at(step: int) -> dict[str, Any]:
        """The same weights whenever a training comes by: the logits of a step are scaled, the loss follows."""
        scale = np.float32(losses()[step // 10])
        return {name: tensor * scale for name, tensor in model.weights.items()}

    def train(daemon: RealDaemon, name: str, first: int, last: int) -> tuple[clino.Run, int | None]:
        run = clino.init(
            model.config,
            {"en": probe},
            ["loss", "distance"],
            addr=daemon.unix,
            resume=name,
            policy=policy,
            delivery="every",
            strict=True,
        )
        if first == 0:
            run.snapshot(model.weights, 0, init=True)
        for step in range(first, last + 1, 10):
            run.snapshot(at(step), step)
            run.readings(wait=30)
            decision = run.ask_decision()
            if decision is not None and decision.stops:
                return run, step
        return run, None

    flags = ("--data", str(tmp_path / "data"))
    daemon = RealDaemon(tmp_path, *flags)
    whole, expected = train(daemon, "whole", 0, 100)
    whole.finish()
    assert expected is not None
    before = expected - 10
    broken, stopped = train(daemon, "broken", 0, before)
    assert stopped is None
    assert broken.finish()
    daemon.kill()
    daemon = RealDaemon(tmp_path, *flags)
    again, stopped = train(daemon, "broken", 30, 100)
    assert again.id == broken.id
    assert stopped == expected
    decision = again.decision()
    assert decision is not None
    assert whole.decision() is not None
    assert decision.best_step == whole.decision().best_step  # type: ignore[union-attr]
    assert again.finish()
    distances = [reading for reading in again.readings() if reading.measure == "distance"]
    assert {reading.outcome for reading in distances} == {"measured"}, "the initialization is kept"
    assert max(reading.attempt for reading in distances if reading.step == 30) == 2
    with channel(daemon.tcp) as plain:
        close = plain.unary_unary(
            "/clino.v1.Runs/CloseRun",
            runs_pb2.CloseRunRequest.SerializeToString,
            runs_pb2.CloseRunResponse.FromString,
        )
        close(runs_pb2.CloseRunRequest(run_id=str(again.id)))
    with pytest.raises(clino.ClinoError, match="closed for good"):
        train(daemon, "broken", 30, 100)
    other = clino.init(model.config, {"en": probe}, ["loss"], addr=daemon.unix, resume="whole")
    other.snapshot(model.weights, 0)
    assert not other.finish()
    assert "opened with other content" in caplog.text
    daemon.stop()
    assert caplog.records[-1].levelno >= logging.ERROR or other.status == "failed"
