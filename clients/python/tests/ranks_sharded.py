"""One of several processes that train a sharded model with the callback on all of them: KIND ADDR FOLDER."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from test_integrations import bert
from torch.distributed.device_mesh import init_device_mesh

from clino.integrations.transformers import ClinoCallback


def shard(kind: str, model: Any) -> Any:
    """The model in the hands of both ranks."""
    if kind == "fsdp1":
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    mesh = init_device_mesh("cpu", (2,))
    if kind == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        fully_shard(model, mesh=mesh)
        return model
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    for layer in model.bert.encoder.layer:
        plan = {"intermediate.dense": ColwiseParallel(), "output.dense": RowwiseParallel()}
        parallelize_module(layer, mesh, plan)
    return model


def main() -> None:
    """Train a few steps as a Trainer does, and leave what was said."""
    kind, addr, out = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    log = logging.FileHandler(Path(out) / str(rank))
    log.setLevel(logging.WARNING)
    logging.getLogger("clino").addHandler(log)
    model, data, _ = bert()
    config, model = model.config, shard(kind, model)
    ours = ClinoCallback({"en": data}, ["loss"], every=1, addr=addr, config=config)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    args = SimpleNamespace(world_size=2, device=torch.device("cpu"))
    control = SimpleNamespace(should_training_stop=False)
    state = SimpleNamespace(global_step=0, is_world_process_zero=rank == 0)
    ours.on_train_begin(args, state, control, model=model)
    for step in (1, 2, 3):
        model(**{name: column[rank::2] for name, column in data.items()}).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        state.global_step = step
        ours.on_step_end(args, state, control, model=model)
    ours.on_train_end(args, state, control, model=model)
    # Who leaves first breaks the connections of the other.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
