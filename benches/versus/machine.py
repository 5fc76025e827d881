"""The machine that figures were taken on, and the environment that clino runs in there."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
VECTORS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


def environment() -> dict[str, str]:
    """Without variables of ours: clino refuses CLINO_* names that it does not know."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLINO_")}


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


def preamble(script: str, clino: Path, *others: str) -> str:
    """When, where, with what, and how to do it again."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    command = shlex.join([script, *sys.argv[1:]])
    commit = first_line(["git", "rev-parse", "HEAD"])
    changed = " with changes" if first_line(["git", "status", "--porcelain"]) not in ("", "-") else ""
    facts = [
        f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by `{command}`",
        *processor(),
        f"Memory: {memory:.0f} GiB; {platform.system()} {platform.release()}",
        f"Load average at the start: {os.getloadavg()[0]:.2f}",
        f"clino: commit {commit[:12]}{changed}, {first_line([str(clino), '--version'])}",
        ", ".join([*others, f"Python {platform.python_version()}"]),
    ]
    return "\n".join(f"- {fact}" for fact in facts)
