"""A model of which this rank has a part is refused by its types: nothing is called that could wait for other ranks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake import FakeDaemon
from support import begin
from test_tensors import copied

from clino import _tensors, _whole

torch = pytest.importorskip("torch", reason="torch is not installed")

RANKS = Path(__file__).with_name("ranks_sharded.py")


# --- real ranks: a collective that one of them begins never ends


@pytest.mark.parametrize("kind", ["fsdp1", "fsdp2", "tensor_parallel"])
def test_a_sharded_model_is_refused_and_its_training_goes_on(daemon: FakeDaemon, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(RANKS)]
    done = subprocess.run(
        [*command, kind, daemon.addr, str(tmp_path)],
        timeout=240,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    said = [(tmp_path / f"{rank}").read_text() for rank in (0, 1)]
    assert "on all ranks" in said[0]
    assert "get_model_state_dict" in said[0]
    assert said[0].count("found") == 1, "once"
    assert said[1] == ""
    assert daemon.runs == {}


# --- types


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Any]:
    """A process group of one: enough to make sharded models."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_nothing_is_called_of_a_model_in_fsdp(group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    model = torch.nn.Sequential(FullyShardedDataParallel(torch.nn.Linear(3, 3), device_id=torch.device("cpu")))
    monkeypatch.setattr(torch.nn.Module, "state_dict", None)
    with pytest.raises(TypeError, match=r"model: found a model in FSDP, .* gather on all ranks"):
        _tensors.plan(model)


def test_a_module_inside_of_fsdp_is_told_by_its_parameters(group: Any) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    for original in (False, True):
        inner = torch.nn.Linear(3, 3)
        FullyShardedDataParallel(inner, device_id=torch.device("cpu"), use_orig_params=original)
        with pytest.raises(TypeError, match="found a flattened tensor of FSDP"):
            _tensors.plan(inner)


def test_a_distributed_tensor_is_refused_in_a_module_and_in_a_mapping(group: Any) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    sharded = distribute_tensor(torch.ones(4, 2), init_device_mesh("cpu", (1,)))
    module = torch.nn.Linear(2, 4)
    module.weight = torch.nn.Parameter(sharded)
    for model in (module, {"weight": sharded}):
        with pytest.raises(TypeError, match="weight: found a sharded tensor"):
            _tensors.plan(model)


def test_what_deepspeed_and_megatron_put_on_parameters_is_known() -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.ds_id = 0
    with pytest.raises(
        TypeError, match=r"weight: found a sharded tensor \(DeepSpeed ZeRO stage 3\).*GatheredParameters"
    ):
        _whole.check_module(module)
    module = torch.nn.Linear(2, 2)
    module.bias.tensor_model_parallel = True
    with pytest.raises(TypeError, match=r"bias: found a sharded tensor \(tensor parallel"):
        _whole.check_module(module)


def test_whole_models_pass(group: Any) -> None:
    model = torch.nn.Linear(2, 2)
    for whole in (model, torch.nn.parallel.DistributedDataParallel(model), torch.nn.DataParallel(model)):
        _whole.check_module(whole)
        assert _tensors.plan(whole).nbytes == 24


def test_a_run_says_it_once(group: Any, daemon: FakeDaemon, caplog: pytest.LogCaptureFixture) -> None:
    from torch.distributed.fsdp import fully_shard

    model = torch.nn.Linear(4, 3)
    fully_shard(model)
    run = begin(daemon.addr)
    for step in range(3):
        run.snapshot(model, step)
    run.wind_up(10)
    said = [
        record.message for record in caplog.records if record.levelno >= logging.WARNING and "FSDP2" in record.message
    ]
    assert len(said) == 1


# --- sharing of memory


class Held(torch.Tensor):  # type: ignore[misc,name-defined]
    """A tensor that keeps its values in another one, as those of quantization do: it has no address."""

    @staticmethod
    def __new__(cls, inner: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def open_(value: Any) -> Any:
            return value.inner if isinstance(value, Held) else value

        found = func(*map(open_, args), **{name: open_(value) for name, value in (kwargs or {}).items()})
        return Held(found) if func is torch.ops.aten.detach.default else found


def test_tensors_without_an_address_are_not_taken_for_tied() -> None:
    one, other = Held(torch.full((2, 2), 1.0)), Held(torch.full((2, 2), 2.0))
    assert one.data_ptr() == other.data_ptr() == 0
    plan, found = copied({"a": one, "b": other, "c": one})
    assert found["a"].view(np.float32).tolist() == [1.0] * 4
    assert found["b"].view(np.float32).tolist() == [2.0] * 4
    assert [(alias.name, alias.target) for alias in plan.aliases] == [("c", "a")], "the same object is"


def test_tied_parameters_without_an_address_are_tied() -> None:
    module = torch.nn.Module()
    module.one = torch.nn.Parameter(Held(torch.ones(3)), requires_grad=False)
    module.other = torch.nn.Parameter(Held(torch.zeros(3)), requires_grad=False)
    module.tied = module.one
    plan, found = copied(module)
    assert set(found) == {"one", "other"}
    assert [(alias.name, alias.target) for alias in plan.aliases] == [("tied", "one")]


def test_tied_modules_are_tied() -> None:
    module = torch.nn.Module()
    module.one = torch.nn.Linear(2, 2)
    module.tied = module.one
    plan, _ = copied(module)
    assert len(plan.aliases) == 2


def test_views_of_one_storage_are_apart() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    plan, found = copied({"x": base[:2], "y": base[1:], "w": base[:2]})
    assert set(found) == {"x", "y"}
    assert [(alias.name, alias.target) for alias in plan.aliases] == [("w", "x")]


def test_arrays_that_are_made_when_asked_for_are_apart() -> None:
    class Variable:
        def __init__(self, value: float) -> None:
            self.value = value

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.full(3, self.value, np.float32)

    plan, found = copied({name: Variable(value) for value, name in enumerate("abcdef")})
    assert not plan.aliases
    assert [found[name].view(np.float32)[0] for name in "abcdef"] == [0, 1, 2, 3, 4, 5]


def test_what_has_no_values_is_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    released = torch.ones(3)
    released.untyped_storage().resize_(0)
    for tensor, words in ((fake, "a fake tensor"), (released, "whose memory was given back")):
        with pytest.raises(TypeError, match=f"w: found .*{words}"):
            _tensors.plan({"w": tensor})
    with pytest.raises(TypeError, match="w: found a sparse or meta tensor"):
        _tensors.plan({"w": torch.ones(3, device="meta")})
