"""clino as a contestant.

`clino bench` runs what it is told on its standard input and answers with its own times, a line of JSON for
a line: `name`, `seconds`, `cpu_seconds`; `result` for what computes a number; `flops` for forward,
backward, gemm and fma; `bytes` for the passes over parameters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

from .cases import Case
from .contest import Sample, total
from .machine import environment
from .sharpness import ALPHA, DRAWS

PEAK = Path(__file__).with_name("peak.py")

Command = list[str | Path]


class Clino:
    """One `clino bench` for each batch of a case, held open so that only the named work is timed."""

    def __init__(self, program: Path, case: Case, threads: int, network: str) -> None:
        self.label = f"clino bench --network {network}, {case.title}"
        self._processes = []
        for batch in case.batches:
            command: Command = [program, "bench", "--config", case.config, "--snapshot", case.snapshot]
            command += [
                "--probe",
                batch,
                "--threads",
                str(threads),
                "--precision",
                "f32",
                "--network",
                network,
            ]
            pipe = subprocess.PIPE
            self._processes.append(
                subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment())
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.communicate()  # closes its input, at which it ends

    def each(self, name: str) -> list[Sample]:
        """Run the named thing once on every batch."""
        return [self._ask(process, name) for process in self._processes]

    def run(self, name: str) -> Sample:
        """The same, as one sample."""
        return total(self.each(name))

    def _ask(self, process: subprocess.Popen[str], name: str) -> Sample:
        line = ""
        assert process.stdin and process.stdout  # both were asked for
        try:
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            answer = json.loads(line)
            about = {key: float(answer[key]) for key in ("result", "flops", "bytes") if key in answer}
            return Sample(answer["seconds"], answer["cpu_seconds"], **about)
        except (BrokenPipeError, ValueError, KeyError, TypeError):
            raise SystemExit(f"{self.label}: asked for {name}, answered {line!r}") from None


def peak_memory(command: Command) -> int:
    """Bytes that a command held at most."""
    wrapped = [sys.executable, "-I", "-S", PEAK, *command]
    # Our own module is found from the folder above; every path in a command is absolute.
    above = PEAK.parents[1]
    done = subprocess.run(wrapped, check=False, capture_output=True, text=True, env=environment(), cwd=above)
    if done.returncode != 0:
        told = " ".join(map(str, command))
        raise SystemExit(f"{told}\nended with {done.returncode}: {done.stderr[-2000:]}")
    return int(done.stdout) * 1024


def measure_command(program: Path, case: Case, threads: int) -> Command:
    """The whole measure as a user runs it."""
    command: Command = [program, "measure", "--config", case.config, "--init", case.snapshot]
    command += ["--snapshot", case.snapshot, "--probe", case.batches[0]]
    command += ["--measure", f"sharpness:alpha={ALPHA},draws={DRAWS}", "--threads", str(threads)]
    return [*command, "--precision", "f32", "--format", "json"]


def idle_command() -> Command:
    """Python with everything loaded that the next one loads, and nothing done."""
    return [sys.executable, "-B", "-c", "import versus.alone"]


def alone_command(way: str, case: Case, threads: int) -> Command:
    """The same in PyTorch."""
    python: Command = [sys.executable, "-B", "-m", "versus.alone"]
    return [*python, way, case.folder, case.batches[0], str(threads)]
