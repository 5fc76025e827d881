"""What a live module says of a few rows: in evaluation mode, alone, and leaving everything as it was.

Owns: the state of torch, numpy and Python that an evaluation could change. May not touch: gradients, other ranks.

The module is evaluated in float64 where it is small and in float32 where it was trained in 16 bits, without autocast:
the less rounding there is, the smaller the differences that can be told from it. Where that does not work, or memory is
short, it is evaluated as it is, and the least precise format that any operation used is told.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from clino import _whole
from clino._output import PROBABILITIES, SIGMOID, are_probabilities, end_in_sigmoid, scores_of
from clino._rows import Evaluation, Rows, UncheckedError

# Parameters up to which the daemon computes in float64 by default; so does this.
SMALL = 1 << 20
# Bytes that the evaluation of a short row takes beside the parameters, roughly.
LEAST_ROOM = 64 << 20
# Bytes of attention for each pair of tokens: 64 heads in float32.
PAIR = 256

# Wrappers whose forward is a call of the module inside, and may be a collective.
_WRAPPERS = {"DistributedDataParallel", "DataParallel", "DeepSpeedEngine", "OptimizedModule"}
LESS = "free some, or skip the comparison with check=False"
# From the most precise to the least.
_FORMATS = {torch.float64: "float64", torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
_ORDER = list(_FORMATS)
_PRECISE = ("float64", "float32")


def losses(model: Any, rows: Rows) -> Evaluation:
    """Evaluate a module on a few rows.

    UncheckedError or what the forward raises says why there are none.
    """
    module = unwrapped(model)
    tokens = max((array.shape[-1] for array in rows.columns.values()), default=1)
    need = LEAST_ROOM + PAIR * tokens * tokens
    return most_precise(module, need, lambda target: _evaluated(module, rows, target))


def most_precise(module: Any, need: int, evaluate: Callable[[torch.dtype | None], Evaluation]) -> Evaluation:
    """Evaluate a module that is not wrapped in the most precise format that works, and leave it as it was.

    `need` is how many bytes that takes beside a copy of the parameters.
    """
    parameters = _parameters(module)
    device = parameters[0].device
    room = room_on(device)
    if room is not None and room < need:
        raise UncheckedError(f"memory is short: {room >> 20} MiB are free, {need >> 20} MiB are needed", LESS)
    coarse = None
    with _undisturbed(module, device):
        for target in _targets(parameters):
            copies = sum(p.numel() for p in parameters if p.is_floating_point() and p.dtype != target)
            if room is not None and room < need + copies * target.itemsize:
                continue
            try:
                found = evaluate(target if copies else None)
            except UncheckedError:
                raise
            except Exception:  # such as a kernel that only knows 16 bits
                continue
            if found.dtype in _PRECISE:
                return found
            coarse = coarse or found
        return coarse or evaluate(None)


def _parameters(module: Any) -> list[Any]:
    """The parameters of a module that can be evaluated here and now."""
    try:
        _whole.check_module(module)
    except TypeError as error:  # its forward would wait for other ranks
        raise UncheckedError(str(error), "or check=False") from error
    parameters = list(module.parameters())
    if not parameters:
        raise UncheckedError("found a module without parameters")
    if any(parameter.is_meta for parameter in parameters):
        raise UncheckedError("its parameters are not in memory (meta device)", "load them first")
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        why = "part of it is compiled by TorchScript, which hides the formats it uses"
        raise UncheckedError(why, "give the module as it was before, or check=False")
    if parameters[0].device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise UncheckedError("a CUDA graph is being captured", "give a snapshot before or after that, or check=False")
    return parameters


def unwrapped(module: Any) -> Any:
    """The module inside wrappers for several processes and for compilation."""
    while type(module).__name__ in _WRAPPERS:
        inner = getattr(module, "_orig_mod", None) or getattr(module, "module", None)
        if not isinstance(inner, torch.nn.Module):
            break
        module = inner
    return module


def _targets(parameters: list[Any]) -> list[torch.dtype]:
    """In which formats it had better be evaluated; the second ignores autocast, which leaves float64 alone."""
    size = sum(parameter.numel() for parameter in parameters)
    return [torch.float64] if size <= SMALL else [torch.float32, torch.float64]


def room_on(device: torch.device) -> int | None:
    """Bytes that can be had on a device; None where that is not known."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    except OSError:
        return None


def _evaluated(module: Any, rows: Rows, target: torch.dtype | None) -> Evaluation:
    """Row by row, which takes the least memory; with parameters and buffers in another format, if one is given."""
    state = {} if target is None else converted(module, target)
    given = next(p for p in module.parameters() if p.is_floating_point())
    found, formats = [], Formats()
    for row in range(len(rows.places)):
        columns = {name: tensor_of(array[row : row + 1], given, target) for name, array in rows.columns.items()}
        # The features of an mlp are its one argument, whatever it is called there.
        args, kwargs = ((columns["inputs"],), {}) if "inputs" in columns else ((), columns)
        with formats:
            output = called(module, state, args, kwargs)
        found.append(scores_of(output, module).detach().cpu().double())
    return _compared(module, torch.cat(found), rows.labels, formats.least)


