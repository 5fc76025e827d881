"""Each ATen name on its own: the graph's result and gradients are torch's, at a batch that was not traced."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from graph_cases import CASES, Case
from graph_reference import Reference

from clino import graph
from clino.graph._fold import FOLDS, REFUSED
from clino.graph._fold.complexes import COMPLEX
from clino.v1 import graph_pb2

# Cases that are exported together: an export of each alone would take minutes.
TOGETHER = 12
GROUPS = [CASES[start : start + TOGETHER] for start in range(0, len(CASES), TOGETHER)]


def moved(case: Case, w: Any) -> Any:
    domains = {
        "positive": lambda: w.abs() + 0.2,
        "unit": lambda: 0.8 * torch.tanh(w),
        "above one": lambda: w.abs() + 1.2,
    }
    return domains.get(case.domain, lambda: w)()


class Module(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.cases = cases
        generator = torch.Generator().manual_seed(30)
        drawn = [moved(case, torch.randn(case.weight, generator=generator)) for case in cases]
        self.weights = torch.nn.ParameterList([torch.nn.Parameter(w) for w in drawn])

    def forward(self, x: Any, i: Any) -> Any:
        return {case.name: case.function(w, x, i) for case, w in zip(self.cases, self.weights, strict=True)}


def inputs(batch: int, dtype: Any = torch.float32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, 4, 6, generator=generator)
    return {"x": x.to(dtype), "i": torch.randint(0, 4, (batch, 5), generator=generator)}


def gradient(y: Any, w: Any) -> Any:
    if not y.requires_grad:
        return torch.zeros_like(w)
    pull = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)
    (found,) = torch.autograd.grad(y, w, pull, allow_unused=True, retain_graph=True)
    return torch.zeros_like(w) if found is None else found


@pytest.mark.parametrize("cases", GROUPS, ids=lambda cases: f"{cases[0].name}...{cases[-1].name}".replace(" ", "_"))
def test_operators(cases: list[Case]) -> None:
    module = Module(cases)
    spec = graph_pb2.LossSpec(given=graph_pb2.Given(), output=cases[0].name)
    exported = graph.export(module, inputs(2), loss=spec)
    module = module.double()
    wrong = []
    for batch in (3, 4):
        given = inputs(batch, torch.float64)
        weights = {name: p.detach().clone().requires_grad_(True) for name, p in module.named_parameters()}
        its, mine = module(**given), Reference(exported.model.graph, torch.float64).run(weights, given)
        for case, own, w in zip(cases, module.weights, weights.values(), strict=True):
            y, z = its[case.name].to(torch.float64), mine[case.name].to(torch.float64)
            same = y.shape == z.shape and torch.allclose(y, z, rtol=1e-6, atol=1e-6, equal_nan=True)
            if not same or not torch.allclose(gradient(y, own), gradient(z, w), rtol=1e-6, atol=1e-6):
                wrong.append(case.name)
    assert not wrong


def test_every_core_name_is_folded_or_refused_by_name() -> None:
    names = {schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("aten::")}
    packets = [getattr(torch.ops.aten, name.removeprefix("aten::"), None) for name in names]
    operators = [getattr(packet, overload) for packet in packets if packet for overload in packet.overloads()]
    core = {str(operator) for operator in operators if torch.Tag.core in operator.tags}
    assert len(core) > 180
    missing = core - set(FOLDS) - set(REFUSED) - set(COMPLEX)
    # Sizes, and what torch's own decomposition is used for.
    assert sorted(missing) == ["aten.grid_sampler_2d.default", "aten.sym_numel.default", "aten.sym_size.int"]
    assert not set(FOLDS) & set(REFUSED)
