"""For `fit` of Keras 3.

from clino.integrations.keras import ClinoCallback

def weights(model):  # under the names of the config: those of PyTorch, whose matrices are [outputs, inputs]
    first, second = model.layers
    return {"layers.0.weight": first.kernel.numpy().T, "layers.0.bias": first.bias.numpy(), ...}

model.fit(..., callbacks=[ClinoCallback(config, probes, weights=weights, every=200, policy=policy)])

Owns: which step it is, and whether the parameters are still those of it. May not touch: the model, beyond reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import google_crc32c
import numpy as np
from keras import ops
from keras.callbacks import Callback

from clino import _tensors
from clino._request import MeasureLike
from clino.integrations._follower import Before, Follower, Following, Probes


class ClinoCallback(Following, Callback):
    """Sends a snapshot every `every` steps of the optimizer, and after the last step.

    Takes the arguments of `clino.init`, and `weights`: a function from the model to a mapping of names to arrays. It
    ends the training (`model.stop_training`) only if the policy is in mode "enforce" and says STOP; if the policy only
    advises, it warns once. With several processes, give the callback to only one, and use no policy in mode "enforce".

    Steps are those of `optimizer.iterations`, even if Keras does several in one call. A second `fit` continues the
    steps and the run; in another process, `resume="a key of your own"` continues them. The last snapshot has the
    parameters of the last step. If an optimizer with `use_ema` replaces them by an average, the average is sent too, as
    "ema".
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
        self._begun = False
        self._epoch = 0
        # What `optimizer.iterations` lacks where a new optimizer goes on with the training of another.
        self._before = 0
        # The checksum of the parameters as the last step of an epoch left them.
        self._left: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_model": None, "params": None, "_begun": False, "_left": None}

    def on_train_begin(self, logs: Any = None) -> None:
        """Wait for the first epoch before opening the run: until then, callbacks may restore saved parameters."""
        self._begun, self._left = False, None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Open the run, and send the initialization unless training continues from earlier steps."""
        self._epoch, self._left = epoch, None
        if not self._begun:
            self._begun = True
            self._before = epoch * (self._batches or 1) if epoch and not self._iterations else 0
            self._follower.at(self._step)
            self._follower.begin(lambda: self._config, self._current, self._step, Before())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Send a snapshot if one is due, and end the training if the policy requires it."""
        self._follower.reached(self._step, self._current)
        if self._follower.stop():
            self.model.stop_training = True
        if self.model.stop_training or (self._batches is not None and batch + 1 >= self._batches):
            self._epoch_ends()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Send the last parameters if training is about to end: they may be replaced after this."""
        if self._left is None:
            self._epoch_ends()
        elif self.model.stop_training:
            self._send_last()

    def on_train_end(self, logs: Any = None) -> None:
        """Send the last parameters, or the average that replaced them, and wait for the last readings."""
        if self._follower.run is None:
            return
        if not self._send_last() and self._is_average():
            self._follower.averaged(self._step, self._current, "ema", self._timeout)
        self._follower.end(self._step, self._timeout)

    @property
    def _batches(self) -> int | None:
        return (self.params or {}).get("steps")

    @property
    def _iterations(self) -> int:
        optimizer = self.model.optimizer
        return 0 if optimizer is None else int(ops.convert_to_numpy(optimizer.iterations))

    @property
    def _step(self) -> int:
        return self._before + self._iterations

    def _current(self) -> object:
        return self._weights(self.model)

    def _epoch_ends(self) -> None:
        """Record the parameters after the last step of an epoch; send them if training ends here."""
        if self._follower.run is None:
            return
        self._left = self._checksum()
        epochs = (self.params or {}).get("epochs")
        if self.model.stop_training or (epochs is not None and self._epoch + 1 >= epochs):
            self._follower.ends(self._step, self._current)

    def _send_last(self) -> bool:
        """Return whether the parameters are still those of the last step; if so, send them unless they were sent."""
        same = self._follower.run is not None and self._left is not None and self._checksum() == self._left
        if same:
            self._follower.ends(self._step, self._current)
        return same

    def _checksum(self) -> int | None:
        """Return a checksum of the parameters; None if they cannot be read, which is reported when they are sent."""
        try:
            plan = _tensors.plan(self._current())
        except Exception:
            return None
        buffer = np.empty(plan.nbytes, np.uint8)
        plan.copy_into(buffer)
        return int(google_crc32c.value(buffer.tobytes()))

    def _is_average(self) -> bool:
        """Return whether the parameters are the average that the optimizer keeps."""
        averages = getattr(self.model.optimizer, "_model_variables_moving_average", None)
        held = self.model.trainable_variables
        if not averages or len(averages) != len(held):
            return False
        pairs = zip(held, averages, strict=True)
        return all(np.array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other)) for one, other in pairs)
