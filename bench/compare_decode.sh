#!/usr/bin/env bash
# bench/compare_decode.sh NAME MODEL SRC.gguf [CONVERTED]: greedy text of one sequence by `remla generate`, in float32, beside transformers in float32 and PyPI
# llama-cpp-python on the same weights in float32 and float16, alternately; behind a prompt of few tokens and one of about 1024. With CONVERTED also of that.
# Writes bench/results/generate-NAME.csv.
#   MODEL    the folder that scripts/gguf_to_folder.py made of SRC.gguf        CONVERTED   what `remla convert` made of MODEL
#   TOKENS (128) to generate     ROUNDS (3) of which the medians count      THREADS (all cores)
# llama-cpp-python is compiled here, which takes a quarter of an hour; LLAMA_CPP=no does without it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# = 3 ] || [ $# = 4 ] || CODE=2 stop "usage: bench/compare_decode.sh NAME MODEL SRC.gguf [CONVERTED]"
name=$1 model=$(realpath "$2") source=$(realpath "$3") converted=${4:+$(realpath "$4")}
export OMP_NUM_THREADS=${THREADS:-$(nproc)} ROUNDS=${ROUNDS:-3} TOKENS=${TOKENS:-128} REMLA=$ROOT/build/cpu/remla
bash "$ROOT/scripts/build.sh" cpu >/dev/null
# shellcheck disable=SC2119 # the newest torch
need_torch || stop "torch cannot be had here"
need_python transformers gguf
need_llama_cpp() {
    "$PYTHON" -c 'import llama_cpp' 2>/dev/null && return
    need_packages g++ cmake ninja-build
    say "compiling llama-cpp-python (about a quarter of an hour)"
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_OPENSSL=OFF" pip_install llama-cpp-python
}
[ "${LLAMA_CPP:-yes}" = no ] || need_llama_cpp || say "llama-cpp-python cannot be had here: transformers alone is compared"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if "$PYTHON" -c 'import llama_cpp' 2>/dev/null && [ "${LLAMA_CPP:-yes}" != no ]; then
    for kind in f32 f16; do "$PYTHON" "$ROOT/bench/gguf_dequantise.py" "$source" "$work/$kind.gguf" $kind; done
fi
mkdir -p "$ROOT/bench/results"
"$PYTHON" "$ROOT/bench/compare_decode.py" "$model" "$work" ${converted:+"$converted"} >"$work/result.csv"
mv "$work/result.csv" "$ROOT/bench/results/generate-$name.csv"
say "bench/results/generate-$name.csv"
cat "$ROOT/bench/results/generate-$name.csv"
