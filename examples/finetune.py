"""Fine-tunes a small multilingual BERT on English and watches what it does in other languages.

    pip install torch tokenizers ./clients/python
    python examples/finetune.py --clino target/release/clino        # starts a daemon of its own
    python examples/finetune.py --addr unix:///run/clino/clino.sock  # uses one that runs

Nothing here but `clino.init`, `run.snapshot` and the table at the end knows of clino: the rest is any training loop.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

import clino

DATA = Path(__file__).parent / "data"
GROUPS = ("en", "de", "fr", "es", "ru", "tr", "hi", "zh", "sw")
LONGEST, START, PAD, END = 24, 0, 1, 2
BATCH, LEARNING_RATE, WEIGHT_DECAY = 32, 1e-3, 0.01


# --- the model: a BERT classifier with the names of Hugging Face's


class Attention(nn.Module):
    """Self-attention of one layer, up to its projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        for name in ("query", "key", "value"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        q, k, v = (
            self.get_submodule(name)(x).view(rows, tokens, self.heads, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        return functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(rows, tokens, width)


class Projection(nn.Module):
    """A linear map back onto the residual stream."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)


class Layer(nn.Module):
    """Attention, then two linear maps."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": Attention(width, heads), "output": Projection(width, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Projection(inner, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class Embeddings(nn.Module):
    """Words, places and segments."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0])


class BertClassifier(nn.Module):
    """Logits of a text's classes; without dropout, since the runs are short."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, heads, inner = (config[key] for key in ("hidden_size", "num_attention_heads", "intermediate_size"))
        layers = [Layer(width, heads, inner) for _ in range(config["num_hidden_layers"])]
        self.bert = nn.ModuleDict(
            {
                "embeddings": Embeddings(config),
                "encoder": nn.ModuleDict({"layer": nn.ModuleList(layers)}),
                "pooler": nn.ModuleDict({"dense": nn.Linear(width, width)}),
            }
        )
        self.classifier = nn.Linear(width, len(config["id2label"]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # the names of the columns of a probe
        x = self.bert["embeddings"](input_ids)
        visible = attention_mask.bool()[:, None, None, :]
        for layer in self.bert["encoder"]["layer"]:
            x = layer(x, visible)
        return self.classifier(torch.tanh(self.bert["pooler"]["dense"](x[:, 0])))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file: a header of names and places, then the numbers, all float32 here."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        numbers = np.frombuffer(data, "<f4", (last - first) // 4, start + first)
        tensors[name] = torch.from_numpy(numbers.reshape(entry["shape"]))
    return tensors


# --- the data


@dataclass
class Batch:
    """Texts as the model takes them."""

    ids: Tensor
    mask: Tensor
    labels: Tensor

    def probe(self) -> dict[str, Tensor]:
        """The same under the names that clino knows."""
        return {"input_ids": self.ids, "attention_mask": self.mask, "labels": self.labels}

    def __getitem__(self, rows: Tensor) -> Batch:
        return Batch(self.ids[rows], self.mask[rows], self.labels[rows])


class Reader:
    """From files of texts to batches."""

    def __init__(self, model: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        table = json.loads((model / "normalize.json").read_text(encoding="utf-8"))
        self._normal = {int(code): text for code, text in table.items()}

    def read(self, path: Path, language: str | None = None, limit: int | None = None) -> Batch:
        """Rows of a file, of one language if one is named."""
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        rows = [row for row in rows if language in (None, row["lang"])][:limit]
        ids, mask = self.tokenize([row["text"] for row in rows])
        return Batch(ids, mask, torch.tensor([int(row["label"]) for row in rows]))

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Ids, padded to the longest that the model takes, and where they are not padding."""
        plain = [" ".join(text.translate(self._normal).split()) for text in texts]
        ids = torch.full((len(texts), LONGEST), PAD)
        for row, encoding in enumerate(self._tokenizer.encode_batch(plain)):
            tokens = [START, *encoding.ids[: LONGEST - 2], END]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return ids, (ids != PAD).long()


# --- the daemon


@contextlib.contextmanager
def daemon(options: argparse.Namespace) -> Iterator[str]:
    """The address of a daemon: the one that was named, or one that lives as long as this program."""
    if options.addr:
        yield options.addr
        return
    with tempfile.TemporaryDirectory(prefix="clino-") as folder:
        socket = f"{folder}/clino.sock"
        command = [options.clino, "serve", "--socket", socket, "--log", "warn"]
        # The daemon refuses CLINO_* variables that it does not know, and this one is only this program's.
        environment = {name: value for name, value in os.environ.items() if name != "CLINO_BIN"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            # It says where it listens once it does.
            if process.stdout is None or not process.stdout.readline():
                raise SystemExit(f"{options.clino} serve did not start")
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait(30)


# --- the table

HEADER = f"{'step':>5}  {'group':<7}{'loss':>8}{'accuracy':>10}{'margin':>9}{'distance':>10}  {'sharpness ± error':<20}"


def row_of(step: int, group: str, readings: dict[tuple[str, str | None], clino.Reading]) -> str:
    """One line of the table; a dash where there is no number."""

    def number(measure: str, of: str | None, digits: int) -> str:
        reading = readings.get((measure, of))
        return "-" if reading is None or reading.value is None else f"{reading.value:.{digits}f}"

    sharpness = readings.get(("sharpness", group))
    error = f" ± {sharpness.stderr:.1e}" if sharpness and sharpness.stderr is not None else ""
    return (
        f"{step:>5}  {group:<7}{number('loss', group, 4):>8}{number('accuracy', group, 3):>10}"
        f"{number('margin', group, 4):>9}{number('distance', None, 3):>10}  {number('sharpness', group, 5)}{error}"
    )


def print_table(run: clino.Run) -> None:
    """Print the report of each snapshot when it is whole, until the run is over."""
    print(HEADER, flush=True)
    reports: dict[tuple[int, int], dict[tuple[str, str | None], clino.Reading]] = {}
    for event in run.watch():
        if isinstance(event, clino.Reading):
            reports.setdefault((event.step, event.attempt), {})[event.measure, event.group] = event
        elif isinstance(event, clino.SnapshotFinished):
            report = reports.pop((event.step, event.attempt), {})
            for group in (*GROUPS, "pooled"):
                print(row_of(event.step, group, report))
            print(f"{'':7}measured in {event.seconds:.2f} s", flush=True)
        elif isinstance(event, clino.SnapshotSkipped):
            print(f"{event.step:>5}  not measured: {event.reason}", flush=True)


# --- the loop


def train(model: nn.Module, data: Batch, run: clino.Run, options: argparse.Namespace) -> float:
    """Fine-tune, leaving a snapshot every so many steps; the seconds of the loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    shuffle = torch.Generator().manual_seed(options.seed)
    per_epoch = math.ceil(len(data.labels) / BATCH)
    started = time.perf_counter()
    run.snapshot(model, 0, init=True)
    for step in range(1, options.steps + 1):
        if (step - 1) % per_epoch == 0:
            order = torch.randperm(len(data.labels), generator=shuffle)
        place = (step - 1) % per_epoch * BATCH
        batch = data[order[place : place + BATCH]]
        loss = functional.cross_entropy(model(batch.ids, batch.mask), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % options.every == 0 or step == options.steps:
            run.snapshot(model, step)
    return time.perf_counter() - started


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", help="address of a daemon that runs, such as unix:///run/clino/clino.sock")
    parser.add_argument("--clino", default=os.environ.get("CLINO_BIN"), help="program to start one from (or CLINO_BIN)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of emoji8 and nano")
    parser.add_argument("--steps", type=int, default=372, help="optimizer steps; 31 are an epoch")
    parser.add_argument("--every", type=int, default=62, help="steps between snapshots")
    parser.add_argument("--probe", type=int, default=64, help="examples a group")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.addr and not options.clino:
        parser.error("one of --addr and --clino is needed")
    return options


def main() -> None:
    """Train, watch, print."""
    options = arguments()
    torch.set_num_threads(1)  # the daemon wants to compute, too
    nano, emoji = options.data / "nano", options.data / "emoji8"
    reader = Reader(nano)
    model = BertClassifier(json.loads((nano / "config.json").read_text()))
    model.load_state_dict(read_safetensors(nano / "init.safetensors"))
    probes = {group: reader.read(emoji / "test.tsv", group, options.probe).probe() for group in GROUPS}
    measures = ["loss", "accuracy", "margin", "distance", {"name": "sharpness", "draws": 4}]
    with (
        daemon(options) as addr,
        clino.init(
            nano, probes, measures, addr=addr, seed=options.seed, name="emoji8 finetune.py", delivery="every"
        ) as run,
    ):
        table = threading.Thread(target=print_table, args=(run,))
        table.start()
        seconds = train(model, reader.read(emoji / "train.tsv"), run, options)
        run.finish(timeout=600)
        table.join()
        stats = run.stats
    print(
        f"trained {options.steps} steps in {seconds:.1f} s, of which clino held {stats.held_seconds * 1e3:.1f} ms "
        f"(longest {stats.held_max * 1e3:.1f} ms); {stats.sent} snapshots sent, {stats.replaced} replaced"
    )


if __name__ == "__main__":
    main()
