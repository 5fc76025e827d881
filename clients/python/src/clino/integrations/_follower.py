"""What the callbacks have in common: a run that follows a training.

Owns: the order of calls on a run, what is said of a STOP. May not touch: any trainer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex

from clino import _fork
from clino._notices import LOG
from clino._policy import policy_of
from clino._request import MeasureLike
from clino._run import Run, init
from clino.v1 import decisions_pb2

Probes = Mapping[str, Mapping[str, object]]


class Follower:
    """Begins, is told of steps, ends. On ranks that do not send it has no run, and says the same of when to ask."""

    def __init__(
        self, probes: Probes, measures: Iterable[MeasureLike] | None, every: SupportsIndex, options: Mapping[str, Any]
    ) -> None:
        self._probes, self._measures, self._options = probes, measures, dict(options)
        self._every = self._checked(every)
        self._last: int | None = None
        self._said: str | None = None
        # All ranks must know it without asking: they meet where there is something to agree on.
        self.enforced = _enforced(options.get("policy"))
        self.run: Run | None = None

    def begin(self, sends: bool, config: Callable[[], object], model: Callable[[], object], step: int) -> None:
        """Training begins at this step; at step 0 the parameters are those before training."""
        self._last, self._said = step, None
        if not sends or self._every is None:
            return
        self.run = _opened(config, self._probes, self._measures, self._options)
        self._push(model, step, step == 0)

    def reached(self, step: int, model: Callable[[], object]) -> bool:
        """A step is done; whether it is one at which a snapshot is left, which is the same on all ranks."""
        if self._every is None or step % self._every != 0 or step == self._last:
            return False
        self._last = step
        self._push(model, step, False)
        return True

    def stop(self) -> bool:
        """Whether to end the training. Of a STOP that is only advice it says so, once."""
        if self.run is None or not self.run.should_stop():
            return False
        decision = self.run.decision()
        if decision is None:
            return False
        if self._said != decision.id:
            self._said = decision.id
            does = "ends the training" if decision.enforced else "advises to end the training"
            best = "" if decision.best_step is None else f"; the best snapshot is that of step {decision.best_step}"
            LOG.warning("clino %s: %s%s", does, decision.sentence, best)
        return self.enforced and decision.enforced

    def end(self, step: int, model: Callable[[], object], timeout: float) -> None:
        """Training is over: the last parameters are measured, too."""
        if self.run is None:
            return
        if step != self._last and not self.run.should_stop():
            self._last = step
            self._push(model, step, False)
        self.run.finish(timeout)

    def break_off(self) -> None:
        """Training failed: the error of the loop is the one to see, and soon."""
        if self.run is not None:
            self.run.wind_up(_fork.AT_EXIT_TIMEOUT)

    def _push(self, model: Callable[[], object], step: int, first: bool) -> None:
        if self.run is not None:
            run = self.run
            run.guarded(lambda: run.snapshot(model(), step, init=first))

    def _checked(self, every: SupportsIndex) -> int | None:
        try:
            found = operator.index(every)
        except TypeError:
            found = 0
        if found >= 1:
            return found
        said = f"every: found {every!r}, expected a number of steps of at least 1"
        if self._options.get("strict"):
            raise ValueError(said)
        LOG.warning("clino: %s", said)
        return None


def _opened(
    config: Callable[[], object], probes: Probes, measures: Iterable[MeasureLike] | None, options: Mapping[str, Any]
) -> Run:
    found: list[object] = []
    # What is wrong with them is told by `init`, which refuses None.
    Run(bool(options.get("strict"))).guarded(lambda: found.append(config()))
    return init(found[0] if found else None, probes, measures, **options)


def _enforced(policy: Any) -> bool:
    try:
        asked = policy_of(policy)
    except (TypeError, ValueError):
        return False  # `init` says why, where there is one to hear it
    return asked is not None and asked.mode == decisions_pb2.POLICY_MODE_ENFORCE
