"""Tables in Markdown, the machine they were taken on, and the raw samples."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .contest import Race, Sample, Spread

ROOT = Path(__file__).parents[2]
VECTORS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


@dataclass
class Report:
    """Everything that is told, in the order in which it was found out."""

    parts: list[str] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a paragraph or a table, and print it."""
        self.parts.append(text)
        print(f"{text}\n", flush=True)

    def keep(self, section: str, case: str, work: str, run: Race) -> None:
        """Raw samples of a race."""
        samples = {name: [known(sample) for sample in taken] for name, taken in run.samples.items()}
        self.keep_raw(section, case, work, run.threads, samples)

    def keep_raw(self, section: str, case: str, work: str, threads: int, samples: dict[str, Any]) -> None:
        """Raw numbers of any kind."""
        self.raw.append(
            {"section": section, "case": case, "work": work, "threads": threads, "samples": samples}
        )

    def write(self, document: Path, raw: Path | None) -> None:
        """The document, and the samples if somebody wants them."""
        document.write_text("\n\n".join(self.parts) + "\n", encoding="utf-8")
        if raw:
            raw.write_text(json.dumps(self.raw, indent=1), encoding="utf-8")


def known(sample: Sample) -> dict[str, float]:
    """Its numbers by name, without those that nobody told, which JSON has no word for."""
    return {name: value for name, value in asdict(sample).items() if not math.isnan(value)}


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns aligned, so that it reads as well in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def milliseconds(seconds: float) -> str:
    """Three digits or so."""
    value = seconds * 1e3
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(taken: Spread) -> str:
    """The median, and the extremes behind it."""
    return f"{milliseconds(taken.middle)} ({milliseconds(taken.low)}-{milliseconds(taken.high)})"


def number(value: float, form: str) -> str:
    """A dash where nothing is known."""
    return "-" if math.isnan(value) else format(value, form)


def verdict(value: float, required: float | None, unit: str = "x") -> list[str]:
    """The two last columns: what is asked for, and whether it is there."""
    if required is None:
        return ["", ""]
    if math.isnan(value):
        raise SystemExit(f"a ratio of at least {required} is asked for, but clino did not tell what it takes")
    return [f"{required:.0%}" if unit == "%" else f"{required:g}x", "yes" if value >= required else "**no**"]


# --- the machine


def first_line(command: list[str]) -> str:
    """What a program says of itself; a dash if there is none."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return done.stdout.partition("\n")[0].strip()


def processor() -> list[str]:
    """Model, cores, caches and vector instructions, as Linux tells them."""
    entries = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    about = {key.strip(): value.strip() for key, _, value in reversed(entries) if key.strip()}
    flags = about.get("flags", about.get("Features", "")).split()
    caches = []
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / part).read_text().strip() for part in ("level", "type", "size"))
        caches.append(f"L{level} {kind.lower()} {size}")
    model = about.get("model name", platform.machine())
    identity = ", ".join(f"{key} {about[key]}" for key in ("cpu family", "model") if key in about)
    vectors = [flag for flag in VECTORS if flag in flags]
    return [
        f"Processor: {model} ({identity}), {os.cpu_count()} cores",
        f"Caches of the first: {', '.join(caches)}; vectors: {' '.join(vectors)}",
    ]


def preamble(clino: Path) -> str:
    """When, where, with what, and how to do it again."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    command = shlex.join(["benches/versus_pytorch", *sys.argv[1:]])
    commit = first_line(["git", "rev-parse", "HEAD"])
    changed = " with changes" if first_line(["git", "status", "--porcelain"]) not in ("", "-") else ""
    vectors = torch.backends.cpu.get_cpu_capability()
    facts = [
        f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by `{command}`",
        *processor(),
        f"Memory: {memory:.0f} GiB; {platform.system()} {platform.release()}",
        f"Load average at the start: {os.getloadavg()[0]:.2f}",
        f"clino: commit {commit[:12]}{changed}, {first_line([str(clino), '--version'])}",
        f"PyTorch {torch.__version__} ({vectors}), Python {platform.python_version()}",
    ]
    return "\n".join(f"- {fact}" for fact in facts)
