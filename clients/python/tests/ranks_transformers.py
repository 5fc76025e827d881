"""One of several processes that train together with transformers: ADDR FOLDER."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from test_integrations import ENFORCED, bert

from clino.integrations.transformers import ClinoCallback


class Slow(transformers.TrainerCallback):  # type: ignore[misc]
    """Leaves the daemon time to decide."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        time.sleep(0.005)


def main() -> None:
    """Train until the policy says STOP, and leave the step."""
    addr, out = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    model, data, rows = bert()
    ours = ClinoCallback({"en": data}, ["loss"], every=5, addr=addr, policy=ENFORCED)
    arguments = transformers.TrainingArguments(
        output_dir=str(out / "out"),
        max_steps=10_000,
        per_device_train_batch_size=4,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[Slow(), ours])
    trainer.train()
    assert arguments.world_size == 2
    (out / str(arguments.process_index)).write_text(str(trainer.state.global_step))


if __name__ == "__main__":
    main()
