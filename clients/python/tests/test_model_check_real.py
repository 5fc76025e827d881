"""Models of transformers against the real daemon: what is right is never refused, what is false is caught.

A check costs eight forwards, so every variant is a run of its own. The daemon's answer is an event of the run.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from real import RealDaemon, needs_daemon
from support import until

import clino

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = needs_daemon

VOCABULARY, TOKENS, CLASSES, EXAMPLES = 90, 12, 3, 24
KINDS = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
# Of deviations of weights: as models begin, and as they are after long training.
ORDINARY, LARGE = 0.02, 0.3


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDaemon]:
    found = RealDaemon(tmp_path_factory.mktemp("daemon"))
    yield found
    found.stop()


def model_of(kind: str = "bert", deviation: float = LARGE, width: int = 16, **more: Any) -> Any:
    torch.manual_seed(3)
    offset = 0 if kind == "bert" else more.get("pad_token_id", 1) + 1
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 4 * width,
        "max_position_embeddings": TOKENS + offset,
        "type_vocab_size": 2,
        "num_labels": CLASSES,
        "initializer_range": deviation,
    }
    config = getattr(transformers, f"{KINDS[kind]}Config")(**{**settings, **more})
    model = getattr(transformers, f"{KINDS[kind]}ForSequenceClassification")(config)
    with torch.no_grad():  # biases and scales begin at 0 and 1
        for _name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * deviation)
    return model.train()


def probe_of(padding: str = "right", mask: str = "given", types: bool = True, pad: int = 0) -> dict[str, Any]:
    """Sequences of 3 to 12 tokens; with mask "ones" the padding is attended to, as where no mask is given."""
    random = torch.Generator().manual_seed(5)
    ids = torch.randint(8, VOCABULARY, (EXAMPLES, TOKENS), generator=random)
    lengths = torch.randint(3, TOKENS, (EXAMPLES,), generator=random)[:, None]
    places = torch.arange(TOKENS)[None].expand(EXAMPLES, TOKENS)
    real = {
        "none": torch.ones_like(ids, dtype=torch.bool),
        "right": places < lengths,
        "left": places >= TOKENS - lengths,
        "middle": (places != 2) & (places != 5) & (places < lengths + 3),
    }[padding]
    probe = {
        "input_ids": torch.where(real, ids, pad),
        "attention_mask": real.long() if mask == "given" else torch.ones_like(ids),
        "labels": torch.randint(0, CLASSES, (EXAMPLES,), generator=random),
    }
    if types:
        probe["token_type_ids"] = (places >= lengths // 2).long()
    return probe


def verdict(
    daemon: RealDaemon, model: Any, probe: dict[str, Any], config: Any = None, **options: Any
) -> tuple[clino.ModelChecked, list[clino.Reading]]:
    run = clino.init(config or model.config, {"en": probe}, ["loss"], addr=daemon.unix, **options)
    run.snapshot(model, 0, init=True)
    finished = run.finish()
    (checked,) = (event for event in run.watch() if isinstance(event, clino.ModelChecked))
    assert finished == checked.agrees, "a run without a reading is none that ended well"
    return checked, run.readings()


VARIANTS = [
    *product(["bert"], ["none", "right", "left", "middle"], ["given", "ones"], [True, False], [0, 7]),
    *product(["roberta", "xlm-roberta"], ["none", "right", "left", "middle"], ["given", "ones"], [True], [1, 0]),
]


@pytest.mark.parametrize(("kind", "padding", "mask", "types", "pad"), VARIANTS)
def test_a_right_model_is_measured_whatever_its_masks_and_positions(
    daemon: RealDaemon, kind: str, padding: str, mask: str, types: bool, pad: int
) -> None:
    model = model_of(kind, pad_token_id=pad)
    checked, readings = verdict(daemon, model, probe_of(padding, mask, types, pad))
    assert checked.agrees, checked.sentence
    assert {reading.outcome for reading in readings} == {"measured"}
    # What is compared is what torch says: in float64, without a difference.
    assert checked.trainer_loss == pytest.approx(checked.configured_loss, abs=1e-9)


def autocast(model: Any) -> Any:
    """As accelerate leaves it to a trainer with mixed precision."""
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    return accelerate.Accelerator(cpu=True, mixed_precision="bf16").prepare(model)


def inner(model: Any) -> Any:
    """With autocast inside its forward."""
    forward = model.forward

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*args, **kwargs)

    model.forward = wrapped
    return model


TRAINERS: dict[str, Callable[[Any], Any]] = {
    "float32": lambda model: model,
    "bfloat16": lambda model: model.bfloat16(),
    "float16": lambda model: model.half(),
    "accelerate": autocast,
    "autocast": inner,
    "compiled": lambda model: torch.compile(model),
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("deviation", [ORDINARY, LARGE])
@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize("tight", [False, True])
def test_a_right_model_is_measured_in_whatever_precision_it_is_trained(
    daemon: RealDaemon, trainer: str, deviation: float, precision: Any, tight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tight:  # no room for copies: it is evaluated as it is
        monkeypatch.setattr("clino._evaluation.room_on", lambda device: (64 << 20) + 256 * TOKENS**2)
    for kind in KINDS:
        model = TRAINERS[trainer](model_of(kind, deviation))
        checked, readings = verdict(daemon, model, probe_of(), getattr(model, "config", None), precision=precision)
        assert checked.agrees, (kind, checked)
        assert {reading.outcome for reading in readings} == {"measured"}


def test_a_right_model_too_large_for_float64_is_measured(daemon: RealDaemon) -> None:
    for deviation in (ORDINARY, 0.1):
        model = model_of("roberta", deviation, width=256)
        assert sum(parameter.numel() for parameter in model.parameters()) > 1 << 20
        checked, readings = verdict(daemon, model, probe_of(pad=1))
        assert checked.agrees, checked
        assert {reading.precision for reading in readings} == {"f32"}


# --- false configurations


def mean_pooling(model: Any) -> Any:
    class MeanPooling(type(model)):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None, **_: Any) -> Any:
            states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
            weights = attention_mask[..., None].to(states.dtype)
            return self.classifier((states * weights).sum(1) / weights.sum(1))

    model.__class__ = MeanPooling
    return model


def swapped(model: Any) -> Any:
    """Queries and keys change their parts, and keep their names."""
    attention = model.bert.encoder.layer[0].attention.self
    query, key = attention.query, attention.key
    query.forward = lambda x: torch.nn.functional.linear(x, key.weight, key.bias)
    key.forward = lambda x: torch.nn.functional.linear(x, query.weight, query.bias)
    return model


def dropout(model: Any) -> Any:
    model.dropout.forward = lambda x: torch.nn.functional.dropout(x, 0.1, training=True)
    return model


def other_labels(model: Any) -> Any:
    """The head's classes in another order than the labels of the trainer."""
    forward = model.classifier.forward
    model.classifier.forward = lambda x: forward(x)[:, [1, 2, 0]]
    return model


