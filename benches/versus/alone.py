"""One whole measure in a process of its own, so that its peak memory is nobody else's.

Arguments: way, folder of the model, probe, threads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from .network import Network, read_batch
from .sharpness import WAYS


def main() -> None:
    """Load, measure, print."""
    way, folder, probe, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    print(WAYS[way](Network.load(Path(folder)), read_batch(Path(probe)))())


if __name__ == "__main__":
    main()
