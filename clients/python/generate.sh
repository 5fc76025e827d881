#!/usr/bin/env bash
# Writes src/clino/v1 from the protocol files, in a virtual environment of its own. The generator is pinned and
# old on purpose: generated code runs on protobuf runtimes at least as new as its generator, so an old one keeps
# the range of installable versions wide. tests/test_generated.py fails when a protocol file changed since.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grpcio-tools==1.73.1 setuptools
"$work/venv/bin/python" -m grpc_tools.protoc -I "$here/../../proto" \
    --python_out="$here/src" --pyi_out="$here/src" "$here"/../../proto/clino/v1/*.proto
