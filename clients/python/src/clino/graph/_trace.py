"""Makes a program of the twin with torch.export: sizes that may differ, operators that stay whole.

Owns: example sizes, the list of operators that are not decomposed. May not touch: the meaning of operators.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from clino.graph._errors import ExportError
from clino.graph._fold import FOLDS

# Names that have a fold, and would still rather be decomposed by torch: shorter, or better known.
_BETTER_APART = {"aten.meshgrid.default", "aten.flatten.using_ints", "aten.contiguous.default"}
_LEAST_BATCH, _LEAST_LENGTH = 2, 3
_PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)


@dataclass
class Program:
    """What torch made, and the inputs as it was made with."""

    exported: Any
    # In the order of the program.
    names: list[str]
    # By input: the axes that were wished to differ from batch to batch.
    wished: dict[str, list[int]]
    # By input: whether it holds floating-point numbers.
    floats: dict[str, bool]
    # Functions with a backward of their own, which the graph does not use.
    functions: list[str]


def trace(twin: Any, inputs: Mapping[str, Any], constants: set[int]) -> Program:
    """A program of the twin; inputs by keyword. ExportError says what stands in the way."""
    wished = {name: _wished(tensor) for name, tensor in inputs.items()}
    floats = {name: tensor.is_floating_point() for name, tensor in inputs.items()}
    failures: list[Exception] = []
    with _undisturbed(), _noted_functions() as functions:
        for given, axes in _attempts(inputs, wished, constants):
            try:
                exported = _exported(twin, given, axes)
            except Exception as error:  # whatever a forward or torch may raise
                failures.append(error)
                continue
            if _holds_for(exported, given, inputs):
                return Program(exported, list(given), wished, floats, sorted(functions))
    if not failures:
        raise ExportError("found sizes that torch.export holds for constants, expected some that may differ")
    raise ExportError(_explained(failures[0])) from failures[0]


def _attempts(inputs: Mapping[str, Any], wished: Mapping[str, list[int]], constants: set[int]) -> Iterator[Any]:
    """Inputs of other sizes, of another batch alone, as they are, of one length; with the axes that may differ."""
    batches = {name: axes[:1] for name, axes in wished.items()}
    tried: list[Any] = []
    other = resized(inputs, batches, constants)
    for given, axes in (
        (resized(inputs, wished, constants), wished),
        (other, wished),
        (dict(inputs), wished),
        (other, batches),
    ):
        sizes = ([tensor.shape for tensor in given.values()], axes)
        if sizes not in tried:
            tried.append(sizes)
            yield given, axes


def _holds_for(exported: Any, given: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Whether a program that holds for some lengths only holds for those that the user gave."""
    places = [spec.arg.name for spec in exported.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    nodes = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    for place, name in zip(places, given, strict=True):
        for size, own, wanted in zip(
            nodes[place].meta["val"].shape, given[name].shape, inputs[name].shape, strict=True
        ):
            fixed = isinstance(size, int) or size.node.expr.is_Integer
            if fixed and own != wanted:
                return False
    return True


def _wished(tensor: Any) -> list[int]:
    """Axes that may differ: all of integers and booleans; of images only the batch."""
    if tensor.is_floating_point() and tensor.dim() > 3:
        return [0]
    return list(range(tensor.dim()))


def resized(inputs: Mapping[str, Any], wished: Mapping[str, list[int]], constants: set[int]) -> dict[str, Any]:
    """Inputs of sizes that are no size of the model and not each other, made of the given ones by repeating rows."""
    batch = _batch_of(inputs)
    taken = set(constants)
    rows = 0 if batch is None else _fresh(batch, _LEAST_BATCH, taken)
    taken.add(rows)
    lengths: dict[int, int] = {}
    found = {}
    for name, tensor in inputs.items():
        for axis in wished[name]:
            size = tensor.shape[axis]
            if axis == 0 and size == batch:
                tensor = _repeated(tensor, 0, rows)
            elif axis > 0 and not tensor.is_floating_point():
                if size not in lengths:
                    lengths[size] = _fresh(size, _LEAST_LENGTH, taken)
                    taken.add(lengths[size])
                tensor = _repeated(tensor, axis, lengths[size])
        found[name] = tensor
    return found


def _batch_of(inputs: Mapping[str, Any]) -> int | None:
    return next((tensor.shape[0] for tensor in inputs.values() if tensor.dim()), None)


def _fresh(size: int, least: int, taken: set[int]) -> int:
    """A size that nothing else has."""
    if size >= max(least, 3) and size not in taken:
        return size
    return next((prime for prime in _PRIMES if prime not in taken), max(taken) + 1)


def _repeated(tensor: Any, axis: int, size: int) -> Any:
    if tensor.shape[axis] == size:
        return tensor
    if tensor.is_meta:
        shape = list(tensor.shape)
        shape[axis] = size
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    places = torch.arange(size, device=tensor.device) % tensor.shape[axis]
    return tensor.index_select(axis, places)


def _exported(twin: Any, inputs: Mapping[str, Any], wished: Mapping[str, list[int]]) -> Any:
    auto = torch.export.Dim.AUTO
    # Sizes of 0 and 1 are taken for constants by torch anyhow.
    shapes = {name: {axis: auto for axis in wished[name] if tensor.shape[axis] > 1} for name, tensor in inputs.items()}
    exported = torch.export.export(twin, (), dict(inputs), dynamic_shapes=shapes, strict=False)
    # transformers 5 and torch 2.15: the code names `L`, which run_decompositions does not find.
    if hasattr(exported, "_guards_code"):
        exported._guards_code = []
    _cut_gradients(exported.graph_module)
    return exported.run_decompositions(_table())


def _cut_gradients(module: Any) -> None:
    """Detach what parts under torch.no_grad() give: decompositions write these parts out, and forget that."""
    for part in module.modules():
        graph: Any = getattr(part, "graph", None)
        for node in list(graph.nodes) if isinstance(graph, torch.fx.Graph) else ():
            if "wrap_with_set_grad_enabled" not in str(node.target) or node.args[0]:
                continue
            for result in list(node.users):
                if not isinstance(result.meta.get("val"), torch.Tensor):
                    continue
                with graph.inserting_after(result):
                    cut = graph.call_function(torch.ops.aten.detach.default, (result,))
                cut.meta = dict(result.meta)
                result.replace_all_uses_with(cut, delete_user_cb=lambda user, cut=cut: user is not cut)
        if isinstance(part, torch.fx.GraphModule):
            part.recompile()


def _table() -> Any:
    """Decompositions of all that has no fold; what has one stays whole."""
    table: Any = torch.export.default_decompositions()
    for name in FOLDS:
        namespace, packet, overload = name.split(".")
        operator = getattr(getattr(getattr(torch.ops, namespace), packet, None), overload, None)
        if operator is not None and name not in _BETTER_APART:
            table.pop(operator, None)
    table.update(torch._decomp.get_decompositions([torch.ops.aten.grid_sampler_2d]))
    return table


@contextmanager
def _undisturbed() -> Iterator[None]:
    """With gradients, so that detached parts are seen; without fast paths, autocast and warnings of tracing."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_silent())
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _noted_functions() -> Iterator[set[str]]:
    """Names of the model's own torch.autograd.Functions, of which torch.export sees the forward alone."""
    found: set[str] = set()
    thread, apply = threading.get_ident(), torch.autograd.Function.__dict__["apply"]

    def noted(kind: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread and not kind.__module__.startswith("torch."):
            found.add(f"{kind.__module__}.{kind.__qualname__}")
        return apply.__get__(None, kind)(*args, **kwargs)

    torch.autograd.Function.apply = classmethod(noted)
    try:
        yield found
    finally:
        torch.autograd.Function.apply = apply


@contextmanager
def _silent() -> Iterator[None]:
    """Without what torch logs about models that it cannot take: whole programs, attempt by attempt."""
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.split(".")[0] == "torch"]
    before = [(logger, logger.disabled) for logger in known]
    stderr = sys.stderr
    for logger in known:
        logger.disabled = True
    sys.stderr = _Muted(stderr)  # what it prints there it does not log
    try:
        yield
    finally:
        sys.stderr = stderr
        for logger, was in before:
            logger.disabled = was


class _Muted:
    """A stream that takes nothing from the thread that made it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else int(self._stream.write(text) or 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# What torch says, and what to say instead.
_HINTS: Sequence[tuple[str, str]] = (
    ("data-dependent", "its shapes or branches depend on elements, not on shapes alone"),
    ("Could not guard", "its shapes or branches depend on elements, not on shapes alone"),
    ("specialized", "it works for one size only"),
)


def _explained(error: Exception) -> str:
    """One sentence from what torch raised."""
    text = str(error).strip()
    hint = next((said for found, said in _HINTS if found in text), None)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    where = _where(text) or _raised_at(error)
    found = f"{type(error).__name__}: {first[:300]}"
    return ", ".join(part for part in (f"torch.export cannot take the model: {found}", hint, where) if part)


def _where(text: str) -> str:
    """The line of the model that torch names."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("File ") and "/torch/" not in line]
    return lines[-1] if lines else ""


def _raised_at(error: BaseException) -> str:
    """The last line that is not torch's own, of those that an error came through."""
    found, trace = "", error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if "/torch/" not in path and "/clino/" not in path:
            found = f"at {path}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
