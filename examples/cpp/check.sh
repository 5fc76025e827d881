#!/usr/bin/env bash
# Compiles the client and asks a daemon at a unix socket: check.sh DAEMON_BINARY. Needs g++, protoc, gRPC for C++ and its
# plugin (on Debian libgrpc++-dev and protobuf-compiler-grpc).
set -euo pipefail
. "$(dirname "$0")/../with_daemon.sh"
cd "$(dirname "$0")"

protoc -I ../../proto --cpp_out="$work" --grpc_out="$work" --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" \
    ../../proto/clino/v1/*.proto
# shellcheck disable=SC2046 # flags are words
g++ -std=c++17 -I "$work" runs.cpp "$work"/clino/v1/*.cc -o "$work/runs" $(pkg-config --cflags --libs grpc++ protobuf)

serve
printf '{"model_type":"mlp","sizes":[2,8,3],"hidden_act":"relu"}' >"$work/config.json"
# A safetensors file with two examples of two features.
python3 - "$work/probe.safetensors" <<'PYTHON'
import json, struct, sys
tensors = {"inputs": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "labels": {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]}}
head = json.dumps(tensors).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<4f2q", 1, 2, 3, 4, 0, 1))
PYTHON
run=$("$binary" open --addr "unix://$work/clino.sock" --config "$work/config.json" --probe "en=$work/probe.safetensors" --measure loss)

said=$("$work/runs" "$work/clino.sock")
[ "$said" = "$run 0 measured" ] || { echo "found $said, expected the run $run"; cat "$work/log"; exit 1; }
echo "unix: $said"
