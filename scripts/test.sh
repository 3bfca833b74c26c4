#!/usr/bin/env bash
# scripts/test.sh [ctest arguments]: installs what is missing, builds, and runs all tests. Tests whose requirements are missing say so and are skipped.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

bash "$ROOT/scripts/build.sh" cpu
need_packages zstd
need_python numpy safetensors
if ! (need_python pyzstd zstandard indexed-zstd xxhash); then say "readers of seekable zstd cannot be had here: the test that needs them will be skipped"; fi
if ! (need_python tokenizers); then say "PyPI tokenizers cannot be had here: the test that needs it will be skipped"; fi
if ! (need_python "$LM_EVAL" openai); then say "lm-eval or openai cannot be had here: the tests of clients will be skipped"; fi
# For one test only: stock transformers loads our conversions.
# shellcheck disable=SC2119 # the newest torch
if ! (need_torch && need_python transformers); then say "torch or transformers cannot be had here: the test that needs them will be skipped"; fi

cd "$ROOT"
failed=0
run() { # PRESET CTEST-ARGUMENT...
    say "running the tests of preset $1"
    ctest --preset "$1" --parallel "$(nproc)" "${@:2}" || failed=1
}

# The CUDA sources, on the host: as they come, with blocks, threads and streams in random orders, and under sanitizers; then NVIDIA's tools.
if ! [ -e "${CUDA_HOME:-/usr/local/cuda}/include/cuda_runtime_api.h" ]; then
    say "there is no CUDA toolkit in ${CUDA_HOME:-/usr/local/cuda}: tests of the CUDA sources are skipped"
elif [ $# = 0 ]; then
    kernels=(-R '^kernels/' -E '/(blas|vmath)$') # those that have a .cu file
    bash "$ROOT/scripts/build.sh" emu
    run emu -R '^(base/(library|cuda/)|kernels/|optim/optimizer$|model/(model|decode/decoder)$|eval/compute$|emu/|cuda/|e2e/(device|first_gpu))'
    for seed in 1 2; do SIMT_SEED=$seed FAKECUDA_LAZY=$seed run emu "${kernels[@]}"; done
    for preset in emu-asan emu-tsan; do
        bash "$ROOT/scripts/build.sh" $preset kernel_tests
        SIMT_SEED=1 run $preset "${kernels[@]}"
    done
    if [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] || command -v nvcc >/dev/null; then
        bash "$ROOT/scripts/build.sh" cuda remla
        if ! (need_python nvidia-cuda-cuobjdump); then say "cuobjdump cannot be had here: the test that needs it will be skipped"; fi
        run cuda -R '^cuda/'
    else
        say "there is no nvcc: the CUDA sources are not compiled for GPUs"
    fi
fi

run cpu "$@"
exit $failed
