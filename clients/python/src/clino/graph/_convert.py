"""From a program of torch to a graph, node by node.

Owns: what is a tensor, an input or a constant of the graph; where a node comes from. May not touch: what single ATen
operators mean (that is `_fold`), how programs are made (`_trace`).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from clino.graph._build import BOOL, I64, MOST_CONSTANT, WORK, SizeLike, Value
from clino.graph._errors import ExportError
from clino.graph._fold import FOLDS, REFUSED
from clino.graph._fold._table import Context
from clino.graph._fold.complexes import COMPLEX, EACH, Pair
from clino.graph._fold.scalars import SCALARS
from clino.graph._ops import Unary
from clino.graph._sizes import Sizes
from clino.v1 import types_pb2

DTYPES = {
    torch.float32: types_pb2.DTYPE_F32,
    torch.float16: types_pb2.DTYPE_F16,
    torch.bfloat16: types_pb2.DTYPE_BF16,
    torch.float64: types_pb2.DTYPE_F64,
    torch.int64: types_pb2.DTYPE_I64,
    torch.int32: types_pb2.DTYPE_I32,
    torch.bool: types_pb2.DTYPE_BOOL,
    torch.uint8: types_pb2.DTYPE_U8,
    torch.int8: types_pb2.DTYPE_I8,
    torch.int16: types_pb2.DTYPE_I16,
}
# Attributes that mean nothing here: where a tensor is kept and how, what it is called in memory.
_IGNORED = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "out_dtype", "implicit"}
_IGNORED |= {
    "cudnn_enable",
    "cudnn_enabled",
    "allow_tf32",
    "benchmark",
    "deterministic",
    "enable_gqa",
    "return_debug_mask",
}
_IGNORED |= {"scale_grad_by_freq", "sparse", "generator", "sparse_grad", "stable", "unsafe", "sorted", "momentum"}


def type_of(dtype: torch.dtype) -> int:
    """The type of a value of this format."""
    if dtype.is_complex:
        raise ExportError(f"found {str(dtype)[6:]} numbers, expected real ones")
    if dtype == torch.bool:
        return BOOL
    return WORK if dtype.is_floating_point else I64


@dataclass
class Call:
    """What a fold is told beside its arguments: the result as torch has it."""

    type: int
    # As many as there are results.
    metas: list[Any]


@dataclass
class Convert(Context):
    """One program on its way."""

    # Values by node of the program; several where a node has several results.
    values: dict[Any, Any] = field(default_factory=dict)
    call: Call = field(default_factory=lambda: Call(WORK, []))
    sizes_of: Sizes = field(init=False)
    # Places of symbols by the expression that torch has for them.
    known_symbols: dict[Any, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes_of = Sizes(self)

    def dim(self, x: Value, axis: int) -> SizeLike:
        """The size of an axis, worked out of the sizes of inputs where it can be."""
        if x.sizes[axis] is None and x.symbols is not None:
            known = self.sizes_of.of(x.symbols[axis])
            if known is not None:
                return known
        return super().dim(x, axis)

    def result_sizes(self, place: int = 0) -> list[SizeLike]:
        """The sizes that torch gives a result, for folds that cannot tell them from their arguments."""
        return [self.size(size) for size in self.call.metas[place].shape]

    def size(self, given: Any) -> SizeLike:
        """A size in the graph from one of torch."""
        expression = plain_size(given)
        if isinstance(expression, int):
            return expression
        found = self.sizes_of.of(expression)
        if found is None:
            raise ExportError(
                f"found a size that depends on elements or on {given}, expected one that depends on sizes alone"
            )
        return found

    def run(self, graph: Any) -> list[Any]:
        """Fold all nodes of a program whose inputs have values; its outputs."""
        needed = _needed(graph)
        for node in graph.nodes:
            if node.op == "output":
                return [self.argument(given) for given in node.args[0]]
            if node.op != "call_function" or node not in needed:
                continue
            self.origin = origin_of(node)
            try:
                self.values[node] = self._folded(node)
            except ExportError as error:
                if self.origin and self.origin not in str(error):
                    raise ExportError(f"{_name(node.target)} ({self.origin}): {error}") from error
                raise
        raise ExportError("found a program without an output")

    def argument(self, given: Any) -> Any:
        """Values in the place of nodes."""
        if isinstance(given, torch.fx.Node):
            return self.values.get(given)
        if isinstance(given, (list, tuple)):
            return [self.argument(part) for part in given]
        if isinstance(given, torch.SymInt):
            return self.size(given)
        return given

    def _folded(self, node: Any) -> Any:
        meta = node.meta.get("val")
        if node.target is operator.getitem:
            return self.argument(node.args[0])[node.args[1]]
        if isinstance(meta, (torch.SymInt, torch.SymFloat, torch.SymBool)) or _is_scalar(node.target):
            return self._scalar(node, meta)
        name = _name(node.target)
        if name in _REGIONS:
            return self._region(node, name)
        return self._operator(node, name, meta)

    def _scalar(self, node: Any, meta: Any) -> Any:
        """Arithmetic of sizes, as an expression of the sizes of inputs or step by step."""
        if isinstance(meta, torch.SymInt):
            known = self.sizes_of.of(meta.node.expr)
            if known is not None:
                return known
        if isinstance(meta, (bool, int, float)):
            return meta
        name = _name(node.target)
        fold = SCALARS.get(name)
        if fold is None:
            raise ExportError(_unknown(name))
        found = fold(self, *[self.argument(given) for given in node.args])
        if isinstance(meta, torch.SymInt) and isinstance(found, Value) and meta.node.expr.is_Symbol:
            self.sizes_of.known(meta.node.expr, found)
        return found

    def _complex(self, node: Any, name: str, meta: Any) -> Any:
        """An operator of complex numbers, as one of pairs."""
        given = [self.argument(argument) for argument in node.args]
        flat = [one for part in given for one in (part if isinstance(part, list) else [part])]
        fold = FOLDS.get(name)
        if name in EACH and fold is not None and any(isinstance(one, Pair) for one in flat):
            self.call = Call(WORK, [meta])
            bound = _bound(self, node, fold)
            parts = [fold.function(self, **_parts(bound, side)) for side in ("real", "imag")]
            return Pair(*parts)
        special = COMPLEX.get(name)
        if special is None:
            why = f"found {name} of complex numbers, expected real ones: write both parts out"
            raise ExportError(REFUSED.get(name) or why)
        return special(self, *given)

    def _operator(self, node: Any, name: str, meta: Any) -> Any:
        if _is_complex(meta) or any(_is_complex(argument.meta.get("val")) for argument in node.all_input_nodes):
            found = self._complex(node, name, meta)
            return self._checked(found, meta) if isinstance(found, Value) else found
        fold = FOLDS.get(name)
        if fold is None:
            raise ExportError(REFUSED.get(name) or _unknown(name))
        metas = list(meta) if isinstance(meta, (list, tuple)) else [meta]
        first = next((m for m in metas if isinstance(m, torch.Tensor)), None)
        self.call = Call(WORK if first is None else type_of(first.dtype), metas)
        found = fold.function(self, **_bound(self, node, fold))
        if isinstance(found, (list, tuple)):
            return [self._checked(value, m) for value, m in zip(found, metas, strict=False)]
        return self._checked(found, metas[0])

    def _checked(self, value: Value | None, meta: Any) -> Value | None:
        """A value of the type that torch says, with what torch knows of its sizes."""
        if value is None or not isinstance(meta, torch.Tensor):
            return value
        if value.rank != meta.dim():
            raise ExportError(f"found a result with {value.rank} axes, expected {meta.dim()}: please report this")
        value = self.cast(value, type_of(meta.dtype))
        described(value, meta)
        return value

    def _region(self, node: Any, name: str) -> Any:
        """A part of the program that runs without gradients, under autocast, or again in the backward."""
        place, detached = _REGIONS[name](node)
        module = _submodule(node.args[place])
        arguments = [self.argument(given) for given in node.args[place + 1 :]]
        names = [inner for inner in module.graph.nodes if inner.op == "placeholder"]
        self.values.update(zip(names, arguments, strict=True))
        found = self.run(module.graph)
        return [self._detached(value) for value in found] if detached else found

    def _detached(self, value: Any) -> Any:
        if isinstance(value, Value) and value.trained:
            return self.unary(Unary.KIND_DETACH, value)
        return value

    def lifted(self, name: str, tensor: torch.Tensor) -> Value:
        """A constant from a tensor that the program holds."""
        if tensor.is_meta or isinstance(tensor, torch._subclasses.FakeTensor):
            raise ExportError(f"{name}: found a constant without elements (meta device), expected them: load it first")
        kind = type_of(tensor.dtype)
        plain = tensor.detach().cpu()
        if plain.dtype not in (torch.float32, torch.float64, torch.bool):
            plain = plain.to(torch.float32 if kind == WORK else torch.int64)
        if plain.numel() * plain.element_size() > MOST_CONSTANT:
            uniform = plain.flatten()[0]
            if bool((plain == uniform).all()):
                return self.full(list(plain.shape), uniform.item(), kind)
            found = f"a constant of shape {list(plain.shape)}, {plain.numel() * plain.element_size()} bytes"
            raise ExportError(
                f"{name}: found {found}, expected at most {MOST_CONSTANT}: register it as a buffer of floats"
            )
        return self.constant(DTYPES[plain.dtype], list(plain.shape), plain.contiguous().numpy().tobytes())


def _is_complex(meta: Any) -> bool:
    return isinstance(meta, torch.Tensor) and meta.dtype.is_complex


def _parts(given: Any, side: str) -> Any:
    """Arguments with one part of each pair."""
    if isinstance(given, dict):
        return {name: _parts(value, side) for name, value in given.items()}
    if isinstance(given, list):
        return [_parts(value, side) for value in given]
    return getattr(given, side) if isinstance(given, Pair) else given


def described(value: Value, meta: torch.Tensor) -> None:
    """Note what torch knows of the sizes of a value."""
    if len(value.sizes) == meta.dim():
        value.symbols = tuple(plain_size(size) for size in meta.shape)
        value.sizes = tuple(size if isinstance(size, int) else None for size in value.symbols)


def plain_size(size: Any) -> Any:
    """A size of torch as a number, or as an expression of symbols."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression) if expression.is_Integer else expression


