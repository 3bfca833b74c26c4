#!/usr/bin/env bash
# kill -9 at a dozen random moments of a run that saves after every step, so that most of them hit a save or a prune: the same command
# goes on every time, no checkpoint that it then finds is damaged, and the final files are those of the run that was never killed.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
command=("$REMLA" train config.yaml train.steps=60 checkpoint.every=1 val.every=10)
last=checkpoints/step-00000060

check_exit 0 "${command[@]}" train.out=whole

# Folders come and go while they are listed.
newest_step() { { find killed/checkpoints -maxdepth 1 -name 'step-????????' 2>/dev/null || true; } | sort | tail -n 1 | sed 's/.*step-0*//'; }

kills=0
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
    before=$(newest_step)
    [ "${before:-0}" -lt 40 ] || { rm -rf killed && before=0; } # a fast disk: begin again
    "${command[@]}" train.out=killed >out 2>err &
    job=$!
    # Two to four steps on; then anywhere in a step or its save.
    wanted=$((${before:-0} + 2 + RANDOM % 3))
    for ((wait = 0; wait < 3000; wait++)); do
        now=$(newest_step)
        [ "${now:-0}" -lt $wanted ] && kill -0 $job 2>/dev/null || break
        sleep 0.01
    done
    sleep 0.0$((RANDOM % 50 + 10))
    kill -9 $job 2>/dev/null || true
    code=0
    { wait $job; } 2>/dev/null || code=$?
    case $code in
        0) ;;
        137) kills=$((kills + 1)) ;;
        *) cat err >&2 && fail "attempt $attempt: exit code $code" ;;
    esac
    [ ! -s err ] || { cat err >&2 && fail "attempt $attempt: something is on standard error"; }
done
[ $kills -ge 6 ] || fail "only $kills of 12 runs were killed before they ended"
check_exit 0 "${command[@]}" train.out=killed
[ ! -s err ] || { cat err >&2; fail "after the kills: something is on standard error"; }

check_same_files "after $kills kills" "whole/$last" "killed/$last"
cmp <(curve whole) <(curve killed) >&2 || fail "the curves differ"
cmp <(grep val_ whole/metrics.jsonl) <(grep val_ killed/metrics.jsonl) >&2 || fail "validation differs"
[ "$(ls -A killed/checkpoints)" = "$(ls -A whole/checkpoints)" ] || fail "left over: $(ls -A killed/checkpoints)"

# What a kill leaves behind is never taken for a checkpoint, even when it is whole.
cp -r "whole/$last" killed/checkpoints/.remla-tmp-step-00000099
mv "killed/$last" kept
check_exit 0 "${command[@]}" train.out=killed
check_same_files "beside a temporary one" kept "killed/$last"
[ "$(ls -A killed/checkpoints)" = "$(ls -A whole/checkpoints)" ] || fail "left over: $(ls -A killed/checkpoints)"

# Killed between the two renames of a replacement: the one that was to be replaced has its name again.
mv "killed/$last" killed/checkpoints/.remla-old-step-00000060
touch killed/before
check_exit 0 "${command[@]}" train.out=killed
[ "$(ls -A killed/checkpoints)" = "$(ls -A whole/checkpoints)" ] || fail "half replaced: $(ls -A killed/checkpoints)"
[ "killed/$last/state.json" -ot killed/before ] || fail "half replaced: the last step was computed again"

# Killed between the last checkpoint and its prune: the next start prunes, although the run is done.
check_exit 0 "${command[@]}" train.out=extra train.steps=5 val.every=0 checkpoint.keep=4
check_exit 0 "${command[@]}" train.out=extra train.steps=5 val.every=0
[ "$(ls -A extra/checkpoints | tr '\n' ' ')" = "step-00000004 step-00000005 " ] || fail "not pruned: $(ls -A extra/checkpoints)"

# A user's copies are never touched, whatever they are called.
for copy in .old .tmp .trash -copy; do cp -r "killed/$last" "killed/$last$copy"; done
find killed/checkpoints | sort >before
check_exit 0 "${command[@]}" train.out=killed
[ ! -s err ] || { cat err >&2; fail "beside a user's copies: something is on standard error"; }
cmp before <(find killed/checkpoints | sort) >&2 || fail "a user's copies were touched"
