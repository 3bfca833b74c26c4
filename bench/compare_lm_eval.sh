#!/usr/bin/env bash
# bench/compare_lm_eval.sh NAME MODEL DATA: questions per second of `remla eval --style lm-eval` beside lm-eval's own Hugging Face path, on the same questions
# of ARC-Easy, HellaSwag and 5-shot MMLU, in float32 and alternately. lm-eval's batch size is the best of BATCHES, found on a quarter of the questions.
# Writes bench/results/lm-eval-NAME.csv, with both command lines; fails where the accuracies differ by more than one question.
#   MODEL    a Hugging Face folder                        DATA  arc_easy, hellaswag and mmlu as scripts/eval_data.sh lays them out
#   ARC (200), HELLASWAG (100)   questions                MMLU (8), SUBJECTS (8)   questions of each of so many subjects, the first ones
#   BATCHES (1 8 16 32 auto)     ROUNDS (1) of which the medians count               THREADS (all cores)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# = 3 ] || CODE=2 stop "usage: bench/compare_lm_eval.sh NAME MODEL DATA"
name=$1 model=$(realpath "$2") data=$(realpath "$3")
export REMLA=$ROOT/build/cpu/remla ROUNDS=${ROUNDS:-1} BATCHES=${BATCHES:-1 8 16 32 auto} SUBJECTS=${SUBJECTS:-8}
export OMP_NUM_THREADS=${THREADS:-$(nproc)}
result=$ROOT/bench/results/lm-eval-$name.csv
bash "$ROOT/scripts/build.sh" cpu >/dev/null
# shellcheck disable=SC2119 # the newest torch
need_torch || stop "torch cannot be had here"
need_python transformers "$LM_EVAL" psutil
"$PYTHON" -c 'import accelerate' 2>/dev/null || pip_install --no-deps accelerate # it would bring CUDA along
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$result")"
"$PYTHON" "$ROOT/bench/compare_lm_eval.py" "$model" "$data" "$work" "arc_easy:${ARC:-200}:0" "hellaswag:${HELLASWAG:-100}:0" "mmlu:${MMLU:-8}:5" >"$work/result.csv"
mv "$work/result.csv" "$result"
say "bench/results/lm-eval-$name.csv"
cat "$result"
