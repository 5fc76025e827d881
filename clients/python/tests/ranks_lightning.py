"""One of several processes that train together with Lightning, and the one that starts the others: ADDR FOLDER."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from test_integrations import ENFORCED, MLP, mlp_probe, names_of_mlp

from clino.integrations.lightning import ClinoCallback


class Module(lightning.LightningModule):  # type: ignore[misc]
    """A classifier; slow, which leaves the daemon time to decide."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

    def training_step(self, batch: Any, index: int) -> Any:
        time.sleep(0.005)
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def main() -> None:
    """Train until the policy says STOP, and leave the step."""
    addr, out = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    probe = mlp_probe()
    data = torch.utils.data.TensorDataset(torch.tensor(probe["inputs"]), torch.tensor(probe["labels"]))
    ours = ClinoCallback(MLP, {"en": probe}, ["loss"], every=5, model=names_of_mlp, addr=addr, policy=ENFORCED)
    trainer = lightning.Trainer(
        max_steps=10_000,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ours],
        default_root_dir=out,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=2))
    assert trainer.world_size == 2
    (out / str(trainer.global_rank)).write_text(str(trainer.global_step))


if __name__ == "__main__":
    main()
