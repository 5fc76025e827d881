"""Runs every command of the pages for a first hour, as a reader would.

    CLINO_BIN=target/release/clino python tests/docs/run.py [PAGE ...]

A block that opens with ```sh run or ```python run is run, in the order of its page, in one empty folder for each page.
`clino` is on the path, this Python is `python`, and `repo` is a link to the checkout. A page that has the line
<!-- with a daemon --> finds one at CLINO_ADDR, as a reader has who has typed `clino serve`; one that has the line
<!-- with files: NAME … --> finds these files of a small BERT, as a reader has files of a model. A block ```text shows
is what the block before it printed: each of its lines must be there, where `…` stands for anything.

Exit status: 0 when every block ended well, 1 otherwise; what failed is printed with its page and line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/huggingface.md", "docs/models.md", "docs/troubleshooting.md")
FILES = re.compile(r"^<!-- with files: (.*) -->$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 240


@dataclass(frozen=True)
class Block:
    """One fenced block of a page that is run or compared."""

    line: int
    language: str
    word: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(page.count("\n", 0, found.start()) + 1, found[1], found[2], found[3]) for found in FENCE.finditer(page)
    ]


@contextlib.contextmanager
def daemon(binary: str, folder: Path) -> Iterator[str]:
    """A daemon at a socket in the folder; gives its address."""
    socket = folder / "daemon.sock"
    # What the daemon does not know among variables called CLINO_… it refuses: CLINO_BIN is ours.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLINO_")}
    command = [binary, "serve", "--socket", str(socket)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(60)


def put_files(text: str, folder: Path) -> None:
    """The files that a page wants its reader to have: those of a golden case under the page's names."""
    case = REPO / "tests" / "cases" / "bert"
    for name in " ".join(FILES.findall(text)).split():
        same = name if (case / name).exists() else "probe.safetensors"
        shutil.copy(case / ("snapshot-0060.safetensors" if name.startswith("step-") else same), folder / name)


def environment(binary: str, folder: Path, address: str | None) -> dict[str, str]:
    """What a reader has: clino and Python on the path."""
    tools = folder / ".bin"
    tools.mkdir()
    (tools / "clino").symlink_to(binary)
    (tools / "python").symlink_to(sys.executable)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLINO_")}
    # A link to the interpreter does not find its own packages: they are named.
    packages = [str(REPO / "clients/python/src"), *(path for path in sys.path if path.endswith("-packages"))]
    return kept | {
        "PATH": f"{tools}:{kept['PATH']}",
        "PYTHONPATH": ":".join(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_RUNTIME_DIR": str(folder),
    } | ({"CLINO_ADDR": address} if address else {})


def shown(expected: str, printed: str) -> str | None:
    """The first expected line that was not printed."""
    for line in filter(str.strip, expected.splitlines()):
        pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
        if line.strip() != "…" and not re.search(pattern, printed):
            return line
    return None


def run(block: Block, folder: Path, variables: dict[str, str]) -> tuple[str, str | None]:
    """What a block printed, and what went wrong."""
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    try:
        done = subprocess.run(
            [*command, block.text], check=False, cwd=folder, env=variables, timeout=LIMIT, text=True, capture_output=True
        )
    except subprocess.TimeoutExpired:
        return "", f"not ended after {LIMIT} s"
    printed = done.stdout + done.stderr
    return printed, f"exit status {done.returncode}:\n{printed}" if done.returncode else None


def check(page: str, binary: str) -> tuple[int, list[str]]:
    """How many blocks of a page were run, and what went wrong."""
    text = (REPO / page).read_text(encoding="utf-8")
    ran, faults, printed = 0, list[str](), ""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as open_until_the_end:
        folder = Path(name)
        (folder / "repo").symlink_to(REPO)
        put_files(text, folder)
        with_daemon = "<!-- with a daemon -->" in text
        address = open_until_the_end.enter_context(daemon(binary, folder)) if with_daemon else None
        variables = environment(binary, folder, address)
        for block in blocks(text):
            fault = None
            if block.word == "run":
                printed, fault = run(block, folder, variables)
                ran += 1
            elif block.word == "shows":
                missing = shown(block.text, printed)
                fault = missing and f"not printed: {missing}\nprinted was:\n{printed}"
            if fault:
                faults.append(f"{page}:{block.line}: {fault}")
                break
    return ran, faults


def main() -> int:
    """Checks the pages that are named, or all."""
    binary = str(Path(os.environ["CLINO_BIN"]).resolve())
    failed = False
    for page in sys.argv[1:] or PAGES:
        began = time.monotonic()
        ran, faults = check(page, binary)
        print(f"{page}: {ran} blocks run in {time.monotonic() - began:.0f} s", flush=True)
        failed = failed or bool(faults)
        for fault in faults:
            print(fault, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
