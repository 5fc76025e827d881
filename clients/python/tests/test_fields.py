"""What the daemon says of fields is told with the arguments of `clino.init`."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from fake import FakeDaemon
from real import Mlp, RealDaemon, needs_daemon
from support import CONFIG, probes

import clino
from clino._fields import named


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("config_json.sizes[2]: found 1 label", "config.sizes[2]: found 1 label"),
        ("idempotency_key: found run 7, which was opened", "resume: found run 7, which was opened"),
        ("groups[1].labels: missing", "probes['de'].labels: missing"),
        ("seed: found 1; groups[0].name: found", "seed: found 1; probes['xlm-r/en'].name: found"),
        ("groups: unknown digest", "probes: unknown digest"),
        ("groups[7].labels: missing", "groups[7].labels: missing"),
        ("measures[1].parameters.apha: unknown", "measures[1].apha: unknown"),
        ("policy.rules[0].parameters.x: unknown", "policy.rules[0].x: unknown"),
        ("budget_seconds: found 0", "budget: found 0"),
        # What the user gave stays as it was, and so do words that only look alike.
        ('name: found "config_json"', 'name: found "config_json"'),
        ('column "groups[0]" of group "en"', 'column "groups[0]" of group "en"'),
        ("the probe groups are two", "the probe groups are two"),
        ("my_config_json: found", "my_config_json: found"),
    ],
)
def test_fields_have_the_names_of_arguments(said: str, told: str) -> None:
    assert named(said, ["xlm-r/en", "de"]) == told


def test_errors_and_warnings_have_them(daemon: FakeDaemon) -> None:
    daemon.open_warnings = ["groups[0].labels: found few of class 2"]
    with clino.init(CONFIG, probes(), addr=daemon.addr) as run:
        pass
    assert run.warnings == ("probes['en'].labels: found few of class 2",)
    daemon.on_open = lambda request, context: context.abort(
        grpc.StatusCode.INVALID_ARGUMENT, "config_json.sizes: found 3; groups[0].labels: missing"
    )
    refused = clino.init(CONFIG, probes(), addr=daemon.addr)
    assert not refused.finish()
    assert refused.error == ("the daemon does not accept the run: config.sizes: found 3; probes['en'].labels: missing")


@needs_daemon
def test_another_model_under_the_same_resume_is_told_as_resume(tmp_path: Path) -> None:
    real = RealDaemon(tmp_path)
    for model in (Mlp((8, 16, 3)), Mlp((8, 4, 3))):
        run = clino.init(model.config, {"en": model.probe(8, 0)}, ["loss"], addr=real.unix, resume="res1")
        run.snapshot(model.weights, 0)
        run.finish()
    real.stop()
    assert run.error is not None
    assert run.error.startswith("the daemon does not accept the run: resume: found run ")
    assert "opened with other content" in run.error
    assert "idempotency_key" not in run.error
