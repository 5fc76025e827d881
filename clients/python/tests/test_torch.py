from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_tensors import copied

from clino import _tensors
from clino.v1 import types_pb2

torch = pytest.importorskip("torch", reason="torch is not installed")


def test_a_module_gives_its_state_with_ties_once() -> None:
    class Tied(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.norm = torch.nn.BatchNorm1d(3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embedding.weight

    model = Tied()
    plan, found = copied(model)
    assert [(alias.name, alias.target) for alias in plan.aliases] == [("head.weight", "embedding.weight")]
    assert set(found) == {"embedding.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}
    assert found["embedding.weight"].tobytes() == model.embedding.weight.detach().numpy().tobytes()


def test_bfloat16_is_sent_bit_for_bit() -> None:
    tensor = torch.tensor([1.0, -3.5, 1e-30, float("nan")], dtype=torch.bfloat16)
    plan, found = copied({"w": tensor})
    assert plan.specs()[0].dtype == types_pb2.DTYPE_BF16
    assert found["w"].tobytes() == tensor.view(torch.int16).numpy().tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_other_floats_too(dtype: str) -> None:
    tensor = torch.linspace(-1, 1, 6, dtype=getattr(torch, dtype)).reshape(2, 3).T
    _, found = copied({"w": tensor, "scalar": tensor.sum()})
    assert found["w"].tobytes() == np.ascontiguousarray(tensor.numpy()).tobytes()


def test_the_copy_does_not_follow_training() -> None:
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().numpy().copy()
    _, found = copied(model)
    with torch.no_grad():
        model.weight.add_(1.0)
    assert found["weight"].tobytes() == before.tobytes()


def refused() -> list[Any]:
    return [
        (torch.zeros(2).to_sparse(), "sparse or meta"),
        (torch.zeros(2, device="meta"), "sparse or meta"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "found dtype float8_e4m3fn"),
        (torch.zeros(2, dtype=torch.complex64), "found dtype complex64"),
    ]


@pytest.mark.parametrize("index", range(4))
def test_what_cannot_be_sent_is_named(index: int) -> None:
    tensor, words = refused()[index]
    with pytest.raises(TypeError, match=f"w: .*{words}"):
        _tensors.plan({"w": tensor})
