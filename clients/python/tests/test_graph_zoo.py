"""Small models of many architectures: the graph gives what torch gives, at shapes that were not traced.

A sample by default; all of them with CLINO_ZOO=all, and as a table with graph_compare.py.
"""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from graph_compare import Difference, own_error, worst_of
from graph_zoo import MORE, ZOO, made

from clino import graph

# One of each kind: encoder, decoder with rotary tables, encoder and decoder, experts, vision, convolutions, recurrence.
SAMPLE = ("bert", "llama", "t5", "vit", "unet", "lstm", "segments", "halted", "variational", "attended")
# Models that round to float32 themselves, whatever they are computed in: agreement in f64 is no better.
BAKED = 1e-6
EXACT = 1e-12
SINGLE = 3e-6
ALL = os.environ.get("CLINO_ZOO") == "all"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", [*ZOO, *MORE] if ALL else SAMPLE)
def test_model(name: str) -> None:
    try:
        model, make = made(name)
    except ImportError as error:
        pytest.skip(str(error))
    exported = graph.export(model, make(2, 9))
    double = worst_of(model, exported, make, torch.float64)
    if isinstance(double, Difference):
        assert double.output <= BAKED
        assert double.gradient <= BAKED, double.tensor
        if name in ("bert", "vit", "unet", "lstm", "segments", "halted", "attended"):
            assert double.gradient <= EXACT, double.tensor
    single = worst_of(model, exported, make, torch.float32)
    assert isinstance(single, Difference)
    if single.gradient > SINGLE:
        # A gradient that is zero but for rounding, such as that of a bias before a norm: torch's own is no better.
        assert single.gradient <= 2 * own_error(model, exported, make), single.tensor
