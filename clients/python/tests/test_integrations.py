"""The callbacks for the trainers of others, in the trainers themselves."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from real import RealDaemon, needs_daemon
from support import until

import clino
from clino.integrations._follower import Before, Follower

FOLDER = Path(__file__).parent
NOWHERE = "http://127.0.0.1:1"
ENFORCED = clino.Policy([clino.Rule("threshold", "loss@pooled", upper=0.0, start_step=5)], mode="enforce")
ADVICE = clino.Policy(ENFORCED.rules)
STEPS, EVERY = 20, 5

Fit = Callable[..., tuple[int, clino.Run | None]]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.name == "clino" and r.levelno >= logging.WARNING]


Then = Callable[[clino.Run], None]


def pause(at: int, step: int, run: clino.Run | None, then: Then | None) -> None:
    """Training takes its time where a test wants something to have happened."""
    if step == at and then is not None and run is not None:
        then(run)


def bert() -> tuple[Any, dict[str, Any], Any]:
    """A model of transformers, a probe and its training data."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        num_labels=3,
    )
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (32, 8))
    data = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 3}
    rows = [{name: column[row] for name, column in data.items()} for row in range(len(ids))]
    return transformers.BertForSequenceClassification(config), data, rows


@pytest.fixture
def with_transformers(tmp_path: Path) -> Fit:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from clino.integrations.transformers import ClinoCallback

    model, data, rows = bert()

    def fit(at: int = 0, then: Then | None = None, **options: Any) -> tuple[int, clino.Run | None]:
        ours = ClinoCallback({"en": data}, **{"measures": ["loss", "distance"], "every": EVERY, **options})

        class Pause(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                pause(at, state.global_step, ours.run, then)

        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[Pause(), ours])
        trainer.train()
        return trainer.state.global_step, ours.run

    return fit


def mlp_probe() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {"inputs": random.normal(size=(12, 4)).astype(np.float32), "labels": np.arange(12) % 3}


MLP = {"model_type": "mlp", "sizes": [4, 8, 3], "hidden_act": "relu"}
# Of models that are given as a mapping of names to arrays, which nothing compares.
OFF: dict[str, Any] = {"config": MLP, "check": False}


def names_of_mlp(module: Any) -> dict[str, Any]:
    """Of a torch.nn.Sequential under the names that the daemon knows."""
    return {f"layers.{int(name[0]) // 2}.{name[2:]}": tensor for name, tensor in module.net.state_dict().items()}


@pytest.fixture
def with_lightning(tmp_path: Path) -> Fit:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from clino.integrations.lightning import ClinoCallback

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    probe = mlp_probe()
    data = torch.utils.data.TensorDataset(torch.tensor(probe["inputs"]), torch.tensor(probe["labels"]))

    def fit(at: int = 0, then: Then | None = None, **options: Any) -> tuple[int, clino.Run | None]:
        arguments = {"measures": ["loss", "distance"], "every": EVERY, "model": names_of_mlp, **OFF, **options}
        ours = ClinoCallback(arguments.pop("config"), {"en": probe}, **arguments)

        class Pause(lightning.Callback):  # type: ignore[misc,name-defined]
            def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
                pause(at, trainer.global_step, ours.run, then)

        trainer = lightning.Trainer(
            max_steps=STEPS,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Pause(), ours],
            default_root_dir=tmp_path,
        )
        trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=4))
        return trainer.global_step, ours.run

    return fit


