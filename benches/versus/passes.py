"""Section E: passes over the parameters, which are bound by noise or by memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from . import cases
from .bench import FUSED, Bench
from .clino import Clino
from .contest import Contestant, Race, race, timed
from .report import number, spread, table, verdict

SCALE = 0.01
"""Of the noise; no time depends on it."""

PERTURB_TARGET, MOMENTS_TARGET = 7.0, 0.70

ABOUT = """## E. Passes over the parameters

`perturb` writes w + s * noise and makes the noise; `moments` gives sums, squares, distances, the greatest
and what is not finite, of w and of w - w0, in one pass. The share is of the STREAM triad in the same
rounds."""

HEADER = ["parameters", "threads", "clock", "pass", "in PyTorch", "PyTorch ms", "clino ms", "ratio"]
HEADER += ["GB/s", "triad GB/s", "share", "required", "met"]


def perturb_new(weights: Tensor, _: Tensor, out: Tensor) -> None:
    """As it is usually written."""
    torch.add(weights, torch.randn_like(weights).mul_(SCALE), out=out)


def perturb_held(weights: Tensor, noise: Tensor, out: Tensor) -> None:
    """With the noise in a buffer that is already there."""
    torch.add(weights, noise.normal_(), alpha=SCALE, out=out)


def moments(weights: Tensor, start: Tensor, out: Tensor) -> None:
    """Four reductions, the least that PyTorch needs for a part of what clino's pass gives."""
    torch.sub(weights, start, out=out)
    weights.sum()
    torch.linalg.vector_norm(weights)
    torch.linalg.vector_norm(out)
    torch.linalg.vector_norm(out, torch.inf)


Pass = Callable[[Tensor, Tensor, Tensor], None]
PASSES: dict[str, tuple[str, Pass]] = {
    "randn_like": ("perturb", perturb_new),
    "normal_ in place": ("perturb", perturb_held),
    "4 reductions": ("moments", moments),
}
"""Name in PyTorch, clino's name, and how PyTorch does it."""


def compete(bench: Bench, process: Clino, size: int, threads: int) -> Race:
    """All of one size in one race, so that the triad is of the same minute."""
    weights, other, out = (torch.randn(size) for _ in range(3))
    contestants = []
    for name, (_, does) in PASSES.items():
        contestants.append(Contestant(name, partial(timed, partial(does, weights, other, out))))
    for name in ("perturb", "moments", "triad"):
        contestants.append(Contestant(name, partial(process.run, f"{name} {size}")))
    with torch.inference_mode():
        return race(contestants, threads, bench.effort.rounds)


def rows_of(size: int, run: Race) -> list[list[str]]:
    """Each way in PyTorch against clino's pass, and that one against the memory."""
    rows, triad = [], run.rate("triad", "bytes")
    for name, (own, _) in PASSES.items():
        ratio, rate = run.ratio(name, own, run.clock), run.rate(own, "bytes")
        row = [f"{size / 1e6:.0f} M", str(run.threads), run.clock, own, name]
        row += [spread(run.spread(one, run.clock)) for one in (name, own)]
        row += [f"{ratio:.2f}", number(rate / 1e9, ".1f"), number(triad / 1e9, ".1f")]
        row.append(number(rate / triad, ".0%"))
        if own == "moments":
            rows.append(row + verdict(rate / triad, MOMENTS_TARGET, "%"))
        else:
            judged = run.threads == 1 and name == "randn_like"
            rows.append(row + verdict(ratio, PERTURB_TARGET if judged else None))
    return rows


def passes(bench: Bench) -> None:
    """Section E. The model behind the process does not matter."""
    bench.report.say(ABOUT)
    rows = []
    for threads in bench.each_threads():
        with Clino(bench.clino, cases.full(bench.nano), threads, FUSED) as process:
            for size in bench.effort.sizes:
                run = compete(bench, process, size, threads)
                bench.report.keep("E", str(size), "passes", run)
                rows += rows_of(size, run)
    bench.report.say(table(HEADER, rows))
