"""A graph beside the module that it was made of: outputs, and the gradient of every tensor.

As a script it prints a table: python tests/graph_compare.py [--more] [NAME...]
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from graph_reference import Reference

from clino import graph
from clino.graph._loss import main_of

# A tensor whose gradient is smaller than this part of the whole is compared with that.
FLOOR = 1e-4
SHAPES = ((3, 7), (1, 5), (4, 3))


@dataclass(frozen=True)
class Difference:
    """Relative errors: of the output, and of the tensor whose gradient is worst."""

    output: float
    gradient: float
    tensor: str


def tensors_of(model: Any) -> dict[str, Any]:
    """What a snapshot holds, detached."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def compared(model: Any, exported: graph.Exported, inputs: dict[str, Any], dtype: torch.dtype) -> Difference:
    """Both in one precision, pulled by the same numbers."""
    model = copy.deepcopy(model).to(dtype)
    given = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    wanted = main_of(model(**given))
    generator = torch.Generator().manual_seed(1)
    pull = torch.randn(wanted.shape, generator=generator, dtype=torch.float64).to(dtype)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    truth = _gradients(wanted, trained, pull)

    tensors = tensors_of(model)
    leaves = {t.name: tensors[t.name].requires_grad_(True) for t in exported.model.graph.tensors if _is_leaf(t)}
    assert leaves.keys() == trained.keys()
    found = Reference(exported.model.graph, dtype).run(tensors, given)["logits"].reshape(wanted.shape)
    mine = _gradients(found, leaves, pull)

    whole = sum(float(g.double().norm()) ** 2 for g in truth.values()) ** 0.5
    worst, at = 0.0, ""
    for name, its in truth.items():
        scale = max(float(its.double().norm()), FLOOR * whole, 1e-300)
        error = float((mine[name].double() - its.double()).norm()) / scale
        if not error <= worst:
            worst, at = error, name
    output = float((found - wanted).detach().double().norm() / wanted.detach().double().norm())
    return Difference(output, worst, at)


def own_error(model: Any, exported: graph.Exported, make: Any) -> float:
    """How far torch's own gradients in f32 are from those in f64, tensor by tensor as in `compared`."""
    worst = 0.0
    for batch, length in shapes_of(exported, 9):
        torch.manual_seed(5)
        inputs, found = make(batch, length), []
        for dtype in (torch.float32, torch.float64):
            twin = copy.deepcopy(model).to(dtype)
            given = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
            output = main_of(twin(**given))
            generator = torch.Generator().manual_seed(1)
            pull = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(dtype)
            trained = {name: p for name, p in twin.named_parameters() if p.requires_grad}
            found.append(_gradients(output, trained, pull))
        whole = sum(float(g.double().norm()) ** 2 for g in found[1].values()) ** 0.5
        for name, its in found[1].items():
            scale = max(float(its.norm()), FLOOR * whole, 1e-300)
            worst = max(worst, float((found[0][name].double() - its).norm()) / scale)
    return worst


def _is_leaf(tensor: Any) -> bool:
    return tensor.kind == tensor.KIND_PARAM and not tensor.alias_of


def _gradients(output: Any, leaves: dict[str, Any], pull: Any) -> dict[str, Any]:
    found = torch.autograd.grad(output, list(leaves.values()), pull, allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {name: torch.zeros_like(leaf) if g is None else g for (name, leaf), g in pairs}


def shapes_of(exported: graph.Exported, length: int) -> tuple[tuple[int, int], ...]:
    """Batches and lengths to try: not the traced ones, except a length that is the only one."""
    fixed = any(s.least == s.most == length for s in exported.model.graph.symbols)
    return tuple((batch, length) for batch, _ in SHAPES) if fixed else SHAPES


def worst_of(model: Any, exported: graph.Exported, make: Any, dtype: torch.dtype) -> Difference | str:
    """The worst difference over all shapes, or why there is none."""
    found = Difference(0.0, 0.0, "")
    for batch, length in shapes_of(exported, 9):
        torch.manual_seed(5)
        try:
            one = compared(model, exported, make(batch, length), dtype)
        except RuntimeError as error:
            if "Double" in str(error):
                return "torch has no such kernel"
            raise
        if not one.gradient <= found.gradient:
            found = Difference(max(found.output, one.output), one.gradient, one.tensor)
    return found


def row(name: str) -> str:
    """One line of the table."""
    import graph_zoo

    model, make = graph_zoo.made(name)
    started = time.process_time()
    try:
        exported = graph.export(model, make(2, 9))
    except graph.ExportError as error:
        return f"| {name} | refused: {str(error)[:160]} | | | | | |"
    seconds, report = time.process_time() - started, exported.report()
    cells = []
    for dtype in (torch.float64, torch.float32):
        found = worst_of(model, exported, make, dtype)
        cells.append(found if isinstance(found, str) else f"{found.output:.0e} / {found.gradient:.0e}")
    fixed = any(symbol.least and symbol.least == symbol.most for symbol in exported.model.graph.symbols)
    sizes = "one length" if fixed else "any"
    counts = f"{report['nodes']} | {len(report['operators'])} | {report['bytes']} | {seconds:.1f}"
    return f"| {name} | {sizes} | {counts} | {cells[0]} | {cells[1]} |"


def main() -> None:
    """Print the table of the models that are named, or of all."""
    import graph_zoo

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    names = names or list(graph_zoo.MORE if "--more" in sys.argv else graph_zoo.ZOO)
    print("| model | sizes | nodes | operators | bytes | seconds | f64: output / gradient | f32: output / gradient |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        try:
            print(row(name), flush=True)
        except Exception as error:  # the next ones are tried all the same
            print(f"| {name} | failed: {type(error).__name__} {str(error)[:200]!r} |", flush=True)


if __name__ == "__main__":
    main()
