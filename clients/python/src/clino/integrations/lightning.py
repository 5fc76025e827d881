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

from clino._request import MeasureLike
from clino._run import Run
from clino.integrations._follower import Follower, Probes

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    from pytorch_lightning.callbacks import Callback


class ClinoCallback(Callback):
    """Sends a snapshot every `every` steps of the optimizer, from rank 0.

    Takes what `clino.init` takes. `model` says what of the LightningModule is the model: the name of an attribute,
    or a function of the module; the module itself by default. The training is ended (`trainer.should_stop`) only
    where the policy is to be enforced and says STOP; of advice a warning tells once. One process looks after every
    step, several agree after every snapshot: all ranks have the callback with the same arguments.
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
        self._config = config
        self._model = model
        self._timeout = timeout

    @property
    def run(self) -> Run | None:
        """The run, on the rank that sends, once training has begun."""
        return self._follower.run

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run, and send the initialization unless training goes on from a checkpoint."""
        self._follower.begin(
            trainer.is_global_zero, lambda: self._config, lambda: self._of(pl_module), trainer.global_step
        )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        """Send a snapshot if it is time, and end the training if it is to end."""
        reached = self._follower.reached(trainer.global_step, lambda: self._of(pl_module))
        if not reached and trainer.world_size > 1:
            return
        stop = self._follower.stop()
        if self._follower.enforced:
            # One rank that ends alone leaves the others waiting for its gradients.
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Send the last parameters, and wait for the last readings."""
        self._follower.end(trainer.global_step, lambda: self._of(pl_module), self._timeout)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run and get out of the way."""
        self._follower.break_off()

    def _of(self, module: Any) -> object:
        if self._model is None:
            return module
        return reduce(getattr, self._model.split("."), module) if isinstance(self._model, str) else self._model(module)
