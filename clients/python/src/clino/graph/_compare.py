"""What the live model says of a few rows of a probe, as the daemon compares it with the graph.

Owns: which rows are taken and how many, the loss of each, the norms of the gradient. May not touch: the live model's
state (that is `_evaluation`'s), how the loss is computed (`_handshake`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clino import _evaluation, _graph_probes, _probes
from clino._graph_probes import Reader
from clino._rows import Evaluation, GraphRows, UncheckedError
from clino.graph import _loss
from clino.graph._handshake import spec_loss
from clino.v1 import graph_pb2, runs_pb2

# Of scores: their gradient, their softmax and its gradient.
_COPIES = 4


@dataclass(frozen=True)
class Question:
    """The loss of `clino.init`, and what the model reads."""

    loss: Any
    reader: Reader
    # Whether all weights are trained, since the graph is that of the merged model.
    merged: bool

    def rows_of(self, groups: Iterable[runs_pb2.ProbeGroup], most: int) -> GraphRows | None:
        """Rows with labels from all over the first group; None where there are none."""
        group = next(iter(groups), None)
        if group is None:
            return None
        arrays = {tensor.spec.name: _probes.array_of(tensor) for tensor in group.probe.tensors}
        labels = {name: arrays[name] for name in _graph_probes.LABELS if name in arrays}
        inputs = {name: array for name, array in arrays.items() if self.reader.reads(name, arrays)}
        examples = _graph_probes.rows_of(arrays)
        if not inputs or any(len(array) != examples for array in (*inputs.values(), *labels.values())):
            return None  # the daemon says what is wrong with it
        counted = np.flatnonzero(self._counted(next(iter(labels.values()))))
        places = sorted({int(counted[index * len(counted) // most]) for index in range(most) if len(counted)})
        if not places:
            return None
        return GraphRows(
            group.name,
            tuple(places),
            {name: array[places] for name, array in inputs.items()},
            {name: array[places] for name, array in labels.items()},
        )

    def evaluate(self, model: Any, rows: GraphRows) -> Evaluation:
        """Losses and norms; without the norms where memory is short for them, or the forward has no gradient."""
        module = _evaluation.unwrapped(model)
        need = [_need(module, rows, gradient) for gradient in (True, False)]
        first = next(module.parameters(), None)
        room = None if first is None else _evaluation.room_on(first.device)
        while len(rows.places) > 1 and room is not None and room < need[1]:
            rows = _half(rows)
            need = [_need(module, rows, gradient) for gradient in (True, False)]
        try:
            return _evaluation.most_precise(module, need[0], lambda target: self._evaluated(module, rows, target, True))
        except Exception:  # such as a kernel without a backward
            pass
        return _evaluation.most_precise(module, need[1], lambda target: self._evaluated(module, rows, target, False))

    def _counted(self, labels: Any) -> Any:
        """Which rows have a label that counts, beyond the first position, which a shift leaves out."""
        if self.reader.ignored is None or labels.dtype.kind not in "iu":
            return np.ones(len(labels), np.bool_)
        counts = labels != self.reader.ignored
        counts = counts[:, 1:] if counts.ndim == 2 and counts.shape[1] > 1 else counts
        return counts.reshape(len(labels), -1).any(1)

    def _evaluated(self, module: Any, rows: GraphRows, target: torch.dtype | None, gradient: bool) -> Evaluation:
        state = {} if target is None and not self.merged else _evaluation.converted(module, target)
        leaves = self._leaves(module, state) if gradient else {}
        given = next(p for p in module.parameters() if p.is_floating_point())
        inputs = {name: _tensor(array, given, target) for name, array in rows.columns.items()}
        labels = {name: _tensor(array, given, target) for name, array in rows.labels.items()}
        wanted = _loss.loss_of(module, self.loss, labels)
        formats = _evaluation.Formats()
        with torch.set_grad_enabled(gradient):
            with formats:
                outputs = wanted.outputs(_evaluation.called(module, state, (), inputs), labels)
            spec = wanted.finished(outputs)
            _check_classes(spec, outputs, rows.labels)
            value = spec_loss(spec, outputs, labels)
        norms = _norms(value, leaves)
        places, losses = _by_row(spec, outputs, labels, rows.places)
        return Evaluation(losses, _evaluation.format_of(formats.least), None, places, norms)

    def _leaves(self, module: Any, state: dict[str, Any]) -> dict[str, Any]:
        """What the gradient is taken of."""
        trained = [
            (name, parameter)
            for name, parameter in module.named_parameters()
            if parameter.is_floating_point() and (parameter.requires_grad or self.merged)
        ]
        if not state:
            return dict(trained)
        return {name: state[name].requires_grad_(True) for name, _ in trained}


def _tensor(array: Any, given: Any, target: torch.dtype | None) -> torch.Tensor:
    if array.dtype == np.bool_:
        return torch.from_numpy(np.array(array)).to(given.device)
    return _evaluation.tensor_of(array, given, target)


def _check_classes(spec: graph_pb2.LossSpec, outputs: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """A GPU that meets a label without a class is lost to the trainer."""
    if spec.WhichOneof("kind") != "cross_entropy":
        return
    kind, scores, target = spec.cross_entropy, outputs[spec.output or "logits"], _target(spec, labels)
    classes = scores.shape[1 if kind.classes_first else -1]
    counted = target[target != kind.ignore_index] if kind.HasField("ignore_index") else target
    if counted.size and not 0 <= counted.min() <= counted.max() < classes:
        worst = counted.min() if counted.min() < 0 else counted.max()
        raise UncheckedError(
            f"its forward gives {classes} classes, and the probe has label {worst}",
            f"labels are from 0 to {classes - 1}, and those that do not count are the loss's ignore_index",
        )


def _target(spec: graph_pb2.LossSpec, labels: Mapping[str, Any]) -> Any:
    return labels[spec.labels] if spec.labels in labels else next(iter(labels.values()))


def _norms(value: Any, leaves: Mapping[str, Any]) -> dict[str, float]:
    if not leaves:
        return {}
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {
        name: 0.0 if gradient is None else float(gradient.detach().double().norm())
        for name, gradient in zip(leaves, found, strict=True)
    }


def _by_row(
    spec: graph_pb2.LossSpec, outputs: Mapping[str, Any], labels: Mapping[str, Any], places: tuple[int, ...]
) -> tuple[tuple[int, ...], list[float]]:
    """The mean loss over the units of each row that has some; what is added for the whole batch is left out."""
    alone = graph_pb2.LossSpec()
    alone.CopyFrom(spec)
    del alone.auxiliary[:]
    kept, losses = [], []
    for row, place in enumerate(places):
        mine = {name: given[row : row + 1] for name, given in labels.items()}
        if not _has_units(alone, mine):
            continue
        cut = {name: given[row : row + 1] for name, given in outputs.items() if given.dim()}
        with torch.no_grad():
            losses.append(float(spec_loss(alone, cut, mine)))
        kept.append(place)
    return tuple(kept), losses


def _has_units(spec: graph_pb2.LossSpec, labels: Mapping[str, Any]) -> bool:
    kind = spec.cross_entropy
    if spec.WhichOneof("kind") != "cross_entropy" or not kind.HasField("ignore_index"):
        return True
    target = _target(spec, labels)
    counted = target[:, kind.shift :] if kind.shift else target
    return bool((counted != kind.ignore_index).any())


def _need(module: Any, rows: GraphRows, gradient: bool) -> int:
    """Bytes that an evaluation takes beside a copy of the parameters, roughly."""
    widest = max((parameter.shape[0] for parameter in module.parameters() if parameter.dim()), default=1)
    tokens = max((array.shape[1] for array in rows.columns.values() if array.ndim == 2), default=1)
    scores = _COPIES * 4 * widest * tokens * len(rows.places)
    attention = _evaluation.PAIR * tokens * tokens * len(rows.places)
    trained = sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
    return _evaluation.LEAST_ROOM + scores + attention + (trained if gradient else 0)


def _half(rows: GraphRows) -> GraphRows:
    count = (len(rows.places) + 1) // 2
    return GraphRows(
        rows.group,
        rows.places[:count],
        {name: array[:count] for name, array in rows.columns.items()},
        {name: array[:count] for name, array in rows.labels.items()},
    )
