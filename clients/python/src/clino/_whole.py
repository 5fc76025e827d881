"""Whether all values of a model are on this rank.

Owns: the types that keep a part of a model on each rank. May not touch: their methods. Gathering is a collective, and
one rank that asks alone waits for the others for ever: so types are looked at, and nothing is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_GATHER = (
    "torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True))"
)
_GATHER_ZERO = "with deepspeed.zero.GatheredParameters(list(model.parameters())): copy the state_dict"
_GATHER_MEGATRON = "the converter to Hugging Face's layout that comes with the trainer"


def check_module(module: Any) -> None:
    """TypeError for a torch module of which this rank has a part only."""
    for part in module.modules():
        kind = _sharded_module(part)
        if kind is not None:
            raise TypeError(_refusal("model", kind, _GATHER))
    for name, tensor in tensors_of(module):
        check_tensor(name, tensor)


def check_tensor(name: str, tensor: Any) -> None:
    """TypeError for a tensor of which this rank has a part only."""
    names = _bases(tensor)
    if "DTensor" in names or hasattr(tensor, "full_tensor"):
        raise TypeError(_refusal(name, "a sharded tensor (DTensor: FSDP2 or tensor parallel)", _GATHER))
    if any(base.startswith("ShardedTensor") for base in names):
        raise TypeError(_refusal(name, "a sharded tensor (ShardedTensor)", _GATHER))
    if "FlatParameter" in names or getattr(tensor, "_fsdp_flattened", False):
        raise TypeError(_refusal(name, "a flattened tensor of FSDP", _GATHER))
    if hasattr(tensor, "ds_id"):
        raise TypeError(_refusal(name, "a sharded tensor (DeepSpeed ZeRO stage 3)", _GATHER_ZERO))
    if getattr(tensor, "tensor_model_parallel", False):
        raise TypeError(_refusal(name, "a sharded tensor (tensor parallel, as Megatron has them)", _GATHER_MEGATRON))


def tensors_of(module: Any) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers under each of their names; a wrapper may have made named_parameters() gather."""
    for prefix, part in module.named_modules(remove_duplicate=False):
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    yield (f"{prefix}.{name}" if prefix else name), tensor


def _sharded_module(module: Any) -> str | None:
    names = _bases(module)
    if any(name.endswith("FullyShardedDataParallel") for name in names):
        return "a model in FSDP"
    return "a model in FSDP2 (fully_shard)" if "FSDPModule" in names else None


def _bases(value: object) -> list[str]:
    return [base.__name__ for base in type(value).__mro__]


def _refusal(name: str, found: str, how: str) -> str:
    return (
        f"{name}: found {found}, of which each rank holds only a part, expected whole tensors; clino does not gather "
        f"it, since a rank that gathers alone waits forever: gather on all ranks ({how}), and give what rank 0 "
        "gets to run.snapshot(...) of a run made by clino.init"
    )
