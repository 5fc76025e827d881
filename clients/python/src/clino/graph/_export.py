"""From a live model and example inputs to its graph.

Owns: the steps, and what a user may give. May not touch: the live model.
"""

from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from clino._access import VERSION
from clino.graph import _loss, _trace, _twin, _whole_layers
from clino.graph._build import Value
from clino.graph._convert import DTYPES, Convert, described, plain_size, type_of
from clino.graph._errors import ExportError
from clino.v1 import graph_pb2, types_pb2

# Labels, by the names that data sets give them.
LABELS = ("labels", "label", "label_ids", "start_positions", "end_positions")
_RANGE_LEAST = 2


@dataclass
class Exported:
    """A model as a graph."""

    model: graph_pb2.Model
    seconds: float
    remarks: list[str] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, as `clino measure --graph` reads it."""
        with open(path, "wb") as file:
            file.write(self.model.SerializeToString(deterministic=True))

    def report(self) -> dict[str, Any]:
        """How large it is, and how long that took: nodes, operators (nodes by kind), bytes, seconds, sizes, loss."""
        graph = self.model.graph
        operators = Counter(node.WhichOneof("operator") for node in graph.nodes)
        return {
            "nodes": len(graph.nodes),
            "operators": dict(operators.most_common()),
            "tensors": len(graph.tensors),
            "constants": len(graph.constants),
            "inputs": [given.name for given in graph.inputs],
            "outputs": [given.name for given in graph.outputs],
            "sizes": {symbol.name: (symbol.least, symbol.most) for symbol in graph.symbols},
            "loss": self.model.loss.WhichOneof("kind"),
            "bytes": self.model.ByteSize(),
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }


def export(model: Any, inputs: Any, loss: Any = None, *, space: str = "adapter") -> Exported:
    """Export a torch module as a graph that clino evaluates and differentiates.

    `inputs` are examples, by the names of the arguments of `forward`: a mapping of tensors, or one tensor, or a tuple
    of them, for arguments by position. Two rows of a real batch are enough; labels among them are not given to the
    model. All sizes of integers and the batch may differ afterwards, as far as the model allows.

    `loss` is a name ("cross_entropy", "token_cross_entropy", "causal_lm", "mse", "huber", "smooth_l1", "bce"), a loss
    of torch.nn, a function of (outputs, labels) that gives the loss of each example, or a `LossSpec`. It is found for
    heads of Hugging Face.

    `space` says for a model with adapters of PEFT what is measured: "adapter" perturbs what is trained, beside a base
    that stays as it is; "merged" perturbs the weights that the merged model has, under its names.

    The model is not changed: not its weights, its mode, or its hooks, which are not called. ExportError says what
    stands in the way, and where.
    """
    started = time.perf_counter()
    if space not in ("adapter", "merged"):
        raise ExportError(f"space: found {space!r}, expected 'adapter' or 'merged'")
    live, twin = _twin.twin_of(model)
    renamed: dict[str, str] = {}
    if space == "merged":
        from clino.graph import _adapters

        live, twin, renamed = _adapters.merged(twin)
    given = _inputs_of(live, inputs)
    labels = {name: given.pop(name) for name in LABELS if name in given}
    wanted = _loss.loss_of(live, loss, labels)
    labels = {name: labels[name] for name in wanted.reads if name in labels}
    missing = [name for name in wanted.reads if name not in labels]
    if missing:
        raise ExportError(f"inputs: found no {' and '.join(missing)}, expected them: the loss is made in the graph")
    _whole_layers.keep_whole(twin)
    whole = _Whole(twin, wanted, given, list(labels))
    tensors = {**whole.tensors, **labels}
    program = _trace.trace(whole, _placed(tensors, live), _sizes_in(live))
    graph, outputs = _graph(program, live, wanted.seen, renamed)
    spec = wanted.finished(outputs)
    wanted.remarks += [
        f"{name} has a backward of its own: the graph differentiates its forward as it is written; the handshake tells "
        "whether that is the same"
        for name in program.functions
    ]
    message = graph_pb2.Model(graph=graph, loss=spec)
    return Exported(message, time.perf_counter() - started, wanted.remarks)


class _Whole(torch.nn.Module):
    """The twin with inputs by keyword, and the outputs that the loss reads as a tuple."""

    def __init__(self, twin: Any, loss: _loss.Loss, given: Mapping[str, Any], labels: list[str]) -> None:
        super().__init__()
        self.inner = twin
        self.training = False
        self.tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        self._others = {name: value for name, value in given.items() if name not in self.tensors}
        self._order = list(given)
        self._by_position = any(name.startswith("*") for name in given)
        self._loss, self._labels = loss, labels
        if self._by_position:
            self.tensors = {name.lstrip("*"): value for name, value in self.tensors.items()}

    def forward(self, **inputs: Any) -> tuple[Any, ...]:
        labels = {name: inputs.pop(name) for name in self._labels}
        if self._by_position:
            output = self.inner(*[inputs[name.lstrip("*")] for name in self._order])
        else:
            output = self.inner(**inputs, **self._others)
        found = self._loss.outputs(output, labels)
        self._loss.seen[:] = found
        return tuple(found.values())


def _inputs_of(model: Any, inputs: Any) -> dict[str, Any]:
    """Inputs by name; a star before names of arguments that can be given by position alone."""
    if isinstance(inputs, Mapping) or hasattr(inputs, "keys"):
        found = {str(name): inputs[name] for name in inputs.keys()}  # noqa: SIM118
    else:
        given = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
        parameters = list(inspect.signature(model.forward).parameters.values())
        names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names += [f"*input_{place}" for place in range(len(names), len(given))]
        if any(name.startswith("*") for name in names[: len(given)]):
            names = [f"*{name.lstrip('*')}" for name in names]
        found = dict(zip(names, given, strict=False))
    for name, value in found.items():
        if value is not None and not isinstance(value, (torch.Tensor, bool, int, float, str)):
            raise ExportError(f"inputs.{name}: found {type(value).__name__}, expected a tensor, a number or a text")
    if not any(isinstance(value, torch.Tensor) for value in found.values()):
        raise ExportError(
            "inputs: found no tensor, expected the inputs of forward by name, as in a batch of the trainer"
        )
    return _decoder_inputs(model, {name: value for name, value in found.items() if value is not None})


def _decoder_inputs(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What Hugging Face's decoders make of the labels where nothing else is given."""
    make = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    coupled = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    if coupled and make is not None and "labels" in given and "decoder_input_ids" not in given:
        given["decoder_input_ids"] = make(given["labels"])
    return given


