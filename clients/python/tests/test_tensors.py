from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from clino import _tensors
from clino._tensors import Bytes
from clino.v1 import types_pb2


def copied(model: object) -> tuple[_tensors.Plan, dict[str, Bytes]]:
    """The plan, and the bytes of each tensor as the daemon will cut them."""
    plan = _tensors.plan(model)
    buffer = np.empty(plan.nbytes, np.uint8)
    plan.copy_into(buffer)
    found, offset = {}, 0
    for spec in plan.specs():
        found[spec.name] = buffer[offset : offset + spec.byte_length]
        offset += spec.byte_length
    assert offset == plan.nbytes
    return plan, found


def test_every_float_dtype_keeps_its_bits() -> None:
    values = np.array([[1.0, -2.5], [3.25, 1e-3]])
    model = {
        name: values.astype(dtype)
        for name, dtype in {"h": np.float16, "b": ml_dtypes.bfloat16, "s": np.float32, "d": np.float64}.items()
    }
    plan, found = copied(model)
    dtypes = {spec.name: spec.dtype for spec in plan.specs()}
    assert dtypes == {
        "h": types_pb2.DTYPE_F16,
        "b": types_pb2.DTYPE_BF16,
        "s": types_pb2.DTYPE_F32,
        "d": types_pb2.DTYPE_F64,
    }
    for name, array in model.items():
        assert found[name].tobytes() == array.tobytes()


def test_wider_tensors_come_first_so_that_all_are_aligned() -> None:
    plan, _ = copied({"h": np.zeros(3, np.float16), "d": np.zeros(1), "s": np.zeros(1, np.float32)})
    assert [spec.name for spec in plan.specs()] == ["d", "s", "h"]


def test_views_scalars_empty_and_foreign_byte_order() -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    model = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "scalar": np.float64(7.0),
        "empty": np.zeros((0, 4), np.float32),
        "big": base.astype(">f4"),
    }
    plan, found = copied(model)
    assert found["transposed"].tobytes() == np.ascontiguousarray(base.T).tobytes()
    assert found["strided"].tobytes() == np.ascontiguousarray(base[:, ::2]).tobytes()
    assert found["scalar"].tobytes() == np.float64(7.0).tobytes()
    assert found["big"].tobytes() == base.tobytes()
    assert {spec.name: tuple(spec.shape) for spec in plan.specs()}["empty"] == (0, 4)


def test_the_same_memory_is_sent_once() -> None:
    tied = np.ones((2, 3), np.float32)
    plan, found = copied({"embedding": tied, "head": tied, "view": tied[:], "other": tied.copy()})
    assert list(found) == ["embedding", "other"]
    assert [(alias.name, alias.target) for alias in plan.aliases] == [("head", "embedding"), ("view", "embedding")]


def test_parts_and_transposes_of_the_same_memory_are_no_ties() -> None:
    square = np.arange(4, dtype=np.float32).reshape(2, 2)
    plan, found = copied({"a": square, "t": square.T, "row": square[0]})
    assert not plan.aliases
    assert set(found) == {"a", "t", "row"}


def test_counts_are_left_out() -> None:
    _, found = copied({"w": np.ones(1), "steps": np.int64(3), "mask": np.array([True])})
    assert set(found) == {"w"}


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ({}, ValueError, "no floating-point tensor"),
        ({"n": np.int64(1)}, ValueError, "no floating-point tensor"),
        ({"c": np.zeros(1, np.complex64)}, TypeError, "c: found dtype complex64"),
        ({"f8": np.zeros(1, ml_dtypes.float8_e4m3fn)}, TypeError, "f8: found dtype float8_e4m3fn"),
        ({"x": "text"}, TypeError, "x: found str"),
        ({1: np.ones(1)}, TypeError, "found a key 1"),
        ("model.pt", TypeError, "found str"),
    ],
)
def test_what_is_no_model_is_named(model: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _tensors.plan(model)
