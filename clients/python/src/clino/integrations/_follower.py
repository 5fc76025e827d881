"""The common part of the callbacks: a run that follows a training.

Owns: the order of calls on a run, when a snapshot is due, what is said of a STOP. May not touch: any trainer.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

from clino import _fork
from clino._arguments import Kind, begun_of, check_names
from clino._forms import UNNAMED
from clino._init import init, refused
from clino._notices import LOG
from clino._policy import policy_of
from clino._request import MeasureLike
from clino._run import Run
from clino._text import harmless
from clino.v1 import decisions_pb2

# Of the letters of a name, which takes 128 bytes.
MOST_NAME = 32

# What callbacks leave to `clino.init`, and what they have themselves.
OWN = ("config", "probes", "measures", "every", "timeout", "model", "weights")
OPTIONS = [name for name in inspect.signature(init).parameters if name not in OWN]

# In any of the forms that `clino.init` takes.
Probes = object


@dataclass(frozen=True, slots=True)
class Before:
    """What a trainer knows about a run before it opens: the key of the run to continue, and the name for a new one."""

    run: str | None = None
    name: str | None = None


class Follower:
    """Follows a training from its beginning through its steps to its end.

    On ranks that do not send, it has no run, but reports the same steps at which the ranks must agree. Every kind of
    copy has the same arguments and no run, because it follows another training.
    """

    def __init__(
        self, probes: Probes, measures: Iterable[MeasureLike] | None, every: SupportsIndex, options: Mapping[str, Any]
    ) -> None:
        check_names("ClinoCallback", options, OPTIONS, OWN)
        self._probes, self._measures, self._options = probes, measures, dict(options)
        self._every = self._checked(every)
        # The step of the newest snapshot, at the beginning that of the training.
        self._last = 0
        self._said: str | None = None
        # All ranks must know it without asking: they meet where there is something to agree on.
        self.enforced = _enforced(options.get("policy"))
        self.run: Run | None = None
        # In place of one where there is nothing that can be followed.
        self.failed: Run | None = None
        # Of the run that was followed last: what it takes to go on with it.
        self._key: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "run": None, "failed": None, "_said": None, "_last": 0, "_key": None}

    @property
    def groups(self) -> str:
        """The names of the probe groups, which distinguish several callbacks of one trainer."""
        named = self._probes if isinstance(self._probes, Mapping) else (UNNAMED,)
        return ",".join(sorted(map(str, named)))

    @property
    def has_loss(self) -> bool:
        """Whether a loss is given, which only a graph can have."""
        return self._options.get("loss") is not None

    def at(self, step: int) -> None:
        """Start to follow a training at this step, and forget the training before."""
        self._last, self._said, self.run, self.failed = step, None, None, None

    def begin(self, config: Callable[[], object], model: Callable[[], object], step: int, before: Before) -> None:
        """Open a run on the rank that sends; at step 0, the parameters are those before training.

        A training that continues also continues its run, if the run is known; `resume=False` begins a new run.
        """
        if self._every is None:
            return
        options = dict(self._options)
        if step > 0 and options.get("resume") is None:
            options["resume"] = before.run or self._key
        options["resume"] = options.get("resume") or None
        options["name"] = options.get("name") or _name(before.name)
        self.run, self.failed = self._opened(config, options)
        self._key = self.run.key if self.run is not None else None
        self._push(model, step, initial=step == 0)

    def _opened(self, config: Callable[[], object], options: dict[str, Any]) -> tuple[Run | None, Run | None]:
        found: list[object] = []
        failed = refused(lambda: found.append(config()), bool(options.get("strict")))
        if failed is not None:
            return None, failed
        return init(found[0], self._probes, self._measures, **options), None

    def accepts(self, check: Callable[[], None]) -> bool:
        """Return whether `check` passes; an error in it is reported. Other ranks still report when to agree."""
        self.failed = refused(check, bool(self._options.get("strict")))
        return self.failed is None

    def reached(self, step: int, model: Callable[[], object], kind: Kind = "live") -> bool:
        """Note a finished step; return whether it reached or passed a multiple of `every`, the same on all ranks.

        Steps may skip numbers: several optimizers count together, and a trainer may do several steps in one call.
        """
        if self._every is None or step // self._every <= self._last // self._every:
            return False
        self._last = step
        self._push(model, step, kind)
        return True

    def ends(self, step: int, model: Callable[[], object], kind: Kind = "live") -> None:
        """Send the parameters of the last step, while the model still has them."""
        if self.run is not None and step != self._last and not self.run.stops:
            self._last = step
            self._push(model, step, kind)

    def averaged(self, step: int, model: Callable[[], object], kind: Kind, timeout: float) -> None:
        """Send the average that has replaced the last step's parameters, as a snapshot of its own kind."""
        if self.run is not None and not self.run.stops:
            # It would take the place of the one before, which may wait still.
            self.run.readings(wait=timeout)
            self._last = step
            self._push(model, step, kind)

    def end(self, step: int, timeout: float) -> None:
        """End the run after training; the parameters may have been replaced by now."""
        if self.run is None:
            return
        if step != self._last and not self.run.stops:
            self.run.remark(
                f"step {step}, the last, is not measured: its parameters were replaced before the training ended "
                f"(by the best checkpoint's, or an average); the newest snapshot is that of step {self._last}"
            )
        self.run.finish(timeout)

    def stop(self) -> bool:
        """Return whether to end the training. A STOP that is only advice is reported once."""
        if self.run is None or not self.run.stops:
            return False
        decision = self.run.decision()
        if decision is None:
            return False
        if self._said != decision.id:
            self._said = decision.id
            does = "ends the training" if decision.enforced else "advises to end the training"
            best = "" if decision.best_step is None else f"; the best snapshot is that of step {decision.best_step}"
            LOG.warning("clino %s: %s%s", does, harmless(decision.sentence), best)
        return self.enforced and decision.enforced

    def break_off(self) -> None:
        """End the run quickly and without raising after training failed, so that the loop's own error is seen."""
        if self.run is not None:
            self.run.wind_up(_fork.AT_EXIT_TIMEOUT)

    def _push(self, model: Callable[[], object], step: int, kind: Kind = "live", initial: bool = False) -> None:
        if self.run is not None:
            run = self.run
            run.push(model, lambda: begun_of(step, 0, kind, initial))

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


class Following:
    """Base class of every callback, next to its trainer's: it has a follower, which copies do not share."""

    _follower: Follower

    @property
    def run(self) -> Run | None:
        """The run, on the rank that sends, after training has begun; a failed run if nothing can be sent."""
        return self._follower.run or self._follower.failed

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        follower = Follower.__new__(Follower)
        follower.__dict__.update(self._follower.__getstate__())
        return {**state, "_follower": follower}


def _name(text: str | None) -> str | None:
    """Return the trainer's own name, reduced to characters and a length that every daemon accepts."""
    plain = "".join(letter if letter.isalnum() or letter in " ._:-" else "-" for letter in text or "")
    return plain.lstrip(" ._:-")[:MOST_NAME].strip() or None


def _enforced(policy: Any) -> bool:
    try:
        asked = policy_of(policy)
    except (TypeError, ValueError):
        return False  # `init` says why, where there is one to hear it
    return asked is not None and asked.mode == decisions_pb2.POLICY_MODE_ENFORCE
