#!/usr/bin/env bash
# The disk is full in the middle of a checkpoint: training goes on, the earlier checkpoints are untouched, nothing is left half-written; at
# the end, after some tries, the exit code says that the last one is missing, and with more space the same command goes on. A disk without
# space for a line of metrics or of the log stops nothing either. The small disk is a tmpfs in a mount namespace of our own.
. "$(dirname "$0")/mounts.sh"
in_mounts "$0"
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
command=("$REMLA" train config.yaml train.steps=8 checkpoint.every=2 checkpoint.keep=9)

check_exit 0 "${command[@]}" train.out=whole
checkpoint=$(($(du -sk --apparent-size whole/checkpoints/step-00000002 | cut -f1) + 8))
mkdir disk

# Space for two checkpoints and 1/4 or 3/4 of the third: full in its weights, full in its moments.
small_disk() { mount -t tmpfs -o size=$((checkpoint * 2 + checkpoint * $1 / 4))k none disk; }
check_left() {
    [ "$(ls -A disk/run/checkpoints | tr '\n' ' ')" = "step-00000002 step-00000004 " ] || fail "left over: $(ls disk/run/checkpoints)"
    check_same_files "beside a full disk" whole/checkpoints/step-00000004 disk/run/checkpoints/step-00000004
    mount -o remount,size=4m disk
}
check_whole() {
    check_same_files "with space again" whole/checkpoints/step-00000008 disk/run/checkpoints/step-00000008
    cmp <(curve whole) <(curve disk/run) >&2 || fail "with space again: the curves differ"
    umount disk
}

small_disk 1
check_exit 86 "${command[@]}" train.out=disk/run
grep -q '^remla: warning: step 6 has no checkpoint: disk/run/checkpoints/.remla-tmp-step-00000006.*No space left on device; training goes on' err || { cat err >&2; fail "no warning of step 6"; }
tail -n 1 err | grep -q '^remla train: step 8 has no checkpoint: .*No space left on device.*disk/run/checkpoints/step-00000004 is the newest' || { cat err >&2; fail "no sentence of step 8"; }
[ "$(wc -l <err)" = 4 ] || { cat err >&2; fail "not one warning, two tries and a sentence"; }
check_left
check_exit 0 "${command[@]}" train.out=disk/run
[ ! -s err ] || { cat err >&2; fail "with space again: something is on standard error"; }
check_whole

# Half, nine tenths and one and a half of a checkpoint: all steps are taken, and the exit code says that the last one is not saved.
for tenths in 5 9 15; do
    mount -t tmpfs -o size=$((checkpoint * tenths / 10))k none disk
    check_exit 86 "${command[@]}" train.out=disk/run
    [ "$(curve disk/run | wc -l)" = 8 ] || fail "a disk of $tenths/10 of a checkpoint: training did not go on: $(curve disk/run | wc -l) steps"
    left=
    [ $tenths -lt 15 ] || left="step-00000002 "
    [ "$(ls -A disk/run/checkpoints | tr '\n' ' ')" = "$left" ] || fail "a disk of $tenths/10 of a checkpoint: left over: $(ls -A disk/run/checkpoints)"
    [ -z "$left" ] || check_same_files "beside a full disk" whole/checkpoints/$left disk/run/checkpoints/$left
    [ "$(grep -c 'No space left on device; training goes on' err)" = $((tenths < 15 ? 3 : 2)) ] || { cat err >&2; fail "a disk of $tenths/10 of a checkpoint: not a warning for each that is due"; }
    mount -o remount,size=4m disk
    check_exit 0 "${command[@]}" train.out=disk/run
    check_whole
done

# Space again before the last try.
small_disk 3
got=0
"${command[@]}" train.out=disk/run >out 2>err &
job=$!
wait_for grep -q 'step 8 .*trying again in 1 s' err
check_left
wait $job || got=$?
[ $got = 0 ] || { cat err >&2; fail "with space before the last try: exit code $got"; }
check_whole

# Full while the steps are written down, and with space again before the run ends: nothing is missing but lines of the terminal and the log.
long=("$REMLA" train config.yaml train.steps=1500 checkpoint.every=0)
check_exit 0 "${long[@]}" train.out=long
mount -t tmpfs -o size=1m none disk
got=0
"${long[@]}" train.out=disk/run >disk/out 2>err &
job=$!
wait_for_steps disk/run
head -c 2000000 /dev/zero >disk/fill 2>/dev/null || true
wait_for grep -q 'metrics.jsonl cannot be written: No space' err
rm disk/fill
wait $job || got=$?
[ $got = 0 ] || { cat err >&2; fail "a full disk for a while: exit code $got"; }
cmp <(curve long) <(curve disk/run) >&2 || fail "a full disk for a while: the curves differ"
check_same_files "a full disk for a while" long/checkpoints/step-00001500 disk/run/checkpoints/step-00001500
grep -q 'metrics.jsonl is written again' disk/run/train.log || fail "a full disk for a while: not said when it is over"
umount disk