def configured(**changes: Any) -> Callable[[Any], Any]:
    """The configuration says something else than the model does."""

    def change(model: Any) -> Any:
        said = copy.deepcopy(model.config)
        for name, value in changes.items():
            setattr(said, name, value)
        model.config = said
        return model

    return change


FALSE: dict[str, Callable[[Any], Any]] = {
    "pooling": mean_pooling,
    "activation": configured(hidden_act="gelu_new"),
    "eps": configured(layer_norm_eps=1e-5),
    "swapped": swapped,
    "dropout": dropout,
    "labels": other_labels,
}
# Ways of training that leave the forward to the model, which is changed here.
PLAIN = ["float32", "bfloat16", "float16", "accelerate"]


@pytest.mark.parametrize("trainer", PLAIN)
@pytest.mark.parametrize("deviation", [ORDINARY, LARGE])
@pytest.mark.parametrize("fault", FALSE)
def test_a_model_that_is_not_what_its_configuration_says_is_caught(
    daemon: RealDaemon, trainer: str, deviation: float, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = TRAINERS[trainer](FALSE[fault](model_of("bert", deviation)))
    checked, readings = verdict(daemon, model, probe_of())
    assert not checked.agrees, checked
    assert {reading.outcome for reading in readings} == {"unavailable"}
    for number in (f"{checked.trainer_loss:.6f}", f"{checked.configured_loss:.6f}"):
        assert number in checked.sentence
        assert all(number in (reading.reason or "") for reading in readings)
    said = [record.getMessage() for record in caplog.records if record.name == "clino"]
    assert said == [f"clino: {checked.sentence}"], "once"
    assert "open a new run" in said[0]
    assert "check=False" in said[0]


@pytest.mark.parametrize("fault", FALSE)
def test_it_is_caught_in_float32_too(daemon: RealDaemon, fault: str) -> None:
    model = FALSE[fault](model_of("bert", 0.05, width=256))
    checked, readings = verdict(daemon, model, probe_of())
    assert not checked.agrees, checked
    assert {reading.precision for reading in readings} == {"f32"}


@pytest.mark.parametrize("fault", ["pooling", "swapped", "dropout", "labels"])
def test_gross_faults_are_caught_where_only_16_bits_can_be_had(
    daemon: RealDaemon, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clino._evaluation.room_on", lambda device: (64 << 20) + 256 * TOKENS**2)
    model = FALSE[fault](model_of("bert", LARGE)).bfloat16()
    if fault == "dropout":
        model.dropout.forward = lambda x: torch.nn.functional.dropout(x, 0.5, training=True)
    checked, _ = verdict(daemon, model, probe_of())
    assert not checked.agrees, checked


def test_with_the_check_turned_off_the_configuration_is_measured(daemon: RealDaemon) -> None:
    model = mean_pooling(model_of())
    run = clino.init(model.config, {"en": probe_of()}, ["loss"], addr=daemon.unix, check=False)
    run.snapshot(model, 0)
    assert run.finish()
    assert {reading.outcome for reading in run.readings()} == {"measured"}
    assert not any(isinstance(event, clino.ModelChecked) for event in run.watch())


def test_a_refuted_run_copies_nothing_any_more(daemon: RealDaemon) -> None:
    model = mean_pooling(model_of())
    run = clino.init(model.config, {"en": probe_of()}, ["loss"], addr=daemon.unix)
    run.snapshot(model, 0, init=True)
    until(lambda: bool(run.readings()))
    for step in (1, 2, 3):
        run.snapshot(model, step)
    stats = run.stats
    assert (stats.snapshots, stats.sent, stats.failed) == (4, 1, 3)
    run.finish()
    assert {reading.step for reading in run.readings()} == {0}


def test_a_check_goes_with_a_snapshot_until_one_is_compared(
    daemon: RealDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of()
    run = clino.init(model.config, {"en": probe_of()}, ["loss"], addr=daemon.unix, delivery="every")
    sent = []
    prepare = run._prepare

    def noted(*arguments: Any) -> Any:
        begin, copy = prepare(*arguments)
        sent.append(begin.HasField("model_check"))
        return begin, copy

    monkeypatch.setattr(run, "_prepare", noted)
    for step in range(4):
        run.snapshot(model, step)
        until(lambda step=step: any(reading.step == step for reading in run.readings()))  # type: ignore[misc]
    assert run.finish()
    assert sent == [True, False, False, False]
    assert sum(isinstance(event, clino.ModelChecked) for event in run.watch()) == 1


def test_mlps_as_sequences_are_compared(daemon: RealDaemon) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([layers[0], layers[2]])
    probe = {"inputs": torch.randn(30, 4), "labels": torch.randint(0, 3, (30,))}
    for act, right in [("tanh", True), ("relu", False)]:
        model.forward = layers.forward
        config = {"model_type": "mlp", "sizes": [4, 8, 3], "hidden_act": act}
        checked, readings = verdict(daemon, model, probe, config)
        assert checked.agrees is right
        assert {reading.outcome for reading in readings} == ({"measured"} if right else {"unavailable"})


@pytest.mark.parametrize("script", ["finetune.py"])
def test_the_model_of_an_example_is_compared(daemon: RealDaemon, script: str) -> None:
    pytest.importorskip("tokenizers")
    path = Path(__file__).parents[3] / "examples" / script
    if not path.exists():
        pytest.skip("the examples are not beside this package")
    command = [sys.executable, str(path), "--addr", daemon.unix, "--steps", "1", "--probe", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "2 of 2 snapshots measured" in done.stderr
