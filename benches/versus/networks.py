"""Sections A, B, C and F: forward and backward through the network, and how near that is to the limit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import torch

from . import cases
from .bench import BF16, CANDLE, CLINO, FUSED, TORCH, Bench
from .cases import Case
from .clino import Clino
from .contest import Contestant, Race, Sample, race, timed, total
from .files import read_config
from .network import Batch, Network, forward_flops, norm, read_batch
from .report import number, spread, table, verdict

WORKS = {"forward": "forward", "backward": "forward + backward"}
"""What clino calls it, and what the tables do."""

LOSS_TOLERANCE, NORM_TOLERANCE = 1e-4, 1e-3
MODEL_TARGETS = {"forward": 2.3, "backward": 2.0}
TEXT_TARGETS = {"forward": 3.0, "backward": 3.0}
PEAK_TARGET = 0.75

HEADER = ["case", "threads", "work", "clock", TORCH, BF16, CANDLE, CLINO]
HEADER += ["PyTorch / clino", "candle / clino", "required", "met"]
LIMIT_HEADER = ["case", "threads", "clock", "work", "Gflop done", "whole rows", "GFLOP/s", "gemm alone"]
LIMIT_HEADER += ["peak", "of gemm", "of peak", "required", "met"]

TEXT = """## B. MiniLM-L6 shape, real text of unequal lengths

Sentences of `examples/data/emoji8/test.tsv` in seventeen languages and random order, cut into pieces by the
tokenizer in `examples/data/nano`, truncated to 64, each batch of 32 padded to its longest. PyTorch gets the
padded batch and its mask. Milliseconds for all batches."""

LIMIT = """## F. How near the limit

Operations are 2 m n k of every product, as clino counts those that it does: in the last layer only the
first token goes through what follows the attention, since nothing else is read. Beside it what whole rows
take, which is what PyTorch does: B (layers (L (8 h² + 4 h i) + 4 L² h) + 2 h² + 2 h C), three times that
with the backward pass. The peak is a loop of multiply-adds on one thread, times the threads."""


class Torch:
    """PyTorch as a contestant over the batches of a case."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.network = Network.load(case.folder, dtype)
        self.batches = [read_batch(path) for path in case.batches]

    def run(self, work: str) -> Sample:
        """One sample of `forward` or `backward`."""
        does: Callable[[Batch], float | None] = self._forward if work == "forward" else self._backward
        return total([timed(partial(does, batch)) for batch in self.batches])

    def results(self) -> dict[str, list[float]]:
        """Loss and norm of the gradient of every batch."""
        norms = [norm(self.network.gradients(batch)) for batch in self.batches]
        return {"forward": [self._forward(batch) for batch in self.batches], "backward": norms}

    def _forward(self, batch: Batch) -> float:
        with torch.inference_mode():
            return self.network.loss(batch).item()

    def _backward(self, batch: Batch) -> None:
        self.network.gradients(batch)


def agree(case: Case, expected: dict[str, list[float]], name: str, process: Clino) -> None:
    """Stop unless clino computes the same thing: to be faster at another one is worth nothing."""
    for work, values in expected.items():
        what = "loss" if work == "forward" else "norm of the gradient"
        for batch, want, sample in zip(case.batches, values, process.each(work), strict=True):
            allowed = LOSS_TOLERANCE if work == "forward" else NORM_TOLERANCE * want
            if not abs(sample.result - want) <= allowed:
                raise SystemExit(
                    f"{case.title}, {batch.name}: the {what} is {sample.result} by {name} and {want} by "
                    f"PyTorch, which is more than {allowed:.1e} apart; what differs is not compared"
                )


