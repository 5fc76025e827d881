"""Small runs, and waiting for what happens on other threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import clino

CONFIG = {"model_type": "mlp", "sizes": [4, 3], "hidden_act": "relu"}


def probes(examples: int = 5) -> dict[str, dict[str, Any]]:
    random = np.random.default_rng(0)
    return {"en": {"inputs": random.normal(size=(examples, 4)), "labels": np.arange(examples) % 3}}


def weights(value: float = 1.0, size: int = 12) -> dict[str, Any]:
    return {"w": np.full(size, value, np.float32)}


def begin(addr: str, **more: Any) -> clino.Run:
    # The weights of these tests are mappings, which nothing compares with a configuration.
    return clino.init(CONFIG, probes(), ["loss"], addr=addr, **{"check": False, **more})


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
