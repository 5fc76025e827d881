#!/usr/bin/env python3
"""Predictions for GPUs: the tables of docs/gpu.md, from the constants, counts and formulas in this file.

    docs/gpu_roofline.py                        # prints the tables
    docs/gpu_roofline.py --write docs/gpu.md    # puts them between their marks in the page
    docs/gpu_roofline.py --check docs/gpu.md    # leaves with status 1 if the page holds anything else

Nothing here was measured. Owns: formulas. May not touch: the code that the counts were made in.
"""

import argparse
import math
import pathlib
import re
import sys
from typing import Any, NamedTuple


class Card(NamedTuple):
    name: str
    bandwidth: float  # bytes a second
    f32: float  # operations a second; a fused multiply-add is two
    f64: float
    processors: int
    clock: float  # for what data sheets do not tell: integers, conversions
    integers: int  # 32-bit integer results for each clock and processor
    conversions: int  # conversions from and to f64, the same
    memory: int  # GiB

    def rate(self, each_clock: float) -> float:
        return self.processors * self.clock * each_clock


CARDS = [
    Card("H100 SXM", 3.35e12, 67e12, 34e12, 132, 1.755e9, 64, 16, 80),
    Card("RTX 4090", 1.008e12, 82.6e12, 1.29e12, 128, 2.52e9, 64, 2, 24),
]

GEMM, STREAM, LAUNCH, COPY = 0.6, 0.8, 5e-6, 10e9  # `assumptions` says what they are
DIVISION, ELEMENTS, PASS, PASS_LAUNCHES, INDEX, TURN = 9, 1e8, 3, 2, 50, 4e-7
EXAMPLES, LENGTH, CLASSES = 64, 128, 3
PLACES, BATCH = 1 << 12, 1 << 10  # tokens of a forward on a GPU and of a batch: crates/engine/src/network

# Four normals, the usual way through nvcc 13.0's PTX: multiplications, other integers (with selections and
# conversions to f32), operations in the element's type, divisions and roots, conversions to f64.
NOISE = {"f32": (36, 96, 52, 4, 0), "f64": (36, 103, 82, 4, 4)}
LOOP = 2  # integers for each element: addresses, the loop, the test for a whole quad


class Kernel(NamedTuple):
    name: str
    moved: float  # elements read and written
    noise: int = 0  # draws
    own: int = 0  # operations in the element's type
    wide: int = 0  # operations in f64, whatever the type
    widened: int = 0  # conversions to or from f64, where the type is f32
    integers: int = 0
    bytes32: int = 0  # in place of 4 * moved


KERNELS = [
    Kernel("perturb, plain", 2, noise=1, own=1),
    Kernel("perturb, T = a\\|w\\| + b", 2, noise=1, own=4),
    Kernel("perturb to bf16 or f16", 2, noise=1, own=1, integers=5, bytes32=6),
    Kernel("displace along u", 3, own=1),
    Kernel("displace to w0, gather", 2),
    Kernel("noise", 1, noise=1),
    Kernel("noise_squares, noise_row_squares", 0, noise=1, wide=1, widened=1),
    Kernel("product_with_noise", 1, noise=1, wide=1, widened=2),
    Kernel("products of two", 2, wide=1, widened=2),
    Kernel("products of one with itself", 1, wide=1, widened=2),
    Kernel("to_metric, T = a\\|w\\| + b", 3, own=3, wide=1, widened=1),
    Kernel("ascend with noise", 2, noise=1, own=2, wide=1, widened=1),
    Kernel("ascend without", 2, own=1, wide=1, widened=1),
    Kernel("combine", 3, own=2, wide=1, widened=1),
    Kernel("climb_box", 3, own=8, integers=4),
    Kernel("plane, two axes", 2, noise=2, own=3, wide=2, widened=2, integers=18),
    Kernel("add_direction", 2, noise=1, own=1, wide=1, widened=1, integers=9),
    Kernel("moments", 1, wide=8, widened=1, integers=2),
    Kernel("cross_entropy, losses", 1, wide=26, widened=2, integers=4),
    Kernel("cross_entropy, and slopes", 2, wide=48, widened=4, integers=6),
]


