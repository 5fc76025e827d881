#!/usr/bin/env python3
"""What nvcc makes of the kernels: exact arithmetic in the PTX, and no kernel too large for a processor.

Gates: no .approx and no .ftz, no spills and no stack, and so few registers that blocks of 256 threads fill half of a
multiprocessor's threads. Needs nvcc in PATH, or says so and leaves with status 2; needs no GPU.

Owns: the gates and the table. May not touch: the kernels.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "crates/engine/src/device/cuda/kernels/clino.cu"
EXACT = ["-O3", "-std=c++17", "-fmad=false"]
ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]
THREADS = 256
LEAST_OCCUPANCY = 0.5
REGISTERS = 65536
# Registers are given to a warp in portions.
PORTION = 256

# Threads, blocks and shared bytes of one multiprocessor.
LIMITS = {
    75: (1024, 16, 65536),
    80: (2048, 32, 167936),
    86: (1536, 16, 102400),
    89: (1536, 24, 102400),
    90: (2048, 32, 233472),
    100: (2048, 32, 233472),
    120: (1536, 24, 102400),
}
# What the system takes of a block's shared memory.
RESERVED = {75: 0}


def nvcc(arguments: list[str]) -> str:
    """Runs the compiler; leaves when it refuses."""
    done = subprocess.run(["nvcc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"nvcc {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def inexact(folder: pathlib.Path) -> list[str]:
    """Instructions of the PTX that are not rounded to nearest or lose small numbers."""
    ptx = folder / "clino.ptx"
    flags = ["--Werror", "all-warnings", "-arch=compute_75"]
    nvcc(["-ptx", *EXACT, *flags, str(SOURCE), "-o", str(ptx)])
    lines = ptx.read_text().splitlines()
    return [line.strip() for line in lines if re.search(r"\.(approx|ftz)\b", line)]


def figures(log: str) -> dict[str, dict[str, int]]:
    """Registers, shared bytes, stack and spills of each kernel, from ptxas' own report."""
    kernels = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'", 1)[0]
        number = lambda pattern, text=part: int((re.search(pattern, text) or [0, 0])[1])
        kernels[name] = {
            "registers": number(r"Used (\d+) registers"),
            "shared": number(r"(\d+) bytes smem"),
            "stack": number(r"(\d+) bytes stack frame"),
            "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        }
    return kernels


def build(architecture: int, folder: pathlib.Path) -> dict[str, dict[str, int]]:
    """Machine code for one architecture."""
    strict = ["-Xptxas", "-v,--warn-on-spills,--warning-as-error"]
    out = ["-o", str(folder / f"clino_{architecture}.cubin")]
    return figures(nvcc(["-cubin", *EXACT, f"-arch=sm_{architecture}", *strict, str(SOURCE), *out]))


def occupancy(architecture: int, kernel: dict[str, int]) -> float:
    """Share of a multiprocessor's threads that blocks of this kernel can fill."""
    threads, blocks, shared = LIMITS[architecture]
    of_warp = -(-kernel["registers"] * 32 // PORTION) * PORTION
    # A quarter of the registers belongs to each of four schedulers.
    warps = 4 * (REGISTERS // 4 // of_warp)
    by_registers = warps // (THREADS // 32)
    of_block = kernel["shared"] + RESERVED.get(architecture, 1024)
    by_shared = shared // of_block if of_block else blocks
    return min(by_registers, by_shared, blocks, threads // THREADS) * THREADS / threads


def faults(architecture: int, kernels: dict[str, dict[str, int]]) -> list[str]:
    """What is beyond the gates."""
    found = [] if kernels else [f"sm_{architecture}: no kernels in ptxas' report"]
    for name, kernel in kernels.items():
        at = f"sm_{architecture} {name}"
        if kernel["spills"] + kernel["stack"]:
            found.append(f"{at}: {kernel['spills']} bytes of spills, {kernel['stack']} of stack")
        share = occupancy(architecture, kernel)
        if share < LEAST_OCCUPANCY:
            found.append(f"{at}: {kernel['registers']} registers leave {share:.0%} of the threads")
    return found


def table(all_figures: dict[int, dict[str, dict[str, int]]]) -> str:
    """A row for each kernel, in Markdown."""
    titles = ["kernel", *(f"sm_{a}" for a in all_figures), "shared bytes", "spilled bytes", "occupancy on sm_80"]
    rows = [titles, ["---"] + ["---:"] * (len(titles) - 1)]
    for name in sorted(all_figures[80]):
        of = [kernels[name] for kernels in all_figures.values()]
        middle = all_figures[80][name]
        spilled = max(kernel["spills"] for kernel in of)
        rows.append([f"`{name}`", *(str(kernel["registers"]) for kernel in of), str(middle["shared"]), str(spilled),
                     f"{occupancy(80, middle):.0%}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


PAGE = """# The kernels, as nvcc makes them

Registers of a thread by architecture, shared memory of a block, what is spilled, and the share of a multiprocessor's threads that
blocks of {threads} can fill. Made by `tests/cuda-sim/gates.py --out docs/kernels.md` with nvcc {version}; CI holds it. What each kernel
computes and moves stands in [its folder](../crates/engine/src/device/cuda/kernels/README.md); `tests/cuda/main.rs` holds it to the CPU's bits
and counts its bytes.

"""


def version() -> str:
    """Of nvcc."""
    return re.search(r"release [0-9.]+, V([0-9.]+)", nvcc(["--version"])).group(1)


def main() -> int:
    """Builds everything and judges it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, help="where the table goes besides standard output")
    options = parser.parse_args()
    if not shutil.which("nvcc"):
        print("no nvcc in PATH", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        found = [f"PTX: {line}" for line in inexact(folder)]
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            built = two.map(lambda architecture: build(architecture, folder), ARCHITECTURES)
            all_figures = dict(zip(ARCHITECTURES, built))
    found += [fault for architecture, kernels in all_figures.items() for fault in faults(architecture, kernels)]
    text = table(all_figures)
    print(text)
    if options.out:
        options.out.write_text(PAGE.format(threads=THREADS, version=version()) + text)
    print("\n".join(found) if found else f"ok: {len(all_figures[80])} kernels on {len(all_figures)} architectures")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
