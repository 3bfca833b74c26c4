#!/usr/bin/env bash
# The loss is that of the global batch, whatever the number of ranks and micro-batches. What backward computes again changes no bit.
. "$(dirname "$0")/common.sh"

for model in mla gqa; do
    write_config config.yaml "$golden/$model"
    check_exit 0 "$REMLA" train config.yaml train.steps=20 train.out=$model-1x8 train.micro_batch=8
    curve $model-1x8 | cut -d' ' -f1,2 >want
    [ "$(wc -l <want)" = 20 ] || fail "$model: $(wc -l <want) steps in metrics.jsonl instead of 20"

    check_exit 0 "$REMLA" train config.yaml train.steps=20 train.out=$model-4x2 train.micro_batch=2
    for again in none layer; do
        check_exit 0 "$REMLA" train config.yaml train.steps=20 train.out=$model-$again train.micro_batch=2 train.recompute=$again
        cmp <(curve $model-4x2) <(curve $model-$again) || fail "$model: train.recompute=$again changes a loss or norm"
        cmp $model-4x2/checkpoints/step-00000020/model.safetensors $model-$again/checkpoints/step-00000020/model.safetensors ||
            fail "$model: train.recompute=$again changes weights"
    done
    check_exit 0 ranks 2 "$REMLA" train config.yaml train.steps=20 train.out=$model-2r1x4 train.micro_batch=4
    for run in 4x2 2r1x4; do
        curve $model-$run | cut -d' ' -f1,2 >got
        check_close 1e-6 "$model: $run" got want
    done
done
check_exit 0 ranks 2 "$REMLA" train config.yaml train.steps=20 train.out=gqa-2r4x1 train.micro_batch=1
curve gqa-2r4x1 | cut -d' ' -f1,2 >got
check_close 1e-6 "gqa: 2 ranks, 4 micro-batches" got want

check_exit 0 "$REMLA" eval "$golden/mla" data.val="$golden/val.ds,$golden/train.ds" eval.seq_len=32 eval.micro_batch=3 --json
grep -o '"tokens.*kv_bytes_per_token": [0-9]*' out >want
check_exit 0 ranks 2 "$REMLA" eval "$golden/mla" data.val="$golden/val.ds,$golden/train.ds" eval.seq_len=32 eval.micro_batch=3 --json
[ "$(wc -l <out)" = 1 ] || fail "eval --json under mpirun printed $(wc -l <out) lines on standard output"
for key in tokens loss ppl kv_bytes_per_token; do
    field $key <want >a
    field $key <out >b
    check_close 1e-9 "eval under mpirun: $key" b a
done
