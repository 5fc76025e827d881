"""Any torch module by `clino.init(model, probes, loss=…)` against the real daemon: its readings are torch's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from real import RealDaemon, needs_daemon

import clino

torch = pytest.importorskip("torch")

pytestmark = needs_daemon
nn = torch.nn
functional = nn.functional
# Of losses and norms in float64, where nothing in the model rounds to less.
CLOSE = 1e-10


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDaemon]:
    found = RealDaemon(tmp_path_factory.mktemp("daemon"))
    yield found
    found.stop()


class Tagged(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(20, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, words: Any) -> Any:
        return self.head(self.rnn(self.embed(words))[0][:, -1])


def decoder() -> tuple[Any, Any, Any, Any]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=60, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    rows = [[5, 6, 7, 8, 9], [8, 3, 2], [9, 4, 11, 12], [1, 2]]

    def loss(model: Any) -> Any:
        ids, mask, labels = (torch.full((4, 5), fill) for fill in (0, 0, -100))
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = labels[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        scores = model(input_ids=ids, attention_mask=mask).logits
        return functional.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    return transformers.GPT2LMHeadModel(config), {"input_ids": rows, "labels": rows}, "causal_lm", loss


def classifier() -> tuple[Any, Any, Any, Any]:
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(
        vocab_size=60, max_position_embeddings=16, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=3
    )
    ids, labels = torch.randint(1, 60, (12, 7)), torch.arange(12) % 3
    mask = (torch.arange(7) < torch.randint(3, 8, (12, 1))).long()
    probe = {"input_ids": ids, "attention_mask": mask, "labels": labels, "idx": torch.arange(12)}
    kind = transformers.DistilBertForSequenceClassification
    return kind(config), probe, None, lambda model: model(input_ids=ids, attention_mask=mask, labels=labels).loss


def images() -> tuple[Any, Any, Any, Any]:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 5))
    model(torch.randn(6, 3, 8, 8))  # statistics that are not those of the start
    x, y = torch.randn(9, 3, 8, 8), torch.arange(9) % 5
    return model, (x, y), nn.CrossEntropyLoss(), lambda m: functional.cross_entropy(m(x.double()), y)


def recurrent() -> tuple[Any, Any, Any, Any]:
    words, labels = torch.randint(0, 20, (10, 6)), torch.arange(10) % 3
    probe = {"words": words, "labels": labels}
    return Tagged(), probe, "cross_entropy", lambda m: functional.cross_entropy(m(words), labels)


@pytest.mark.parametrize("make", [decoder, classifier, images, recurrent])
def test_readings_are_those_of_torch(daemon: RealDaemon, make: Any) -> None:
    torch.manual_seed(4)
    model, probe, loss, reference = make()
    model.train()
    before = copy.deepcopy(model.state_dict())
    twin = copy.deepcopy(model).double().eval()
    expected = reference(twin)
    norm = float(nn.utils.get_total_norm(torch.autograd.grad(expected, list(twin.parameters()))))
    run = clino.init(model, {"en": probe}, ["loss", "gradient_norm"], loss=loss, precision="f64", addr=daemon.unix)
    run.snapshot(model, 0, init=True)
    assert run.finish(), run.error
    found = {reading.measure: reading.value for reading in run.readings() if reading.group == "en"}
    assert found["loss"] == pytest.approx(expected.item(), abs=CLOSE)
    assert found["gradient_norm"] == pytest.approx(norm, abs=CLOSE)
    (checked,) = (event for event in run.watch() if isinstance(event, clino.ModelChecked))
    assert checked.agrees, checked
    assert checked.trainer_loss == pytest.approx(checked.configured_loss, abs=CLOSE)
    left = "column 'idx' of 'en' is left out: the graph reads attention_mask, input_ids, labels"
    assert run.warnings == ((left,) if make is classifier else ())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(part.training for part in model.modules())


def test_a_wrapped_model_and_its_state_dict_are_measured(daemon: RealDaemon) -> None:
    torch.manual_seed(4)
    model, probe, loss, reference = recurrent()
    run = clino.init(torch.compile(model), {"en": probe}, ["loss"], loss=loss, addr=daemon.unix, delivery="every")
    run.snapshot(torch.compile(model), 0)
    run.snapshot(model.state_dict(), 1)
    assert run.finish(), run.error
    values = [reading.value for reading in run.readings() if reading.group == "en"]
    assert values == pytest.approx([reference(model).item()] * 2, abs=1e-6)


def test_a_model_that_differs_from_its_graph_is_caught(daemon: RealDaemon) -> None:
    torch.manual_seed(4)
    model, probe, loss, _ = recurrent()
    run = clino.init(model, {"en": probe}, ["loss"], loss=loss, addr=daemon.unix)
    other = copy.deepcopy(model)
    other.forward = lambda words: model.head(model.embed(words).mean(1))
    run.snapshot(other, 0)
    assert not run.finish()
    (checked,) = (event for event in run.watch() if isinstance(event, clino.ModelChecked))
    assert not checked.agrees


class Random(Tagged):
    def forward(self, words: Any) -> Any:
        return super().forward(words) + torch.rand(3)


@pytest.mark.parametrize("given", [True, False], ids=["probes", "no probes"])
def test_weights_of_a_model_that_cannot_be_exported_are_measured(daemon: RealDaemon, given: bool) -> None:
    model, (_, probe, loss, _) = Random(), recurrent()
    run = clino.init(model, {"en": probe} if given else None, ["distance"], loss=loss, addr=daemon.unix)
    run.snapshot(model, 0, init=True)
    with torch.no_grad():
        model.head.bias.add_(0.5)
    run.snapshot(model, 1)
    assert run.finish(), run.error
    why = "aten.rand.default (inner, test_graph_real.py:" if given else "no probes are given, and a graph is made with"
    assert (
        [warning for warning in run.warnings if "not measured as a graph" in warning]
        == [warning for warning in run.warnings if warning.startswith(f"the model is not measured as a graph: {why}")]
        != []
    )
    last = [reading for reading in run.readings() if reading.step == 1]
    assert last
    assert {reading.outcome for reading in last} == {"measured"}
    assert {round(reading.value or 0.0, 6) for reading in last} == {round(0.75**0.5, 6)}


def test_the_same_model_goes_on_with_its_run(daemon: RealDaemon) -> None:
    torch.manual_seed(4)
    model, probe, loss, _ = recurrent()
    for _ in range(2):
        run = clino.init(model, {"en": probe}, ["loss"], loss=loss, addr=daemon.unix, resume="again")
        run.snapshot(model, 0)
        run.finish()
        assert run.error is None
