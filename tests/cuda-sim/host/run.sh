#!/bin/sh
# Builds the host form of the kernels into the folder $1 and proves them, with sanitizers and without.
#
# CXX chooses the compiler (g++). Leaves libclino_host.so there. Two minutes on two cores.
#
# Owns: flags. May not touch: anything outside of $1.
set -eu

into=${1:?a folder to build in}
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../../crates/engine/src/device/cuda/kernels
cxx=${CXX:-g++}
mkdir -p "$into"
into=$(cd "$into" && pwd)

# Products and sums are rounded apart unless a kernel asks for a fused one, which is an instruction where there is one.
flags="-std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-unused-function -ffp-contract=off -fno-fast-math"
flags="$flags -fPIC -fvisibility=hidden -I$here -I$kernels"
case $(uname -m) in x86_64) flags="$flags -mfma -mf16c" ;; esac
# Frames are kept, as fibers change stacks.
sanitized="-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"

# One form of all files, two at a time; $1 names it, the rest are flags.
build() {
    form=$into/$1
    shift
    mkdir -p "$form"
    for file in "$here"/*.cpp; do echo "$file"; done |
        xargs -P 2 -I FILE sh -c "$cxx $flags $* -c FILE -o '$form'/\$(basename FILE .cpp).o"
    # shellcheck disable=SC2086
    $cxx $* "$form"/*.o -o "$form/check"
}

build plain -O2
$cxx -shared -Wl,-z,start-stop-visibility=hidden "$into/plain/launch.o" "$into/plain/fibers.o" \
    -o "$into/libclino_host.so"
echo "ok built $into/libclino_host.so with $cxx"
# shellcheck disable=SC2086
build sanitized $sanitized

# The macros expanded, every kernel of the sources is in the table.
# shellcheck disable=SC2086
$cxx -DCLINO_HOST $flags -E -P -x c++ "$kernels/clino.cu" >"$into/expanded"
tr "\n" " " <"$into/expanded" | grep -o "void *clino_[a-z0-9_]*(" | sed "s/void *//; s/(//" |
    sort >"$into/in-sources"
"$into/plain/check" --names | sort >"$into/in-table"
diff "$into/in-sources" "$into/in-table"
echo "ok table: the $(wc -l <"$into/in-table") kernels of the sources"

"$into/plain/check" >"$into/plain.log" 2>&1 &
plain=$!
status=0
echo "-- with sanitizers"
"$into/sanitized/check" || status=1
echo "-- without, in the compiler's best form"
wait $plain || status=1
cat "$into/plain.log"
exit $status
