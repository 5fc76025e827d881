"""What the networks are run on: two models, full rows and real text, as files that both sides read."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import files

DATA = Path(__file__).parents[2] / "examples" / "data"
ROWS = 32
START, PAD, END = 0, 1, 2
"""Pieces of the tokenizer in `examples/data/nano` that stand for no text."""

MINILM: files.Config = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": PAD,
    "position_embedding_type": "absolute",
    "id2label": {"0": "A", "1": "B", "2": "C"},
    "label2id": {"A": 0, "B": 1, "C": 2},
}
LONGEST_MINILM, LONGEST_NANO = 64, 24


@dataclass(frozen=True)
class Case:
    """One model and the batches it is run on; a batch is a probe file of `ROWS` examples."""

    name: str
    title: str
    folder: Path
    batches: tuple[Path, ...]

    @property
    def config(self) -> Path:
        """Shape of the model."""
        return self.folder / "config.json"

    @property
    def snapshot(self) -> Path:
        """Its parameters."""
        return self.folder / "snapshot.safetensors"


@dataclass(frozen=True)
class Model:
    """A folder with a config and a snapshot, and the length that its rows are cut to."""

    title: str
    folder: Path
    longest: int

    @property
    def config(self) -> files.Config:
        """What config.json says."""
        return files.read_config(self.folder)


# --- the models


def shapes(config: files.Config) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter under Hugging Face's names."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {}

    def dense(name: str, into: int, out: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (width,), (width,)

    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    for table, key in tables.items():
        found[f"bert.embeddings.{table}_embeddings.weight"] = (config[key], width)
    norm("bert.embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", width, inner)
        dense(f"{layer}.output.dense", inner, width)
        norm(f"{layer}.output.LayerNorm")
    dense("bert.pooler.dense", width, width)
    dense("classifier", width, len(config["id2label"]))
    return found


def minilm(folder: Path) -> Model:
    """A network of MiniLM-L6's shape with drawn weights: time does not depend on what was learned.

    Nothing is left at zero or one, so that no parameter can be forgotten without the losses telling.
    """
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MINILM))
    random, std = np.random.default_rng(1), np.float32(MINILM["initializer_range"])
    weights = {}
    for name, shape in shapes(MINILM).items():
        weights[name] = random.standard_normal(shape, dtype=np.float32) * std
        if name.endswith("LayerNorm.weight"):
            weights[name] += 1
    files.write(folder / "snapshot.safetensors", weights)
    return Model("MiniLM-L6 shape", folder, LONGEST_MINILM)


def nano(folder: Path) -> Model:
    """The model of the examples, as it is shipped."""
    folder.mkdir()
    shutil.copy(DATA / "nano" / "config.json", folder / "config.json")
    shutil.copy(DATA / "nano" / "init.safetensors", folder / "snapshot.safetensors")
    return Model("nano", folder, LONGEST_NANO)


# --- the batches


def full(model: Model) -> Case:
    """One batch without padding: random words, random labels."""
    random = np.random.default_rng(2)
    config = model.config
    probe = {
        "input_ids": random.integers(END + 1, config["vocab_size"], (ROWS, model.longest)),
        "attention_mask": np.ones((ROWS, model.longest), np.int64),
        "labels": random.integers(0, len(config["id2label"]), ROWS),
    }
    path = model.folder / "full.safetensors"
    files.write(path, probe)
    title = f"{model.title}, {ROWS} x {model.longest}"
    return Case(f"{model.folder.name}-full", title, model.folder, (path,))


def sentences(limit: int) -> list[tuple[list[int], int]]:
    """Pieces and label of real multilingual text in random order, as a trainer meets it."""
    from tokenizers import Tokenizer  # here, so that processes whose memory is measured never load it

    tokenizer = Tokenizer.from_file(str(DATA / "nano" / "tokenizer.json"))
    table = json.loads((DATA / "nano" / "normalize.json").read_text(encoding="utf-8"))
    normal = {int(code): text for code, text in table.items()}
    with (DATA / "emoji8" / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = [rows[at] for at in np.random.default_rng(3).permutation(len(rows))[:limit]]
    plain = [" ".join(row["text"].translate(normal).split()) for row in chosen]
    encoded = tokenizer.encode_batch(plain)
    return [(pieces.ids, int(row["label"])) for pieces, row in zip(encoded, chosen, strict=True)]


def padded(rows: list[tuple[list[int], int]], longest: int, classes: int) -> files.Arrays:
    """A batch, padded to its longest row and no further."""
    tokens = [[START, *ids[: longest - 2], END] for ids, _ in rows]
    width = max(map(len, tokens))
    ids = np.full((len(rows), width), PAD, np.int64)
    for row, line in zip(ids, tokens, strict=True):
        row[: len(line)] = line
    mask = (np.arange(width) < np.array([[len(line)] for line in tokens])).astype(np.int64)
    labels = np.array([label % classes for _, label in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def real(model: Model, groups: int) -> Case:
    """Batches of real text, each padded to its own longest row as trainers do."""
    classes = len(model.config["id2label"])
    rows = sentences(groups * ROWS)
    paths, filled, cells = [], 0, 0
    for group in range(groups):
        probe = padded(rows[group * ROWS : (group + 1) * ROWS], model.longest, classes)
        filled, cells = filled + probe["attention_mask"].sum(), cells + probe["attention_mask"].size
        paths.append(model.folder / f"real-{group}.safetensors")
        files.write(paths[-1], probe)
    title = f"{model.title}, {groups} x {ROWS} sentences, {1 - filled / cells:.0%} padding"
    return Case(f"{model.folder.name}-real", title, model.folder, tuple(paths))
