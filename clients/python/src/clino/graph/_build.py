"""Puts a graph together: values, nodes, and the numbers that values get in the end.

Owns: `Value`, the order of nodes, constants, and which nodes are left out because nothing reads them. May not touch:
torch, ATen names.

Values are numbered only at the end: what nothing reads is left out then, and equal constants and sizes are one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from clino.graph._errors import ExportError
from clino.v1 import graph_pb2, types_pb2

WORK, I64, BOOL = graph_pb2.VALUE_TYPE_WORK, graph_pb2.VALUE_TYPE_I64, graph_pb2.VALUE_TYPE_BOOL
TYPES = {WORK: "WORK", I64: "I64", BOOL: "BOOL"}

# Bytes of one constant and of all, as the protocol has them.
MOST_CONSTANT = 1 << 20
MOST_CONSTANTS = 16 << 20

# The version of the operators.
VERSION = 1


@dataclass(eq=False)
class Value:
    """A value of the graph: its type, and its sizes as far as they are the same for all batches."""

    type: int
    # None where a size differs from batch to batch.
    sizes: tuple[int | None, ...]
    # What makes it: a node and which of its results, or None of tensors, inputs and constants.
    node: Made | None = None
    number: int = 0
    # Whether a trained tensor is behind it.
    trained: bool = False
    # Whether elements of tensors or inputs are behind it, and not sizes and constants alone.
    elements: bool = False
    # Expressions of its sizes in the sizes of the inputs, where they are known.
    symbols: tuple[Any, ...] | None = None

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.sizes)


# A size: written down, or a scalar I64.
SizeLike = Union[int, Value]  # noqa: UP007 (evaluated)


@dataclass(eq=False)
class Made:
    """A node before its operands have numbers."""

    name: str
    # Fields of the operator's message; sizes stay as they are until the end.
    fields: dict[str, Any]
    operands: tuple[Value | None, ...]
    origin: str
    results: tuple[Value, ...] = ()

    def reads(self) -> Iterable[Value]:
        """All values that it depends on: operands and sizes."""
        yield from (operand for operand in self.operands if operand is not None)
        for given in self.fields.values():
            for size in given if isinstance(given, (list, tuple)) else (given,):
                if isinstance(size, Value):
                    yield size


@dataclass
class Builder:
    """A graph under construction."""

    tensors: list[tuple[graph_pb2.GraphTensor, Value]] = field(default_factory=list)
    inputs: list[tuple[graph_pb2.GraphInput, Value]] = field(default_factory=list)
    constants: list[tuple[graph_pb2.GraphConstant, Value]] = field(default_factory=list)
    nodes: list[Made] = field(default_factory=list)
    symbols: list[graph_pb2.SizeSymbol] = field(default_factory=list)
    # Where the nodes that are made now come from.
    origin: str = ""
    _equal: dict[Any, Value] = field(default_factory=dict)

    def tensor(self, message: graph_pb2.GraphTensor, kind: int) -> Value:
        """A tensor of a snapshot."""
        trained = message.kind == graph_pb2.GraphTensor.KIND_PARAM
        value = Value(kind, tuple(message.shape), trained=trained, elements=True)
        self.tensors.append((message, value))
        return value

    def input(self, message: graph_pb2.GraphInput, kind: int) -> Value:
        """A tensor of a probe."""
        sizes = tuple(axis.fixed if axis.HasField("fixed") else None for axis in message.shape)
        value = Value(kind, sizes, elements=True)
        self.inputs.append((message, value))
        return value

    def constant(self, dtype: types_pb2.Dtype, shape: Sequence[int], data: bytes) -> Value:
        """A constant of these bytes; the one that is there if there is one."""
        key = ("constant", dtype, tuple(shape), data)
        if key not in self._equal:
            if len(data) > MOST_CONSTANT:
                found = f"a constant of {len(data)} bytes, shape {list(shape)}"
                raise ExportError(f"found {found}, expected at most {MOST_CONSTANT}: register it as a buffer")
            kinds: dict[int, int] = {types_pb2.DTYPE_I64: I64, types_pb2.DTYPE_BOOL: BOOL}
            kind = kinds.get(dtype, WORK)
            value = Value(kind, tuple(shape))
            message = graph_pb2.GraphConstant(dtype=dtype, shape=shape, data=data)
            self.constants.append((message, value))
            self._equal[key] = value
        return self._equal[key]

    def scalar(self, given: bool | int | float) -> Value:
        """A constant without axes."""
        if isinstance(given, bool):
            return self.constant(types_pb2.DTYPE_BOOL, (), bytes([given]))
        if isinstance(given, int):
            if not -(1 << 63) <= given < 1 << 63:
                raise ExportError(f"found the number {given}, expected one of 64 bits")
            return self.constant(types_pb2.DTYPE_I64, (), struct.pack("<q", given))
        return self.constant(types_pb2.DTYPE_F64, (), struct.pack("<d", given))

    def emit(
        self,
        name: str,
        operands: Sequence[Value | None],
        results: Sequence[tuple[int, tuple[int | None, ...]]],
        /,
        **fields: Any,
    ) -> tuple[Value, ...]:
        """Append a node; a node without tensors behind it that is there already is not made again."""
        key = (name, tuple(operands), _frozen(fields))
        known = self._equal.get(key)
        if known is not None and known.node is not None:
            return known.node.results
        made = Made(name, fields, tuple(operands), self.origin)
        trained = any(operand is not None and operand.trained for operand in operands) and not _cuts(name, fields)
        elements = name != "dim" and any(value.elements for value in made.reads())
        made.results = tuple(
            Value(kind, sizes, made, index, trained and kind == WORK, elements)
            for index, (kind, sizes) in enumerate(results)
        )
        self.nodes.append(made)
        self._equal[key] = made.results[0]
        return made.results

    def finish(self, outputs: Sequence[tuple[str, Value]], producer: str) -> graph_pb2.Graph:
        """The graph of these outputs, with everything that they need and nothing else."""
        needed = _needed([value for _, value in outputs])
        inputs = self.inputs
        numbers: dict[int, int] = {}
        constants = [pair for pair in self.constants if id(pair[1]) in needed]
        total = sum(len(message.data) for message, _ in constants)
        if total > MOST_CONSTANTS:
            raise ExportError(f"found constants of {total} bytes, expected at most {MOST_CONSTANTS} together")
        leaves = [value for _, value in (*self.tensors, *inputs, *constants)]
        for value in leaves:
            numbers[id(value)] = len(numbers) + 1
        graph = graph_pb2.Graph(version=VERSION, producer=producer, symbols=self.symbols)
        graph.tensors.extend(message for message, _ in self.tensors)
        graph.inputs.extend(message for message, _ in inputs)
        graph.constants.extend(message for message, _ in constants)
        for made in self.nodes:
            if any(id(result) in needed for result in made.results):
                graph.nodes.append(_message(made, numbers))
                for result in made.results:
                    numbers[id(result)] = len(numbers) + 1
        graph.outputs.extend(graph_pb2.GraphOutput(name=name, value=numbers[id(value)]) for name, value in outputs)
        return graph


def _cuts(name: str, fields: dict[str, Any]) -> bool:
    """Whether no gradient goes through an operator."""
    return name == "unary" and fields.get("kind") == graph_pb2.Unary.KIND_DETACH


def _frozen(given: Any) -> Any:
    """Something to compare fields by."""
    if isinstance(given, dict):
        return tuple((key, _frozen(value)) for key, value in sorted(given.items()))
    if isinstance(given, (list, tuple)):
        return tuple(_frozen(value) for value in given)
    # -0.0 and 0.0, True and 1 are different; NaN is not equal to itself.
    return given if isinstance(given, Value) else (type(given).__name__, repr(given))


def _needed(outputs: list[Value]) -> set[int]:
    """Identities of everything that outputs depend on."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        if id(value) in found:
            continue
        found.add(id(value))
        if value.node is not None:
            waiting.extend(value.node.reads())
    return found


def _message(made: Made, numbers: dict[int, int]) -> graph_pb2.Node:
    operands = [0 if operand is None else numbers[id(operand)] for operand in made.operands]
    results = len(made.results) if len(made.results) > 1 else 0
    node = graph_pb2.Node(operands=operands, results=results, origin=made.origin)
    operator = getattr(node, made.name)
    operator.SetInParent()
    for field_name, given in made.fields.items():
        if given is None:
            continue
        descriptor = operator.DESCRIPTOR.fields_by_name[field_name]
        if descriptor.message_type is not None and descriptor.message_type.name == "Size":
            sizes = [_size(size, numbers) for size in (given if isinstance(given, (list, tuple)) else [given])]
            if isinstance(given, (list, tuple)):
                getattr(operator, field_name).extend(sizes)
            else:
                getattr(operator, field_name).CopyFrom(sizes[0])
        elif isinstance(given, (list, tuple)):
            getattr(operator, field_name).extend(given)
        else:
            setattr(operator, field_name, given)
    return node


def _size(size: SizeLike, numbers: dict[int, int]) -> graph_pb2.Size:
    if isinstance(size, Value):
        return graph_pb2.Size(value=numbers[id(size)])
    return graph_pb2.Size(fixed=size)
