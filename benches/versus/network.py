"""The BERT classifier in PyTorch, written as well as one would without leaving PyTorch's own operations.

Query, key and value are one product, attention is `scaled_dot_product_attention`, and no mask is passed where
nothing is padded. Evaluation mode; the arithmetic is Hugging Face's `BertForSequenceClassification`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from . import files

Parameters = dict[str, Tensor]
FUSED = ("query", "key", "value")


@dataclass(frozen=True)
class Batch:
    """Examples with their labels; `visible` is None where nothing is padded."""

    ids: Tensor
    visible: Tensor | None
    labels: Tensor


def read_batch(path: Path) -> Batch:
    """A probe file."""
    probe = {name: torch.from_numpy(array.copy()) for name, array in files.read(path).items()}
    mask = probe["attention_mask"].bool()
    return Batch(probe["input_ids"], None if mask.all() else mask[:, None, None, :], probe["labels"])


def read_parameters(path: Path, config: files.Config) -> Parameters:
    """A snapshot, with query, key and value of each layer as one matrix, as the network takes them."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in files.read(path).items()}
    for index in range(config["num_hidden_layers"]):
        base = f"bert.encoder.layer.{index}.attention.self"
        for kind in ("weight", "bias"):
            parts = [tensors.pop(f"{base}.{part}.{kind}") for part in FUSED]
            tensors[f"{base}.fused.{kind}"] = torch.cat(parts)
    return tensors


class Network:
    """A classifier over parameters that somebody else may own, move and replace."""

    def __init__(self, config: files.Config, parameters: Parameters) -> None:
        self.config = config
        self.parameters = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Network:
        """The one whose config and snapshot lie in a folder."""
        config = files.read_config(folder)
        parameters = read_parameters(folder / "snapshot.safetensors", config)
        return cls(config, {name: tensor.to(dtype) for name, tensor in parameters.items()})

    def logits(self, batch: Batch) -> Tensor:
        """One row of classes for each example."""
        base = "bert.embeddings"
        tables = ("word", "position", "token_type")
        words, places, kinds = (self.parameters[f"{base}.{table}_embeddings.weight"] for table in tables)
        # The two small tables are added to each other first: they are the same for all rows.
        x = functional.embedding(batch.ids, words) + (places[: batch.ids.shape[1]] + kinds[0])
        x = self._norm(f"{base}.LayerNorm", x)
        for index in range(self.config["num_hidden_layers"]):
            x = self._layer(f"bert.encoder.layer.{index}", x, batch.visible)
        return self._dense("classifier", torch.tanh(self._dense("bert.pooler.dense", x[:, 0])))

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy; the few logits are single precision whatever the network is."""
        return functional.cross_entropy(self.logits(batch).float(), batch.labels)

    def gradients(self, batch: Batch) -> tuple[Tensor, ...]:
        """Of the loss, by every parameter."""
        return torch.autograd.grad(self.loss(batch), list(self.parameters.values()))

    def _dense(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, self.config["layer_norm_eps"])

    def _layer(self, base: str, x: Tensor, visible: Tensor | None) -> Tensor:
        rows, tokens, width = x.shape
        heads = self.config["num_attention_heads"]
        fused = self._dense(f"{base}.attention.self.fused", x).view(rows, tokens, 3, heads, width // heads)
        q, k, v = fused.permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(q, k, v, visible)
        context = self._dense(f"{base}.attention.output.dense", context.transpose(1, 2).reshape(x.shape))
        x = self._norm(f"{base}.attention.output.LayerNorm", context + x)
        inner = functional.gelu(self._dense(f"{base}.intermediate.dense", x))
        return self._norm(f"{base}.output.LayerNorm", self._dense(f"{base}.output.dense", inner) + x)


def norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> float:
    """Of all tensors as one vector."""
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def forward_flops(config: files.Config, rows: int, tokens: int) -> float:
    """Operations of one forward pass over whole rows: 2 m n k for every product, and nothing else."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    dense = tokens * (8 * width * width + 4 * width * inner)
    attention = 4 * tokens * tokens * width
    head = 2 * width * width + 2 * width * len(config["id2label"])
    return float(rows * (config["num_hidden_layers"] * (dense + attention) + head))
