#!/usr/bin/env bash
# bench/decode.sh NAME [ARGUMENT OF bench/decode ...]: runs bench/decode on all cores and draws it. Writes bench/results/decode-NAME.csv, and its plots
# decode-NAME-smollm2.svg and decode-NAME-llama2-7b.svg.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 1 ] || CODE=2 stop "usage: bench/decode.sh NAME [argument of bench/decode ...]"
result=$ROOT/bench/results/decode-$1
bash "$ROOT/scripts/build.sh" cpu >/dev/null
mkdir -p "$(dirname "$result")"
# The table moves to its place when it is whole.
{ echo "# bench/decode.sh $*"; "$ROOT/build/cpu/bench/decode" "${@:2}"; } | tee "$result.csv.part"
mv "$result.csv.part" "$result.csv"
"$ROOT/build/cpu/bench/decode_plot" "$result.csv" "$result"
say "bench/results/decode-$1.csv"
