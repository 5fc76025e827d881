"""Whether the trainer's model computes what its configuration says: a few losses of the live module, for the daemon.

Owns: which rows of the probe are evaluated, and when. May not touch: torch (that is `_evaluation`), the network.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from clino import _probes
from clino._notices import LOG
from clino._rows import Rows, UncheckedError
from clino.v1 import runs_pb2, snapshots_pb2, types_pb2

# Rows that are compared: each has a loss of its own, so that a few tell as much as all.
ROWS = 8
# While the daemon has not answered, evaluations take at most one part in so many of the trainer's time.
SHARE = 10.0

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
        if tensor.spec.name in _probes.COLUMNS:
            found[tensor.spec.name] = _probes.array_of(tensor)
    labels = found.pop("labels", None)
    if labels is None or labels.ndim != 1 or not len(labels) or any(len(a) != len(labels) for a in found.values()):
        return None  # the daemon says what is wrong with it
    places = sorted({index * len(labels) // ROWS for index in range(ROWS)})
    return Rows(group.name, tuple(places), {name: array[places] for name, array in found.items()}, labels[places])


class Checker:
    """Evaluates the modules of one run until the daemon has compared one."""

    def __init__(self, groups: Iterable[runs_pb2.ProbeGroup], wanted: bool) -> None:
        self._rows = rows_of(groups) if wanted else None
        self._seconds, self._ended = 0.0, -float("inf")

    def check(self, model: object) -> snapshots_pb2.ModelCheck | None:
        """Losses of a torch module, to go with its parameters; None where there is nothing to tell, or not yet."""
        torch = sys.modules.get("torch")
        if self._rows is None or torch is None or not isinstance(model, torch.nn.Module):
            return None
        started = time.monotonic()
        if started - self._ended < SHARE * self._seconds:
            return None
        try:
            return _message(self._rows, model)
        except Exception as error:  # whatever a forward may raise
            self._rows = None
            why = str(error) if isinstance(error, UncheckedError) else f"{type(error).__name__}: {str(error)[:200]}"
            advice = "give clino the module whose forward takes the probe's columns and gives logits, or check=False"
            LOG.warning("clino: the model is not compared with its configuration: %s; %s", why, advice)
            return None
        finally:
            self._ended = time.monotonic()
            self._seconds = self._ended - started


def _message(rows: Rows, model: object) -> snapshots_pb2.ModelCheck | None:
    from clino import _evaluation  # imports torch, which is there

    losses, dtype = _evaluation.losses(model, rows)
    if not np.isfinite(losses).all():
        return None
    return snapshots_pb2.ModelCheck(group=rows.group, rows=rows.places, losses=losses, dtype=_DTYPES[dtype])
