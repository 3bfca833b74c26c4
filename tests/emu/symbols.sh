#!/usr/bin/env bash
# Every function of the host's CUDA libraries exists in the real ones: what is tested here must link there.
set -euo pipefail
fake=${1:?libfakecuda.so} home=${2:?the folder of the CUDA toolkit}
wrong=0 seen=0
for pair in "cuda[A-Z] libcudart.so" "cublas libcublas.so" "nccl libnccl.so" "cudnn libcudnn.so" "cudnn libcudnn_graph.so"; do
    read -r prefix library <<<"$pair"
    real=$(find "$home"/lib* "$home"/targets -name "$library*" -print -quit 2>/dev/null) || true
    [ -n "$real" ] || { echo "skipped: there is no $library in $home"; exit 77; }
    symbols=$(nm -D --defined-only "$real" | awk '{ sub(/@.*/, "", $3); print $3 }')
    case $library in libcudnn.so) cudnn=$symbols; continue ;; libcudnn_graph.so) symbols+=$'\n'$cudnn ;; esac
    for name in $(nm -D --defined-only "$fake" | awk '{ print $3 }' | grep "^$prefix"); do
        seen=$((seen + 1))
        grep -qx "$name" <<<"$symbols" || { echo "$library has no $name"; wrong=$((wrong + 1)); }
    done
done
[ $seen -gt 50 ] || { echo "only $seen functions found in $fake"; exit 1; }
[ $wrong = 0 ]
