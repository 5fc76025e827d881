"""For `fit` of Keras 3.

from clino.integrations.keras import ClinoCallback

def weights(model):  # under the names of the config: those of PyTorch, whose matrices are [outputs, inputs]
    first, second = model.layers
    return {"layers.0.weight": first.kernel.numpy().T, "layers.0.bias": first.bias.numpy(), ...}

model.fit(..., callbacks=[ClinoCallback(config, probes, weights=weights, every=200, policy=policy)])

Owns: the count of batches, which is that of the steps. May not touch: the model, beyond reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

from keras.callbacks import Callback

from clino._request import MeasureLike
from clino._run import Run
from clino.integrations._follower import Follower, Probes


class ClinoCallback(Callback):
    """Sends a snapshot every `every` batches.

    Takes what `clino.init` takes, and `weights`: a function from the model to a mapping of names to arrays. The
    training is ended (`model.stop_training`) only where the policy is to be enforced and says STOP; of advice a
    warning tells once. With several processes, give it to one of them, and no policy that is to be enforced.
    """

    def __init__(
        self,
        config: object,
        probes: Probes,
        measures: Iterable[MeasureLike] | None = None,
        *,
        weights: Callable[[Any], object],
        every: SupportsIndex = 100,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self._follower = Follower(probes, measures, every, options)
        self._config = config
        self._weights = weights
        self._timeout = timeout
        self._step = 0

    @property
    def run(self) -> Run | None:
        """The run, once training has begun."""
        return self._follower.run

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the run, and send the initialization."""
        self._step = 0
        self._follower.begin(True, lambda: self._config, lambda: self._weights(self.model), 0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Send a snapshot if it is time, and end the training if it is to end."""
        self._step += 1
        self._follower.reached(self._step, lambda: self._weights(self.model))
        if self._follower.stop():
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Send the last parameters, and wait for the last readings."""
        self._follower.end(self._step, lambda: self._weights(self.model), self._timeout)
