"""Detects whether the parameters of a torch module are still those that a step left.

Owns: a few numbers of them, taken after each step. May not touch: the parameters, beyond reading them. What replaces
parameters (a checkpoint that is loaded, an average that is swapped in) leaves no trace in a trainer's state, and some
of it none in PyTorch's version counters: so values are compared.
"""

from __future__ import annotations

from typing import Any

import torch

# A part of so many tensors, so many elements of each: far less than a step costs.
TENSORS, ELEMENTS = 32, 32


class Sample:
    """A few values of the parameters after a step, kept on their device, so that taking them never waits."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._seen: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_step": None, "_seen": None}

    def take(self, step: int, module: Any) -> None:
        """Record the parameters after this step, unless they are already recorded."""
        if step != self._step:
            self._step, self._seen = step, _numbers(module)

    def same(self, module: Any) -> bool:
        """Return whether the parameters are still the same; False if this cannot be determined."""
        now = _numbers(module)
        if self._seen is None or now is None or now.shape != self._seen.shape:
            return False
        return bool(torch.equal(_bits(now), _bits(self._seen)))


def _numbers(module: Any) -> Any:
    held = [parameter for parameter in module.parameters() if parameter.is_floating_point() and parameter.numel()]
    held = [parameter for parameter in held if parameter.requires_grad] or held
    held = [parameter for parameter in held if parameter.device == held[0].device]
    parts = [_part(parameter.detach()) for parameter in held[:: 1 + (len(held) - 1) // TENSORS]]
    return torch.cat(parts).double() if parts else None


def _part(tensor: Any) -> Any:
    flat = tensor.view(-1) if tensor.is_contiguous() else tensor.flatten()
    return flat[:: 1 + (flat.numel() - 1) // ELEMENTS]


def _bits(numbers: Any) -> Any:
    # NaN is equal to nothing, also where nobody touched it.
    return numbers.cpu().view(torch.int64)
