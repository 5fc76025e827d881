"""Tables in Markdown, and the raw samples."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .contest import Race, Sample, Spread


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
