"""For the Trainer of Lightning.

from clino.integrations.lightning import ClinoCallback

policy = clino.Policy([clino.Rule("patience", "loss@pooled", patience=3)], mode="enforce")
callback = ClinoCallback("model/", {"en": english, "de": german}, every=200, policy=policy, model="net")
trainer = lightning.Trainer(callbacks=[callback])

Owns: what of a Trainer's state says which step it is and who sends. May not touch: its module, beyond reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, SupportsIndex

from clino import _whole
from clino._arguments import Kind
from clino._request import MeasureLike
from clino.integrations._follower import Before, Follower, Following, Probes
from clino.integrations._sample import Sample

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    from pytorch_lightning.callbacks import Callback


class ClinoCallback(Following, Callback):
    """Sends a snapshot every `every` steps of the optimizers, and the last one, from rank 0.

    Takes what `clino.init` takes. `model` says what of the LightningModule is the model: the name of an attribute,
    or a function of the module; the module itself by default. The training is ended (`trainer.should_stop`) only
    where the policy is to be enforced and says STOP; of advice a warning tells once. One process looks after every
    step, several agree after every snapshot: all ranks have the callback with the same arguments.

    A training that goes on from a checkpoint goes on with the run that it was written in, and the run is called like
    the training's first logger unless a name is given.

    Steps are those of `trainer.global_step`, which counts the steps of several optimizers together: a snapshot is
    sent where a multiple of `every` was reached or passed. The last one has the parameters of the last step; an
    average that Lightning puts in their place (StochasticWeightAveraging, WeightAveraging) is sent beside it, as
    "swa" or "ema". Sharded models (FSDP, ZeRO stage 3, tensor parallel) are refused before anything is asked of them.
    """

    def __init__(
        self,
        config: object,
        probes: Probes,
        measures: Iterable[MeasureLike] | None = None,
        *,
        every: SupportsIndex = 100,
        model: str | Callable[[Any], object] | None = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self._follower = Follower(probes, measures, every, options)
        self._sample = Sample()
        self._config = config
        self._model = model
        self._timeout = timeout
        # As a checkpoint has it.
        self._before: str | None = None

    @property
    def state_key(self) -> str:
        """Under which a checkpoint has the run: callbacks with other probes have others."""
        key: str = self._generate_state_key(groups=self._follower.groups)
        return key

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the run."""
        return {"run": self._follower.run.key} if self._follower.run is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Note which run the checkpoint belongs to."""
        self._before = state_dict.get("run")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run, and send the initialization unless training goes on from a checkpoint."""
        self._sample = Sample()
        self._follower.at(trainer.global_step)
        if trainer.is_global_zero and self._follower.accepts(lambda: _check(trainer, pl_module)):
            before = Before(self._before, _run_name(trainer))
            self._follower.begin(lambda: self._config, lambda: self._of(pl_module), trainer.global_step, before)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        """Send a snapshot if it is time, and end the training if it is to end."""
        averaged = _after_average(trainer)
        kind: Kind = "swa" if averaged else "live"
        reached = self._follower.reached(trainer.global_step, lambda: self._of(pl_module), kind)
        if self._follower.run is not None and not averaged:
            self._sample.take(trainer.global_step, pl_module)
        if not reached and trainer.world_size > 1:
            return
        stop = self._follower.stop()
        if self._follower.enforced:
            # One rank that ends alone leaves the others waiting for its gradients.
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Send the last parameters if training is to end: averages are put in their place after this."""
        if self._follower.run is not None and _is_last(trainer):
            self._send_last(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Send the last parameters or what was put in their place, and wait for the last readings."""
        if self._follower.run is None:
            return
        if not self._send_last(trainer, pl_module):
            kind = _average(trainer)
            if kind is not None:
                self._follower.averaged(trainer.global_step, lambda: self._of(pl_module), kind, self._timeout)
        self._follower.end(trainer.global_step, self._timeout)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run and get out of the way."""
        self._follower.break_off()

    def _send_last(self, trainer: Any, pl_module: Any) -> bool:
        """Whether the parameters are those of the last step, which are sent unless they were."""
        same = self._sample.same(pl_module)
        if same:
            self._follower.ends(trainer.global_step, lambda: self._of(pl_module))
        return same

    def _of(self, module: Any) -> object:
        if self._model is None:
            return module
        return reduce(getattr, self._model.split("."), module) if isinstance(self._model, str) else self._model(module)


def _run_name(trainer: Any) -> str | None:
    """What the first logger calls the training."""
    logger = trainer.logger
    found = [getattr(logger, part, None) for part in ("name", "version")] if logger is not None else []
    words = [f"version_{part}" if isinstance(part, int) else part for part in found]
    return " ".join(word for word in words if isinstance(word, str)) or None


def _check(trainer: Any, pl_module: Any) -> None:
    _whole.check_module(pl_module)
    # A strategy may have wrapped the module from outside.
    wrapped = trainer.strategy.model
    if wrapped is not None and wrapped is not pl_module:
        _whole.check_module(wrapped)


def _is_last(trainer: Any) -> bool:
    """Whether this epoch is the last in which parameters are trained."""
    if trainer.should_stop or trainer.global_step >= trainer.max_steps > 0:
        return True
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1:
        return True
    return any(trainer.current_epoch >= callback.swa_end for callback in _stochastic_averages(trainer))


def _after_average(trainer: Any) -> bool:
    """Whether this is the epoch in which only batch normalization learns: the average was swapped in before it."""
    return any(trainer.current_epoch > callback.swa_end for callback in _stochastic_averages(trainer))


def _stochastic_averages(trainer: Any) -> list[Any]:
    """Lightning's own averages that end with an epoch that is known."""
    found = [callback for callback in trainer.callbacks if _is_a(callback, "StochasticWeightAveraging")]
    return [callback for callback in found if callback.swa_end >= 0]


def _average(trainer: Any) -> Kind | None:
    """What a callback of Lightning puts in the place of the parameters when training ends, where that is known."""
    for callback in trainer.callbacks:
        if _is_a(callback, "EMAWeightAveraging"):
            return "ema"
        if _is_a(callback, "StochasticWeightAveraging"):
            return "swa"
        if _is_a(callback, "WeightAveraging"):
            return _kind_of(getattr(callback, "_kwargs", {}))
    return None


def _kind_of(arguments: dict[str, Any]) -> Kind | None:
    """By the function that averages: PyTorch's mean unless one is given."""
    functions = [function for name, function in arguments.items() if name in ("avg_fn", "multi_avg_fn") and function]
    names = [getattr(function, "__qualname__", "") for function in functions]
    if all(name.startswith("get_swa_") for name in names):
        return "swa"
    return "ema" if all(name.startswith("get_ema_") for name in names) else None


def _is_a(callback: Any, name: str) -> bool:
    return any(base.__name__ == name for base in type(callback).__mro__)
