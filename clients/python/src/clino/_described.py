"""The model of a run as its trainer has it: a torch module whose graph is made while the training begins.

Owns: what is asked of the exporter, and what goes to the daemon where there is no graph. May not touch: the network,
the live model. Imported only where a module is given, since it needs torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from clino import _graph_cache, _graph_probes, _tensors, _whole
from clino._evaluation import unwrapped
from clino._exporting import Export, Outcome
from clino._graph_probes import Reader
from clino.graph import _loss, _twin
from clino.graph._compare import Question
from clino.v1 import graph_pb2, runs_pb2, types_pb2

SPACES = ("adapter", "merged")
# Bytes of a graph: a message of the daemon holds 4 MiB, and there is more in it.
MOST = (4 << 20) - (256 << 10)
_NO_GRAPH = "measures of the weights work, and readings of all others are unavailable"


class Described:
    """A module, its loss, and its graph once that is made."""

    def __init__(self, model: Any, loss: Any, space: str) -> None:
        if space not in SPACES:
            raise ValueError(f"space: found {space!r}, expected 'adapter' or 'merged'")
        self._module = unwrapped(model)
        _whole.check_module(self._module)
        self._loss, self._space = loss, space
        self._reader = Reader.of(self._module, loss)
        # What the live modules of the run are compared by.
        self.question = Question(loss, self._reader, space == "merged")
        # The graph on its way; None where there are no examples to make it with, or it was made before.
        self._export: Export | None = None
        self._key: bytes | None = None
        self._known: Outcome | None = None

    def groups(self, probes: Any) -> tuple[list[runs_pb2.ProbeGroup], list[str]]:
        """Probes for it, and what was left out of them; without probes none."""
        if probes is None:
            return [], []
        found = _graph_probes.groups(probes, self._module, self._reader)
        if self._loss is not None:
            # A loss that is none is a mistake; what the head of the model has may still be one that is not known.
            _loss.loss_of(self._module, self._loss, _graph_probes.examples(found[0][0], self._reader))
        return found

    def begin(self, groups: list[runs_pb2.ProbeGroup]) -> None:
        """Begin to export it, with examples of the first group."""
        if not groups:
            return
        examples = _graph_probes.examples(groups[0], self._reader)
        self._key = _graph_cache.key_of(self._module, examples, self._loss, self._space)
        self._known = _graph_cache.found(self._module, self._key)
        if self._known is not None:
            return
        module, loss = _twin.stand_in(self._module), _on_cpu(self._loss)

        def job() -> Outcome:
            from clino.graph import export

            made = export(module, examples, loss, space=self._space)
            return Outcome(made.model, None, made.remarks)

        self._export = Export(job)

    def complete(
        self, request: runs_pb2.OpenRunRequest, stopped: Callable[[], bool], remark: Callable[[str], None]
    ) -> None:
        """Put the graph into the request once it is made, or the names and shapes of the tensors."""
        if self._known is not None:
            found = self._known
        elif self._export is None:
            found = Outcome(None, "no probes are given, and a graph is made with examples of them")
        else:
            found = _fitting(self._export.outcome(stopped))
        if stopped():
            return
        if found.model is None:
            request.model.tensors.CopyFrom(tensors_of(self._module))
            for group in request.groups:
                del group.probe.tensors[:]  # none is read
            remark(f"the model is not measured as a graph: {found.error}; {_NO_GRAPH}")
            return
        _graph_cache.keep(self._module, self._key, found)
        request.model.CopyFrom(found.model)
        for said in (*found.remarks, *_prune(request)):
            remark(said)


def _fitting(found: Outcome) -> Outcome:
    size = 0 if found.model is None else found.model.ByteSize()
    if size <= MOST:
        return found
    advice = "register large constants as buffers of floats, which snapshots bring"
    return Outcome(None, f"its graph takes {size} bytes, expected at most {MOST}: {advice}")


def tensors_of(module: Any) -> graph_pb2.TensorList:
    """The tensors of a module as snapshots bring them: floating-point numbers, without buffers that are not kept."""
    found = graph_pb2.TensorList()
    first: dict[int, str] = {}
    skipped = {
        id(part._buffers[name])
        for part in module.modules()
        for name in part._non_persistent_buffers_set
        if part._buffers.get(name) is not None
    }
    for name, tensor in _whole.tensors_of(module):
        dtype = _tensors.dtype_of(str(tensor.dtype).removeprefix("torch."))
        if dtype is None or id(tensor) in skipped:
            continue
        alias = first.setdefault(id(tensor), name)
        found.tensors.append(_tensor(name, tensor, dtype, "" if alias == name else alias))
    return found


def _tensor(name: str, tensor: Any, dtype: types_pb2.Dtype, alias: str) -> graph_pb2.GraphTensor:
    kind = graph_pb2.GraphTensor.KIND_BUFFER
    if isinstance(tensor, torch.nn.Parameter):
        trained = tensor.requires_grad
        kind = graph_pb2.GraphTensor.KIND_PARAM if trained else graph_pb2.GraphTensor.KIND_FROZEN
    return graph_pb2.GraphTensor(name=name, kind=kind, shape=list(tensor.shape), dtype=dtype, alias_of=alias)


def _prune(request: runs_pb2.OpenRunRequest) -> list[str]:
    """Leave out columns that the graph does not read, and say which; labels are read by the loss."""
    graph, loss = request.model.graph, request.model.loss
    read = {given.name for given in graph.inputs}
    if loss.WhichOneof("kind") != "given":
        read.add(loss.labels or "labels")
    said: dict[str, list[str]] = {}
    for group in request.groups:
        for tensor in [tensor for tensor in group.probe.tensors if tensor.spec.name not in read]:
            said.setdefault(tensor.spec.name, []).append(group.name)
            group.probe.tensors.remove(tensor)
    names = ", ".join(sorted(read))
    return [
        f"column {column!r} of {', '.join(map(repr, groups))} is left out: the graph reads {names}"
        for column, groups in said.items()
    ]


def _on_cpu(loss: Any) -> Any:
    """A loss with its weights where a forked process can read them."""
    if not isinstance(loss, torch.nn.Module):
        return loss
    held = [*loss.parameters(), *loss.buffers()]
    return loss if all(tensor.device.type == "cpu" for tensor in held) else copy.deepcopy(loss).cpu()
