#!/usr/bin/env bash
# bench/ranks.sh NAME MODEL SHARDS [section.key=value ...]: what ranks on one machine cost, in ratios of one run. Steps of
# configs/demo.yaml (bench/ranks) from MODEL on the token shards SHARDS:
#     one rank with all cores; two with half of them each, in stages 0 to 3; four with one thread each, sums fast and exact;
#     and two again with every call of communication delayed by the time of a layer's forward pass (DELAY=0.5: by half of it).
# A step has 8192 tokens. ROUNDS (2) rounds, one after the other, of STEPS (1) steps each behind one that is not timed; medians count.
# WHAT="speed delay" says which halves are run: ten minutes a round each for the demo's model on two cores. Writes
# bench/results/ranks-NAME.csv and prints a table. 12 GB of memory and, for seconds that mean something, no other work.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 3 ] || CODE=2 stop "usage: bench/ranks.sh NAME MODEL SHARDS [section.key=value ...]"
name=$1 model=$2 shards=$3
shift 3
rounds=${ROUNDS:-2} steps=${STEPS:-1} what=${WHAT:-speed delay}
result=$ROOT/bench/results/ranks-$name.csv
bash "$ROOT/scripts/build.sh" cpu bench/ranks >/dev/null
export OMP_WAIT_POLICY=passive OMPI_MCA_btl_vader_single_copy_mechanism=none

# run RANKS DELAY [section.key=value ...]: a row.
run() {
    local ranks=$1 delay=$2 launch=()
    shift 2
    [ "$ranks" = 1 ] || launch=(mpirun -q --oversubscribe --bind-to none -n "$ranks")
    REMLA_COMM_DELAY_MS=$delay "${launch[@]}" "$ROOT/build/cpu/bench/ranks" "$ROOT/configs/demo.yaml" "$steps" model.path="$model" data.train="$shards" \
        data.val= "${options[@]}" "$@" 2>"$log" | sed "s/^/$round,$delay,/" >>"$rows" || { cat "$log" >&2; stop "a run failed"; }
    tail -n 1 "$rows" >&2
}

# of COLUMN RANKS ZERO SUM DELAY: the median over the rounds. Delay "-": any but 0.
of() {
    awk -F, -v c="$1" -v r="$2" -v z="$3" -v s="$4" -v d="$5" '$3 == r && $4 == z && $5 == s && (d == "-" ? $2 > 0 : $2 == d) { print $c }' "$rows" |
        sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'
}

rows=$(mktemp) log=$(mktemp)
trap 'rm -f "$rows" "$log"' EXIT
options=(train.batch_tokens=8192 "$@")
for ((round = 1; round <= rounds; round++)); do
    if [[ $what == *speed* ]]; then
        run 1 0
        for zero in 1 0 2 3; do run 2 0 parallel.zero=$zero; done
        for zero in 1 2; do
            run 4 0 parallel.zero=$zero
            run 4 0 parallel.zero=$zero parallel.sum=exact
        done
    fi
    if [[ $what == *delay* ]]; then
        for zero in 1 2 3; do
            run 2 0 parallel.zero=$zero
            delay=$(tail -n 1 "$rows" | awk -F, '{ printf "%.0f", $11 * share }' share="${DELAY:-1}")
            run 2 "$delay" parallel.zero=$zero
        done
    fi
done
{
    echo "# bench/ranks.sh $name $(basename "$model") $(basename "$shards") ${options[*]}; $(nproc) cores; load at the end $(cut -d' ' -f1 /proc/loadavg)"
    echo "round,delay_ms,ranks,zero,sum,reduce_type,seconds,processor,main,calls,layer_ms"
    cat "$rows"
} >"$result"
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a > 0 && b > 0) printf "%.3f", a / b; else printf "-" }'; }
line() { printf '%-52s %s of the time, %s of the processor time\n' "$1" "$(ratio "$2" "$4")" "$(ratio "$3" "$5")"; }
# compare TEXT (RANKS ZERO SUM DELAY) twice
compare() { line "$1" "$(of 7 "${@:2:4}")" "$(of 8 "${@:2:4}")" "$(of 7 "${@:6:4}")" "$(of 8 "${@:6:4}")"; }
if [[ $what == *speed* ]]; then
    compare "2 ranks against 1" 2 1 fast 0 1 1 fast 0
    for zero in 0 2 3; do compare "2 ranks, stage $zero against stage 1" 2 $zero fast 0 2 1 fast 0; done
    for zero in 1 2; do compare "4 ranks, stage $zero, exact against fast" 4 $zero exact 0 4 $zero fast 0; done
fi
if [[ $what == *delay* ]]; then
    # Of every round by itself: how much longer a step is, and all delays of the step.
    awk -F, '$2 == 0 && $3 == 2 { plain[$1, $4] = $7 }
        $2 > 0 { print $4, ($7 - plain[$1, $4]) / (1e-3 * $2 * $10), $2, $10 }' "$rows" | sort -k1,1n -k2,2g |
        awk '{ n[$1]++; share[$1, n[$1]] = $2; delay[$1] = $3; calls[$1] = $4 }
            END { for (z in n) printf "stage %d: %d calls, each of them delayed by about %d ms: longer by %.3f of the delays\n", z, calls[z], delay[z], share[z, int((n[z] + 1) / 2)] }' | sort
fi
say "bench/results/ranks-$name.csv"
