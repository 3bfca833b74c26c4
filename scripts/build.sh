#!/usr/bin/env bash
# scripts/build.sh [preset [target]]: installs what is missing, configures and builds. Presets: cpu (the default), asan; cuda, which needs
# the CUDA toolkit; emu, emu-asan, emu-tsan for tests of the CUDA kernels on the host, which need its headers. The program is build/PRESET/remla.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=${1:-cpu}
case $preset in
cpu | asan) ;;
cuda | emu | emu-asan)
    need_packages g++
    [ -e "${CUDA_HOME:=/usr/local/cuda}/include/cuda_runtime_api.h" ] || stop "no CUDA toolkit in $CUDA_HOME: set CUDA_HOME"
    ;;
emu-tsan) need_packages g++ clang-14 libclang-rt-14-dev util-linux ;;
*) CODE=2 stop "unknown preset '$preset'; there are: cpu, asan, cuda, emu, emu-asan, emu-tsan" ;;
esac
need_packages gcc libc6-dev cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libdnnl-dev libopenblas-openmp-dev liblapacke-dev \
    libzstd-dev zlib1g-dev libxxhash-dev libjansson-dev libyaml-dev libcmocka-dev libmicrohttpd-dev \
    libpcre2-dev libutf8proc-dev nettle-dev
cd "$ROOT"
say "configuring build/$preset"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset "$preset" >"$log" 2>&1 || { cat "$log" >&2; stop "configuring build/$preset failed"; }
say "building build/$preset"
cmake --build --preset "$preset" --parallel "$(nproc)" ${2:+--target "$2"} || stop "building build/$preset failed"
say "built ${2:-build/$preset/remla}"
