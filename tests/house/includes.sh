#!/usr/bin/env bash
# The arrows of docs/ARCHITECTURE.md, "The house": who may include whom. Every quoted #include names its folder.
set -euo pipefail
cd "${REMLA_SOURCE:?the root of the sources}"
declare -A may=(
    [base]="base"
    [kernels]="kernels base"
    [model]="model kernels base"
    [data]="data base"
    [optim]="optim kernels base"
    [train]="train model optim data kernels base"
    [bench]="bench train model optim data kernels base"
)
wrong=0 seen=0
while IFS=: read -r file line text; do
    from=${file%%/*}
    included=$(sed 's/.*"\(.*\)".*/\1/' <<<"$text")
    to=${included%%/*}
    seen=$((seen + 1))
    [[ $included == */* && " ${may[$from]} " == *" $to "* ]] && continue
    echo "$file:$line: $from may include ${may[$from]}, not \"$included\""
    wrong=$((wrong + 1))
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' -r "${!may[@]}" --include='*.[ch]' --include='*.def' --include='*.cu' --include='*.cuh')
[ $seen -gt 0 ] || { echo "no #include lines found in $PWD"; exit 1; }
[ $wrong = 0 ]
