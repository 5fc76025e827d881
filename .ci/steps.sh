# shellcheck shell=bash
# Steps with names, for .ci/run and scripts/full, which source this file: how they are run, and what several of them need.
#
#   step NAME "what it is" COMMAND…    adds a step
#   run_steps "$@"                     runs every step, or those that are named, in the order in which they were added
#
# A step runs in a shell of its own: no variable that it sets reaches the next one. What it prepared is told by a file in $logs.

set -u
failed=0
names=()
titles=()
commands=()
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# What is kept for the next edit takes time and 10 GB, and here nothing is edited.
export CARGO_INCREMENTAL=0

# Kept between runs: programs, an environment for Python (PyTorch takes 5 GB there), and a CUDA toolkit.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/clino-ci

step() {
    names+=("$1")
    titles+=("$2")
    commands+=("$(printf '%q ' "${@:3}")")
}

run_steps() {
    local i wanted began=$SECONDS
    if [ "${1:-}" = --list ]; then
        for i in "${!names[@]}"; do printf '%-14s %s\n' "${names[i]}" "${titles[i]}"; done
        return 0
    fi
    for wanted in "$@"; do
        case " ${names[*]} " in
        *" $wanted "*) ;;
        *)
            echo "no step is named $wanted; there are: ${names[*]}" >&2
            return 64
            ;;
        esac
    done
    for i in "${!names[@]}"; do
        case " $* " in
        "  " | *" ${names[i]} "*) run_step "$i" ;;
        esac
    done
    printf '%s  %4d s  in total\n' "$([ "$failed" = 0 ] && echo 'ok    ' || echo FAILED)" $((SECONDS - began))
    return "$failed"
}

run_step() { # INDEX: runs it, tells how long it took, shows its end when it fails
    local began=$SECONDS
    if (eval "${commands[$1]}") >"$logs/step" 2>&1; then
        printf 'ok      %4d s  %-14s %s\n' $((SECONDS - began)) "${names[$1]}" "${titles[$1]}"
        grep -E '^test result: ok\. [1-9]|^[0-9]+ passed|^proof: ' "$logs/step" || true
    else
        printf 'FAILED  %4d s  %-14s %s\n' $((SECONDS - began)) "${names[$1]}" "${titles[$1]}"
        tail -n 120 "$logs/step"
        failed=1
    fi
}

told() { # COMMAND…: shows what it prints also when it ends well.
    "$@" >"$logs/told" || { cat "$logs/told"; return 1; }
    sed 's/^/proof: /' "$logs/told"
}

# What steps need. Each is called by every step that needs it, so that a step can run alone, and costs next to nothing
# where it was there already.

packages() { # PROGRAM PACKAGE…: Debian packages, unless the program is there.
    command -v "$1" >/dev/null || { apt-get update && apt-get install --yes "${@:2}"; }
}

binary() { # target/release/clino, without GPUs.
    # With an example: the features of tokio and others are then those of the tests, and nothing is compiled a second time.
    cargo build --release --quiet --bin clino --example finetune
}

python_environment() { # The Python client with all that its tests and examples need, in $tools/python.
    [ -e "$logs/python" ] || CHECK_VENV=$tools/python CHECK_INSTALL_ONLY=1 clients/python/check.sh || return 1
    touch "$logs/python"
}

toolkit() { # A CUDA toolkit made of wheels from PyPI, and the environment in which it is used.
    export CUDA_HOME=$tools/cuda/home PATH=$tools/cuda/home/bin:$PATH CLINO_CUDA_STRICT=1 CUDA_COMPUTE_CAP=80 CUDAFORGE_THREADS=2
    [ ! -e "$logs/toolkit" ] || return 0
    { packages g++ g++ && bash tests/cuda-sim/toolkit.sh "$tools/cuda/home" && nvcc --version; } || return 1
    touch "$logs/toolkit"
}

# With the whole workspace the stand-in driver takes the features of clino's dependencies, which are compiled once for both.
with_stand_in=(--release --features cuda --workspace)

device_libraries() { # Every library of NVIDIA's, by the stand-in driver, in $logs/libraries.
    toolkit || return 1
    # A test target for the reason of the example in `binary`.
    cargo build "${with_stand_in[@]}" --lib --test files || return 1
    mkdir -p "$logs/libraries"
    local name
    for name in libcuda.so.1 libcublas.so.13 libcublasLt.so.13 libcurand.so.10 libnvrtc.so.13; do
        ln -sf "$PWD/target/release/libcuda_sim.so" "$logs/libraries/$name"
    done
}

golden_on_stand_in() {
    device_libraries || return 1
    CLINO_CUDA_LIB_DIR=$logs/libraries CLINO_TEST_DEVICE=cuda:0 timeout 3600 \
        cargo test --release --features cuda --test golden -- readings
}