def both_works(bench: Bench, case: Case, threads: int) -> dict[str, Race]:
    """Forward, and forward and backward, by all four."""
    single, half = Torch(case, torch.float32), Torch(case, torch.bfloat16)
    expected = single.results()
    with contextlib.ExitStack() as stack:
        fused = stack.enter_context(Clino(bench.clino, case, threads, FUSED))
        candle = stack.enter_context(Clino(bench.clino, case, threads, "candle"))
        agree(case, expected, CLINO, fused)
        agree(case, expected, CANDLE, candle)
        runners: dict[str, Torch | Clino] = {TORCH: single, CLINO: fused, BF16: half, CANDLE: candle}

        def contestants(work: str) -> list[Contestant]:
            return [Contestant(name, partial(one.run, work)) for name, one in runners.items()]

        rounds, repeats = bench.effort.rounds, bench.repeats(case)
        return {work: race(contestants(work), threads, rounds, repeats) for work in WORKS}


def rows_of(case: Case, work: str, run: Race, target: float) -> list[list[str]]:
    """The clock that is judged, and on one thread the wall as well."""
    rows = []
    for clock in dict.fromkeys((run.clock, "wall")):
        ratio = run.ratio(TORCH, CLINO, clock)
        row = [case.title, str(run.threads), WORKS[work], clock]
        row += [spread(run.spread(name, clock)) for name in (TORCH, BF16, CANDLE, CLINO)]
        row += [f"{ratio:.2f}", f"{run.ratio(CANDLE, CLINO, clock):.2f}"]
        rows.append(row + verdict(ratio, target if clock == run.clock else None))
    return rows


def compare(bench: Bench, section: str, chosen: list[tuple[Case, dict[str, float]]]) -> None:
    """A table of cases, each with the ratios that are asked of it."""
    rows = []
    for case, targets in chosen:
        for threads in bench.each_threads():
            for work, run in both_works(bench, case, threads).items():
                bench.report.keep(section, case.name, work, run)
                rows += rows_of(case, work, run, targets[work])
    bench.report.say(table(HEADER, rows))


def full_rows(bench: Bench) -> None:
    """Section A."""
    bench.report.say("## A. MiniLM-L6 shape, full rows\n\nMilliseconds for one batch.")
    compare(bench, "A", [(cases.full(bench.minilm), MODEL_TARGETS)])


def real_text(bench: Bench) -> None:
    """Section B."""
    bench.report.say(TEXT)
    compare(bench, "B", [(cases.real(bench.minilm, bench.effort.groups), TEXT_TARGETS)])


def small_model(bench: Bench) -> None:
    """Section C."""
    bench.report.say(
        "## C. The nano model of the examples\n\nFull rows, and the sentences of B truncated to 24."
    )
    text = cases.real(bench.nano, bench.effort.groups)
    compare(bench, "C", [(cases.full(bench.nano), MODEL_TARGETS), (text, TEXT_TARGETS)])


def limit_rows(case: Case, run: Race) -> list[list[str]]:
    """Rates of clino's network against what the machine can do."""
    peak, products = run.rate("fma", "flops") * run.threads, run.rate("gemm", "flops")
    whole = forward_flops(read_config(case.folder), *read_batch(case.batches[0]).ids.shape)
    rows = []
    for work, label in WORKS.items():
        rate, done = run.rate(work, "flops"), run.samples[work][-1].flops
        every = whole if work == "forward" else 3 * whole
        row = [case.title, str(run.threads), run.clock, label]
        row += [number(value / 1e9, ".1f") for value in (done, every)]
        row += [number(value / 1e9, ".0f") for value in (rate, products, peak)]
        row += [number(rate / limit, ".0%") for limit in (products, peak)]
        rows.append(row + verdict(rate / peak, PEAK_TARGET if run.threads == 1 else None, "%"))
    return rows


def limit(bench: Bench) -> None:
    """Section F."""
    bench.report.say(LIMIT)
    case, rows = cases.full(bench.minilm), []
    for threads in bench.each_threads():
        with Clino(bench.clino, case, threads, FUSED) as process:
            works = [*WORKS, "gemm", "fma"]
            contestants = [Contestant(work, partial(process.run, work)) for work in works]
            run = race(contestants, threads, bench.effort.rounds)
        bench.report.keep("F", case.name, "rates", run)
        rows += limit_rows(case, run)
    bench.report.say(table(LIMIT_HEADER, rows))
