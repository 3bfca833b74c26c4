#!/usr/bin/env bash
# signals.sh [all [TIMES]]: SIGUSR1, SIGTERM, SIGINT, to one of two ranks or to mpirun, once or twice, between saves or during one (on a slow disk): exit
# code, what is saved, and the same command then ends as if nothing had happened. A signal that reaches the ranks alone saves the step that they are in,
# with exit code 85; a second SIGINT kills at once (130), and SIGTERM and SIGINT to mpirun make it kill its ranks: then it is enough that nothing is lost.
# Prints a table. `all`: every combination.
: "${FAULTY_FILES:?the library made of faulty_files.c}"
FAULTY_FILES=$(realpath "$FAULTY_FILES")
. "$(dirname "$0")/common.sh"
times=${2:-1}
write_config config.yaml "$golden/mla"
command=("$REMLA" train config.yaml train.steps=400 checkpoint.every=25 train.out=run checkpoint.keep_best=false)
mkdir shm
export TMPDIR=$work OMPI_MCA_btl_vader_backing_directory=$work/shm

cat >start.sh <<'SH'
echo $$ >pid-$OMPI_COMM_WORLD_RANK
exec "$@"
SH
steps() { curve run 2>/dev/null | wc -l || true; }
newest() { { ls run/checkpoints 2>/dev/null || true; } | sed -n 's/^step-0*//p' | tail -n 1; }
is_saving() { [ -n "$(find run/checkpoints -maxdepth 1 -name '.remla-tmp-*' 2>/dev/null)" ]; }
alive() { kill -0 "$1" 2>/dev/null && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" != Z ]; }
late() { [ "$(steps)" -ge 30 ] && [ -n "$(newest)" ]; } # a checkpoint is written behind the run

check_exit 0 ranks 2 "${command[@]}"
mv run whole
points=0

# one SIGNAL TARGET TIMES WHEN
one() {
    local signal=$1 target=$2 n=$3 when=$4 slow=0 code=0 pid began seconds step
    rm -rf run pid-0 pid-1
    [ "$when" = between ] || slow=10
    (exec mpirun -q --oversubscribe --bind-to none -n 2 env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/run/checkpoints" FAULT_DO=slow FAULT_AT=150 FAULT_MS=$slow \
        bash start.sh "${command[@]}" >out 2>err) &
    local mpirun=$!
    wait_for late
    [ "$when" = between ] || wait_for is_saving
    case $target in
        rank*) pid=$(cat "pid-${target#rank}") ;;
        mpirun) pid=$mpirun ;;
    esac
    began=$(date +%s.%N)
    kill -"$signal" "$pid"
    [ "$n" = 1 ] || { sleep 0.1 && { kill -"$signal" "$pid" 2>/dev/null || true; }; }
    { wait $mpirun || code=$?; } 2>/dev/null
    seconds=$(awk -v from="$began" -v to="$(date +%s.%N)" 'BEGIN { printf "%.1f", to - from }')
    step=$(steps)
    printf '%-6s %-7s %-6s %-8s %4d %6d %8s %8s\n' "$signal" "$target" "$n" "$when" $code "$step" "$(newest)" "$seconds"
    # A second SIGINT kills at once. What mpirun kills may have had the time to save, or not.
    if [ $code = 130 ] && [ "$signal$n" = INT2 ] || [ "$target" = mpirun ] && [ "$signal" != USR1 ]; then
        [ $code != 0 ] && [ "$(newest)" -ge 25 ] || { cat err >&2; fail "$*: exit code $code, newest $(newest)"; }
    else
        [ $code = 85 ] || { cat err >&2; fail "$*: exit code $code"; }
        [ "$step" -lt 400 ] && [ "$(newest)" = "$step" ] || { cat err >&2; fail "$*: step $step, the newest checkpoint is of $(newest)"; }
        grep -q "^remla train: stopped by signal [0-9]* after step $step; run/checkpoints/step-$(printf %08d "$step") is the newest checkpoint" err ||
            { cat err >&2; fail "$*: no sentence"; }
        [ -z "$(find run -name '.remla-*' -o -name '*.part')" ] || fail "$*: left over: $(find run -name '.remla-*' -o -name '*.part')"
    fi
    check_exit 0 ranks 2 "${command[@]}"
    ! grep -v 'another job is writing\|waiting for' err >&2 || fail "$*: something is on standard error afterwards"
    for file in whole/checkpoints/step-00000400/*.safetensors; do cmp "$file" "run/checkpoints/step-00000400/${file##*/}" >&2 || fail "$*: other weights"; done
    cmp <(curve whole) <(curve run) >&2 || fail "$*: the curves differ"
    [ -z "$(find run -name '.remla-*' -o -name '*.part')" ] || fail "$*: left over afterwards"
    points=$((points + 1))
}

printf '%-6s %-7s %-6s %-8s %4s %6s %8s %8s\n' signal to times when exit step newest seconds
for ((round = 0; round < times; round++)); do
    for signal in USR1 TERM INT; do
        for target in rank0 rank1 mpirun; do
            for n in 1 2; do
                for when in between saving; do
                    # In short: each signal and each target once, and the worst.
                    case "${1:-}$signal$target$n$when" in
                        all* | USR1mpirun2saving | TERMrank11between | INTrank02saving | TERMmpirun1saving) one $signal $target $n $when ;;
                    esac
                done
            done
        done
    done
done
echo "signals: $points points; nothing was lost"
