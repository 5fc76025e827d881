"""Whether the trainer's model computes what describes it: a few losses of the live module, for the daemon.

Owns: which rows of the probe are evaluated, and when. May not touch: torch (that is `_evaluation`), the network.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clino import _probes, _whole
from clino._forms import COLUMNS
from clino._rows import MODULE, Evaluation, GraphRows, Rows, UncheckedError
from clino._text import bounded
from clino.v1 import runs_pb2, snapshots_pb2, types_pb2

# Rows that are compared: each has a loss of its own, so that a few tell as much as all.
ROWS = 8
# While the daemon has not answered, evaluations take at most one part in so many of the trainer's time.
SHARE = 10.0

# What computes nothing, and what to do about it.
MAPPING = "found a mapping of names to tensors (a state_dict), which cannot be evaluated"
BY_HAND = "give the torch module itself; where there is none, compare a loss with your own, and then give check=False"

_DTYPES = {
    "float64": types_pb2.DTYPE_F64,
    "float32": types_pb2.DTYPE_F32,
    "float16": types_pb2.DTYPE_F16,
    "bfloat16": types_pb2.DTYPE_BF16,
}


def rows_of(groups: Iterable[runs_pb2.ProbeGroup]) -> Rows | None:
    """Take rows from all over the first group; None where it is not here, or no probe."""
    group = next(iter(groups), None)
    if group is None or not group.HasField("probe"):
        return None
    found: dict[str, npt.NDArray[Any]] = {}
    for tensor in group.probe.tensors:
        if tensor.spec.name in COLUMNS:
            found[tensor.spec.name] = _probes.array_of(tensor)
    labels = found.pop("labels", None)
    if labels is None or labels.ndim != 1 or not len(labels) or any(len(a) != len(labels) for a in found.values()):
        return None  # the daemon says what is wrong with it
    places = sorted({index * len(labels) // ROWS for index in range(ROWS)})
    return Rows(group.name, tuple(places), {name: array[places] for name, array in found.items()}, labels[places])


class Question(Protocol):
    """What is compared of a model that is measured as a graph."""

    def rows_of(self, groups: Iterable[runs_pb2.ProbeGroup], most: int) -> GraphRows | None:
        """The rows that are compared; None where there are none."""

    def evaluate(self, model: Any, rows: GraphRows) -> Evaluation:
        """What the live module says of them."""


class Checker:
    """Evaluates the modules of one run until the daemon has compared one.

    With a question the run has a graph, else a configuration.
    """

    def __init__(
        self,
        groups: Iterable[runs_pb2.ProbeGroup],
        wanted: bool,
        remark: Callable[[str], None],
        question: Question | None = None,
    ) -> None:
        self._remark = remark
        self._question = question
        self._rows: Rows | GraphRows | None = None
        if wanted:
            self._rows = rows_of(groups) if question is None else question.rows_of(groups, ROWS)
        self._said_mapping = False
        self._seconds, self._ended = 0.0, -float("inf")

    def check(self, model: object, manifest: Collection[str] = ()) -> snapshots_pb2.ModelCheck | None:
        """Losses of a torch module, to go with its parameters; None where there is nothing to tell, or not yet.

        `manifest` has the names of the tensors that are sent.
        """
        torch = sys.modules.get("torch")
        rows = self._rows
        if rows is None:
            return None
        if torch is None or not isinstance(model, torch.nn.Module):
            # Another snapshot may be a module: the rows are kept.
            if not self._said_mapping:
                self._said_mapping = True
                self._say(MAPPING, BY_HAND)
            return None
        started = time.monotonic()
        if started - self._ended < SHARE * self._seconds:
            return None
        try:
            return self._compared(rows, model, manifest)
        except UncheckedError as error:
            self._give_up(str(error), error.advice)
            return None
        except Exception as error:  # whatever a forward may raise
            self._give_up(f"{type(error).__name__}: {bounded(str(error))}", MODULE)
            return None
        finally:
            self._ended = time.monotonic()
            self._seconds = self._ended - started

    def _compared(
        self, rows: Rows | GraphRows, model: object, manifest: Collection[str]
    ) -> snapshots_pb2.ModelCheck | None:
        found = self._evaluated(rows, model)
        if found.remark is not None:
            self._remark(found.remark)
        if not found.losses or not np.isfinite(found.losses).all():
            return None
        places = rows.places if found.places is None else found.places
        return snapshots_pb2.ModelCheck(
            group=rows.group,
            rows=places,
            losses=found.losses,
            dtype=_DTYPES[found.dtype],
            gradient_norms=_norms(found, model, manifest),
        )

    def _evaluated(self, rows: Rows | GraphRows, model: object) -> Evaluation:
        if isinstance(rows, GraphRows):
            if self._question is None:
                raise AssertionError("rows of a graph come from a question")
            return self._question.evaluate(model, rows)
        from clino import _evaluation  # imports torch, which is there

        return _evaluation.losses(model, rows)

    def _give_up(self, why: str, advice: str) -> None:
        self._rows = None
        self._say(why, advice)

    def _say(self, why: str, advice: str) -> None:
        what = "configuration" if self._question is None else "graph"
        doubt = f"readings are of the model that the {what} describes, which may differ from the trainer's"
        self._remark(f"the model is not compared with its {what}: {why}; {doubt}: {advice}")


def _norms(found: Evaluation, model: Any, manifest: Collection[str]) -> list[snapshots_pb2.TensorNorm]:
    """Norms under the names that tensors have in the snapshot: wrappers put more in front."""
    if not found.norms:
        return []
    from clino._evaluation import unwrapped

    sent: dict[int, str] = {}
    for name, tensor in _whole.tensors_of(model):
        if name in manifest:
            sent.setdefault(id(tensor), name)
    own = {name: id(tensor) for name, tensor in unwrapped(model).named_parameters()}
    named = [(sent.get(own[name]), norm) for name, norm in found.norms.items()]
    return [
        snapshots_pb2.TensorNorm(tensor=name, norm=norm)
        for name, norm in named
        if name is not None and np.isfinite(norm)
    ]
