#!/usr/bin/env bash
# A program built with CUDA on a machine without a GPU: starts, computes on the CPU and says so, and refuses what cannot be. No CUDA library is loaded.
. "$(dirname "$0")/common.sh"
! command -v nvidia-smi >/dev/null || { echo "this machine has a driver: skipped"; exit 77; }

write_config config.yaml "$golden/gqa"
check_exit 0 "$REMLA" train config.yaml train.out=auto train.steps=10
grep -q '^device the CPU: ' out || fail "auto does not say why it is the CPU: $(cat out)"
awk '$1 == "train" && $2 == "gqa" { print $3, $4 }' "$golden/expected.txt" >want
curve auto | cut -d' ' -f1,2 >got
check_close 2e-4 "a CUDA build on the CPU" got want

check_exit 4 "$REMLA" train config.yaml train.out=cuda train.steps=1 device.kind=cuda
grep -q 'device.kind=cuda: .*driver' err || fail "no driver: $(cat err)"
check_exit 0 "$REMLA" eval "$golden/gqa" data.val="$golden/val.ds" eval.seq_len=32 device.kind=cpu
! ldd "$REMLA" | grep -E 'libcu(da|dart|blas|dnn)|libnccl' || fail "needs a CUDA library to start"
