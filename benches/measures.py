"""What every measure of the catalogue costs: planned, counted and timed. Start it by `benches/measures`.

A model is measured several times in one process, as snapshots of a run would be: the first time by the plan that
`OpenRun` gives, then by what was counted and timed before. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from versus import cases, files
from versus.machine import ROOT, environment, preamble

COSTLY = {
    "hessian_top",
    "hessian_trace",
    "hessian_density",
    "worst_case",
    "keskar",
    "pac_bayes",
    "landscape",
}
"""Curvature, long ascents and landscapes: what does not belong beside every snapshot."""

INTRODUCTION = """# What measures cost

`F` is a forward over the probe, `B` a backward, `P` a pass over all parameters; `F + B` is the unit in
which a backward counts as two forwards. Every measure runs with its defaults, in the order of the plan, so
that what is shared stands where it was first made. *Planned* is what `OpenRun` answers; *first* and
*then* are what was counted on the first snapshot of a run and on one that follows, where searches begin
where the last one ended; *predicted* is what the snapshot before lets expect, in seconds."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A model with the files of one snapshot."""

    title: str
    config: Path
    snapshot: Path
    init: Path
    previous: Path
    probe: Path


def nano() -> Subject:
    """The nano BERT of the examples, fine-tuned: a golden case."""
    model, case = ROOT / "examples/data/nano", ROOT / "tests/cases/nano"
    return Subject(
        "nano, 64 sentences",
        model / "config.json",
        case / "run1.safetensors",
        model / "init.safetensors",
        case / "run2.safetensors",
        case / "probe.safetensors",
    )


def minilm(folder: Path) -> Subject:
    """A network of MiniLM-L6's shape with drawn weights, a batch of 32 x 64; it has moved a little."""
    model = cases.minilm(folder)
    case = cases.full(model)
    weights, random = files.read(case.snapshot), np.random.default_rng(5)
    for name, size in [("init", 2e-3), ("previous", 1e-3)]:
        moved = {
            key: value + random.standard_normal(value.shape, dtype=np.float32) * np.float32(size)
            for key, value in weights.items()
        }
        files.write(folder / f"{name}.safetensors", moved)
    before = folder / "init.safetensors", folder / "previous.safetensors"
    return Subject(case.title, case.config, case.snapshot, *before, case.batches[0])


def measure(program: Path, subject: Subject, measures: list[str], *more: str) -> Record:
    """What `clino measure` answers."""
    command = [program, "measure", "--format", "json", "--precision", "f32", *more]
    command += ["--config", subject.config, "--snapshot", subject.snapshot, "--init", subject.init]
    command += ["--previous", subject.previous, "--probe", subject.probe, "--measure", *measures]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    record: Record = json.loads(answer.stdout)
    return record


def units(work: Record) -> float:
    """In F + B."""
    return float(work["forwards"] + 2 * work["backwards"]) / 3


def shown(work: Record) -> str:
    """Counts of forwards, backwards, passes."""
    return f"{work['forwards']:.1f} F {work['backwards']:.1f} B {work['passes']:.0f} P"


def own(record: Record) -> dict[str, Record]:
    """The reading of the group by measure; the pooled one repeats it."""
    return {reading["measure"]: reading for reading in record["readings"] if reading["group"] != "pooled"}


def rows(planned: Record, first: Record | None, then: Record) -> list[str]:
    """A row for each measure."""
    cold, warm = own(first) if first else {}, own(then)
    lines = []
    for line, later in zip(planned["plan"], then["plan"], strict=True):
        name, predicted, took = line["measure"], later["seconds"], warm[line["measure"]]["seconds"]
        ratio = f"{took / predicted:.2f}" if predicted > 1e-3 else ""
        counts = [shown(line["work"]), shown(cold[name]["work"]) if cold else "", shown(warm[name]["work"])]
        unit = units(warm[name]["work"])
        lines.append(
            f"| `{name}` | {' | '.join(counts)} | {unit:.1f} | {predicted:.3f} | {took:.3f} | {ratio} |"
        )
    return lines


def total(title: str, record: Record) -> str:
    """What all measures of a record take together."""
    readings = own(record).values()
    work, seconds = sum(units(r["work"]) for r in readings), sum(r["seconds"] for r in readings)
    gradient = own(record)["gradient_norm"]["seconds"]
    return (
        f"All but {', '.join(sorted(COSTLY))}, {title}: {work:.1f} F + B, {seconds:.2f} s; "
        f"the gradient at w0, which is one of them: {gradient:.3f} s."
    )


def section(program: Path, subject: Subject, names: list[str]) -> str:
    """The table of one model. What is costly is not measured a third time."""
    cheap, costly = ([name for name in names if (name in COSTLY) == wanted] for wanted in (False, True))
    # In no time nothing is measured, and the plan is that of a run that opens.
    plans = [measure(program, subject, some, "--budget", "1e-9") for some in (cheap, costly)]
    first, then = (measure(program, subject, cheap, "--repeat", times) for times in ("1", "3"))
    long = measure(program, subject, costly, "--repeat", "2")
    lines = [
        f"## {subject.title}\n",
        "| measure | planned | first | then | F + B, then | predicted s | took s | took / predicted |",
        "|---|---|---|---|---|---|---|---|",
        *rows(plans[0], first, then),
        *rows(plans[1], None, long),
        "\n" + total("on the first snapshot", first),
        "\n" + total("on one that follows", then),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure the subjects and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clino", type=Path, default=ROOT / "target/release/clino", help="the program")
    parser.add_argument("--quick", action="store_true", help="the nano model alone")
    parser.add_argument("--out", type=Path, default=ROOT / "benches" / "MEASURES.md", help="the report")
    options = parser.parse_args()
    program = options.clino.resolve()
    catalogue = subprocess.run(
        [program, "measures", "--format", "json"], capture_output=True, check=True, env=environment()
    )
    names = [info["name"] for info in json.loads(catalogue.stdout)]
    parts = [INTRODUCTION, preamble("benches/measures", program)]
    with tempfile.TemporaryDirectory(prefix="clino-bench-") as folder:
        subjects = [nano()] if options.quick else [nano(), minilm(Path(folder) / "minilm")]
        for subject in subjects:
            parts.append(section(program, subject, names))
    options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