def _bound(convert: Convert, node: Any, fold: Any) -> dict[str, Any]:
    """Arguments by the names of the operator's schema, defaults filled in, as far as the fold wants them."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        raise ExportError(_unknown(_name(node.target)))
    given: dict[str, Any] = {}
    for place, argument in enumerate(schema.arguments):
        name = "x" if argument.name == "self" else argument.name
        if place < len(node.args):
            value = node.args[place]
        elif argument.name in node.kwargs:
            value = node.kwargs[argument.name]
        else:
            value = argument.default_value if argument.has_default_value() else None
        if name in fold.names:
            given[name] = convert.argument(value)
        elif name not in _IGNORED and argument.has_default_value() and value != argument.default_value:
            raise ExportError(f"found {argument.name} = {value}, expected {argument.default_value}")
    return given


def _grad_region(node: Any) -> tuple[int, bool]:
    return 1, not node.args[0]


_REGIONS: Mapping[str, Callable[[Any], tuple[int, bool]]] = {
    "wrap_with_set_grad_enabled": _grad_region,
    # device, dtype, enabled, cache enabled, the part.
    "wrap_with_autocast": lambda node: (4, False),
    "tag_activation_checkpoint": lambda node: (0, False),
    "wrap_activation_checkpoint": lambda node: (0, False),
}


def _submodule(node: Any) -> Any:
    return node.graph.owning_module.get_submodule(node.target)


def _name(target: Any) -> str:
    """What an operator is called: aten.add.Tensor, mul, sqrt."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if isinstance(target, torch._ops.HigherOrderOperator):
        name: Any = target.name
        return str(name() if callable(name) else name)
    return str(getattr(target, "__name__", target))


