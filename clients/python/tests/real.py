"""The real daemon: the program that CLINO_BIN names."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest

BIN = os.environ.get("CLINO_BIN", "")

# Of `clino serve`.
HELP = subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True, check=True).stdout if BIN else ""

needs_daemon = pytest.mark.skipif(not BIN, reason="CLINO_BIN does not name a clino program")

Floats = npt.NDArray[np.float64]


class RealDaemon:
    """`clino serve` on a unix socket and a free port."""

    def __init__(self, folder: Path, *flags: str, name: str = "clino.sock") -> None:
        self.socket = folder / name
        self.unix = f"unix://{self.socket}"
        self._errors = (folder / "stderr").open("a")
        self._process = subprocess.Popen(
            [BIN, "serve", "--socket", str(self.socket), "--listen", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("CLINO_")},
        )
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline()
        self.tcp = next(word for word in self.line.replace("=", " ").split() if word.startswith("http://"))

    def kill(self) -> None:
        """Like a crash."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """Like an operator; the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        code = self._process.wait(30)
        self._errors.close()
        return code


@contextmanager
def channel(addr: str) -> Iterator[grpc.Channel]:
    """A plain channel of grpcio, as a client without this package makes one."""
    made = grpc.insecure_channel(addr.removeprefix("http://"))
    grpc.channel_ready_future(made).result(10)
    yield made
    made.close()


class Mlp:
    """A classifier in numpy: what the daemon should find, computed independently."""

    def __init__(self, sizes: tuple[int, ...] = (8, 16, 3), seed: int = 0) -> None:
        self.sizes = sizes
        random = np.random.default_rng(seed)
        self.weights: dict[str, npt.NDArray[np.float32]] = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            self.weights[f"layers.{i}.weight"] = random.normal(0, fan_in**-0.5, (fan_out, fan_in)).astype(np.float32)
            self.weights[f"layers.{i}.bias"] = random.normal(0, 0.1, fan_out).astype(np.float32)

    @property
    def config(self) -> dict[str, object]:
        return {"model_type": "mlp", "sizes": list(self.sizes), "hidden_act": "tanh"}

    def probe(self, examples: int, seed: int) -> dict[str, npt.NDArray[np.generic]]:
        random = np.random.default_rng(seed)
        return {
            "inputs": random.normal(size=(examples, self.sizes[0])).astype(np.float32),
            "labels": random.integers(0, self.sizes[-1], examples),
        }

    def logits(self, inputs: npt.NDArray[np.generic]) -> Floats:
        x = inputs.astype(np.float64)
        for i in range(len(self.sizes) - 1):
            x = x @ self.weights[f"layers.{i}.weight"].astype(np.float64).T
            x = x + self.weights[f"layers.{i}.bias"].astype(np.float64)
            x = np.tanh(x) if i < len(self.sizes) - 2 else x
        return x

    def facts(self, probe: dict[str, npt.NDArray[np.generic]]) -> dict[str, float]:
        """Loss, accuracy, and the two mean margins on a group."""
        logits, labels = self.logits(probe["inputs"]), probe["labels"].astype(np.int64)
        rows = np.arange(len(labels))
        shifted = logits - logits.max(1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

        def margin(scores: Floats) -> float:
            others = scores.copy()
            others[rows, labels] = -np.inf
            return float((scores[rows, labels] - others.max(1)).mean())

        return {
            "loss": float(-logp[rows, labels].mean()),
            "accuracy": float((logits.argmax(1) == labels).mean()),
            "prob_mean": margin(np.exp(logp)),
            "logit_mean": margin(logits),
        }

    def traces(self, probe: dict[str, npt.NDArray[np.generic]]) -> tuple[float, float]:
        """Of the Hessian and of the Fisher matrix, by differences in each parameter."""
        step, hessian, fisher = 1e-4, 0.0, 0.0
        labels = probe["labels"].astype(np.int64)
        moved = Mlp(self.sizes)
        moved.weights = {name: tensor.astype(np.float64) for name, tensor in self.weights.items()}

        def logp() -> Floats:
            logits = moved.logits(probe["inputs"])
            found: Floats = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            return found

        def loss(logp: Floats) -> float:
            return float(-logp[np.arange(len(labels)), labels].mean())

        here = logp()
        for tensor in moved.weights.values():
            for at in np.ndindex(tensor.shape):
                kept = tensor[at]
                tensor[at] = kept + step
                up = logp()
                tensor[at] = kept - step
                down = logp()
                tensor[at] = kept
                hessian += (loss(up) - 2 * loss(here) + loss(down)) / step**2
                fisher += float((np.exp(here) * ((up - down) / (2 * step)) ** 2).sum(1).mean())
        return hessian, fisher

    def flat(self) -> Floats:
        return np.concatenate([tensor.astype(np.float64).ravel() for tensor in self.weights.values()])
