#!/usr/bin/env bash
# bench/checkpoint.sh NAME MODEL SHARDS [section.key=value ...]: how long a training stands still for a checkpoint, and how long its disk takes.
# Two ranks with half of the cores each train MODEL (configs/demo.yaml) in steps of 512 tokens with a checkpoint every 3 of 10; then the files
# of the last one are written by dd with one fsync (conv=fsync), which is the disk's own speed. OLD=PROGRAM does the same with another
# program, in turn, in ROUNDS (3) rounds. Of an older program, which has no such figure, the training stands still as long as the checkpoint
# takes. Writes bench/results/checkpoint-NAME.csv, a row for each checkpoint, and prints medians. It takes 8 GB of memory, 7 of the disk.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 3 ] || CODE=2 stop "usage: bench/checkpoint.sh NAME MODEL SHARDS [section.key=value ...]"
name=$1 model=$(realpath "$2") shards=$3
shift 3
result=$ROOT/bench/results/checkpoint-$name.csv
bash "$ROOT/scripts/build.sh" cpu remla >/dev/null
work=$(mktemp -d "$ROOT/build/checkpoint-XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive OMPI_MCA_btl_vader_single_copy_mechanism=none
options=(model.path="$model" data.train="$shards" data.val= train.seq_len=256 train.batch_tokens=512 train.micro_batch=1 train.steps=10
    checkpoint.every=3 checkpoint.keep=1 checkpoint.keep_best=false "$@")

# train PROGRAM: rows for its checkpoints behind training, not that of the last step, which nothing hides.
train() {
    local program=$1 run=$work/run bytes disk start
    rm -rf "$run"
    mpirun -q --oversubscribe --bind-to none -n 2 -x OMP_NUM_THREADS=$(($(nproc) / 2)) "${!program}" train "$ROOT/configs/demo.yaml" "${options[@]}" train.out="$run" \
        >"$work/log" 2>&1 || { cat "$work/log" >&2; stop "a run failed"; }
    bytes=$(cat "$run"/checkpoints/*/*.safetensors | wc -c)
    sync "$work"
    start=$EPOCHREALTIME
    cat "$run"/checkpoints/*/*.safetensors | dd of="$work/copy" bs=16M iflag=fullblock conv=fsync 2>/dev/null
    disk=$(echo "$EPOCHREALTIME $start" | awk '{ print $1 - $2 }')
    rm "$work/copy"
    # The step during which it is written, and the median of the others but the first.
    awk -v round="$round" -v program="$program" -v bytes="$bytes" -v disk="$disk" '
        FILENAME ~ /metrics/ { if (match($0, /"loss"/)) { match($0, /"step": [0-9]+/); s = substr($0, RSTART + 8, RLENGTH - 8) + 0; match($0, /"seconds": [0-9.e+-]+/); time[s] = substr($0, RSTART + 11, RLENGTH - 11) + 0 } next }
        /^checkpoint .*step-0*(3|6|9) in/ {
            match($0, /step-[0-9]+/); step = substr($0, RSTART + 5, RLENGTH - 5) + 0
            match($0, /in [0-9.]+ s/); whole = substr($0, RSTART + 3, RLENGTH - 5)
            stall = match($0, /still for [0-9.]+/) ? substr($0, RSTART + 10, RLENGTH - 10) : whole
            printf "%d,%s,%d,%.2f,%.1f,%.1f,%.2f,%.2f\n", round, program, bytes, stall, whole, disk, time[step], time[step + 1]
        }' "$run/metrics.jsonl" "$work/log" >>"$work/rows"
    tail -n 3 "$work/rows" >&2
}

# of PROGRAM COLUMN: the median.
of() { awk -F, -v p="$1" -v c="$2" '$2 == p { print $c }' "$work/rows" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

NEW=$ROOT/build/cpu/remla
programs=(NEW)
[ -z "${OLD:-}" ] || programs=(OLD NEW)
for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
    for program in "${programs[@]}"; do train "$program"; done
done
{
    echo "# bench/checkpoint.sh $name $(basename "$model") $(basename "$shards") ${options[*]:3}; $(nproc) cores; load at the end $(cut -d' ' -f1 /proc/loadavg)"
    echo "round,program,bytes,stall,whole,disk,step,step_beside"
    cat "$work/rows"
} >"$result"
echo "| program | stands still, s | until it has its name, s | dd of the same bytes, s | a step, s | the step beside it, s |"
echo "| --- | --- | --- | --- | --- | --- |"
for program in "${programs[@]}"; do
    echo "| $program | $(of "$program" 4) | $(of "$program" 5) | $(of "$program" 6) | $(of "$program" 7) | $(of "$program" 8) |"
done
