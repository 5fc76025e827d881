"""Runs of a torch module: what is sent of it, when, and that the module and its training never notice."""

from __future__ import annotations

import logging
import os
import threading
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from support import CONFIG, probes, until

import clino

torch = pytest.importorskip("torch")

from clino import _described, _exporting, _graph_cache, graph
from clino._exporting import Export, Outcome
from clino.graph import _twin
from clino.v1 import graph_pb2, types_pb2

nn = torch.nn


class Net(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.5),
            nn.Linear(8, 3),
        )

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(self.norm(self.first(x)).relu()))


def probe(rows: int = 20) -> dict[str, Any]:
    return {"x": torch.linspace(-1, 1, 4 * rows).reshape(rows, 4).sin(), "labels": torch.arange(rows) % 3}


def train(model: Any, steps: int, between: Any = lambda: None) -> None:
    """As a trainer with dropout does."""
    torch.manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
        between()


class Slow:
    """In the place of an export: one that ends when a test says so."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.found = Outcome(graph_pb2.Model(graph=graph_pb2.Graph(version=1), loss=graph_pb2.LossSpec()))

    def __call__(self, job: Any) -> Slow:
        return self

    def outcome(self, stopped: Any) -> Outcome:
        until(lambda: self.go.is_set() or stopped())
        return self.found


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    found = Slow()
    monkeypatch.setattr(_described, "Export", found)
    return found


def test_training_is_the_same_while_the_graph_is_made(daemon: FakeDaemon) -> None:
    alone, followed = Net(), Net()
    followed.load_state_dict(alone.state_dict())
    called: list[str] = []
    followed.first.register_forward_hook(lambda *_: called.append("hook"))
    pauses: list[float] = []
    flags = set()

    def between() -> None:
        pauses.append(time.monotonic())
        flags.add(torch.compiler.is_exporting())
        time.sleep(0.005)

    train(alone, 200)
    started = time.monotonic()
    run = clino.init(followed, {"en": probe()}, ["loss"], loss="cross_entropy", addr=daemon.addr, check=False)
    assert time.monotonic() - started < 2.0
    assert run.status == "waiting"
    train(followed, 200, between)
    run.snapshot(followed, 200)
    assert run.finish()
    assert len(called) == 200
    assert flags == {False}
    assert max(later - earlier for earlier, later in pairwise(pauses)) < 2.0
    assert all(torch.equal(followed.state_dict()[name], value) for name, value in alone.state_dict().items())
    assert all(part.training for part in followed.modules())
    request = daemon.run.request
    assert request.config_json == ""
    expected = graph.export(alone, probe(), loss="cross_entropy").model
    assert request.model == expected
    with pytest.raises(ChildProcessError):  # the process is over, and nothing of it is left
        os.waitpid(-1, os.WNOHANG)


def test_what_the_graph_does_not_read_is_left_out_and_told(daemon: FakeDaemon) -> None:
    given = {"en": {**probe(), "idx": np.arange(20), "word": np.arange(20)}, "de": {**probe(), "idx": np.arange(20)}}
    with clino.init(Net(), given, ["loss"], loss=nn.CrossEntropyLoss(), addr=daemon.addr) as run:
        pass
    names = [[tensor.spec.name for tensor in group.probe.tensors] for group in daemon.run.request.groups]
    assert names == [["labels", "x"]] * 2
    assert run.warnings == (
        "column 'idx' of 'en', 'de' is left out: the graph reads labels, x",
        "column 'word' of 'en' is left out: the graph reads labels, x",
    )


@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_snapshots_that_are_taken_meanwhile_wait_as_without_a_connection(
    daemon: FakeDaemon, slow: Slow, delivery: Any
) -> None:
    model = Net()
    run = clino.init(model, {"en": probe()}, ["loss"], addr=daemon.addr, delivery=delivery, check=False)
    run.snapshot(model, 0, init=True)
    run.snapshot(model, 1)
    if delivery == "every":
        threading.Timer(0.3, slow.go.set).start()
    run.snapshot(model, 2)
    assert delivery == "every" or daemon.opened == 0
    slow.go.set()
    assert run.finish()
    assert [one.begin.step for one in daemon.run.received] == ([0, 1, 2] if delivery == "every" else [0, 2])


def test_a_run_that_ends_meanwhile_ends_the_process(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "export", lambda *_, **__: time.sleep(60))
    run = clino.init(Net(), {"en": probe()}, addr=daemon.addr)
    assert not run.finish(timeout=0.2)
    assert run.warnings == ()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "clino-sender"])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def made(job: Any) -> Outcome:
    return Export(job).outcome(lambda: False)


def test_what_the_process_meets_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    message = graph_pb2.Model(graph=graph_pb2.Graph(version=1, producer="p" * (3 << 20)))

    def fails() -> Outcome:
        raise KeyError("no such layer")

    assert made(lambda: Outcome(message, None, ["a remark"])) == Outcome(message, None, ["a remark"])
    assert made(fails).error == "KeyError: 'no such layer'"
    assert made(lambda: os._exit(9)).error == "the process that exports it was killed: look whether memory is short"
    monkeypatch.setattr(_exporting, "LIMIT", 0.2)
    assert made(lambda: time.sleep(60)).error == "it took longer than 0 s"
    here = os.getpid()
    told = made(lambda: Outcome(None, f"{os.getpid() == here} {torch.get_num_threads()} {os.nice(0) >= 10}"))
    assert told.error == "False 1 True"
    monkeypatch.setattr(_exporting, "_FORKS", False)
    assert made(lambda: Outcome(None, str(os.getpid()))).error == str(here)
    assert made(fails).error == "KeyError: 'no such layer'"


def test_beside_a_gpu_the_process_reaches_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def export() -> Outcome:
        return Outcome(graph.export(Net(), {"x": torch.randn(2, 4)}).model)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: 1 / 0)
    found = made(export)
    assert found.error is None
    assert found.model is not None
    assert found.model.graph.nodes
    assert torch.cuda.is_available()


class Random(Net):
    def forward(self, x: Any) -> Any:
        return super().forward(x) + torch.rand_like(x[:, :1])


class Linear4bit(nn.Linear):  # type: ignore[misc, name-defined]
    """Called like a layer of bitsandbytes."""


def test_a_model_that_cannot_be_exported_is_sent_as_its_tensors(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    model = Random()
    model.again = model.last
    model.first.requires_grad_(False)
    model.register_buffer("gone", torch.ones(3), persistent=False)
    run = clino.init(model, {"en": probe()}, ["l2"], loss="cross_entropy", addr=daemon.addr, strict=True)
    run.snapshot(model, 1)
    assert run.finish()
    kinds = graph_pb2.GraphTensor
    found = {tensor.name: tensor for tensor in daemon.run.request.model.tensors.tensors}
    assert list(found) == [name for name, value in model.state_dict().items() if value.is_floating_point()]
    assert found["first.weight"] == kinds(
        name="first.weight", kind=kinds.KIND_FROZEN, shape=[8, 4], dtype=types_pb2.DTYPE_F32
    )
    assert found["last.bias"].kind == kinds.KIND_PARAM
    assert found["norm.running_mean"].kind == kinds.KIND_BUFFER
    assert found["again.bias"].alias_of == "last.bias"
    assert [len(group.probe.tensors) for group in daemon.run.request.groups] == [0]
    assert not daemon.run.received[0].begin.HasField("model_check")
    (said,) = run.warnings
    assert said.startswith("the model is not measured as a graph: aten.rand_like.default (inner, test_graph_runs.py:")
    assert said.endswith("measures of the weights work, and readings of all others are unavailable")
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [f"clino: {said}"]


def test_a_check_that_was_made_before_that_was_known_is_not_sent(daemon: FakeDaemon, slow: Slow) -> None:
    slow.found = Outcome(None, "no")
    model = Net()
    run = clino.init(model, {"en": probe()}, addr=daemon.addr, loss="cross_entropy")
    run.snapshot(model, 0, init=True)
    assert run._slot._initial is not None
    assert run._slot._initial.begin.HasField("model_check")
    slow.go.set()
    assert run.finish()
    assert not daemon.run.received[0].begin.HasField("model_check")


def test_a_graph_that_no_message_holds_is_not_sent(daemon: FakeDaemon, slow: Slow) -> None:
    constant = graph_pb2.GraphConstant(data=b"0" * (1 << 20))
    slow.found = Outcome(graph_pb2.Model(graph=graph_pb2.Graph(version=1, constants=[constant] * 4)))
    slow.go.set()
    with clino.init(Net(), {"en": probe()}, addr=daemon.addr) as run:
        pass
    (said,) = run.warnings
    assert said.startswith("the model is not measured as a graph: its graph takes 41943")
    assert daemon.run.request.model.HasField("tensors")


@pytest.mark.parametrize(
    ("model", "given", "why"),
    [
        (nn.Sequential(nn.Linear(4, 8), Linear4bit(8, 3)), {"en": probe()}, "1: found the quantised layer"),
        (Net(), None, "no probes are given, and a graph is made with examples of them"),
    ],
)
def test_other_reasons_to_send_the_tensors_alone(daemon: FakeDaemon, model: Any, given: Any, why: str) -> None:
    with clino.init(model, given, addr=daemon.addr, loss="cross_entropy") as run:
        run.snapshot(model, 1)
    assert run.warnings[0].startswith(f"the model is not measured as a graph: {why}")
    assert len(daemon.run.request.model.tensors.tensors) >= 4


def test_config_is_the_other_name_of_the_first_argument(daemon: FakeDaemon) -> None:
    for name in ("model", "config"):
        arguments: dict[str, Any] = {name: CONFIG, "probes": probes()}
        with clino.init(**arguments, addr=daemon.addr, strict=True):
            pass
    first, second = (run.request for run in daemon.runs.values())
    assert first.config_json == second.config_json != ""
    assert not first.HasField("model")


class Sharded(Net):
    """Named as `fully_shard` names what it changes."""

    FSDPModule = type("FSDPModule", (), {})


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"model": CONFIG, "config": CONFIG}, "config: found it beside model, expected one of them"),
    ({"model": CONFIG, "loss": "mse"}, "loss: found 'mse' beside a configuration, which has its own: leave it out"),
    ({"model": CONFIG, "space": "merged"}, "space: found 'merged' beside a configuration, which has its own"),
    ({"model": Net(), "loss": "hinge"}, "loss: found 'hinge', expected one of bce, causal_lm, cross_entropy"),
    ({"model": Net(), "space": "both"}, "space: found 'both', expected 'adapter' or 'merged'"),
    (
        {"model": Net(), "probes": {"en": {"y": [[1.0]], "z": [[1.0]], "labels": [0]}}},
        "probes['en']: found columns y, z",
    ),
    ({"model": type("Net", (Net, Sharded.FSDPModule), {})()}, "model: found a model in FSDP2 (fully_shard), of which"),
    ({"model": None}, "config: found NoneType, expected a torch module, or a configuration"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_fail_before_the_training(daemon: FakeDaemon, arguments: dict[str, Any], message: str) -> None:
    given = {"probes": {"en": probe()}, "addr": daemon.addr, **arguments}
    with pytest.raises((TypeError, ValueError)) as raised:
        clino.init(**given, strict=True)
    assert str(raised.value).startswith(message)
    run = clino.init(**given)
    assert run.status == "failed"
    assert daemon.opened == 0


def test_a_model_elsewhere_has_a_stand_in_without_memory() -> None:
    model = Net()
    model.tied = model.last
    model.scale = torch.full((3,), 2.0)
    assert _twin.stand_in(model) is model
    for copied in (model, type("Locked", (Net,), {})()):
        if copied is not model:
            copied.lock = threading.Lock()
        other = _twin._elsewhere(copied)
        held = dict(other.named_parameters())
        assert list(held) == [name for name, _ in copied.named_parameters()]
        assert all(tensor.untyped_storage().nbytes() <= 4 for tensor in held.values())
        x = {"x": torch.randn(2, 4)}
        assert graph.export(other, x).model == graph.export(copied, x).model
        assert other.norm.running_mean is not copied.norm.running_mean
        assert other.training


def key(model: Any, loss: Any = None, space: str = "adapter", **examples: Any) -> bytes | None:
    return _graph_cache.key_of(model, examples or {"x": torch.zeros(2, 4)}, loss, space)


def changed(change: Any) -> bool:
    """Whether a change of a model changes its key."""
    model = Net()
    model.places = torch.tensor([0, 1])
    model.register_buffer("order", torch.tensor([0, 1]))
    model.sizes = {"a": [1, 2.0]}
    before = key(model)
    assert before is not None
    assert before == key(model)
    change(model)
    return key(model) != before


CHANGES: list[Any] = [
    lambda model: model.first.weight.requires_grad_(False),
    lambda model: model.double(),
    lambda model: setattr(model.drop, "p", 0.1),
    lambda model: model.places.add_(1),
    lambda model: model.order.add_(1),
    lambda model: model.sizes["a"].append(3),
    lambda model: setattr(model, "last", nn.Linear(8, 2)),
    lambda model: setattr(model, "last", nn.Identity()),
    lambda model: setattr(model.last, "bias", None),
    lambda model: setattr(model, "again", model.last),
    lambda model: setattr(model, "forward", lambda x: x),
    lambda model: setattr(model, "__class__", Random),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_graph_depends_on_is_in_its_key(change: Any) -> None:
    assert changed(change)


def test_training_keeps_the_key_and_what_is_not_known_has_none() -> None:
    assert not changed(lambda model: train(model, 2))
    assert not changed(lambda model: model.eval())
    model = Net()
    keys = [
        key(model),
        key(model, "mse"),
        key(model, nn.CrossEntropyLoss()),
        key(model, nn.CrossEntropyLoss(label_smoothing=0.1)),
        key(model, nn.CrossEntropyLoss(weight=torch.ones(3))),
        key(model, space="merged"),
        key(model, x=torch.zeros(2, 5)),
        key(model, x=torch.zeros(2, 4), y=torch.zeros(2)),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key(model, lambda outputs, labels: outputs.sum() * len(keys)) is None
    for kind in (Net, type("Typed", (Net,), {"__module__": "__main__"})):
        other = kind()
        if kind is Net:
            other.lock = threading.Lock()
        assert key(other) is None


def test_a_second_run_of_a_module_exports_nothing(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Net()
    for _ in range(2):
        with clino.init(model, {"en": probe()}, ["loss"], loss="cross_entropy", addr=daemon.addr, strict=True):
            pass
        monkeypatch.setattr(_described, "Export", lambda job: pytest.fail("exported again"))
        train(model, 2)
    first, second = (run.request.model for run in daemon.runs.values())
    assert first == second
    assert first.graph.nodes
