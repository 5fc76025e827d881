"""Holds the table of docs/reliability.md and the tests that name its rows to each other.

    python3 tests/docs/faults.py            # exit status 1 when they differ, with what differs
    python3 tests/docs/faults.py --write    # writes the tests that there are into the table

A test names a row of the table: `row_07_…`, `row_17_and_18_…`, in Python `test_row_60_…`. The last column of a row has
all tests that name it, others that prove the same, or `none:` with the reason.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FOLDERS = ("src", "crates", "tests", "clients")
FUNCTION = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?(?:async )?(?:fn|def) (\w+)", re.MULTILINE)
NAMED = re.compile(r"^(?:test_)?row_(\d+)_(?:and_(\d+)_)?")
TEST = re.compile(r"`([^`]+)::(\w+)`")


def functions() -> dict[str, set[str]]:
    """Every function by its name, with the files that have one."""
    found = defaultdict(set)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".rs", ".py") and "target" not in path.parts:
                for name in FUNCTION.findall(path.read_text(encoding="utf-8")):
                    found[name].add(path.relative_to(ROOT).as_posix())
    return found


def rows_named(name: str) -> list[int]:
    """The rows that a test names."""
    match = NAMED.match(name)
    return [int(number) for number in match.groups() if number] if match else []


def by_row(found: dict[str, set[str]]) -> dict[int, list[str]]:
    """The tests that name each row, as the table has them."""
    rows = defaultdict(list)
    for name, paths in found.items():
        for row in rows_named(name):
            rows[row] += [f"{path}::{name}" for path in paths]
    return {row: sorted(tests) for row, tests in rows.items()}


def others(cell: str, found: dict[str, set[str]]) -> list[str]:
    """The tests of a cell that name no row, each where it is now, if that is known."""
    tests = [test for test in TEST.findall(cell) if not rows_named(test[1])]
    moved = [min(found[name]) if len(found[name]) == 1 else path for path, name in tests]
    return [f"{path}::{name}" for path, (_, name) in zip(moved, tests, strict=True)]


def table(text: str) -> list[list[str]]:
    """The cells of each row."""
    lines = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def differences(rows: list[list[str]], found: dict[str, set[str]]) -> list[str]:
    """What the table and the tests do not have in common."""
    told = []
    expected = by_row(found)
    numbers = [int(row[0]) for row in rows]
    if numbers != list(range(1, len(rows) + 1)):
        told.append(f"the rows are not numbered from 1 on: {numbers}")
    for row in sorted(set(expected) - set(numbers)):
        told.append(f"row {row} is not in the table, but has {', '.join(expected[row])}")
    for number, *_, cell in rows:
        listed = ["::".join(test) for test in TEST.findall(cell)]
        if not listed and not re.match(r"none: \w", cell):
            told.append(f"row {number} has neither a test nor the reason why there is none")
        for test in sorted(set(expected.get(int(number), [])) - set(listed)):
            told.append(f"row {number} lacks {test}")
        for test in listed:
            path, name = test.split("::")
            if path not in found.get(name, ()):
                told.append(f"row {number} names {test}, which is not there")
            elif rows_named(name) and int(number) not in rows_named(name):
                told.append(f"row {number} names {test}, which is of another row")
    return told


def written(text: str, found: dict[str, set[str]]) -> str:
    """The page with the tests that there are."""
    expected = by_row(found)
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if row := re.match(r"\| (\d+) \|", line):
            *cells, cell = line.strip("|").split(" | ")
            tests = expected.get(int(row[1]), []) + others(cell, found)
            if tests:
                cells.append("<br>".join(f"`{test}`" for test in tests) + " ")
                lines[place] = "|" + " | ".join(cells) + "|"
    return "\n".join(lines) + "\n"


def main() -> int:
    found = functions()
    text = PAGE.read_text(encoding="utf-8")
    if "--write" in sys.argv[1:]:
        text = written(text, found)
        PAGE.write_text(text, encoding="utf-8")
    rows = table(text)
    told = differences(rows, found)
    print(*told, sep="\n") if told else print(f"proof: {len(rows)} rows, all of their tests are there")
    if told:
        print("python3 tests/docs/faults.py --write puts in what is missing")
    return 1 if told or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
