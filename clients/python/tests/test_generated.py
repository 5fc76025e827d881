"""The generated code is that of the protocol files, whichever generator wrote it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

PROTO = Path(__file__).resolve().parents[3] / "proto"


@pytest.mark.skipif(not PROTO.is_dir(), reason="the protocol files are not beside this copy of the package")
def test_generated_code_is_current(tmp_path: Path) -> None:
    from grpc_tools import protoc

    files = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.glob("clino/v1/*.proto"))
    out = tmp_path / "set.pb"
    assert files
    assert protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={out}", *files]) == 0
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    assert {file.name for file in compiled.file} == set(files)
    for file in compiled.file:
        module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        written = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(written)
        assert plain(written) == plain(file), f"{file.name} changed: run generate.sh"


def plain(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """Without the JSON names that only some generators write."""
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in message.field:
            field.ClearField("json_name")
    return file