def _is_scalar(target: Any) -> bool:
    return not isinstance(target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator))


def _needed(graph: Any) -> set[Any]:
    """Nodes that outputs depend on: checks of sizes are none."""
    found: set[Any] = set()
    waiting = [node for node in graph.nodes if node.op == "output"]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _unknown(name: str) -> str:
    return f"found {name}, which clino does not know, expected operators of core ATen"


def origin_of(node: Any) -> str:
    """The module and the line in the model's own code that a node comes from."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next((str(entry[0]) for entry in reversed(list(stack.values())) if entry[0]), "")
    path = path.removeprefix("L['self']").lstrip(".").removeprefix("model.").removeprefix("inner.")
    line = _line_of(str(node.meta.get("stack_trace") or ""))
    return ", ".join(part for part in (path, line) if part)


def _line_of(trace: str) -> str:
    """The last line of a trace that is not torch's own, as file:line."""
    for text in reversed(trace.splitlines()):
        parts = text.strip().split('"')
        if not text.strip().startswith("File ") or len(parts) < 3:
            continue
        path, number = parts[1], parts[2].split("line ")[-1].split(",")[0]
        if f"{os.sep}torch{os.sep}" not in path:
            return f"{os.path.basename(path)}:{number}"
    return ""


def outputs_of(values: Sequence[Any]) -> list[Value]:
    """Those results that are tensors."""
    return [value for value in values if isinstance(value, Value)]
