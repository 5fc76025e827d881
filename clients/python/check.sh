#!/usr/bin/env bash
# Every check of the Python client, in a virtual environment outside the source tree: ruff, mypy, pytest.
#
#   CLINO_BIN    a clino program: without it the tests that need a daemon are skipped
#   PYTHON       the interpreter, python3 by default
#   CHECK_VENV   where the environment lies (kept and reused); by default a fresh one that is removed
#   CHECK_TORCH  0 leaves PyTorch out (5 GB installed on Linux: its package brings CUDA, and does not load without
#                it); the tests that need it are then skipped
#   CHECK_INSTALL_ONLY  1 makes the environment and checks nothing
#   CHECK_INTEGRATIONS  0 leaves out transformers, Lightning and Keras (280 MB); their tests are then skipped
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${CHECK_VENV:-$work/venv}
export PYTHONDONTWRITEBYTECODE=1 RUFF_NO_CACHE=true PIP_DISABLE_PIP_VERSION_CHECK=1

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --upgrade pip
extras=test,lint
[ "${CHECK_TORCH:-1}" = 0 ] || extras=$extras,torch
[ "${CHECK_TORCH:-1}" = 0 ] || [ "${CHECK_INTEGRATIONS:-1}" = 0 ] || extras=$extras,integrations
# Built from a copy: a build in place would leave its files here.
cp -r "$here" "$work/source"
"$venv/bin/pip" install --quiet "$work/source[$extras]"
"$venv/bin/pip" install --quiet --force-reinstall --no-deps "$work/source"
[ "${CHECK_INSTALL_ONLY:-0}" = 0 ] || exit 0

cd "$here"
"$venv/bin/ruff" check . ../../examples ../../scripts/coverage --config pyproject.toml
"$venv/bin/ruff" format --check . ../../examples ../../scripts/coverage --config pyproject.toml
"$venv/bin/mypy" --cache-dir "$work/mypy"
"$venv/bin/pytest" -p no:cacheprovider "$@"
