#!/usr/bin/env bash
# bench/registers.sh: prints docs/registers.md, from build/cuda and by NVIDIA's cuobjdump. With --check it compares docs/registers.md with the build instead. Exit
# code 77 where they cannot be compared: there is no cuobjdump, or the build is by another nvcc or for other GPUs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"
objects=$ROOT/build/cuda/CMakeFiles
page=$ROOT/docs/registers.md
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:$(echo "$VENV"/lib/python3*/site-packages/nvidia/cu13/bin)
command -v cuobjdump >/dev/null || CODE=77 stop "there is no cuobjdump (PyPI: nvidia-cuda-cuobjdump)"
nvcc=$(sed -n 's/.*CMAKE_CUDA_COMPILER_VERSION "\(.*\)".*/\1/p' "$objects"/*/CMakeCUDACompiler.cmake)

# file storage architecture registers stack shared kernel, a line for each.
usage() {
    local library storage object
    for library in kernels_cuda_f32 kernels_cuda_bf16 base_cuda; do
        storage=${library##*_}
        [ $library != base_cuda ] || storage=both
        for object in $(find "$objects/remla_$library.dir" -name "*.o" | sort); do
            cuobjdump -res-usage "$object" | c++filt | sed 's/(anonymous namespace):://g' |
                awk -v file="$(basename "$object" .o) $storage" '
                    $1 == "arch" { arch = substr($3, 4) }
                    $1 == "Function" { kernel = $0; sub(/^ *Function (void )?/, "", kernel); sub(/\([^()]*\):$/, "", kernel) }
                    $1 ~ /^REG:/ { split($0, value, /[: ]+/); print file, arch, value[3], value[5], value[7], kernel }'
        done
    done
}

markdown() {
    cat <<TEXT
# Registers of every kernel

Written by bench/registers.sh from what nvcc $nvcc compiled: registers of a thread for every architecture, static
shared memory of a block (on sm_80) and stack of a thread, in bytes. Registers that are spilled would lie on the stack.
A first argument of 1 to 8 is the number of elements that a thread moves at once.

| file | storage | kernel | sm_80 | sm_89 | sm_90 | sm_100 | sm_120 | shared | stack |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
TEXT
    usage | awk '
        {
            kernel = $7; for (i = 8; i <= NF; i++) kernel = kernel " " $i
            row = $1 " | " $2 " | `" kernel "`"
            if (!(row in shared)) order[++rows] = row
            registers[row, $3] = $4
            if ($5 > stack[row]) stack[row] = $5
            if ($3 == 80) shared[row] = $6
        }
        END {
            for (i = 1; i <= rows; i++) {
                row = order[i]
                print "| " row " | " registers[row, 80] " | " registers[row, 89] " | " registers[row, 90] " | " registers[row, 100] " | " registers[row, 120] \
                    " | " shared[row] + 0 " | " stack[row] + 0 " |"
            }
        }' | LC_ALL=C sort
}

if [ "${1:-}" = --check ]; then
    grep -q "what nvcc $nvcc compiled" "$page" || CODE=77 stop "docs/registers.md is of another nvcc than $nvcc"
    grep -q '^CMAKE_CUDA_ARCHITECTURES:.*=80-real;89-real;90-real;100-real;120$' "$ROOT/build/cuda/CMakeCache.txt" || CODE=77 stop "build/cuda is for other GPUs than docs/registers.md"
    diff "$page" <(markdown)
else
    markdown
fi
