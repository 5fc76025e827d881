"""What a loop gives by mistake, and what it is told: what is wrong, what was found, what to do; each mistake once."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake import FakeDaemon
from support import begin, until, weights

import clino
from clino._policy import policy_of


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


class Trains:
    """What an optimizer is known by."""

    param_groups: tuple[Any, ...] = ()


ONE = "an integer of at least 0"
MODEL = "expected a torch module or a mapping of names to arrays"
STEPS = "give the number of steps that are done, such as run.snapshot(model, step=100)"
ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"step": "ten"}, f"step: found 'ten' (str), expected {ONE}: {STEPS}"),
    ({"step": 1.5}, f"step: found 1.5 (float), expected {ONE}: {STEPS}"),
    ({"step": -1}, f"step: found -1 (int), expected {ONE}: {STEPS}"),
    ({"step": None}, f"step: found NoneType, expected {ONE}: {STEPS}"),
    ({"step": np.array([1, 2])}, f"step: found ndarray, expected {ONE}: {STEPS}"),
    ({"step": 1 << 64}, f"step: found {1 << 64} (int), expected an integer of at most {(1 << 64) - 1}: {STEPS}"),
    ({"attempt": "last"}, f"attempt: found 'last' (str), expected {ONE}: leave it out for the next free one"),
    ({"kind": "Ema"}, "kind: found 'Ema' (did you mean ema?), expected one of live, master, ema, swa: leave it"),
    ({"kind": ["ema"]}, "kind: found list, expected one of live, master, ema, swa: leave it"),
    ({"init": "yes"}, "init: found 'yes' (str), expected True or False"),
    ({"model": None}, f"model: found NoneType, {MODEL}: give the model that is trained, or model.state_dict()"),
    ({"model": Trains()}, f"model: found Trains, {MODEL}: give the model that this optimizer trains"),
    ({"model": "model.pt"}, f"model: found str, {MODEL}: load the file first, and give the model or its state_dict"),
    ({"model": {"model": {}, "epoch": 1}}, "model: found dict, expected an array or a tensor: from a checkpoint give"),
    ({"model": {"epoch": 1}}, "epoch: found int, expected an array or a tensor: give the model's state_dict"),
    ({"model": {}}, "model: found no floating-point tensor, expected at least one: give the model that is trained"),
]


def test_each_mistake_of_a_snapshot_names_what_is_wrong_and_what_to_do(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    run = begin(daemon.addr)
    for _ in range(2):
        for arguments, _expected in ARGUMENTS:
            run.snapshot(**{"model": weights(), "step": 0, **arguments})
    assert not run.finish()
    said = warnings(caplog)
    for line, (_, expected) in zip(said, ARGUMENTS, strict=True):
        assert line.startswith(f"clino: {expected}")
    assert run.error == said[0].removeprefix("clino: ")
    assert run.stats.failed == run.stats.snapshots == 2 * len(ARGUMENTS)


def test_a_step_may_be_any_scalar_that_is_an_integer(daemon: FakeDaemon) -> None:
    given: list[Any] = [np.int32(3), np.array(4), np.float32(5.0), 6.0, np.array(7.0)]
    if find_spec("torch") is not None:
        import torch

        given += [torch.tensor(8), torch.tensor(9.0), torch.tensor([10])]
    with begin(daemon.addr, delivery="every", strict=True) as run:
        for step in given:
            run.snapshot(weights(), step)
    assert [one.begin.step for one in daemon.run.received] == list(range(3, 3 + len(given)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.readings(wait="all"), "wait: found 'all' (str), expected a number of seconds of at least 0"),
        (lambda run: list(run.watch("ever")), "timeout: found 'ever' (str), expected a number of seconds"),
        (lambda run: run.ask_decision(-1), "timeout: found -1 (int), expected a number of seconds"),
        (lambda run: run.ask_plan(None), "timeout: found NoneType, expected a number of seconds"),
        (lambda run: run.finish(float("nan")), "timeout: found nan (float), expected a number of seconds"),
    ],
)
def test_time_limits_are_numbers(daemon: FakeDaemon, call: Any, message: str, caplog: pytest.LogCaptureFixture) -> None:
    run = begin(daemon.addr)
    call(run)
    assert [line[: len(message) + 7] for line in warnings(caplog)] == [f"clino: {message}"]
    assert run.finish(float("inf"))


def test_after_the_end_a_snapshot_is_told_how_to_go_on(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    run = begin(daemon.addr, resume="k")
    run.snapshot(weights(), 1)
    assert run.finish()
    for step in (2, 3):
        run.snapshot(weights(), step)
    assert warnings(caplog) == [
        "clino: snapshot: the run is finished and takes no more snapshots: finish() ends a run; start another one, or "
        "continue this one with clino.init(…, resume='k')"
    ]
    assert (run.stats.snapshots, run.stats.failed) == (3, 2)
    strict = begin(daemon.addr, strict=True)
    assert strict.finish()
    with pytest.raises(clino.ClinoError, match="the run is finished"):
        strict.snapshot(weights(), 1)


def test_a_run_that_was_closed_elsewhere_is_said_with_what_to_do(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    run = begin(daemon.addr)
    run.snapshot(weights(), 1)
    until(lambda: bool(run.readings()))
    daemon.run.closed = True
    for step in (2, 3):
        run.snapshot(weights(), step)
        until(lambda step=step: run.stats.failed == step - 1)  # type: ignore[misc]
    run.finish()
    assert warnings(caplog) == [
        "clino: the run was closed elsewhere and takes no more snapshots: start another one with clino.init(…), "
        "without resume= or with another key"
    ]


# --- where the daemon is, and what it says


def test_a_daemon_that_went_away_is_the_error_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = f"unix:{tmp_path}/d.sock"
    fake = FakeDaemon(address)
    run = begin(address)
    run.snapshot(weights(), 0, init=True)
    until(lambda: bool(run.readings()))
    fake.stop()
    run.snapshot(weights(), 1)
    until(lambda: run.status == "away")
    assert not run.finish()
    absent = f"no daemon at {address} (No such file or directory): start one with `clino serve`, or give another "
    assert run.error == f"{absent}address with addr= or CLINO_ADDR; snapshots that are not sent yet are dropped"
    first, last = warnings(caplog)
    assert first.startswith(f"clino: no daemon at {address} (")
    assert first.endswith("training goes on, and clino keeps trying")
    assert last == f"clino: {run.error}"


def test_an_initialization_that_is_not_sent_is_no_refusal(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/d.sock"
    fake = FakeDaemon(address)
    run = begin(address)
    until(lambda: run.id is not None)
    fake.stop()
    run.snapshot(weights(), 0, init=True)
    run.snapshot(weights(), 1)
    assert not run.finish()
    assert run.error is not None
    assert run.error.startswith(f"no daemon at {address} (")
    assert run.stats.failed == run.stats.snapshots == 2


def test_a_daemon_without_room_is_not_called_away(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    full = "project: found 100 open runs, expected at most 100: close one"
    daemon.on_open = lambda request, context: context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, full)
    run = begin(daemon.addr)
    run.snapshot(weights(), 0)
    until(lambda: run.status == "refusing")
    assert not run.finish()
    assert run.error == f"the daemon at {daemon.addr} accepts nothing now: {full}"
    assert warnings(caplog)[0] == f"clino: {run.error}; training goes on, and clino keeps trying"


def test_long_sentences_keep_their_end(daemon: FakeDaemon) -> None:
    long = f"measures[0].name: found 'losss', expected one of {', '.join(['loss'] * 500)}; clino measures lists them"
    longer = long.replace("expected", "expected " * 1000)
    assert len(long) < 4_000 < len(longer)
    for sentence in (long, longer):
        daemon.on_open = lambda request, context, said=sentence: context.abort(  # type: ignore[misc]
            grpc.StatusCode.INVALID_ARGUMENT, said
        )
        run = begin(daemon.addr)
        assert not run.finish()
        assert run.error is not None
        assert run.error.startswith("the daemon does not accept the run: measures[0].name: found 'losss', expected ")
        assert run.error.endswith("; clino measures lists them")
        assert len(run.error) < 4_100
        assert (long in run.error) == (sentence == long)


# --- policies

RULES = '[clino.Rule("patience", "loss@pooled", patience=3)]'


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("patience", f"policy: found 'patience' (str), expected a list of rules: give {RULES}"),
        (clino.Rule("patience", "loss@en"), f"policy: found Rule, expected a list of rules: give {RULES}"),
        (["patience"], f"policy.rules[0]: found 'patience' (str), expected a clino.Rule or a mapping: give {RULES}"),
        ([{"name": "patience"}], f"policy.rules[0]: found no on, expected a name and what it is on: give {RULES}"),
        ({"rule": []}, f"policy: found 'rule', expected rules and mode: give {{'rules': {RULES}}}"),
        ({"mode": "advise"}, f"policy: found no rules, expected rules and mode: give {{'rules': {RULES}}}"),
        ({"rules": [], "mode": "enforced"}, "policy.mode: found 'enforced' (did you mean enforce?), expected one of"),
    ],
)
def test_what_is_no_policy_is_told_what_is(policy: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        policy_of(policy)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "x"}, f"seed: found 'x' (str), expected {ONE}: leave it out for 0"),
        ({"name": 7}, "name: found 7 (int), expected a text: give str(…) of it"),
        ({"project": 7}, "project: found 7 (int), expected a text: give str(…) of it"),
        ({"gpu_only": "yes"}, "gpu_only: found 'yes' (str), expected True or False"),
        ({"delivery": "evry"}, "delivery: found 'evry' (did you mean every?), expected one of latest, every"),
        ({"precision": 64}, "precision: found 64 (int), expected one of auto, f32, f64"),
        ({"resume": 7}, "resume: found 7 (int), expected a text of at most 128 bytes: a key of your own, or run.key"),
        ({"tags": ["a"]}, "tags: found list, expected a mapping of names to texts, such as {'lr': 0.001}"),
    ],
)
def test_other_arguments_of_a_run_are_named(arguments: dict[str, Any], message: str) -> None:
    error = begin("http://127.0.0.1:1", **arguments).error
    assert error is not None
    assert error.startswith(message)
