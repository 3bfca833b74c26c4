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
    step=$(curve "$run" | tail -n 1 | cut -d' ' -f1)
    grep -q "^remla train: stopped by signal [0-9]* after step $step; $run/checkpoints/step-$(printf %08d "$step") is the newest checkpoint" err ||
        { cat err >&2; fail "$run: no sentence that names the checkpoint"; }
    # Rank 0 says at once that it has heard; then only that sentence.
    [ "$(grep -vc '^remla: signal [0-9]*: stopping with a checkpoint after this step$' err)" = 1 ] || { cat err >&2; fail "$run: not one sentence"; }
    [ "$pid_file" != pid-0 ] || head -n 1 err | grep -q '^remla: signal' || fail "$run: the signal was not acknowledged first"
    [ "$step" -lt 800 ] || fail "$run: the run was over before the signal came"
    [ "$(ls -A "$run/checkpoints")" = "$(printf 'step-%08d' "$step")" ] || fail "$run: the checkpoints after step $step are $(ls "$run/checkpoints")"
}

# A process that leaves its id and becomes the program.
cat >start.sh <<'SH'
echo $$ >pid-${OMPI_COMM_WORLD_RANK:-0}
exec "$@"
SH

check_exit 0 "$REMLA" "${options[@]}" train.out=whole
for signal in TERM INT USR1 HUP; do
    # Bash gives background commands a deaf ear for SIGINT; the program takes it back.
    stop_with $signal run-$signal pid-0 bash start.sh "$REMLA" "${options[@]}" train.out=run-$signal
    [ $signal = TERM ] || continue
    check_exit 0 "$REMLA" "${options[@]}" train.out=run-$signal
    check_same_files "after SIG$signal" whole/$last run-$signal/$last
    cmp <(curve whole) <(curve run-$signal) >&2 || fail "SIG$signal: the curves differ"
done

# Under nohup a terminal that goes away is none of our business.
nohup bash start.sh "$REMLA" "${options[@]}" train.out=deaf >out 2>err &
job=$!
wait_for_steps deaf
kill -HUP "$(cat pid-0)"
wait $job || fail "SIGHUP under nohup: exit code $?"

# The reader of the terminal's lines goes away: training does not, and the log has all of them.
{ got=0; "$REMLA" "${options[@]}" train.out=piped 2>err || got=$?; echo $got >code; } | head -n 3 >/dev/null
[ "$(cat code)" = 0 ] && [ "$(grep -c '^step ' piped/train.log)" = 800 ] || fail "a closed pipe: exit code $(cat code), $(grep -c '^step ' piped/train.log) lines in train.log"
[ "$(wc -l <err)" = 1 ] && grep -q '^remla: warning: standard output cannot be written: Broken pipe' err || { cat err >&2; fail "a closed pipe: not one warning"; }
check_same_files "after a closed pipe" whole/$last piped/$last

# SIGTERM to mpirun: a word on what would have been better, whatever becomes of the ranks.
ranks 2 "$REMLA" "${options[@]}" train.steps=100000 train.out=mpirun >out 2>err &
job=$!
wait_for_steps mpirun
pkill -TERM -P $job mpirun
wait $job || true
grep -q '^remla: signal 15: from mpirun, .*SIGUSR1' err || { cat err >&2; fail "SIGTERM to mpirun: no word on SIGUSR1"; }

# mpirun is killed: its ranks go with it, and the same command, at once, waits for the run that they leave.
ranks 2 "$REMLA" "${options[@]}" train.steps=100000 train.out=orphans >out 2>err &
job=$!
wait_for_steps orphans
pkill -KILL -P $job mpirun
check_exit 0 "$REMLA" "${options[@]}" train.out=orphans train.stop_after=1
{ wait $job || true; } 2>/dev/null

rm pid-0
stop_with USR1 run-ranks pid-1 ranks 2 bash start.sh "$REMLA" "${options[@]}" train.out=run-ranks
