"""Adapters of PEFT, merged into the weights that they change.

Owns: the merged model's names. May not touch: adapters that are measured as they are (they are parameters like others).
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from clino.graph._errors import ExportError


def merged(twin: Any) -> tuple[Any, Any, dict[str, str]]:
    """The merged model, as the model to name tensors by and as the twin to trace; all of its weights are trained.

    Nothing is merged: only names and shapes matter here, and the twin goes to the meta device before.
    """
    if not hasattr(twin, "merge_and_unload"):
        raise ExportError(f"space: found 'merged' for {type(twin).__name__}, expected a model with adapters of PEFT")
    kept = {id(tensor): tensor for tensor in twin.buffers()}
    shapes = copy.deepcopy(twin, {**kept, **{id(p): _shape_of(p) for p in twin.parameters()}})
    for part in shapes.modules():
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer if buffer is None else buffer.clone()
    whole = shapes.merge_and_unload()
    for part in whole.modules():
        part.training = False
    for parameter in whole.parameters():
        parameter.requires_grad_(True)
    traced = copy.deepcopy(whole, {id(p): p for p in whole.parameters()})
    for part in traced.modules():
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer if buffer is None else buffer.to("meta")
    return whole, traced, {}


def _shape_of(parameter: Any) -> Any:
    return torch.nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
