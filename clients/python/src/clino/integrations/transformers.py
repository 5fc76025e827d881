"""For the Trainer of Hugging Face's transformers.

from clino.integrations.transformers import ClinoCallback

policy = clino.Policy([clino.Rule("patience", "loss@pooled", patience=3)], mode="enforce")
trainer = Trainer(..., callbacks=[ClinoCallback({"en": english, "de": german}, every=200, policy=policy)])

Owns: what of a Trainer's state says which step it is and who sends. May not touch: its model, beyond reading it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

import torch
from transformers import TrainerCallback

from clino._request import MeasureLike
from clino._run import Run
from clino.integrations._follower import Follower, Probes


class ClinoCallback(TrainerCallback):
    """Sends a snapshot every `every` steps, from rank 0.

    Takes what `clino.init` takes; `config` is the model's own unless given. The training is ended
    (`control.should_training_stop`) only where the policy is to be enforced and says STOP; of advice a warning tells
    once. One process looks after every step, several agree after every snapshot: give the callback on all ranks,
    with the same arguments.

    Sharded models (FSDP, ZeRO stage 3) are refused like any sharded tensor.
    """

    def __init__(
        self,
        probes: Probes,
        measures: Iterable[MeasureLike] | None = None,
        *,
        every: SupportsIndex = 100,
        config: object = None,
        timeout: float = 60.0,
        **options: Any,
    ) -> None:
        self._follower = Follower(probes, measures, every, options)
        self._config = config
        self._timeout = timeout

    @property
    def run(self) -> Run | None:
        """The run, on the rank that sends, once training has begun."""
        return self._follower.run

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Open the run, and send the initialization unless training goes on from a checkpoint."""
        config = self._config
        self._follower.begin(
            state.is_world_process_zero,
            lambda: model.config if config is None else config,
            lambda: model,
            state.global_step,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send a snapshot if it is time, and end the training if it is to end."""
        reached = self._follower.reached(state.global_step, lambda: model)
        alone = args.world_size == 1
        if not reached and not alone:
            return
        stop = self._follower.stop()
        if self._follower.enforced and not alone:
            stop = _agreed(stop, args.device)
        if stop:
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send the last parameters, and wait for the last readings."""
        self._follower.end(state.global_step, lambda: model, self._timeout)


def _agreed(stop: bool, device: Any) -> bool:
    """What rank 0 says: one rank that ends alone leaves the others waiting for its gradients."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return stop
    said = torch.tensor(int(stop), device=device)
    torch.distributed.broadcast(said, src=0)
    return bool(said.item())
