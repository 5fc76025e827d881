"""Measures clino against PyTorch and candle on this machine, in turns, and writes a report.

Start it by `benches/versus_pytorch`, which sees to PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

import torch
from versus import cases
from versus.bench import FULL, QUICK, Bench
from versus.machine import ROOT, preamble
from versus.networks import full_rows, limit, real_text, small_model
from versus.passes import passes
from versus.report import Report
from versus.whole import whole

INTRODUCTION = """# clino against PyTorch and candle

Single precision on the CPU unless it says bf16. Everybody computes the same loss and the same gradient,
which is checked before anything is timed. Contestants run in turn, round after round; the first round is
dropped, and times are milliseconds, the median (least-most) of the rest. On one thread the ratio is of
processor time, which other programs disturb less, and the wall stands beside it; on more threads it is of
the wall.

PyTorch is eager, with `scaled_dot_product_attention`, one product for query, key and value, inference mode
for the forward, and its default allocator; it is not charged for the norm of the gradient. candle is the
same model over candle's operations, run by `clino bench --network candle`."""

SECTIONS = {"A": full_rows, "B": real_text, "C": small_model, "D": whole, "E": passes, "F": limit}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clino", type=Path, default=ROOT / "target/release/clino", help="the program")
    parser.add_argument("--threads", default="1,2", help="thread counts, each measured [default: 1,2]")
    parser.add_argument("--rounds", type=int, help=f"timed rounds [default: {FULL.rounds}]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.rounds} rounds of less work")
    parser.add_argument("--sections", default="".join(SECTIONS), help="which of them [default: all]")
    parser.add_argument("--out", type=Path, default=ROOT / "benches" / "RESULTS.md", help="the report")
    parser.add_argument("--json", type=Path, help="file for the raw samples")
    options = parser.parse_args()
    if not options.clino.is_file():
        parser.error(f"{options.clino} is not there: cargo build --release")
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {''.join(sorted(unknown))}")
    return options


def main() -> None:
    """Make the cases, run the sections, write the report."""
    options = arguments()
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = dataclasses.replace(effort, rounds=options.rounds)
    program = options.clino.resolve()
    threads = [int(count) for count in options.threads.split(",")]
    report = Report()
    report.say(INTRODUCTION)
    pytorch = f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
    report.say(preamble("benches/versus_pytorch", program, pytorch))
    with tempfile.TemporaryDirectory(prefix="clino-bench-") as name:
        folder = Path(name)
        minilm, nano = cases.minilm(folder / "minilm"), cases.nano(folder / "nano")
        bench = Bench(program, threads, effort, minilm, nano, report)
        for section in options.sections:
            SECTIONS[section](bench)
    report.say(
        f"Load average at the end {os.getloadavg()[0]:.2f}; what is above {max(threads)} was not ours."
    )
    report.write(options.out, options.json)
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