def _compared(module: Any, scores: Any, labels: Any, least: torch.dtype) -> Evaluation:
    """The losses of scores, which may be probabilities already, as of a module whose forward is for inference."""
    classes, most = scores.shape[1], int(labels.max())
    if most >= classes:
        why = f"its forward gives {classes} class{'es' if classes > 1 else ''}, and the probe has label {most}"
        raise UncheckedError(
            why, f"labels are from 0 to {classes - 1}: compare the probe's with the model's num_labels"
        )
    remark = None
    if are_probabilities(scores, least):
        scores, remark = scores.log(), PROBABILITIES
    elif end_in_sigmoid(scores, module):
        remark = SIGMOID
    losses = torch.nn.functional.cross_entropy(scores, torch.tensor(labels.astype(np.int64)), reduction="none")
    return Evaluation(losses.tolist(), format_of(least), remark)


def format_of(least: torch.dtype) -> str:
    """The name of a format."""
    return _FORMATS[least]


def converted(module: Any, target: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Parameters and buffers in another format, or their own, by name; tied ones once."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: value.detach().to(target or value.dtype) for name, value in named if value.is_floating_point()}


def called(module: Any, state: dict[str, torch.Tensor], args: Any, kwargs: Any) -> Any:
    """The output of a module with these parameters and buffers in the place of its own; none: its own."""
    if not state:
        return module(*args, **kwargs)
    with _recurrent(module, state):
        return torch.func.functional_call(module, state, args, kwargs)


@contextmanager
def _recurrent(module: Any, state: dict[str, torch.Tensor]) -> Iterator[None]:
    """Recurrent layers read their weights from a list of their own."""
    named = [(name, part) for name, part in module.named_modules() if isinstance(part, torch.nn.RNNBase)]
    before = [(part, part.__dict__["_flat_weights"]) for _, part in named]
    try:
        for name, part in named:
            places = [(f"{name}.{own}" if name else own, own) for own in part._flat_weights_names]
            part.__dict__["_flat_weights"] = [state.get(place, getattr(part, own)) for place, own in places]
        yield
    finally:
        for part, weights in before:
            part.__dict__["_flat_weights"] = weights


def tensor_of(array: Any, given: Any, target: torch.dtype | None) -> torch.Tensor:
    """Where a parameter is, and in its format or another one; integers in 64 bits."""
    tensor = torch.from_numpy(np.array(array))
    dtype = (target or given.dtype) if tensor.is_floating_point() else torch.int64
    return tensor.to(given.device, dtype)


class Formats(TorchFunctionMode):
    """Notes the least precise format of what operations on floating-point numbers give.

    Not a TorchDispatchMode, which sees more: the first of a process loads the compiler, a second of the trainer's time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.least = torch.float64

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        if any(_is_float(value) for value in torch.utils._pytree.tree_leaves(args)):
            for value in torch.utils._pytree.tree_leaves(given):
                if _is_float(value) and value.dtype in _FORMATS:
                    self.least = max(self.least, value.dtype, key=_ORDER.index)
        return given


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@contextmanager
def _undisturbed(module: Any, device: torch.device) -> Iterator[None]:
    """In evaluation mode, without gradients and autocast; everything is afterwards as it was before."""
    python, numpy = random.getstate(), np.random.get_state()
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(**_generators(module)))
        stack.enter_context(torch.no_grad())
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_whole_products())
        stack.enter_context(_own_forward(module))
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for part, _ in modes:
                part.training = False  # not eval(), which modules may override: some merge weights there
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
            random.setstate(python)
            np.random.set_state(numpy)


def _generators(module: Any) -> dict[str, Any]:
    """Whose random state is kept, beside that of the CPU."""
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type != "cpu"}
    if not devices:
        return {"devices": []}
    kind = next(iter(devices)).type
    return {"devices": sorted(device.index or 0 for device in devices if device.type == kind), "device_type": kind}


@contextmanager
def _whole_products() -> Iterator[None]:
    """Products of float32 in float32: TF32, which cuDNN takes for convolutions, has the digits of float16.

    Without cuDNN recurrent layers have a gradient in evaluation mode, too.
    """
    before, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn.enabled
    if before != "highest":
        torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        if before != "highest":
            torch.set_float32_matmul_precision(before)


@contextmanager
def _own_forward(module: Any) -> Iterator[None]:
    """The forward that accelerate has wrapped into autocast, where it has."""
    wrapped, own = module.__dict__.get("forward"), module.__dict__.get("_original_forward")
    if wrapped is None or own is None:
        yield
        return
    module.forward = own
    try:
        yield
    finally:
        module.forward = wrapped