def _placed(tensors: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Where the model is, and in its format."""
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is None:
        raise ExportError("model: found no floating-point parameter, expected some")
    placed = {}
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise ExportError(f"inputs.{name}: found complex numbers, expected real ones")
        tensor = tensor.detach()
        if tensor.is_floating_point() and first.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            tensor = tensor.to(first.dtype)
        placed[name] = tensor.to(first.device)
    return placed


def _sizes_in(model: Any) -> set[int]:
    """Sizes that the model knows: examples get others."""
    found = {size for tensor in (*model.parameters(), *model.buffers()) for size in tensor.shape}
    for part in model.modules():
        values = list(vars(part).values())
        configuration = vars(part).get("config")
        values += list(vars(configuration).values()) if hasattr(configuration, "__dict__") else []
        for value in values:
            several = value if isinstance(value, (tuple, list)) else (value,)
            found.update(one for one in several if isinstance(one, int) and not isinstance(one, bool))
    return found


def _graph(
    program: _trace.Program, live: Any, names: list[str], renamed: Mapping[str, str]
) -> tuple[graph_pb2.Graph, dict[str, Any]]:
    exported = program.exported
    convert = Convert()
    signature = exported.graph_signature
    kinds = {spec.arg.name: spec for spec in signature.input_specs}
    tensors = _tensors(convert, live, renamed)
    waiting = iter(program.names)
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            spec = kinds[node.name]
            if spec.kind.name == "USER_INPUT":
                name = next(waiting)
                convert.values[node] = _input(convert, program, name, node.meta["val"], exported.range_constraints)
            else:
                convert.values[node] = _held(convert, exported, spec, live, tensors)
    found = convert.run(exported.graph)
    user = [place for place, spec in enumerate(signature.output_specs) if spec.kind.name == "USER_OUTPUT"]
    values = [found[place] for place in user]
    metas = [_meta_of(exported.graph, place) for place in user]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, Value):
            raise ExportError(f"found an output {name} that is no tensor, expected one")
    producer = f"torch {torch.__version__} clino {VERSION}"
    graph = convert.finish(list(zip(names, values, strict=True)), producer)
    return graph, dict(zip(names, metas, strict=True))


def _meta_of(graph: Any, place: int) -> Any:
    last = next(node for node in reversed(graph.nodes) if node.op == "output")
    return last.args[0][place].meta["val"]


def _tensors(convert: Convert, live: Any, renamed: Mapping[str, str]) -> dict[str, Value]:
    """All parameters under each of their names; ties are the first one's."""
    first: dict[int, str] = {}
    found: dict[str, Value] = {}
    for own, parameter in live.named_parameters(remove_duplicate=False):
        name = renamed.get(own, own)
        kind = graph_pb2.GraphTensor.KIND_PARAM if parameter.requires_grad else graph_pb2.GraphTensor.KIND_FROZEN
        if not parameter.is_floating_point():
            kind = graph_pb2.GraphTensor.KIND_BUFFER
        alias = first.get(id(parameter), "")
        message = graph_pb2.GraphTensor(
            name=name, kind=kind, shape=list(parameter.shape), dtype=_dtype(name, parameter), alias_of=alias
        )
        value = convert.tensor(message, type_of(parameter.dtype))
        described(value, parameter)
        first.setdefault(id(parameter), name)
        found[own] = found[_key(alias, renamed)] if alias else value
    return found


def _key(name: str, renamed: Mapping[str, str]) -> str:
    return next((own for own, other in renamed.items() if other == name), name)


def _dtype(name: str, tensor: Any) -> types_pb2.Dtype:
    found = DTYPES.get(tensor.dtype)
    if found is None:
        raise ExportError(f"{name}: found {str(tensor.dtype)[6:]}, expected a format of 16, 32 or 64 bits")
    return found


def _held(convert: Convert, exported: Any, spec: Any, live: Any, tensors: dict[str, Value]) -> Value:
    """A parameter, a buffer or a constant of the program."""
    target = str(spec.target)
    name = target.removeprefix("inner.")
    if spec.kind.name == "PARAMETER":
        return tensors[name]
    tensor = exported.constants.get(target)
    if tensor is None:
        tensor = exported.state_dict[target]
    if spec.kind.name != "BUFFER":
        return convert.lifted(name, tensor)
    # Snapshots bring floating-point buffers that are part of the state; all others are constants.
    tensor = _twin.elements_of(live, name) if tensor.is_meta else tensor
    kept = bool(spec.persistent) and tensor.is_floating_point()
    if not kept and not tensor.is_meta:
        try:
            return convert.lifted(name, tensor)
        except ExportError:
            pass
    if name not in tensors:
        message = graph_pb2.GraphTensor(
            name=name,
            kind=graph_pb2.GraphTensor.KIND_BUFFER,
            shape=list(tensor.shape),
            dtype=_dtype(name, tensor),
        )
        tensors[name] = convert.tensor(message, type_of(tensor.dtype))
        described(tensors[name], tensor)
    return tensors[name]


def _input(convert: Convert, program: _trace.Program, name: str, meta: Any, ranges: Mapping[Any, Any]) -> Value:
    """An input, and symbols for its sizes."""
    if not isinstance(meta, torch.Tensor):
        raise ExportError(f"inputs.{name}: found a number among the tensors")
    axes = []
    sizes = [plain_size(size) for size in meta.shape]
    for place, size in enumerate(sizes):
        if isinstance(size, int):
            axes.append(_fixed(convert, program, name, place, size))
        else:
            axes.append(graph_pb2.Axis(symbol=_symbol(convert, size, place, name, ranges)))
    shared = not axes or (axes[0].HasField("fixed") and len(program.names) > 1)
    message = graph_pb2.GraphInput(name=name, dtype=DTYPES[meta.dtype], shape=axes, shared=shared)
    value = convert.input(message, type_of(meta.dtype))
    described(value, meta)
    for place, size in enumerate(sizes):
        if not isinstance(size, int):
            convert.sizes_of.input_axis(size, value, place)
    return value


def _fixed(convert: Convert, program: _trace.Program, name: str, place: int, size: int) -> graph_pb2.Axis:
    """A size that is the same for all batches; said as a range where others were wished for."""
    wished = place in program.wished[name] and (place == 0 or not program.floats.get(name, False))
    if not wished or size == 1:
        return graph_pb2.Axis(fixed=size)
    label = f"fixed_{size}"
    for number, symbol in enumerate(convert.symbols):
        if symbol.name == label:
            return graph_pb2.Axis(symbol=number)
    convert.symbols.append(graph_pb2.SizeSymbol(name=label, least=size, most=size))
    return graph_pb2.Axis(symbol=len(convert.symbols) - 1)


def _symbol(convert: Convert, expression: Any, place: int, name: str, ranges: Mapping[Any, Any]) -> int:
    """The number of a size among the symbols. The first axis of every input is the batch, even where torch sees two."""
    known = convert.known_symbols
    least, most = _range(expression, ranges)
    if place == 0 and most != least:
        most = 0  # a bound of the batch is a choice between kernels, such as that of cdist
    if place == 0 and expression not in known:
        known[expression] = known.setdefault("batch", len(convert.symbols))
    elif expression not in known:
        known[expression] = len(convert.symbols)
    number = known[expression]
    if number == len(convert.symbols):
        label = "batch" if place == 0 else f"{name}.{place}"
        convert.symbols.append(graph_pb2.SizeSymbol(name=label, least=least, most=most))
    symbol = convert.symbols[number]
    symbol.least = max(symbol.least, least)
    symbol.most = min(symbol.most or most, most or symbol.most)
    return number


def _range(expression: Any, ranges: Mapping[Any, Any]) -> tuple[int, int]:
    """Least and most; torch takes sizes of 0 and 1 for constants, which the graph does not."""
    bounds = ranges.get(expression)
    if bounds is None:
        return 0, 0
    low, high = _number(bounds.lower), _number(bounds.upper)
    return 0 if low is None or low <= _RANGE_LEAST else low, 0 if high is None or high >= 1 << 31 else high


def _number(bound: Any) -> int | None:
    return int(bound) if isinstance(bound, int) or getattr(bound, "is_Integer", False) else None
