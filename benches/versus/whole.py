"""Section D: the whole measure, its time and its memory."""

from __future__ import annotations

from functools import partial
from statistics import fmean

from . import cases
from .bench import CLINO, FUSED, Bench
from .cases import Case
from .clino import Clino, alone_command, idle_command, measure_command, peak_memory
from .contest import Contestant, Race, race, timed
from .network import Network, read_batch
from .report import spread, table, verdict
from .sharpness import DRAWS, Lean, Published

LEAN, PUBLISHED, IDLE = "PyTorch, lean", f"published code x {DRAWS}", "idle"
TARGETS = {LEAN: 2.3, PUBLISHED: 3.0}
MEMORY_TARGET = 2.0

ABOUT = f"""## D. The whole measure: sharpness, {DRAWS} draws

Lean: clino's definition in PyTorch, with one base loss in inference mode, flat buffers and everything in
place. Published: the procedure of Bassi, Ataman and Cho's code, called once a draw, its weights loaded
again after each call. It computes another number, so its value is not comparable; lean and clino differ by
the noise they draw."""

HEADER = ["case", "threads", "clock", "against", "its ms", "clino ms", "ratio"]
HEADER += ["its value", "clino's", "required", "met"]
MEMORY = """Peak resident memory, in MiB, of a process that does only this, once: `clino measure`, or Python
with PyTorch. Loading is what Python holds before it does anything, which depends on the build of PyTorch."""
MEMORY_HEADER = ["case", "threads", "against", "its MiB", "of it loading", "clino MiB"]
MEMORY_HEADER += ["ratio", "ratio without loading", "required", "met"]


def measure(bench: Bench, case: Case, threads: int) -> Race:
    """Clino's sharpness, and the two in PyTorch, each over parameters of its own."""
    batch = read_batch(case.batches[0])
    lean = Lean(Network.load(case.folder), batch)
    published = Published(Network.load(case.folder), batch)
    with Clino(bench.clino, case, threads, FUSED) as process:
        contestants = [
            Contestant(LEAN, partial(timed, lean)),
            Contestant(CLINO, partial(process.run, "sharpness")),
            Contestant(PUBLISHED, partial(timed, published)),
        ]
        return race(contestants, threads, bench.effort.measure_rounds, bench.repeats(case))


def rows_of(case: Case, run: Race) -> list[list[str]]:
    """One row for each way in PyTorch."""
    rows, clock = [], run.clock
    values = {name: fmean(sample.result for sample in taken) for name, taken in run.samples.items()}
    for name, target in TARGETS.items():
        ratio = run.ratio(name, CLINO, clock)
        row = [case.title, str(run.threads), clock, name]
        row += [spread(run.spread(one, clock)) for one in (name, CLINO)]
        row += [f"{ratio:.2f}", f"{values[name]:.4g}", f"{values[CLINO]:.4g}"]
        rows.append(row + verdict(ratio, target))
    return rows


def memory_rows(bench: Bench, case: Case, threads: int) -> list[list[str]]:
    """Peak memory of the same work, each in a process that does nothing else."""
    commands = {
        LEAN: alone_command("lean", case, threads),
        PUBLISHED: alone_command("published", case, threads),
    }
    commands |= {CLINO: measure_command(bench.clino, case, threads), IDLE: idle_command()}
    held = {name: peak_memory(command) for name, command in commands.items()}
    bench.report.keep_raw("D", case.name, "peak bytes", threads, held)
    own, idle, rows = held.pop(CLINO), held.pop(IDLE), []
    for name, peak in held.items():
        sizes = [f"{size / 2**20:.0f}" for size in (peak, idle, own)]
        ratios = [f"{size / own:.2f}" for size in (peak, peak - idle)]
        rows.append([case.title, str(threads), name, *sizes, *ratios, *verdict(peak / own, MEMORY_TARGET)])
    return rows


def whole(bench: Bench) -> None:
    """Section D."""
    bench.report.say(ABOUT)
    rows, memory = [], []
    for model in (bench.minilm, bench.nano):
        case = cases.full(model)
        for threads in bench.each_threads():
            run = measure(bench, case, threads)
            bench.report.keep("D", case.name, "sharpness", run)
            rows += rows_of(case, run)
            memory += memory_rows(bench, case, threads)
    bench.report.say(table(HEADER, rows))
    bench.report.say(MEMORY)
    bench.report.say(table(MEMORY_HEADER, memory))
