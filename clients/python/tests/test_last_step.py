"""A snapshot has the weights of its step, whatever a trainer loads, restores, swaps or averages; trainers of others."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon, Received
from test_integrations import MLP, bert, mlp_probe, names_of_mlp

from clino.integrations._follower import Before
from clino.v1 import snapshots_pb2

torch = pytest.importorskip("torch", reason="torch is not installed")

Sent = list[tuple[int, str, float]]
KINDS = {number: name.removeprefix("WEIGHT_KIND_").lower() for name, number in snapshots_pb2.WeightKind.items()}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def norm(tensors: Any) -> float:
    """Of the floats of a mapping."""
    floats = [np.asarray(tensor, np.float64) for tensor in tensors if np.asarray(tensor).dtype.kind == "f"]
    return round(float(np.sqrt(sum(float((tensor**2).sum()) for tensor in floats))), 5)


def norm_of_module(module: Any) -> float:
    return norm(tensor.detach().numpy().copy() for tensor in module.state_dict().values())


def sent(daemon: FakeDaemon) -> Sent:
    def one(received: Received) -> tuple[int, str, float]:
        return received.begin.step, KINDS[received.begin.kind], norm([np.frombuffer(received.data, np.float32)])

    return [one(received) for received in daemon.run.received]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.name == "clino" and r.levelno >= logging.WARNING]


# --- transformers


def trainer_of(
    daemon: FakeDaemon, tmp_path: Path, before: list[Any], after: list[Any], **arguments: Any
) -> tuple[Any, dict[int, float], Any]:
    """A Trainer whose training gets worse, the norms of its weights by step, and our callback in the middle."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from clino.integrations.transformers import ClinoCallback

    norms: dict[int, float] = {}

    class Note(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            norms[state.global_step] = norm_of_module(model)

    model, data, rows = bert()
    ours = ClinoCallback({"en": data}, ["loss"], every=4, addr=daemon.addr, delivery="every", strict=True)
    given = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 10,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **arguments,
    }
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(**given),
        train_dataset=rows,
        eval_dataset=rows[:8],
        callbacks=[Note(), *before, ours, *after],
    )
    return trainer, norms, ours


BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
BY_STEPS = {**BEST, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
BY_EPOCHS = {**BEST, "eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 3}
BY_EPOCHS["per_device_train_batch_size"] = 5


@pytest.mark.parametrize("arguments", [BY_STEPS, BY_EPOCHS], ids=["steps", "epochs"])
def test_the_best_checkpoint_at_the_end_is_not_taken_for_the_last_step(
    daemon: FakeDaemon, tmp_path: Path, arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer, norms, _ = trainer_of(daemon, tmp_path, [], [], **arguments)
    trainer.train()
    last = trainer.state.global_step
    best = int(trainer.state.best_model_checkpoint.rpartition("-")[2])
    assert best < last
    assert norm_of_module(trainer.model) == norms[best] != norms[last]
    expected = [(step, "live", norms[step]) for step in (*range(4, last, 4), last)]
    assert sent(daemon)[1:] == expected
    assert warnings(caplog) == []


@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_ends_with_the_weights_of_its_step(daemon: FakeDaemon, tmp_path: Path, first: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    stopping = transformers.EarlyStoppingCallback(early_stopping_patience=1)
    before, after = ([stopping], []) if first else ([], [stopping])
    trainer, norms, _ = trainer_of(
        daemon, tmp_path, before, after, **{**BY_STEPS, "max_steps": 50, "eval_steps": 3, "save_steps": 3}
    )
    trainer.train()
    last = trainer.state.global_step
    assert last < 50
    assert sent(daemon)[-1] == (last, "live", norms[last])


def test_weights_that_a_callback_swaps_in_are_not_sent_under_the_last_step(
    daemon: FakeDaemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    class Stop(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        """Ends the training behind our back, and swaps."""

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 6

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            for parameter in model.parameters():
                parameter.data.mul_(0.5)

    arguments = {"eval_strategy": "steps", "eval_steps": 6}
    trainer, norms, ours = trainer_of(daemon, tmp_path, [Stop()], [], **arguments)
    ours.on_evaluate = lambda *args, **kwargs: None
    trainer.train()
    assert sent(daemon)[1:] == [(4, "live", norms[4])]
    assert len(warnings(caplog)) == 1
    assert "step 6, the last, is not measured" in warnings(caplog)[0]
    assert "step 6, the last, is not measured" in ours.run.warnings[0]


# --- Lightning


def module_of(optimizers: int = 1, norms: dict[int, float] | None = None, batch_norm: bool = False) -> Any:
    """A LightningModule that notes the norm of its weights after every step of an optimizer."""
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    noted = {} if norms is None else norms

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = optimizers == 1
            self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
            self.more = torch.nn.BatchNorm1d(3) if batch_norm else torch.nn.Identity()

        def _loss(self, batch: Any) -> Any:
            return torch.nn.functional.cross_entropy(self.more(self.net(batch[0])), batch[1])

        def training_step(self, batch: Any, index: int) -> Any:
            if self.automatic_optimization:
                return self._loss(batch)
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(self._loss(batch))
                optimizer.step()
            return None

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val", float(self.trainer.global_step))

        def on_train_batch_end(self, *args: Any) -> None:
            noted.setdefault(self.trainer.global_step, norm(names_of_mlp(self).values()))

        def configure_optimizers(self) -> Any:
            halves = [self.net[0].parameters(), self.net[2].parameters()]
            if optimizers == 1:
                return torch.optim.SGD(self.parameters(), 0.5)
            return [torch.optim.SGD(half, 0.5) for half in halves]

    return Module()


def fit_lightning(
    daemon: FakeDaemon, tmp_path: Path, module: Any, callbacks: Callable[[Any], list[Any]], **arguments: Any
) -> Any:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    from clino.integrations.lightning import ClinoCallback

    probe = mlp_probe()
    options: dict[str, Any] = {"addr": daemon.addr, "delivery": "every", "strict": True, "check": False}
    ours = ClinoCallback(MLP, {"en": probe}, ["loss"], every=5, model=names_of_mlp, **options)
    checkpoint = arguments.pop("checkpoint", None)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks(ours),
        default_root_dir=tmp_path,
        **{"max_epochs": 4, "logger": False, **arguments},
    )
    data = torch.utils.data.TensorDataset(torch.tensor(probe["inputs"]), torch.tensor(probe["labels"]))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    trainer.fit(module, loader, torch.utils.data.DataLoader(data, batch_size=4), ckpt_path=checkpoint)
    return trainer


def test_several_optimizers_leap_over_multiples(daemon: FakeDaemon, tmp_path: Path) -> None:
    norms: dict[int, float] = {}
    trainer = fit_lightning(daemon, tmp_path, module_of(2, norms), lambda ours: [ours])
    assert trainer.global_step == 24
    assert sent(daemon)[1:] == [(step, "live", norms[step]) for step in (6, 10, 16, 20, 24)]


def test_accumulated_batches_are_one_step(daemon: FakeDaemon, tmp_path: Path) -> None:
    norms: dict[int, float] = {}
    trainer = fit_lightning(
        daemon, tmp_path, module_of(1, norms), lambda ours: [ours], accumulate_grad_batches=2, max_epochs=6
    )
    assert trainer.global_step == 12
    assert [step for step, _, _ in sent(daemon)] == [0, 5, 10, 12]
    assert sent(daemon)[1:] == [(step, "live", norms[step]) for step in (5, 10, 12)]


def averages() -> Iterator[tuple[str, str, Callable[[], Any], bool]]:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    found = lightning.pytorch.callbacks
    swa = found.StochasticWeightAveraging
    yield "swa", "swa", lambda: swa(swa_lrs=0.1, swa_epoch_start=1), False
    yield "swa with batch norm", "swa", lambda: swa(swa_lrs=0.1, swa_epoch_start=1), True
    if hasattr(found, "WeightAveraging"):
        yield "mean", "swa", lambda: found.WeightAveraging(), False
        average = torch.optim.swa_utils.get_ema_avg_fn(0.5)
        yield "average that is given", "ema", lambda: found.WeightAveraging(avg_fn=average), False
    if hasattr(found, "EMAWeightAveraging"):
        yield "ema", "ema", lambda: found.EMAWeightAveraging(decay=0.5), False


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("index", range(5))
def test_an_average_is_sent_beside_the_last_step_and_says_what_it_is(
    daemon: FakeDaemon, tmp_path: Path, index: int, ours_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cases = list(averages())
    if index >= len(cases):
        pytest.skip("this Lightning has no such average")
    _, kind, make, batch_norm = cases[index]
    norms: dict[int, float] = {}
    module = module_of(1, norms, batch_norm)

    def order(ours: Any) -> list[Any]:
        return [ours, make()] if ours_first else [make(), ours]

    trainer = fit_lightning(daemon, tmp_path, module, order)
    # An epoch for batch normalization alone counts a step, too, in which nothing is trained.
    last = 12
    assert trainer.global_step == last + batch_norm
    live = [one for one in sent(daemon)[1:] if one[1] == "live"]
    assert live == [(step, "live", norms[step]) for step in (5, 10, 12)]
    average = norm(tensor.detach().numpy() for tensor in names_of_mlp(module).values())
    assert average != norms[last], "the average is in the module's place"
    others = [one for one in sent(daemon) if one[1] != "live"]
    # Before the swap there is nothing but the last step to be seen.
    assert others == ([] if ours_first and not batch_norm else [(trainer.global_step, kind, average)])
    assert warnings(caplog) == []


def test_early_stopping_of_lightning_ends_with_the_weights_of_its_step(daemon: FakeDaemon, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")
    stopping = lightning.pytorch.callbacks.EarlyStopping("val", patience=1)
    norms: dict[int, float] = {}
    trainer = fit_lightning(daemon, tmp_path, module_of(1, norms), lambda ours: [ours, stopping], max_epochs=50)
    assert trainer.global_step == 6
    assert sent(daemon)[1:] == [(step, "live", norms[step]) for step in (5, 6)]


# --- Keras


class Fitting:
    """A model of Keras, our callback, and the norms of the model's weights by step of its optimizer."""

    def __init__(self, daemon: FakeDaemon, optimizer: Any = None, steps_a_call: int = 1) -> None:
        keras = pytest.importorskip("keras", reason="keras is not installed")
        from clino.integrations.keras import ClinoCallback

        self.norms: dict[int, float] = {}
        fitting = self

        class Note(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                fitting.norms[int(self.model.optimizer.iterations)] = fitting.norm()

        class Model(keras.Sequential):  # type: ignore[misc,name-defined]
            """Does several steps in one call, as compile(steps_per_execution=…) has it where the backend can."""

            def train_step(self, data: Any) -> Any:
                return [super(Model, self).train_step(data) for _ in range(steps_a_call)][-1]

        keras.utils.set_random_seed(0)
        self.model = Model([keras.layers.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = optimizer or keras.optimizers.SGD(0.5)
        self.model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        self.note = Note()
        self.ours = ClinoCallback(
            MLP,
            {"en": mlp_probe()},
            ["loss"],
            weights=self.weights,
            every=5,
            addr=daemon.addr,
            delivery="every",
            strict=True,
            check=False,
        )

    @staticmethod
    def weights(model: Any) -> dict[str, Any]:
        names = ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
        return dict(zip(names, (array.T for array in model.get_weights()), strict=True))

    def norm(self) -> float:
        return norm(self.model.get_weights())

    def fit(self, before: tuple[Any, ...] = (), after: tuple[Any, ...] = (), **arguments: Any) -> int:
        probe = mlp_probe()
        callbacks = [self.note, *before, self.ours, *after]
        given = {"batch_size": 3, "epochs": 4, "verbose": 0, "shuffle": False, **arguments}
        self.model.fit(probe["inputs"], probe["labels"], callbacks=callbacks, **given)
        return int(self.model.optimizer.iterations)

    def expected(self, *steps: int) -> Sent:
        return [(step, "live", self.norms[step]) for step in steps]


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="keras is not installed")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("patience", [2, 50])
def test_restored_weights_are_not_sent_under_the_last_step(
    daemon: FakeDaemon, keras: Any, first: bool, patience: int, caplog: pytest.LogCaptureFixture
) -> None:
    fitting = Fitting(daemon)
    best = keras.callbacks.EarlyStopping("loss", mode="max", patience=patience, restore_best_weights=True)
    before, after = ((best,), ()) if first else ((), (best,))
    last = fitting.fit(before, after, epochs=8)
    assert last == (12 if patience == 2 else 32)
    assert fitting.norm() == fitting.norms[4] != fitting.norms[last]
    assert sent(daemon)[1:] == fitting.expected(*range(5, last, 5), last)
    assert warnings(caplog) == []


def test_several_steps_in_one_call_are_counted(daemon: FakeDaemon, keras: Any) -> None:
    fitting = Fitting(daemon, steps_a_call=4)
    assert fitting.fit(epochs=2) == 32
    assert sent(daemon)[1:] == fitting.expected(8, 12, 16, 20, 28, 32)


def test_accumulated_gradients_of_keras_are_one_step(daemon: FakeDaemon, keras: Any) -> None:
    fitting = Fitting(daemon, keras.optimizers.SGD(0.5, gradient_accumulation_steps=2))
    assert fitting.fit(epochs=6) == 12
    assert [step for step, _, _ in sent(daemon)] == [0, 5, 10, 12]


def test_a_second_fit_goes_on(daemon: FakeDaemon, keras: Any) -> None:
    fitting = Fitting(daemon)
    assert fitting.fit(epochs=2) == 8
    assert sent(daemon)[1:] == fitting.expected(5, 8)
    assert fitting.fit(epochs=4, initial_epoch=2) == 16
    received = daemon.run.received
    assert [one.begin.step for one in received] == [0, 5, 8, 8, 10, 15, 16]
    assert [one.begin.initialization for one in received].count(True) == 1, (
        "the weights of step 8 are no initialization"
    )


def test_the_average_of_an_optimizer_is_sent_as_such(
    daemon: FakeDaemon, keras: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fitting = Fitting(daemon, keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
    last = fitting.fit()
    assert fitting.norm() != fitting.norms[last]
    assert sent(daemon)[1:] == [*fitting.expected(5, 10, 15, 16), (16, "ema", fitting.norm())]
    assert warnings(caplog) == []


def test_an_average_that_is_swapped_at_the_end_of_epochs_is_not_taken_for_a_step(
    daemon: FakeDaemon, keras: Any
) -> None:
    fitting = Fitting(daemon, keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1)
    last = fitting.fit((swap, stop), (), epochs=8)
    live = [one for one in sent(daemon)[1:] if one[1] == "live"]
    assert live == fitting.expected(*(step for step, _, _ in live))
    assert last == 8


# --- copies


def callback(daemon: FakeDaemon, name: str, keras: Any) -> Any:
    if name == "keras":
        return Fitting(daemon).ours
    if name == "transformers":
        pytest.importorskip("transformers", reason="transformers is not installed")
        from clino.integrations import transformers

        return transformers.ClinoCallback({"en": mlp_probe()}, ["loss"], addr=daemon.addr, config=MLP)
    pytest.importorskip("lightning", reason="lightning is not installed")
    from clino.integrations import lightning

    return lightning.ClinoCallback(MLP, {"en": mlp_probe()}, ["loss"], addr=daemon.addr, model=names_of_mlp)


def copies() -> dict[str, Callable[[Any], Any]]:
    found: dict[str, Callable[[Any], Any]] = {
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    }
    try:
        import cloudpickle
    except ImportError:
        return found
    return {**found, "cloudpickle": lambda one: pickle.loads(cloudpickle.dumps(one))}


@pytest.mark.parametrize("name", ["transformers", "lightning", "keras"])
@pytest.mark.parametrize("way", copies())
def test_callbacks_are_copied_before_during_and_after_training(
    daemon: FakeDaemon, keras: Any, name: str, way: str
) -> None:
    ours = callback(daemon, name, keras)
    follower = ours._follower
    model = {"w": np.ones(3, np.float32)}

    def check() -> None:
        made = copies()[way](ours)
        assert type(made) is type(ours)
        assert made.run is None
        assert made._follower is not follower
        assert made._follower._options == follower._options

    check()
    follower.at(0)
    follower.begin(lambda: MLP, lambda: model, 0, Before())
    assert ours.run is not None
    check()
    follower.end(0, 10.0)
    check()
    assert len(daemon.runs) == 1
    assert daemon.run.closed


def test_a_copy_of_a_callback_follows_a_training_of_its_own(daemon: FakeDaemon, keras: Any) -> None:
    fitting = Fitting(daemon)
    fitting.fit(epochs=1)
    fitting.ours = copy.deepcopy(fitting.ours)
    fitting.fit(epochs=1)
    assert len(daemon.runs) == 2


def test_a_model_that_holds_a_run_can_be_copied(daemon: FakeDaemon) -> None:
    from support import begin

    run = begin(daemon.addr)
    for way in copies().values():
        made = way(run)
        made.snapshot({"w": np.ones(3)}, 5)
        assert made.finish(), "nothing is to be done"
        assert made.readings() == []
        assert list(made.watch()) == []
    assert run.finish()
    assert daemon.run.received == []
