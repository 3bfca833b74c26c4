#!/usr/bin/env bash
# A signal stops the run after the step it is in: a checkpoint is written, the exit code says "start again", and the same command completes
# as if nothing had happened. It is enough that one of several ranks receives it.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
options=(train config.yaml train.steps=800 checkpoint.every=0)
last=checkpoints/step-00000800

# stop_with SIGNAL RUN PID-FILE COMMAND...: sends it to the process of the file once the run is under way.
stop_with() {
    local signal=$1 run=$2 pid_file=$3 job code=0
    shift 3
    "$@" >out 2>err &
    job=$!
    for ((wait = 0; wait < 3000; wait++)); do
        [ "$(curve "$run" 2>/dev/null | wc -l)" -ge 3 ] && break
        kill -0 $job 2>/dev/null || { cat out err >&2; fail "$run: ended by itself"; }
        sleep 0.01
    done
    kill -"$signal" "$(cat "$pid_file")"
    wait $job || code=$?
    [ $code = 85 ] || { cat out err >&2; fail "$run: exit code $code after SIG$signal instead of 85"; }
    [ "$(grep -c '^remla train: stopped by signal' err)" = 1 ] && [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "$run: not one sentence"; }
    step=$(curve "$run" | tail -n 1 | cut -d' ' -f1)
    [ "$step" -lt 800 ] || fail "$run: the run was over before the signal came"
    [ "$(ls -A "$run/checkpoints")" = "$(printf 'step-%08d' "$step")" ] || fail "$run: the checkpoints after step $step are $(ls "$run/checkpoints")"
}

# A process that leaves its id and becomes the program.
cat >start.sh <<'SH'
echo $$ >pid-${OMPI_COMM_WORLD_RANK:-0}
exec "$@"
SH

check_exit 0 "$REMLA" "${options[@]}" train.out=whole
for signal in TERM INT USR1; do
    # Bash gives background commands a deaf ear for SIGINT; the program takes it back.
    stop_with $signal run-$signal pid-0 bash start.sh "$REMLA" "${options[@]}" train.out=run-$signal
    [ $signal = TERM ] || continue
    check_exit 0 "$REMLA" "${options[@]}" train.out=run-$signal
    check_same_files "after SIG$signal" whole/$last run-$signal/$last
    cmp <(curve whole) <(curve run-$signal) >&2 || fail "SIG$signal: the curves differ"
done

rm pid-0
stop_with USR1 run-ranks pid-1 ranks 2 bash start.sh "$REMLA" "${options[@]}" train.out=run-ranks
