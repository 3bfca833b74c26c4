#!/usr/bin/env bash
# What becomes of a run whose folder is found again without train.out, loses its lock, is renamed or removed while it is written, and of
# standard descriptors that are closed; and of a file of metrics with holes.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
run=("$REMLA" train config.yaml train.steps=20000 checkpoint.every=0)
start() { # RUN [OPTION...]: in the background, under way; what it says is in the files said and complaints
    "${run[@]}" train.out="$1" "${@:2}" >said 2>complaints &
    job=$!
    wait_for_steps "$1"
}
stop() { # CODE: asks it to stop
    local got=0
    kill -USR1 $job
    wait $job || got=$?
    [ $got = "$1" ] || { cat complaints >&2; fail "exit code $got instead of $1"; }
}
check_says() { grep -q "$1" complaints || { cat complaints >&2; fail "no \"$1\""; }; }

# ---- without train.out the same command goes on
check_exit 0 "$REMLA" train config.yaml train.steps=6 train.stop_after=2
grep -q 'train.out is not set: the run is runs/config' out || fail "not said where the run is"
check_exit 0 "$REMLA" train config.yaml train.steps=6
grep -q 'resumed from runs/config/checkpoints/step-00000002: step 2' out || { cat out >&2; fail "the same command began anew"; }
"${run[@]}" >said 2>complaints &
job=$!
wait_for grep -q '^step 9/' said
stop 85
check_says 'runs/config/checkpoints/step-[0-9]* is the newest checkpoint, and the same command goes on'

# ---- the lock is removed: taken again; or another job takes it first, and this one stops
start a
rm a/lock
wait_for test -e a/lock
check_exit 3 "$REMLA" train config.yaml train.steps=2 train.out=a
grep -q '^remla train: a: another live job is writing there' err || { cat err >&2; fail "a lock that was removed lets a second job in"; }
stop 85
check_says '^remla: warning: a/lock was removed while this run had it: taken again'
start b
exec 9>taken
flock -n 9
mv taken b/lock
got=0
wait $job || got=$?
exec 9>&-
[ $got = 3 ] || { cat complaints >&2; fail "two jobs in one folder: exit code $got"; }
check_says 'another job has taken b/lock'

# ---- the folder is renamed: followed; removed: made anew. Nothing that is computed is lost.
start d
mv d e
stop 85
check_says "^remla: warning: d was renamed .* train.out=$work/e"
[ ! -e d ] || fail "a renamed folder was made again"
step=$(curve e | tail -n 1 | cut -d' ' -f1)
[ -f "e/checkpoints/step-$(printf %08d "$step")/MANIFEST.json" ] || fail "step $step has no checkpoint in e"
check_exit 0 "${run[@]}" train.out=e train.stop_after=1
start f
kill -STOP $job # or it would put the lock back before rm is through
rm -r f
kill -CONT $job
stop 85
check_says '^remla: warning: f was removed'
for file in config.yaml env.json lock metrics.jsonl train.log checkpoints; do [ -e f/$file ] || fail "f/$file was not made anew"; done
check_exit 0 "${run[@]}" train.out=f train.stop_after=1

# ---- closed standard descriptors: no line goes where a file is written
check_exit 0 "$REMLA" train config.yaml train.steps=4 train.out=open
"$REMLA" train config.yaml train.steps=4 train.out=closed <&- >&- 2>&- || fail "closed descriptors: exit code $?"
check_same_files "closed descriptors" open/checkpoints/step-00000004 closed/checkpoints/step-00000004
[ ! -s closed/lock ] || fail "closed descriptors: the log is in the lock"
convert=("$REMLA" convert "$golden/gqa")
on=(calib.data="$golden/train.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12)
check_exit 0 "${convert[@]}" mla-open "${on[@]}"
"${convert[@]}" mla-closed "${on[@]}" <&- >&- 2>&- || fail "closed descriptors, convert: exit code $?"
cmp mla-open/model.safetensors mla-closed/model.safetensors >&2 || fail "closed descriptors: the converted model differs"

# ---- metrics with a broken line and a hole: named, and nothing behind them is dropped
check_exit 0 "$REMLA" train config.yaml train.steps=20 train.stop_after=12 train.out=holes
sed -i -e '3s/^.../\x00\x00\x00/' -e '7,8d' holes/metrics.jsonl
cp holes/metrics.jsonl before
check_exit 0 "$REMLA" train config.yaml train.steps=20 train.out=holes
mv err complaints
head -n 11 holes/metrics.jsonl | cmp - before >&2 || fail "lines of metrics are gone"
check_says '^remla: warning: holes/metrics.jsonl:3: is not an object with a step'
check_says '^remla: warning: holes/metrics.jsonl:4: steps 2 to 2 are missing before this line, 3 in all'
[ "$(curve holes | tail -n 1 | cut -d' ' -f1)" = 20 ] || fail "metrics after a hole: $(curve holes)"
