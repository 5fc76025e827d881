"""A twin of the live model, of which the parameters are the live ones and everything else can be changed.

Owns: unwrapping, what is copied, hooks, evaluation mode, quantised layers. May not touch: the live model.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch

from clino import _whole
from clino._evaluation import unwrapped
from clino.graph._errors import ExportError

# What a module calls its hooks.
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
# Hooks that make a weight, which the forward reads: they belong to the model.
_MAKING = {"WeightNorm", "SpectralNorm", "LayerwiseCastingHook"}
# Whose layers are quantised, by the module that defines them.
_QUANTISED = ("bitsandbytes", "torchao", "auto_gptq", "gptqmodel", "awq", "hqq", "quanto", "optimum.quanto", "eetq")
_QUANTISED_CLASSES = {"Linear4bit", "Linear8bitLt", "QuantLinear", "WQLinear", "HQQLinear", "QLinear", "BitLinear"}
_HELD_TENSORS = (torch.Tensor,)


def twin_of(model: Any) -> tuple[Any, Any]:
    """The model inside its wrappers, and a twin of it in evaluation mode without the user's hooks."""
    inner = unwrapped(model)
    if not isinstance(inner, torch.nn.Module):
        raise ExportError(f"model: found {type(model).__name__}, expected a torch.nn.Module")
    _refuse(inner)
    twin = _copied(inner)
    for part in twin.modules():
        # Not eval(), which modules may override: some merge weights there, and the weights are the live ones.
        part.training = False
        own = part.__dict__.get("_original_forward")
        if own is not None and "forward" in part.__dict__:
            part.forward = own  # the one that accelerate has wrapped into autocast
        _plain_configuration(part)
        for name, value in vars(part).items():
            if "cache" in name and isinstance(value, dict):
                value.clear()  # what an evaluation of the live model left there, such as LeViT's biases
    if any(parameter.is_meta for parameter in twin.parameters()):
        _without_elements(twin)
    return inner, twin


def stand_in(model: Any) -> Any:
    """The model as it is, or where some of it is on a device: one on the CPU whose parameters take no memory.

    A process that is forked cannot reach a device. Buffers and other tensors, of which the graph may hold the elements,
    are copied.
    """
    held = [*model.parameters(), *model.buffers()]
    if all(tensor.device.type in ("cpu", "meta") for tensor in held):
        return model
    return _elsewhere(model)


def _elsewhere(model: Any) -> Any:
    memo = _memo(model)
    for part in model.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = _shape_of(parameter)
        others = [*part._buffers.values(), *vars(part).values()]
        memo.update({id(one): one.detach().cpu() for one in others if isinstance(one, torch.Tensor)})
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:  # as for a twin
        twin = _structure(model, memo, {})
    for part in twin.modules():
        for held in (part._parameters, part._buffers, part.__dict__):
            held.update({name: memo[id(one)] for name, one in held.items() if isinstance(one, torch.Tensor)})
    return twin


def _shape_of(parameter: Any) -> Any:
    """A parameter of the same shape, all of whose elements are one."""
    one = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
    return torch.nn.Parameter(one, requires_grad=parameter.requires_grad)


def _without_elements(twin: Any) -> None:
    """All buffers on the meta device, as the parameters are; the live ones keep their elements for constants."""
    for part in twin.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and not buffer.is_meta:
                part._buffers[name] = buffer.to("meta")


def elements_of(model: Any, name: str) -> Any:
    """A buffer with its elements: the live one, or that of its module made anew where that has a configuration."""
    path, _, own = name.rpartition(".")
    part = model.get_submodule(path)
    buffer = part._buffers[own]
    if not buffer.is_meta or not hasattr(part, "config") or any(True for _ in part.parameters()):
        return buffer
    try:
        with torch.device("cpu"):
            again = type(part)(part.config)
        made = again._buffers.get(own)
    except Exception:  # whatever a constructor may raise
        return buffer
    return made if made is not None and made.shape == buffer.shape else buffer