def count(kernel: Kernel, kind: str) -> tuple[float, ...]:
    """Of an element: bytes, integers, operations in f32 and in f64, conversions."""
    multiplications, others, own, divisions, conversions = (kernel.noise * n / 4 for n in NOISE[kind])
    own += DIVISION * divisions + kernel.own
    integers = multiplications + others + kernel.integers + LOOP
    if kind == "f64":
        return 8 * kernel.moved, integers, 0, own + kernel.wide, conversions
    return kernel.bytes32 or 4 * kernel.moved, integers, own, kernel.wide, conversions + kernel.widened


def sides(work: tuple[float, ...], card: Card) -> dict[str, float]:
    """Microseconds for ELEMENTS, were each of them alone."""
    moved, integers, f32, f64, conversions = work
    seconds = {
        "memory": moved / card.bandwidth,
        "int": integers / card.rate(card.integers),
        "f32": f32 / (card.f32 / 2),
        "f64": f64 / (card.f64 / 2) + conversions / card.rate(card.conversions),
    }
    return {side: ELEMENTS * 1e6 * time for side, time in seconds.items()}


def binding(work: tuple[float, ...], card: Card) -> tuple[float, str, str]:
    return max((time, figure(time), side) for side, time in sides(work, card).items())


def kernel_table() -> str:
    rows = []
    for kernel in KERNELS:
        narrow, wide = count(kernel, "f32"), count(kernel, "f64")
        times = [[" ".join(binding(work, card)[1:]) for card in CARDS] for work in (narrow, wide)]
        of = sides(narrow, CARDS[-1])
        per = [sum(narrow[1:]) / narrow[0], 100 * of["f64"] / of["memory"]] if narrow[0] else [0, 0]
        wider = [""] * 4 if kernel.bytes32 else [figure(wide[0]), figure(wide[3]), *times[1]]
        rows.append([kernel.name, *map(figure, narrow), figure(per[0]), *times[0], f"{per[1]:.0f} %", *wider])
    titles = ["kernel", "bytes", "int", "f32", "f64", "conversions", "instructions a byte"]
    cards = [f"{card.name}, µs" for card in CARDS]
    return table([*titles, *cards, "the last: f64 / memory", "**f64:** bytes", "f64", *cards], rows)


def beyond_memory() -> str:
    lines = []
    for card, kind in ((card, kind) for card in CARDS for kind in NOISE):
        known = [(kernel, count(kernel, kind)) for kernel in KERNELS if kind == "f32" or not kernel.bytes32]
        bound = [(k.name, *binding(w, card), sides(w, card)["memory"]) for k, w in known if k.moved]
        found = [f"{of} ({side}, {figure(t / m)} times)" for of, t, _, side, m in bound if side != "memory"]
        lines.append(f"- **{card.name}, {kind}:** {'; '.join(found)}.")
    return "\n".join(lines)


class Shape(NamedTuple):
    name: str
    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int
    positions: int
    types: int
    gates: int = 0  # more products of the inner size; 0 for what clino has: no decoder

    def dense(self) -> int:
            return 4 * self.hidden**2 + (2 + self.gates) * self.hidden * self.inner

    def embeddings(self) -> int:
        return (self.vocabulary + self.positions + self.types) * self.hidden

    def parameters(self) -> int:
        vectors = 9 * self.hidden + self.inner if not self.gates else 2 * self.hidden
        head = (self.hidden + 1) * (self.hidden + CLASSES) if not self.gates else self.hidden * CLASSES
        return self.embeddings() + self.layers * (self.dense() + vectors) + head + 2 * self.hidden


MODELS = [
    Shape("MiniLM-L6", 6, 384, 1536, 12, 30522, 512, 2),
    Shape("BERT-base", 12, 768, 3072, 12, 30522, 512, 2),
    Shape("XLM-R large", 24, 1024, 4096, 16, 250002, 514, 1),
    Shape("a 7B decoder", 32, 4096, 11008, 32, 32000, 0, 0, gates=1),
]


