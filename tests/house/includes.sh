#!/usr/bin/env bash
# The arrows of docs/ARCHITECTURE.md, "The house": which folder may include which. Every #include of our own names its folder, in quotes.
# Below, a folder's line names the others that it may include; it may always include itself.
set -euo pipefail
cd "${REMLA_SOURCE:?the root of the sources}"
declare -A may=(
    [base]=""
    [base/cuda]="base"
    [base/none]="base"
    [kernels]="base kernels/cpu kernels/cuda" # .c and .cu
    [kernels/cpu]="base kernels"
    [kernels/cuda]="base base/cuda kernels"
    [kernels/cuda/attention]="base base/cuda kernels kernels/cuda"
    [kernels/none]="kernels"
    [model/units]="base"
    [model]="base kernels model/units"
    [model/hf]="base kernels model"
    [model/hf/family]="base model model/hf"
    [model/decode]="base kernels model"
    [model/convert]="base kernels kernels/cpu model model/hf"
    [data/tokenizer]="base"
    [data/shards]="base data/tokenizer"
    [data]="base data/tokenizer data/shards"
    [data/prepare]="base data/tokenizer data/shards"
    [optim]="base kernels model/units" # of model/ the units alone
    [eval]="base kernels model model/decode model/hf data"
    [eval/tasks]="base data/tokenizer data/prepare eval model/decode"
    [generate]="base data/tokenizer model model/decode generate/chat_template"
    [generate/chat_template]="base data/tokenizer"
    [serve]="base data/tokenizer generate generate/chat_template"
    [train/options]="base"
    [train]="base kernels model model/hf data data/tokenizer optim eval eval/tasks generate serve train/options"
    [train/conversion]="base model/hf model/convert data eval train/options"
    [train/export]="base kernels model model/hf train train/options train/conversion"
    [train/commands]="base generate generate/chat_template serve model model/decode model/hf model/convert data data/tokenizer data/shards data/prepare eval eval/tasks train train/options train/conversion train/export"
    [bench]="base kernels kernels/cpu model model/decode model/hf data data/tokenizer data/shards optim eval train"
)
wrong=0 seen=0
while IFS=: read -r file line text; do
    from=${file%/*}
    [[ $text =~ ([\"\<])([^\"\>]*) ]]
    included=${BASH_REMATCH[2]}
    if [ "${BASH_REMATCH[1]}" = "<" ]; then
        [ -e "$included" ] || continue # of the system
        echo "$file:$line: <$included> is ours: write it in quotes"
        wrong=$((wrong + 1))
        continue
    fi
    to=${included%/*}
    seen=$((seen + 1))
    [[ -v may[$from] ]] || { echo "$file: its folder is not in the table of tests/house/includes.sh"; wrong=$((wrong + 1)); continue; }
    [[ $included == */* && " $from ${may[$from]} " == *" $to "* ]] && continue
    echo "$file:$line: $from may include ${may[$from]:-nothing else}, not \"$included\""
    wrong=$((wrong + 1))
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' -r base kernels model data optim eval generate serve train bench --include='*.[ch]' --include='*.def' --include='*.cu' --include='*.cuh')
[ $seen -gt 0 ] || { echo "no #include lines found in $PWD"; exit 1; }
[ $wrong = 0 ]
