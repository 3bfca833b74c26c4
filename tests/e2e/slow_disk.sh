#!/usr/bin/env bash
# Checkpoints on a disk that is slow, or gives no answer at all. Training goes on beside them, waits where the next one is due, and has the
# numbers and the files of a run on a fast disk.
. "$(dirname "$0")/common.sh"
: "${FAULTY_FILES:?the library that makes writes slow}"
FAULTY_FILES=$(realpath "$FAULTY_FILES")
write_config config.yaml "$golden/mla"
run=(train config.yaml train.steps=12 checkpoint.every=4 checkpoint.keep=2)
slow=(env LD_PRELOAD="$FAULTY_FILES" FAULT_CALLS=fsync FAULT_DO=slow)

# line FILE PATTERN: its number.
line() { grep -n -m 1 "$2" "$1" | cut -d: -f1; }
for n in 1 2; do
    many=()
    [ $n = 1 ] || many=(ranks 2)
    check_exit 0 "${many[@]}" "$REMLA" "${run[@]}" train.out=fast$n
    check_exit 0 "${many[@]}" "${slow[@]}" FAULT_UNDER="$work/slow$n/checkpoints" FAULT_AT=1 FAULT_MS=200 "$REMLA" "${run[@]}" train.out=slow$n
    cmp <(curve fast$n) <(curve slow$n) >&2 || fail "a slow disk, $n ranks: the curves differ"
    for step in 00000008 00000012; do check_same_files "a slow disk, $n ranks" fast$n/checkpoints/step-$step slow$n/checkpoints/step-$step; done
    [ "$(ls -A slow$n/checkpoints | wc -l)" = 2 ] || fail "a slow disk, $n ranks: $(ls -A slow$n/checkpoints)"
    log=slow$n/train.log
    [ "$(line $log '^step 7/')" -lt "$(line $log '^checkpoint .*step-00000004 in')" ] || { cat $log >&2; fail "a slow disk, $n ranks: training waited for the checkpoint of step 4"; }
    grep -q '^step 8: training stood still for [0-9.]* s until the checkpoint of step 4 was written' $log || { cat $log >&2; fail "a slow disk, $n ranks: not said that it waited"; }
    [ "$(grep -c '^checkpoint .*training stood still for' $log)" = 3 ] || { cat $log >&2; fail "a slow disk, $n ranks: not three checkpoints"; }
done

# No answer from some call on, in a process alone: said once, the next is left out, and the end does not wait forever.
got=0
"${slow[@]}" FAULT_UNDER="$work/stuck/checkpoints" FAULT_AT=1 FAULT_MS=1000000 "$REMLA" "${run[@]}" train.out=stuck train.steps=100000 parallel.timeout=1 >out 2>err &
job=$!
wait_for grep -q '^remla: warning: the checkpoint of step 4: the disk under rank 0 on .* has not answered for 1 s$' err
wait_for grep -q '^remla: warning: step [0-9]* has no checkpoint: the disk has not taken that of step 4 yet; training goes on' err
steps=$(curve stuck | wc -l)
sleep 0.5
[ "$(curve stuck | wc -l)" -gt "$steps" ] || fail "no answer: training does not go on"
kill -USR1 $job
wait $job || got=$?
[ $got = 86 ] || { cat err >&2; fail "no answer: exit code $got"; }
[ "$(grep -c 'has not answered for 1 s$' err)" = 1 ] || { cat err >&2; fail "no answer: not said once"; }
tail -n 1 err | grep -q '^remla: the disk has not answered for [0-9]* s; there is no checkpoint yet, and the same command begins anew$' || { cat err >&2; fail "no answer: not the last sentence"; }
# The same for a call that this rank's own thread makes.
got=0
"${slow[@]}" FAULT_CALLS=fallocate FAULT_UNDER="$work/begin/checkpoints" FAULT_AT=1 FAULT_MS=1000000 "$REMLA" "${run[@]}" train.out=begin parallel.timeout=2 >out 2>err || got=$?
[ $got = 86 ] || { cat err >&2; fail "no answer at the beginning: exit code $got"; }
grep -q '^remla: the disk has not answered for 2 s; there is no checkpoint yet' err || { cat err >&2; fail "no answer at the beginning: not the sentence"; }

# The disk answers again.
check_exit 0 "$REMLA" "${run[@]}" train.out=stuck
check_same_files "a disk that answers again" fast1/checkpoints/step-00000012 stuck/checkpoints/step-00000012