class Operation(NamedTuple):
    """Of a layer in candle. Its unit, for each token: h hidden, i inner, s heads * length."""

    name: str
    unit: str
    times: int
    forward: int  # elements moved
    launches: int
    backward: int  # to fill a place and add to it are four; a broadcast has a gradient of full size
    launches_back: int
    kept: int  # tensors of the graph
    index: int = 0  # divisions for places of what does not lie in order: one for each dimension and element
    index_back: int = 0


OPERATIONS = [
    Operation("query, key, value: products", "h", 1, 0, 3, 10, 22, 0),
    Operation("products out of attention and into inner", "h", 2, 0, 1, 4, 8, 0),
    Operation("product out of inner", "i", 1, 0, 1, 4, 8, 0),
    Operation("biases of width h", "h", 5, 2, 1, 9, 7, 2, 2, 2),
    Operation("bias of width i", "i", 1, 2, 1, 9, 7, 2, 2, 2),
    Operation("split into heads, copied", "h", 3, 2, 1, 12, 6, 1, 4, 4),
    Operation("query by key", "h", 1, 0, 1, 12, 8, 0, 0, 4),
    Operation("scale and mask", "s", 1, 4, 2, 14, 7, 3, 4, 0),
    Operation("softmax", "s", 1, 8, 5, 35, 19, 3, 8, 12),
    Operation("weights by value, for the weights", "s", 1, 0, 1, 4, 6, 0),
    Operation("weights by value, for the value; join heads", "h", 1, 2, 1, 12, 4, 2, 4, 4),
    Operation("residual", "h", 2, 3, 1, 8, 4, 1),
    Operation("LayerNorm", "h", 2, 12, 11, 63, 53, 5, 8, 14),
    Operation("GELU by erf", "i", 1, 9, 4, 40, 18, 4),
]
# For each parameter in a backward: a matrix's gradient is filled, added to, turned, and that again; a table
# of embeddings is filled, copied and added to; a part's gradient is gathered, and added to those before.
MATRIX, TURNED, EMBEDDING, GATHER, ADD = 8, 2, 3, 2, 3


def moved(shape: Shape, what: str) -> int:
    units = {"h": shape.hidden, "i": shape.inner, "s": shape.heads * LENGTH}
    return shape.layers * sum(units[o.unit] * o.times * getattr(o, what) for o in OPERATIONS)


def launched(shape: Shape, what: str) -> float:
    return LAUNCH * shape.layers * sum(o.times * getattr(o, what) for o in OPERATIONS)


def products(shape: Shape, tokens: int) -> float:
    return 2 * tokens * shape.layers * (shape.dense() + 2 * LENGTH * shape.hidden)


Parts = dict[str, float]


def device(card: Card, flops: float, elements: float, index: float) -> Parts:
    """Seconds, one after the other: products, elements moved, places found."""
    places = INDEX * index / card.rate(card.integers)
    return {"f32": flops / (GEMM * card.f32), "memory": 4 * elements / (STREAM * card.bandwidth), "int": places}


def bound(there: Parts, launches: float) -> Parts:
    """What the device needs, or the launches of the host where they take longer."""
    return there if sum(there.values()) >= launches else {"launches": launches}


def forward(shape: Shape, card: Card, tokens: int) -> Parts:
    work = products(shape, tokens), tokens * moved(shape, "forward"), tokens * moved(shape, "index")
    return bound(device(card, *work), launched(shape, "launches"))


def backward(shape: Shape, card: Card, tokens: int, first: bool) -> Parts:
    dense = shape.layers * shape.dense()
    elements = tokens * moved(shape, "backward") + MATRIX * dense + EMBEDDING * shape.embeddings()
    elements += (GATHER + ADD * (not first)) * shape.parameters()
    index = tokens * moved(shape, "index_back") + TURNED * dense
    turns = tokens * TURN * (1 + (shape.positions > 0) + (shape.types > 0))
    there = device(card, 2 * products(shape, tokens), elements, index) | {"turns": turns}
    return bound(there, launched(shape, "launches_back"))


