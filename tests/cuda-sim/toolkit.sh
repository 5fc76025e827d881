#!/usr/bin/env bash
# toolkit.sh DEST: a CUDA_HOME in DEST, enough to build clino with the feature `cuda` on a machine without CUDA.
# Needs Python 3 with pip or venv, gcc, and PyPI the first time. nvcc and the static runtime are NVIDIA's own, from
# wheels; the libraries that clino loads only when it runs are empty here, for it defines their functions itself.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: toolkit.sh DEST" >&2; exit 2; }
mkdir -p "$1"
dest=$(cd "$1" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/clino-ci/cuda
site=$cache/site
pins="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85
nvidia-cuda-runtime==13.0.96"

# A Python that has pip: this one, or one of its own, or this one with pip for this user.
python() {
    local own=$cache/venv/bin/python
    if ! piped python3 && ! piped "$own"; then
        python3 -m venv --clear "$cache/venv" >&2 || python3 -m ensurepip --user >&2
    fi
    if piped python3; then python3 "$@"; else "$own" "$@"; fi
}

piped() {
    "$1" -m pip --version >/dev/null 2>&1
}

complete() {
    local pin name
    for pin in $pins; do
        name=${pin%%==*}
        [ -d "$site/${name//-/_}-${pin##*==}.dist-info" ] || return 1
    done
}

if ! complete; then
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    # shellcheck disable=SC2086
    python -m pip install --quiet --disable-pip-version-check --no-deps --target "$new/site" $pins >&2
    rm -rf "$site"
    mv "$new/site" "$site"
fi

from=$site/nvidia/cu13
for folder in bin include nvvm; do ln -sfn "$from/$folder" "$dest/$folder"; done
mkdir -p "$dest/lib64/stubs"
ln -sfn lib64 "$dest/lib"
for file in "$from"/lib/*.a "$from"/lib/*.so.*; do
    name=$(basename "$file")
    ln -sfn "$file" "$dest/lib64/$name"
    case $name in *.so.*) ln -sfn "$name" "$dest/lib64/${name%%.so.*}.so" ;; esac
done

for library in stubs/libcuda:1 libcublas:13 libcublasLt:13 libcurand:10 libnvrtc:13; do
    stem=${library%%:*}
    gcc -shared -nostdlib -o "$dest/lib64/$stem.so" -Wl,-soname,"${stem##*/}.so.${library##*:}" -x c /dev/null
done
echo "CUDA_HOME=$dest ($("$dest/bin/nvcc" --version | sed -n 's/.*release //p'))"
