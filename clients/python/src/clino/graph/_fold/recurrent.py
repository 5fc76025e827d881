"""Recurrent layers, whole.

Owns: the order of their operands and results. May not touch: cells that a model runs in a loop of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clino.graph._build import WORK, Value
from clino.graph._errors import ExportError
from clino.graph._fold._table import Context, fold
from clino.v1 import graph_pb2

Recurrent = graph_pb2.Recurrent
KINDS = {
    "LSTM": Recurrent.KIND_LSTM,
    "GRU": Recurrent.KIND_GRU,
    "RNN_TANH": Recurrent.KIND_TANH,
    "RNN_RELU": Recurrent.KIND_RELU,
}


@fold("clino.recurrent.default")
def recurrent(
    f: Context,
    x: Value,
    state: Sequence[Value],
    weights: Sequence[Value],
    mode: str,
    layers: int,
    bidirectional: bool,
    biases: bool,
    batch_first: bool,
) -> list[Value]:
    """A layer that the twin left whole (`_whole_layers`)."""
    hidden = weights[1].sizes[1]
    if hidden is None:
        raise ExportError("found a recurrent layer without a fixed width, expected one")
    ways = 2 if bidirectional else 1
    batch = x.sizes[0] if batch_first else x.sizes[1]
    last = (layers * ways, batch, hidden)
    kind = KINDS[mode]
    results: list[Any] = [(WORK, (*x.sizes[:2], hidden * ways)), (WORK, last)]
    given: list[Value | None] = [state[0] if state else None]
    if kind == Recurrent.KIND_LSTM:
        results.append((WORK, last))
        given.append(state[1] if state else None)
    fields = {"layers": layers, "bidirectional": bidirectional, "biases": biases, "batch_first": batch_first}
    found = list(f.emit("recurrent", [x, *given, *weights], results, kind=kind, **fields))
    return found if len(found) == 3 else [*found, found[1]]