class Work(NamedTuple):
    """What the `cost` functions count. Fewer examples in a `batch`: gradients of their own."""

    forwards: float = 0
    backwards: float = 0
    passes: float = 0
    batch: int = EXAMPLES

    def seconds(self, shape: Shape, card: Card) -> float:
        return sum(self.parts(shape, card).values())

    def parts(self, shape: Shape, card: Card) -> Parts:
        """Seconds by what they go to."""
        most = min(self.batch, PLACES // LENGTH)
        tokens = [LENGTH * min(most, EXAMPLES - first) for first in range(0, EXAMPLES, most)]
        f = [forward(shape, card, part) for part in tokens]
        b = [backward(shape, card, part, i == 0 or self.batch < EXAMPLES) for i, part in enumerate(tokens)]
        p = bound({"memory": 4 * PASS * shape.parameters() / (STREAM * card.bandwidth)}, PASS_LAUNCHES * LAUNCH)
        return joined([(self.forwards, f), (self.backwards, b), (self.passes, [p])])


def joined(parts: list[tuple[float, list[Parts]]]) -> Parts:
    sums: Parts = {}
    for times, each in parts:
        for part in each:
            for name, seconds in part.items():
                sums[name] = sums.get(name, 0) + times * seconds
    return sums


Shared = dict[tuple[Any, ...], Work]


def ascents(draws: int, *forms: object) -> Shared:
    """Draws of one step each and, but for the paper's, the norms of their noise."""
    norms: Shared = {("noise", draw): Work(0, 0, 1) for draw in range(draws) if forms != ("paper",)}
    return norms | {("ascent", form, draw): Work(2, 1, 4) for form in forms for draw in range(draws)}


OUTPUTS: Shared = {("outputs",): Work(1)}
SLOPE: Shared = {("slope",): Work(1, 1, 1)}
EACH = Work(1, 1, EXAMPLES, batch=1)

MEASURES = {  # what each does for itself, and what is made once for all
    "loss, accuracy, entropy, margin": (Work(), OUTPUTS),
    "sharpness": (Work(), OUTPUTS | ascents(8, 0.001)),
    "sharpness_profile": (Work(), OUTPUTS | ascents(4, 0.0005, 0.001, 0.002, 0.005, 0.01)),
    "flat_radius": (Work(40, 20, 80), OUTPUTS | ascents(4, 0.001)),
    "sharpness_paper": (Work(), OUTPUTS | ascents(8, "paper")),
    "sam": (Work(1, 0, 4), OUTPUTS | SLOPE),
    "asam": (Work(1, 0, 4), OUTPUTS | SLOPE),
    "worst_case": (Work(20, 19, 61), OUTPUTS | SLOPE),
    "average_case": (Work(16, 0, 16), OUTPUTS),
    "low_pass": (Work(8, 0, 8), OUTPUTS),
    "keskar": (Work(20, 19, 61), OUTPUTS | SLOPE),
    "pac_bayes": (Work(140, 0, 141), OUTPUTS),
    "critical": (Work(5, 0, 6), OUTPUTS),
    "gradient_norm": (Work(), SLOPE),
    "gradient_noise": (Work(1, 1, EXAMPLES / 4, batch=8), SLOPE),
    "fisher_trace": (Work(2, 2, 2 * EXAMPLES, batch=1), OUTPUTS | {("each",): EACH}),
    "hessian_top": (Work(36, 36, 726), {}),
    "hessian_trace": (Work(192, 192, 7040), {}),
    "hessian_density": (Work(240, 240, 8400), {}),
    "landscape": (Work(20, 0, 42), OUTPUTS | {("filter", 0): Work(0, 0, 1)}),
}


def prediction(measures: list[str], shapes: list[Shape], named: Shape | None = None) -> list[str]:
    """Forwards, backwards, passes; what binds a shape on the first card; then seconds of every shape on every card."""
    shared: Shared = {}
    for measure in measures:
        shared |= MEASURES[measure][1]
    works = [MEASURES[measure][0] for measure in measures] + list(shared.values())
    cells = [f"{sum(work[i] for work in works):g}" for i in range(3)]
    kept = max(KEPT.get(name, 0) for name in measures)
    if named:
        sums = joined([(1, [work.parts(named, card) for work in works]) for card in CARDS[:1]])
        side = max(sums, key=lambda name: sums[name])
        cells.append(f"{side}, {100 * sums[side] / sum(sums.values()):.0f} %")
    for shape, card in ((shape, card) for card in CARDS for shape in shapes):
        time = figure(sum(work.seconds(shape, card) for work in works))
        cells.append(time if fits(shape, card, kept) else f"{time} †")
    return cells


def standard_table() -> str:
    rows = [[s.name, f"{s.parameters() / 1e6:.1f} M", *prediction(list(MEASURES)[:2], [s])] for s in MODELS]
    return table(["model", "parameters", "F", "B", "P", *(f"{card.name}, s" for card in CARDS)], rows)


def measure_table() -> str:
    named = MODELS[1]
    rows = [[f"`{name}`".replace(", ", "`, `"), *prediction([name], MODELS, named)] for name in MEASURES]
    rows.append(["all, what is shared once", *prediction(list(MEASURES), MODELS, named)])
    binds = f"most of it on {named.name}, {CARDS[0].name}"
    return table(["measure", "F", "B", "P", binds, *(f"{s.name}, {c.name}" for c in CARDS for s in MODELS)], rows)


def units_table() -> str:
    rows = []
    for shape in MODELS:
        for card in CARDS:
            f, b, p = (Work(*unit).seconds(shape, card) for unit in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
            gemm = products(shape, EXAMPLES * LENGTH) / (GEMM * card.f32)
            host = [EXAMPLES * LENGTH / PLACES * launched(shape, o) for o in ("launches", "launches_back")]
            single = Work(1, 1, batch=1).seconds(shape, card) / EXAMPLES
            cells = [f, gemm, host[0], b, 2 * gemm, host[1], p, single, 4 * shape.parameters() / COPY]
            rows.append([shape.name, card.name, *(figure(1e3 * cell) for cell in cells)])
    titles = ["model", "card", "F", "its products", "its launches", "B", "its products", "its launches", "P"]
    return table([*titles, "F + B of one example", "w0 to the card"], rows)


def layer_table() -> str:
    names, rows = ("forward", "index", "launches", "backward", "index_back", "launches_back", "kept"), []
    for unit in "his":
        of = [o for o in OPERATIONS if o.unit == unit]
        rows.append([unit, *(str(sum(o.times * getattr(o, name) for o in of)) for name in names)])
    return table(["unit", "F moves", "divides", "launches", "B moves", "divides", "launches", "kept"], rows)


VECTORS, TENSORS, RESERVE = 9, 12, 0.05  # crates/engine/src/network/footprint.rs, crates/engine/src/placement/gpus.rs
KEPT = {"hessian_density": 33}  # `vectors` of the measures that `max_mib` does not bound


def graph(shape: Shape) -> int:
    """As `footprint.rs` counts: most products of the last layer have one row for each example."""
    row = 3 * shape.hidden + (1 + shape.gates) * shape.inner + LENGTH * shape.heads
    rows = (shape.layers - 1) * BATCH + BATCH // LENGTH
    return (rows * row + shape.layers * BATCH * 3 * shape.hidden) * (PLACES // BATCH) * TENSORS * 4


def footprint(shape: Shape, kept: int) -> int:
    return 4 * shape.parameters() * (VECTORS + kept) + graph(shape)


def fits(shape: Shape, card: Card, kept: int) -> bool:
    return footprint(shape, kept) <= card.memory * (1 << 30) * (1 - RESERVE)


def memory_table() -> str:
    rows = []
    for shape in MODELS:
        most, kept = max(KEPT.values()), 4 * PLACES * moved(shape, "kept")
        sizes = [4 * shape.parameters() * VECTORS, graph(shape), *(footprint(shape, n) for n in (0, most))]
        verdicts = ["yes" if fits(shape, card, n) else "no" for card in reversed(CARDS) for n in (0, most)]
        rows.append([shape.name, *(f"{size / (1 << 30):.1f}" for size in [*sizes, kept]), *verdicts])
    cards = [f"{card.memory} GB, {what}" for card in reversed(CARDS) for what in ("standard", "with density")]
    return table(["GiB", "vectors", "graph", "standard", "with density", "graph, counted here", *cards], rows)


def figure(x: float) -> str:
    x = float(f"{x:.2e}")
    return f"{x:.{max(0, 2 - math.floor(math.log10(x)))}f}" if x else "0"


def table(titles: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [titles, ["---"] * len(titles), *rows])


def cards_table() -> str:
    known = [
        ("memory, TB/s", "bandwidth", 1e12, "data sheet"),
        ("f32, TFLOP/s", "f32", 1e12, "data sheet"),
        ("f64, TFLOP/s", "f64", 1e12, "data sheet; RTX 4090: a 64th of f32"),
        ("multiprocessors", "processors", 1, "architecture's white paper"),
        ("clock, GHz", "clock", 1e9, "boost clock; for integers and conversions"),
        ("32-bit integers a clock and multiprocessor", "integers", 1, "CUDA C++ Programming Guide"),
        ("conversions from and to f64, as often", "conversions", 1, "the same"),
        ("memory, GiB", "memory", 1, "data sheet; a driver tells a little less"),
    ]
    rows = [[of, *(f"{getattr(card, name) / unit:g}" for card in CARDS), by] for of, name, unit, by in known]
    return table(["", *(card.name for card in CARDS), "source"], rows)


def assumptions() -> str:
    four = "{} multiplications, {} other integers, {} of its type, {} divisions and roots, {} conversions"
    rows = [
        ["products of matrices", f"{GEMM:.0%} of the f32 peak, TF32 off"],
        ["elementwise operations and passes", f"{STREAM:.0%} of the bandwidth"],
        ["a launch by candle, and its memory", f"{LAUNCH * 1e6:g} µs, hidden where the device is slower"],
        ["host to device, pageable", f"{COPY / 1e9:g} GB/s"],
        *([f"four normals in {kind}", four.format(*NOISE[kind])] for kind in NOISE),
        ["a division or a square root", f"{DIVISION} instructions of its type"],
        ["a division for a place in candle", f"{INDEX} integers, beside what is moved"],
        ["a token's turn in a table's gradient", f"{TURN * 1e6:g} µs: candle adds one after the other"],
        ["a pass over the parameters", f"{PASS} vectors moved, {PASS_LAUNCHES} launches"],
        ["the probe", f"{EXAMPLES} examples of {LENGTH} tokens, {CLASSES} classes, {PLACES} tokens at once"],
    ]
    return table(["", "assumed or counted"], rows)


TABLES = {
    "cards": cards_table,
    "assumptions": assumptions,
    "kernels": kernel_table,
    "beyond memory": beyond_memory,
    "layer": layer_table,
    "units": units_table,
    "standard": standard_table,
    "measures": measure_table,
    "memory": memory_table,
}


def filled(page: str) -> str:
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: by docs/gpu_roofline.py -->", f"<!-- end of {name} -->"
        text = f"{begin}\n{make()}\n{end}".replace("\\", "\\\\")
        page, found = re.subn(f"(?s){re.escape(begin)}.*?{re.escape(end)}", text, page)
        if found != 1:
            sys.exit(f"the page has {found} places for the table {name!r}, expected one")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables of docs/gpu.md.")
    for name in ("--check", "--write"):
        parser.add_argument(name, type=pathlib.Path, metavar="PAGE")
    arguments = parser.parse_args()
    page = arguments.check or arguments.write
    if not page:
        return print("\n\n".join(f"{name}\n\n{make()}" for name, make in TABLES.items()))
    old = page.read_text(encoding="utf-8")
    new = filled(old)
    if arguments.write:
        page.write_text(new, encoding="utf-8")
    elif new != old:
        sys.exit(f"{page} holds other tables: renew them with docs/gpu_roofline.py --write {page}")


if __name__ == "__main__":
    main()
