#!/usr/bin/env bash
# bench/recovery.sh NAME MODEL TRAIN CALIB DOCS OTHER: tests whether a better conversion stays better after training. MODEL is converted by TransMLA's steps
# and layer by layer (rank 96 + rope 32, from the shard CALIB); both are trained on the same batches of TRAIN at 1.5e-4 and at 5e-4, in
# three orders, and evaluated on DOCS and OTHER. Writes bench/results/NAME.csv and draws docs/recovery-docs.svg and
# docs/recovery-other.svg. Twelve runs of 32,768 tokens; the same command resumes after an interruption.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# = 6 ] || CODE=2 stop "usage: bench/recovery.sh NAME MODEL TRAIN CALIB DOCS OTHER"
name=$1 model=$2 train=$3 calib=$4 docs=$5 other=$6
remla=${REMLA:-$ROOT/build/cpu/remla}
work=$ROOT/build/$name
rows=$work/$name.csv
steps=8 step_tokens=4096 cores=$(nproc)
mkdir -p "$work" "$ROOT/bench/results"
[ -e "$rows" ] || echo "start,rate,seed,tokens,loss_docs,loss_other" >"$rows"

convert() { # METHOD OPTION...
    [ -d "$work/$1" ] || "$remla" convert "$model" "$work/$1" convert.method="$1" "${@:2}" calib.data="$calib" calib.seq_len=256 \
        convert.qk_rope_head_dim=32 convert.kv_lora_rank=96 convert.dtype=f32
}

loss() { # MODEL SHARD
    "$remla" eval "$1" data.val="$2" eval.seq_len=512 data.document_mask=false --json 2>/dev/null | sed 's/.*"loss": \([^,]*\).*/\1/'
}

# row START RATE SEED TOKENS MODEL
row() {
    local on_docs on_other
    on_docs=$(loss "$5" "$docs")
    on_other=$(loss "$5" "$other")
    [ -n "$on_docs" ] && [ -n "$on_other" ] || stop "$5 could not be evaluated"
    echo "$1,$2,$3,$4,$on_docs,$on_other" | tee -a "$rows"
}

run() { # START RATE SEED
    ! grep -q "^$1,$2,$3,$((steps * step_tokens))," "$rows" || return 0
    say "$1, rate $2, seed $3"
    local out=$work/run-$1-$2-$3 step
    rm -rf "$out"
    "$remla" train "$work/recovery.yaml" train.out="$out" model.path="$work/$1" optim.lr="$2" optim.min_lr="${2%-4}-5" train.seed="$3" >"$out.log"
    for step in 2 4 8; do row "$1" "$2" "$3" $((step * step_tokens)) "$out/checkpoints/step-$(printf %08d $step)"; done
    rm -rf "$out"
}

# The schedule falls linearly to a tenth, as in the trials whose figures docs/CONVERSION.md compares with.
cat >"$work/recovery.yaml" <<YAML
data: { train: $train, document_mask: false }
train: { steps: $steps, seq_len: 512, batch_tokens: $step_tokens, micro_batch: 2 }
optim: { schedule: linear, warmup: 0, beta2: 0.95, weight_decay: 0 }
checkpoint: { every: 2, keep: 4 }
YAML

convert transmla convert.balance=transmla convert.freqfold=4
convert remla
grep -q '^original,' "$rows" || row original 0 0 0 "$model"
for start in transmla remla; do
    grep -q "^$start,0,0,0," "$rows" || row $start 0 0 0 "$work/$start"
done
# As many runs side by side as there are cores, on one thread each: nothing waits for another thread.
export OMP_NUM_THREADS=1
for seed in 1 2 3; do
    for rate in 1.5e-4 5e-4; do
        for start in transmla remla; do
            while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n; done
            run $start $rate $seed &
        done
    done
done
wait
[ "$(grep -cE '^(transmla|remla),[15]' "$rows")" -ge 36 ] || stop "a run failed; the same command does it again"
{ echo "# bench/recovery.sh $name $(basename "$model") $(basename "$train") $(basename "$calib") $(basename "$docs") $(basename "$other")"; head -n 1 "$rows"; sed 1d "$rows" | sort -u -t, -k1,1 -k2,2g -k3,3n -k4,4n; } >"$ROOT/bench/results/$name.csv"
"$ROOT/build/cpu/bench/recovery_plot" "$ROOT/bench/results/$name.csv" "$ROOT/docs/recovery"
say "bench/results/$name.csv, docs/recovery-docs.svg, docs/recovery-other.svg"