def _refuse(model: Any) -> None:
    """What has no graph: quantised layers, and parameters of which only a part is here."""
    for name, part in model.named_modules():
        kind = type(part)
        if kind.__name__ in _QUANTISED_CLASSES or kind.__module__.split(".")[0] in _QUANTISED:
            found = f"{kind.__module__}.{kind.__qualname__}"
            raise ExportError(
                f"{name or 'model'}: found the quantised layer {found}, expected floating-point weights: "
                "measure the model before it is quantised, or its adapters alone"
            )
    for name, tensor in _whole.tensors_of(model):
        kinds = {base.__module__.split(".")[0] for base in type(tensor).__mro__}
        if kinds & set(_QUANTISED):
            raise ExportError(
                f"{name}: found a quantised tensor ({type(tensor).__name__}), expected floating-point numbers"
            )
    try:
        _whole.check_module(model)
    except TypeError as error:
        raise ExportError(
            f"{error}; for the graph alone, give a twin without weights: "
            "with torch.device('meta'): twin = Model(config)"
        ) from error


def _copied(model: Any) -> Any:
    """A deep copy that shares parameters and buffers; by the structure alone where something cannot be copied."""
    memo = _memo(model)
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception:  # a lock, a generator, an open file among the attributes
        return _structure(model, memo, {})


def _memo(model: Any) -> dict[int, Any]:
    """What deepcopy finds in the place of tensors and hooks."""
    memo: dict[int, Any] = {}
    for part in model.modules():
        for held in (part._parameters, part._buffers):
            memo.update({id(tensor): tensor for tensor in held.values() if tensor is not None})
        for name in _HOOKS:
            hooks = part.__dict__.get(name)
            if hooks is not None:
                kept = [(key, hook) for key, hook in hooks.items() if type(hook).__name__ in _MAKING]
                memo[id(hooks)] = OrderedDict(kept) if not isinstance(hooks, set) else set()
        for value in vars(part).values():
            # A weight that a hook has made: deepcopy takes leaves only.
            if isinstance(value, _HELD_TENSORS) and value.grad_fn is not None:
                memo[id(value)] = value.detach()
            elif _is_foreign(value):
                memo[id(value)] = value
    return memo


def _is_foreign(value: object) -> bool:
    """Whether it is no part of a model: trainers, loggers, data."""
    return type(value).__module__.split(".")[0] in ("lightning", "pytorch_lightning", "logging", "threading") and not (
        isinstance(value, torch.nn.Module)
    )


def _structure(model: Any, memo: dict[int, Any], done: dict[int, Any]) -> Any:
    """New modules around the same attributes; shared modules stay shared."""
    if id(model) in done:
        return done[id(model)]
    twin = model.__class__.__new__(model.__class__)
    done[id(model)] = twin
    attributes = dict(model.__dict__)
    for name in _HOOKS:
        if name in attributes:
            attributes[name] = memo.get(id(attributes[name]), OrderedDict())
    for name in ("_parameters", "_buffers"):
        attributes[name] = attributes[name].copy()
    attributes.pop("_compiled_call_impl", None)
    twin.__dict__.update(attributes)
    children = {name: child and _structure(child, memo, done) for name, child in model._modules.items()}
    twin.__dict__["_modules"] = type(model._modules)(children)
    configuration = attributes.get("config")
    if hasattr(configuration, "use_cache"):
        twin.__dict__["config"] = copy.deepcopy(configuration)
    return twin


def _plain_configuration(part: Any) -> None:
    """Hugging Face: no caches, and attention as torch has it, so that it arrives whole."""
    configuration = part.__dict__.get("config")
    if configuration is None:
        return
    if getattr(configuration, "use_cache", False):
        configuration.use_cache = False
    if getattr(configuration, "return_dict", True) is False:
        configuration.return_dict = True
    attention = str(getattr(configuration, "_attn_implementation", "") or "")
    if attention.startswith(("flash", "flex", "kernels")) or "/" in attention:
        configuration._attn_implementation = "sdpa"
