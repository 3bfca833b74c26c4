#!/usr/bin/env bash
# kill_loop.sh [all | KILLS [SEED [RANKS...]]]: kill -9 of one of two ranks, of mpirun, of all at once, at random moments of a run of 200 steps that saves
# and prunes often, on a disk that is sometimes slow, so that many hit a save or a prune. The same command is started again at once, until the run is
# done: weights and losses are those of a run that was never killed, no process and no file is left. Runs follow one another until there were enough
# kills. `all`: 200. With several RANKS each start has one of these numbers, and sums are exact.
: "${FAULTY_FILES:?the library made of faulty_files.c}"
FAULTY_FILES=$(realpath "$FAULTY_FILES")
. "$(dirname "$0")/common.sh"
kills=6
[ "${1:-}" = "" ] || kills=$1
[ "$kills" != all ] || kills=200
RANDOM=${2:-17}
write_config config.yaml "$golden/mla"
sizes=("${@:3}")
[ ${#sizes[@]} != 0 ] || sizes=(2)
command=("$REMLA" train config.yaml train.steps=200 val.every=50 checkpoint.keep=2 checkpoint.keep_best=false)
[ ${#sizes[@]} = 1 ] || command+=(parallel.sum=exact)
last=checkpoints/step-00000200
# What Open MPI leaves of a killed job goes with the folder of this test.
mkdir shm
export TMPDIR=$work OMPI_MCA_btl_vader_backing_directory=$work/shm

# A process that leaves its id and becomes the program.
cat >start.sh <<'SH'
echo $$ >pid-$OMPI_COMM_WORLD_RANK
echo $$ >>pids
exec "$@"
SH
check_exit 0 ranks ${sizes[0]} "${command[@]}" checkpoint.every=7 train.out=whole

steps() { curve run 2>/dev/null | wc -l || true; }
alive() { kill -0 "$1" 2>/dev/null && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" != Z ]; }
hidden() { ls -A run/checkpoints 2>/dev/null | grep -c remla-; }

declare -A hits=([one]=0 [mpirun]=0 [all]=0)
done_kills=0 runs=0 saving=0 most=0
finish_run() {
    local file
    cmp <(grep fingerprint whole/$last/state.json) <(grep fingerprint run/$last/state.json) >&2 || fail "after $done_kills kills: other weights or moments"
    if [ ${#sizes[@]} = 1 ]; then
        for file in whole/$last/*.safetensors; do cmp "$file" "run/$last/${file##*/}" >&2 || fail "after $done_kills kills: ${file##*/} differs"; done
    fi
    cmp <(curve whole) <(curve run) >&2 || fail "after $done_kills kills: the curves differ"
    cmp <(grep val_ whole/metrics.jsonl) <(grep val_ run/metrics.jsonl) >&2 || fail "after $done_kills kills: validation differs"
    cmp <(ls -A whole) <(ls -A run) >&2 || fail "after $done_kills kills: files are left in the run's folder"
    [ "$(ls -A run/checkpoints | wc -l)" = 2 ] && [ "$(hidden)" = 0 ] || fail "after $done_kills kills: $(ls -A run/checkpoints)"
    runs=$((runs + 1))
    rm -r run
}

while [ $done_kills -lt "$kills" ] || [ -e run ]; do
    rm -f pid-?
    size=${sizes[RANDOM % ${#sizes[@]}]}
    every=$((1 + RANDOM % 3)) slow=$((RANDOM % 2 * (RANDOM % 4)))
    what=$((RANDOM % 3)) wanted=$((RANDOM % 24)) pause=0.$(printf %03d $((RANDOM % 300)))
    [ $done_kills -lt "$kills" ] || every=7 slow=0 wanted=1000 # enough: to the end
    before=$(steps)
    (exec mpirun -q --oversubscribe --bind-to none -n $size env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/run/checkpoints" FAULT_DO=slow FAULT_AT=1 FAULT_MS=$slow \
        bash start.sh "${command[@]}" checkpoint.every=$every train.out=run >out 2>err) &
    mpirun=$!
    # Some are killed while they start, most some steps on, then anywhere in a step or a save.
    if [ $wanted -lt 3 ]; then
        sleep $((RANDOM % 2)).$((RANDOM % 10))
    else
        while alive $mpirun && [ "$(steps)" -lt $((before + wanted)) ]; do sleep 0.02; done
        sleep $pause
    fi
    if alive $mpirun; then
        [ "$(hidden)" = 0 ] || saving=$((saving + 1))
        case $what in
            0) name=one && kill -9 "$(cat pid-$((RANDOM % size)) 2>/dev/null || echo $mpirun)" 2>/dev/null || true ;;
            1) name=mpirun && kill -9 $mpirun 2>/dev/null || true ;;
            2) name=all && kill -9 $mpirun $(cat pid-? 2>/dev/null) 2>/dev/null || true ;;
        esac
        done_kills=$((done_kills + 1))
        hits[$name]=$((hits[$name] + 1))
        { wait $mpirun || true; } 2>/dev/null
        continue
    fi
    code=0
    wait $mpirun || code=$?
    [ $code = 0 ] || { cat err >&2; fail "after $done_kills kills: exit code $code"; }
    # It has waited for ranks that were dying, or nothing.
    ! grep -v 'another job is writing\|waiting for' err >&2 || fail "after $done_kills kills: something is on standard error"
    finish_run
done
for pid in $(sort -u pids); do wait_for bash -c "! grep -qs remla /proc/$pid/cmdline"; done
echo "kills, ${sizes[*]} ranks: $done_kills (${hits[one]} of one rank, ${hits[mpirun]} of mpirun, ${hits[all]} of all), $saving while a hidden folder was there, in $runs runs: all ended the same, nothing is left"
