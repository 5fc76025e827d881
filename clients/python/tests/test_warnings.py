"""What is to be known of the readings stands in `run.warnings`, each once, whoever found it; and in the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from fake import FakeDaemon
from real import Mlp, RealDaemon, needs_daemon
from support import CONFIG, begin, probes, until, weights

import clino

UNCOMPARED = "the model is not compared with its configuration: "
READ_AS_TEXT = '1 rows of group "en" read padding (id 0) as text'
SAME_NAME = "name: another run of this project is called later: give the same resume= from the first start on"


def logged(caplog: pytest.LogCaptureFixture) -> tuple[str, ...]:
    records = [record for record in caplog.records if record.levelno == logging.WARNING]
    return tuple(record.getMessage().removeprefix("clino: ") for record in records)


@pytest.mark.parametrize("how", [{"name": "later"}, {"resume": "later"}, {}])
def test_all_that_the_daemon_remarks_is_kept(
    daemon: FakeDaemon, how: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    daemon.open_warnings = [SAME_NAME, "config_json.pad_token_id: missing"]
    daemon.push_warnings = [READ_AS_TEXT]
    run = begin(daemon.addr, delivery="every", **how)
    for step in (1, 2):
        run.snapshot(weights(), step)
    until(lambda: run.stats.sent == 2)
    assert run.warnings == (SAME_NAME, "config.pad_token_id: missing", READ_AS_TEXT)
    assert logged(caplog) == run.warnings
    assert run.finish()
    assert run.error is None


def test_what_the_daemon_remarked_stays_when_the_run_is_opened_again(daemon: FakeDaemon) -> None:
    daemon.open_warnings = [SAME_NAME]
    run = begin(daemon.addr)
    run.snapshot(weights(), 0, init=True)
    until(lambda: bool(run.readings()))
    daemon.open_warnings = ["another"]
    daemon.runs.clear()
    run.snapshot(weights(), 1)
    until(lambda: bool(daemon.runs) and len(daemon.run.received) == 2)
    assert run.finish()
    assert run.warnings[:2] == (SAME_NAME, "another")
    gone = (
        f"the daemon at {daemon.addr} did not know the run any more, and it began anew: the readings from before are "
    )
    assert run.warnings[2:] == (
        f"{gone}not there any more, only in run.readings(); `clino serve --data DIR` keeps them",
    )


def test_what_was_made_or_left_out_of_a_probe_is_kept(daemon: FakeDaemon) -> None:
    probe = {**probes()["en"], "note": ["a"] * 5}
    with clino.init(CONFIG, {"en": probe}, addr=daemon.addr) as run:
        pass
    (warning,) = run.warnings
    assert warning.startswith("probes['en'].note: found texts")


def test_a_model_that_is_not_compared_is_kept_and_no_error(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, inputs: Any, mask: Any) -> Any:
            return super().forward(inputs) * mask

    model = Two(4, 3)
    run = begin(daemon.addr, strict=True, check=True)
    for step in (0, 1):
        run.snapshot(model, step)
    assert run.finish()
    (warning,) = run.warnings
    assert warning.startswith(f"{UNCOMPARED}TypeError: ")
    assert (
        "missing 1 required positional argument: 'mask'; readings are of the model that the configuration describes"
        in warning
    )
    assert logged(caplog) == run.warnings
    assert run.error is None


@needs_daemon
def test_a_softmax_is_measured_and_warned_of(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    real = RealDaemon(tmp_path)
    config = {"model_type": "mlp", "sizes": [8, 3], "hidden_act": "relu"}
    probe = Mlp((8, 3)).probe(16, 0)
    for last, words in [(torch.nn.Softmax(-1), "probabilities"), (torch.nn.LogSoftmax(-1), None)]:
        run = clino.init(config, {"en": probe}, ["loss"], addr=real.unix)
        run.snapshot(torch.nn.Sequential(torch.nn.Linear(8, 3), last), 0)
        assert run.finish()
        assert [reading.outcome for reading in run.readings()] == ["measured", "measured"]
        assert [words in warning for warning in run.warnings if words] == ([True] if words else [])
        assert len(run.warnings) == (words is not None)
    run = clino.init(config, {"en": probe}, ["loss"], addr=real.unix)
    run.snapshot(torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Sigmoid()), 0)
    assert not run.finish()
    assert "ends in a Sigmoid" in run.warnings[0]
    assert run.error is not None
    assert "differs from config" in run.error
    real.stop()
