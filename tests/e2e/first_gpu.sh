#!/usr/bin/env bash
# shellcheck disable=SC2016  # single quotes hold the lines of scripts
# scripts/first_gpu.sh, rehearsed on the emulator: on the day when there is a GPU the script itself should not be what fails. nvidia-smi, ctest and NVIDIA's
# checkers are stood in for (the checkers complain of one test); all training is done. Every row of the verdict is looked at.
. "$(dirname "$0")/common.sh"
mkdir bin
tool() { # NAME LINE...
    printf '%s\n' '#!/bin/sh' "${@:2}" >"bin/$1"
    chmod +x "bin/$1"
}
tool nvidia-smi 'case $1 in --list-gpus) printf "GPU 0\nGPU 1\n" ;; *) echo "Fake H100, 0" ;; esac'
tool ctest 'echo "100% tests passed"'
tool compute-sanitizer 'case "$*" in *memcheck*kns=* | *initcheck*kns=*) exit 9 ;; *racecheck*kns=cublas*test_sum) exit 9 ;; *test_blas) exit 77 ;; esac'

check_exit 3 env PATH="$work/bin:$PATH" REHEARSAL="$work/none" CUDA_VISIBLE_DEVICES= bash "$REMLA_SOURCE/scripts/first_gpu.sh"
grep -q 'CUDA_VISIBLE_DEVICES leaves none' err || fail "GPUs that nobody may see: $(tail -n 1 err)"

check_exit 3 env -u CUDA_VISIBLE_DEVICES PATH="$work/bin:$PATH" REHEARSAL="$work/rehearsal" FAKECUDA_DEVICES=2 bash "$REMLA_SOURCE/scripts/first_gpu.sh"
grep -q '1 of the checks failed' err || fail "the script counts otherwise: $(tail -n 1 err)"
verdict=rehearsal/verdict.txt
[ "$(grep FAILED $verdict)" = "$(printf '%-44s %-8s %s' 'compute-sanitizer racecheck' FAILED 'kernels_test_sum ')" ] || fail "$(cat $verdict)"
[ "$(grep -c passed $verdict)" = 33 ] || fail "not as many rows as there should be: $(cat $verdict)"
! grep -r FAKECUDA rehearsal/*.log* >&2 || fail "the emulated device complains"
