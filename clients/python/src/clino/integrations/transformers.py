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

from clino import _config, _whole
from clino._request import MeasureLike
from clino.integrations._follower import Before, Follower, Following, Probes
from clino.integrations._sample import Sample


class ClinoCallback(Following, TrainerCallback):
    """Sends a snapshot every `every` steps, and after the last step, from rank 0.

    Takes the arguments of `clino.init`. By default the model is measured as a graph; the classifiers that the daemon
    knows by their configuration (docs/models.md) are measured by it. It ends the training
    (`control.should_training_stop`) only if the policy is in mode "enforce" and says STOP; if the policy only advises,
    it warns once. A single process checks this after every step, several processes agree on it after every snapshot:
    give the callback with the same arguments on all ranks.

    A training that continues from a checkpoint also continues the run of that checkpoint. Without a name, the run is
    named after the training (`run_name`).

    The last snapshot has the parameters of the last step, even if `load_best_model_at_end` replaces them afterwards.
    Sharded models (FSDP, ZeRO stage 3, tensor parallel) are refused before any of their parameters are read.
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
        self._sample = Sample()
        self._config = config
        self._timeout = timeout

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Open the run, and send the initialization unless training continues from a checkpoint."""
        config = self._config
        self._sample = Sample()
        self._follower.at(state.global_step)
        if state.is_world_process_zero and self._follower.accepts(lambda: _whole.check_module(model)):
            # Written into every checkpoint with the rest of the state.
            kept, place = getattr(state, "stateful_callbacks", {}), f"clino {self._follower.groups}"
            before = Before(kept.get(place, {}).get("run"), _run_name(args))
            self._follower.begin(
                lambda: self._described(model) if config is None else config, lambda: model, state.global_step, before
            )
            if self._follower.run is not None:
                kept[place] = {"run": self._follower.run.key}

    def _described(self, model: Any) -> object:
        """Return what describes the model: itself, or its configuration where that is enough."""
        return model if self._follower.has_loss or not _config.describes(model) else model.config

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send a snapshot if one is due, and end the training if the policy requires it."""
        reached = self._follower.reached(state.global_step, lambda: model)
        self._note(state, control, model)
        alone = args.world_size == 1
        if not reached and not alone:
            return
        stop = self._follower.stop()
        if self._follower.enforced and not alone:
            stop = _agreed(stop, args.device)
        if stop:
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send the last parameters if training is about to end: the best checkpoint may be loaded after this."""
        self._note(state, control, model)

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send the last parameters if training is about to end, as at the end of an epoch."""
        self._note(state, control, model)

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send the last parameters if training is about to end, as at the end of an epoch."""
        self._note(state, control, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Send the last parameters if they are not sent yet and still available; wait for the last readings."""
        if self._follower.run is None:
            return
        if self._sample.same(model):
            self._follower.ends(state.global_step, lambda: model)
        self._follower.end(state.global_step, self._timeout)

    def _note(self, state: Any, control: Any, model: Any) -> None:
        """Record the parameters after this step; send them if it was the last step."""
        if self._follower.run is None:
            return
        self._sample.take(state.global_step, model)
        if control.should_training_stop and self._sample.same(model):
            self._follower.ends(state.global_step, lambda: model)


def _run_name(args: Any) -> str | None:
    """Return the name that the user gave the training; older versions use the output folder if there is none."""
    name = getattr(args, "run_name", None)
    return None if name == getattr(args, "output_dir", None) else name


def _agreed(stop: bool, device: Any) -> bool:
    """Return rank 0's answer on all ranks; a rank that ended alone would leave the others waiting for gradients."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return stop
    said = torch.tensor(int(stop), device=device)
    torch.distributed.broadcast(said, src=0)
    return bool(said.item())
