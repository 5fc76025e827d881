"""For the Trainer of Lightning.

from clino.integrations.lightning import ClinoCallback

policy = clino.Policy([clino.Rule("patience", "loss@pooled", patience=3)], mode="enforce")
probes = {"en": english, "de": german}
callback = ClinoCallback(None, probes, every=200, policy=policy, model="net", loss="cross_entropy")
trainer = lightning.Trainer(callbacks=[callback])

Owns: what of a Trainer's state says which step it is and who sends. May not touch: its module, beyond reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, SupportsIndex

from clino import _config, _whole
from clino._arguments import Kind
from clino._request import MeasureLike
from clino.integrations._follower import Before, Follower, Following, Probes
from clino.integrations._sample import Sample

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    from pytorch_lightning.callbacks import Callback


class ClinoCallback(Following, Callback):
    """Sends a snapshot every `every` steps of the optimizers, and after the last step, from rank 0.

    Takes the arguments of `clino.init`. `model` says which part of the LightningModule is the model: the name of an
    attribute, or a function of the module; by default the module itself. With `config=None` this part is measured as a
    graph, by the `loss` that is given beside it. It ends the training (`trainer.should_stop`) only if the policy is in
    mode "enforce" and says STOP; if the policy only advises, it warns once. A single process checks this after every
    step, several processes agree on it after every snapshot: give the callback with the same arguments on all ranks.

    A training that continues from a checkpoint also continues the run of that checkpoint. Without a name, the run is
    named after the training's first logger.

    Steps are those of `trainer.global_step`, which counts the steps of several optimizers together: a snapshot is sent
    when a multiple of `every` is reached or passed. The last one has the parameters of the last step. If Lightning
    replaces them by an average (StochasticWeightAveraging, WeightAveraging), the average is sent too, as "swa" or
    "ema". Sharded models (FSDP, ZeRO stage 3, tensor parallel) are refused before any of their parameters are read.
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
        """The key of the callback's state in a checkpoint; callbacks with different probes have different keys."""
        key: str = self._generate_state_key(groups=self._follower.groups)
        return key

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to continue the run."""
        return {"run": self._follower.run.key} if self._follower.run is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the run that the checkpoint belongs to."""
        self._before = state_dict.get("run")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run, and send the initialization unless training continues from a checkpoint."""
        self._sample = Sample()
        self._follower.at(trainer.global_step)
        if trainer.is_global_zero and self._follower.accepts(lambda: _check(trainer, pl_module)):
            before = Before(self._before, _run_name(trainer))
            self._follower.begin(
                lambda: self._described(pl_module), lambda: self._of(pl_module), trainer.global_step, before
            )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        """Send a snapshot if one is due, and end the training if the policy requires it."""
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
        """Send the last parameters if training is about to end: an average may replace them after this."""
        if self._follower.run is not None and _is_last(trainer):
            self._send_last(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Send the last parameters, or the average that replaced them, and wait for the last readings."""
        if self._follower.run is None:
            return
        if not self._send_last(trainer, pl_module):
            kind = _average(trainer)
            if kind is not None:
                self._follower.averaged(trainer.global_step, lambda: self._of(pl_module), kind, self._timeout)
        self._follower.end(trainer.global_step, self._timeout)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run quickly, without hiding the error of the training."""
        self._follower.break_off()

    def _send_last(self, trainer: Any, pl_module: Any) -> bool:
        """Return whether the parameters are still those of the last step; if so, send them unless they were sent."""
        same = self._sample.same(pl_module)
        if same:
            self._follower.ends(trainer.global_step, lambda: self._of(pl_module))
        return same

    def _described(self, module: Any) -> object:
        """Return what describes the model: the configuration, or without one the model itself."""
        if self._config is not None:
            return self._config
        found = _config.module_of(self._of(module))
        if found is None:
            raise TypeError(
                "config: found None, and a model that is no torch module: give its configuration, or a `model` that "
                "names the module"
            )
        return found

    def _of(self, module: Any) -> object:
        if self._model is None:
            return module
        return reduce(getattr, self._model.split("."), module) if isinstance(self._model, str) else self._model(module)


def _run_name(trainer: Any) -> str | None:
    """Return the name that the first logger has for the training."""
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
    """Return whether this is the last epoch in which parameters are trained."""
    if trainer.should_stop or trainer.global_step >= trainer.max_steps > 0:
        return True
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1:
        return True
    return any(trainer.current_epoch >= callback.swa_end for callback in _stochastic_averages(trainer))


def _after_average(trainer: Any) -> bool:
    """Return whether only batch normalization learns in this epoch, after the average has replaced the parameters."""
    return any(trainer.current_epoch > callback.swa_end for callback in _stochastic_averages(trainer))


def _stochastic_averages(trainer: Any) -> list[Any]:
    """Return Lightning's own averaging callbacks whose last epoch is known."""
    found = [callback for callback in trainer.callbacks if _is_a(callback, "StochasticWeightAveraging")]
    return [callback for callback in found if callback.swa_end >= 0]


def _average(trainer: Any) -> Kind | None:
    """Return the kind of average that replaces the parameters when training ends; None if there is none."""
    for callback in trainer.callbacks:
        if _is_a(callback, "EMAWeightAveraging"):
            return "ema"
        if _is_a(callback, "StochasticWeightAveraging"):
            return "swa"
        if _is_a(callback, "WeightAveraging"):
            return _kind_of(getattr(callback, "_kwargs", {}))
    return None


def _kind_of(arguments: dict[str, Any]) -> Kind | None:
    """Return the kind of average according to its averaging function, which is PyTorch's mean unless one is given."""
    functions = [function for name, function in arguments.items() if name in ("avg_fn", "multi_avg_fn") and function]
    names = [getattr(function, "__qualname__", "") for function in functions]
    if all(name.startswith("get_swa_") for name in names):
        return "swa"
    return "ema" if all(name.startswith("get_ema_") for name in names) else None


def _is_a(callback: Any, name: str) -> bool:
    return any(base.__name__ == name for base in type(callback).__mro__)