@pytest.fixture
def with_keras(monkeypatch: pytest.MonkeyPatch) -> Fit:
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="keras is not installed")
    from clino.integrations.keras import ClinoCallback

    probe = mlp_probe()

    def weights(model: Any) -> dict[str, Any]:
        numbers = [variable.detach().cpu().numpy() for layer in model.layers for variable in map(_value, layer.weights)]
        names = ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
        return dict(zip(names, (number.T for number in numbers), strict=True))

    def fit(at: int = 0, then: Then | None = None, **options: Any) -> tuple[int, clino.Run | None]:
        arguments = {"measures": ["loss", "distance"], "every": EVERY, "weights": weights, **OFF, **options}
        ours = ClinoCallback(arguments.pop("config"), {"en": probe}, **arguments)
        steps = [0]

        class Pause(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                steps[0] += 1
                pause(at, steps[0], ours.run, then)

        model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer="sgd", loss=loss, jit_compile=False)
        inputs, labels = probe["inputs"], probe["labels"]
        model.fit(inputs, labels, batch_size=3, epochs=STEPS // 4, verbose=0, callbacks=[Pause(), ours])
        return steps[0], ours.run

    return fit


def _value(variable: Any) -> Any:
    return variable.value


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Steps of a millisecond: several threads would only wait for each other.
    pytest.importorskip("torch", reason="torch is not installed").set_num_threads(1)


@pytest.fixture(params=["with_transformers", "with_lightning", "with_keras"])
def fit(request: pytest.FixtureRequest) -> Fit:
    found: Fit = request.getfixturevalue(request.param)
    return found


def test_snapshots_are_left_from_the_first_to_the_last(daemon: FakeDaemon, fit: Fit) -> None:
    step, _ = fit(addr=daemon.addr, every=6, delivery="every", strict=True)
    assert step == STEPS
    received = [(one.begin.step, one.begin.initialization) for one in daemon.run.received]
    assert received == [(0, True), (6, False), (12, False), (18, False), (20, False)]
    assert len({one.data for one in daemon.run.received}) == 5, "training goes on between them"
    assert daemon.run.closed


def stopping(daemon: FakeDaemon) -> Then:
    """Have the policy say STOP when two snapshots are there, and wait until that is known."""

    def stop(run: clino.Run) -> None:
        until(lambda: bool(daemon.runs) and len(daemon.run.received) == 2)
        daemon.decide("STOP", sentence="loss@pooled is too high", best={"step": 5, "attempt": 1})
        until(run.should_stop)

    return stop


def test_an_enforced_stop_ends_the_training(daemon: FakeDaemon, fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    step, run = fit(8, stopping(daemon), addr=daemon.addr, policy=ENFORCED, delivery="every")
    assert step == 8
    assert run is not None
    assert run.should_stop()
    said = "clino ends the training: loss@pooled is too high; the best snapshot is that of step 5"
    assert warnings(caplog) == [said]
    assert daemon.run.closed
    assert daemon.run.refused == 0


def test_advice_is_told_once_and_ends_nothing(daemon: FakeDaemon, fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    step, run = fit(8, stopping(daemon), addr=daemon.addr, policy=ADVICE, delivery="every")
    assert step == STEPS
    assert run is not None
    assert run.should_stop()
    said = "clino advises to end the training: loss@pooled is too high; the best snapshot is that of step 5"
    assert warnings(caplog) == [said]


def test_without_a_daemon_the_training_goes_on(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    step, run = fit(addr=NOWHERE, policy=ENFORCED, timeout=1.0)
    assert step == STEPS
    assert run is not None
    assert run.status == "failed"
    assert len(warnings(caplog)) == 2, "that it is away, and that nothing was measured"


@pytest.mark.parametrize("bad", [{"every": 0}, {"policy": "patience"}, {"config": "nowhere.json"}], ids=str)
def test_bad_arguments_warn_once_and_end_nothing(
    daemon: FakeDaemon, fit: Fit, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    step, _ = fit(addr=daemon.addr, **bad)
    assert step == STEPS
    assert len(warnings(caplog)) == 1
    assert daemon.runs == {}


def test_strict_users_hear_of_bad_arguments() -> None:
    with pytest.raises(ValueError, match="every"):
        Follower({}, None, 0, {"strict": True})


def test_a_run_that_goes_on_from_a_checkpoint_has_no_initialization(daemon: FakeDaemon) -> None:
    follower = Follower({"en": mlp_probe()}, ["loss"], 10, {"addr": daemon.addr, "delivery": "every"})
    model = {"w": np.ones(3, np.float32)}
    follower.at(30)
    follower.begin(lambda: MLP, lambda: model, 30, Before())
    reached = [step for step in (30, 31, 40, 40, 41) if follower.reached(step, lambda: model)]
    assert reached == [40]
    follower.ends(40, lambda: model)
    follower.end(40, 10.0)
    assert [(one.begin.step, one.begin.initialization) for one in daemon.run.received] == [(30, False), (40, False)]


def test_a_model_that_cannot_be_had_is_told(daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> object:
        raise AttributeError("it has no net")

    follower = Follower({"en": mlp_probe()}, ["loss"], 1, {"addr": daemon.addr})
    follower.at(0)
    follower.begin(lambda: MLP, gone, 0, Before())
    assert follower.reached(1, gone)
    follower.ends(2, gone)
    follower.end(2, 10.0)
    assert warnings(caplog) == ["clino: it has no net"]


# --- models that no configuration describes


def decoder() -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=12, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0, pad_token_id=0
    )
    rows = [{"input_ids": [3 + row, 4, 5, 6], "labels": [3 + row, 4, 5, 6]} for row in range(16)]
    return transformers.GPT2LMHeadModel(config), rows


def distilled() -> tuple[Any, Any]:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.DistilBertConfig(
        vocab_size=40, max_position_embeddings=12, dim=8, n_layers=1, n_heads=2, hidden_dim=8, num_labels=3
    )
    _, _, rows = bert()
    return transformers.DistilBertForSequenceClassification(config), rows


@pytest.mark.parametrize("make", [decoder, distilled])
def test_transformers_that_no_configuration_describes_are_sent_as_graphs(
    daemon: FakeDaemon, tmp_path: Path, make: Callable[[], tuple[Any, Any]]
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from clino.integrations.transformers import ClinoCallback

    model, rows = make()
    ours = ClinoCallback({"en": rows[:6]}, ["loss"], every=2, addr=daemon.addr, delivery="every", strict=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=4,
        per_device_train_batch_size=4,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[ours]).train()
    request = daemon.run.request
    assert request.config_json == ""
    assert request.model.loss.cross_entropy.shift == (make is decoder)
    assert [one.begin.step for one in daemon.run.received] == [0, 2, 4]
    assert daemon.run.received[0].begin.model_check.gradient_norms
    assert ours.run is not None
    assert ours.run.warnings == ()


def test_lightning_without_a_configuration_sends_a_graph(daemon: FakeDaemon, with_lightning: Fit) -> None:
    with_lightning(addr=daemon.addr, config=None, model="net", loss="cross_entropy", check=True, every=STEPS)
    assert daemon.run.request.model.graph.inputs[0].name == "input"
    names = [tensor.name for tensor in daemon.run.request.model.graph.tensors]
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert daemon.run.received[0].begin.model_check.gradient_norms


def test_lightning_without_a_module_is_told(
    daemon: FakeDaemon, with_lightning: Fit, caplog: pytest.LogCaptureFixture
) -> None:
    with_lightning(addr=daemon.addr, config=None)
    assert warnings(caplog) == [
        "clino: config: found None, and a model that is no torch module: give its configuration, or a `model` that "
        "names the module"
    ]


# --- several processes: all of them end at the same step


def both(daemon: FakeDaemon, command: list[str], out: Path) -> list[int]:
    """Run a script in two processes; the step at which each ended."""

    def stop() -> None:
        until(lambda: bool(daemon.runs) and len(daemon.run.received) >= 2, 240)
        daemon.decide("STOP", sentence="enough")

    threading.Thread(target=stop, daemon=True).start()
    done = subprocess.run([*command, daemon.addr, str(out)], timeout=280, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(daemon.runs) == 1, "one rank sends"
    assert daemon.run.closed
    return [int((out / f"{rank}").read_text()) for rank in (0, 1)]


def test_two_processes_of_transformers_end_together(daemon: FakeDaemon, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    first, second = both(daemon, [*command, str(FOLDER / "ranks_transformers.py")], tmp_path)
    assert first == second
    assert 0 < first < 10_000
    assert first % 5 == 0


def test_two_processes_of_lightning_end_together(daemon: FakeDaemon, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    first, second = both(daemon, [sys.executable, str(FOLDER / "ranks_lightning.py")], tmp_path)
    assert first == second
    assert 0 < first < 10_000
    assert first % 5 == 0


# --- with a daemon that measures and decides


@needs_daemon
@pytest.mark.parametrize("name", ["with_transformers", "with_lightning"])
def test_a_policy_ends_the_training(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    fit: Fit = request.getfixturevalue(name)
    real = RealDaemon(tmp_path)
    step, run = fit(8, lambda run: until(run.should_stop, 30), addr=real.unix, policy=ENFORCED, strict=True)
    real.stop()
    assert 5 <= step <= 8
    assert run is not None
    decision = run.decision()
    assert decision is not None
    assert (decision.reason, decision.enforced) == ("threshold_crossed", True)
    assert decision.rule == "threshold on loss@pooled"
    assert decision.evaluated == clino.Snapshot(5, 1)
