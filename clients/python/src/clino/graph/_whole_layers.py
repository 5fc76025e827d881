"""Recurrent layers, kept whole on the twin: torch's export would write them out, one step of time after the other.

Owns: the operator clino::recurrent, of which torch knows only shapes. May not touch: layers of the live model.
"""

from __future__ import annotations

import types
from typing import Any

import torch

_SCHEMA = (
    "recurrent(Tensor x, Tensor[] state, Tensor[] weights, str mode, int layers, bool bidirectional, bool biases, "
    "bool batch_first) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY: list[Any] = []


def _meta(
    x: Any, state: Any, weights: Any, mode: str, layers: int, bidirectional: bool, biases: bool, batch_first: bool
) -> Any:
    """Shapes of the results."""
    hidden, ways = weights[1].shape[1], 2 if bidirectional else 1
    batch = x.shape[0] if batch_first else x.shape[1]
    last = x.new_empty((layers * ways, batch, hidden))
    return x.new_empty((x.shape[0], x.shape[1], hidden * ways)), last, last.clone()


def _register() -> None:
    if not _LIBRARY:
        library: Any = torch.library.Library("clino", "DEF")  # type: ignore[no-untyped-call]
        library.define(_SCHEMA)
        library.impl("recurrent", _meta, "Meta")
        torch.library.register_fake("clino::recurrent", _meta, lib=library)
        _LIBRARY.append(library)


def _forward(self: Any, input: Any, hx: Any = None) -> Any:  # noqa: A002
    """As that of torch.nn.RNNBase, for tensors."""
    if isinstance(input, torch.nn.utils.rnn.PackedSequence):
        raise TypeError("found a packed sequence, expected a tensor [batch, time, features]")
    x, state = input, [] if hx is None else [hx] if isinstance(hx, torch.Tensor) else list(hx)
    single = x.dim() == 2
    if single:
        x = x.unsqueeze(0 if self.batch_first else 1)
        state = [part.unsqueeze(1) for part in state]
    weights = [getattr(self, name) for name in self._flat_weights_names]
    y, h, c = torch.ops.clino.recurrent(
        x, state, weights, self.mode, self.num_layers, self.bidirectional, self.bias, self.batch_first
    )
    if single:
        y, h, c = y.squeeze(0 if self.batch_first else 1), h.squeeze(1), c.squeeze(1)
    return y, (h, c) if self.mode == "LSTM" else h


def keep_whole(twin: Any) -> None:
    """Give the recurrent layers of a twin a forward that is one operator."""
    for part in twin.modules():
        if isinstance(part, torch.nn.RNNBase) and not getattr(part, "proj_size", 0):
            _register()
            part.forward = types.MethodType(_forward, part)
