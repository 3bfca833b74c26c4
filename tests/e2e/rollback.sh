#!/usr/bin/env bash
# A run that explodes goes back to a good checkpoint and passes over the data since. It ends with the same bits however often it is killed on the
# way, and on several ranks. What is bad are the data, from step 63 of a run of 72 on: tokens drawn by lot; or the rate.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
sed -i "s|train: $golden/train.ds|train: bad.ds|; s|data: {|data: { |" config.yaml
run=("$REMLA" train config.yaml train.steps=72 optim.schedule=constant checkpoint.every=10 val.every=10 data.document_mask=false)

# The golden shard eight times, 576 windows.
head -c 4608 "$golden/train.ds" >once.ds
cat once.ds once.ds once.ds once.ds once.ds once.ds once.ds once.ds <(head -c 2 once.ds) >good.ds
printf 'golden|2\n%d' $((576 * 32 + 1)) >good.ds.metadata

# spoil FIRST LAST FILE: bad.ds, in which the windows of these steps have the tokens of FILE.
spoil() {
    cp good.ds bad.ds
    cp good.ds.metadata bad.ds.metadata
    "$REMLA" data order config.yaml data.document_mask=false --from $((8 * ($1 - 1))) --count $((8 * ($2 - $1 + 1))) | field sample >windows
    [ "$(wc -l <windows)" = $((8 * ($2 - $1 + 1))) ] || fail "data order: $(wc -l <windows) windows"
    local i=0
    while read -r window; do
        dd if="$3" of=bad.ds bs=64 seek="$window" skip=$((i++)) count=1 conv=notrunc status=none
    done <windows
}
# 144 windows of tokens 0 to 95.
awk 'BEGIN { x = 1; for (i = 0; i < 32 * 144; i++) { x = (x * 69069 + 12345) % 1048576; printf "\\x%02x\\x00", int(x / 10923) } }' >digits
printf '%b' "$(cat digits)" >noise
spoil 63 80 noise

# lines RUN: metrics.jsonl without starts, and without what a clock or a memory says.
lines() { sed '/"event": "start"/d; s/, "tok_s".*//' "$1/metrics.jsonl"; }
rollbacks() { grep -c '"event": "rollback"' "$1/metrics.jsonl" || true; }
check_same() { # RUN, against the one that nobody has disturbed
    check_same_files "$1" whole/$last "$1/$last"
    cmp <(lines whole) <(lines "$1") >&2 || fail "$1: metrics.jsonl differs"
    [ "$(ls -A "$1/checkpoints")" = "$(ls -A whole/checkpoints)" ] || fail "$1: the checkpoints are $(ls -A "$1/checkpoints")"
}

# ---- the data are bad for longer than it takes to notice: it goes back twice, and the end is that of a run that never saw them
last=checkpoints/step-00000072
check_exit 0 "${run[@]}" train.out=base train.stop_after=60
cp -r base whole
check_exit 0 "${run[@]}" train.out=whole
[ "$(rollbacks whole)" = 2 ] || { cat err >&2; fail "$(rollbacks whole) times back instead of 2"; }
grep -q 'warning: step 70: in steps 63 to 70 the loss.*gone back to whole/checkpoints/step-00000060, and passes over positions 480 to 560 .*1 of train.rollbacks=2' err ||
    { cat err >&2; fail "the warning does not say what happened"; }
[ "$(curve whole | cut -d' ' -f1 | paste -sd' ')" = "$(seq -s' ' 72)" ] || fail "metrics.jsonl does not have each step once"
[ "$(curve whole | awk '$2 > 4.5 && $1 > 60' | wc -l)" = 2 ] || { curve whole >&2; fail "two steps of bad data were left"; }

# ---- killed anywhere, and killed again
seconds() { echo "$EPOCHREALTIME"; }
from=$(seconds)
cp -r base killed
check_exit 0 "${run[@]}" train.out=killed
took=$(echo "$(seconds) $from" | awk '{ print $1 - $2 }')
check_same killed
kills=0
for ((attempt = 0; attempt < 4; attempt++)); do
    rm -rf killed
    cp -r base killed
    for again in 1 2 3; do
        "${run[@]}" train.out=killed >out 2>err &
        job=$!
        sleep "$(echo "$took $RANDOM" | awk '{ print $1 * $2 / 32768 }')"
        kill -9 $job 2>/dev/null || true
        code=0
        { wait $job; } 2>/dev/null || code=$?
        [ $code = 0 ] || [ $code = 137 ] || { cat err >&2; fail "killed: exit code $code"; }
        [ $code = 0 ] || kills=$((kills + 1))
    done
    check_exit 0 "${run[@]}" train.out=killed
    check_same killed
done
[ $kills -ge 4 ] || fail "only $kills of 12 runs were killed before they ended"

# ---- in processes of as many steps as lead from the checkpoint to the place where it goes back
cp -r base short
for ((start = 0; start < 9; start++)); do check_exit 0 "${run[@]}" train.out=short train.stop_after=10; done
check_same_files "in short processes" whole/$last short/$last
cmp <(lines whole) <(lines short) >&2 || fail "in short processes: metrics.jsonl differs"

# ---- two ranks, whatever they share
for stage in 0 1 2 3; do
    cp -r base two-$stage
    check_exit 0 ranks 2 "${run[@]}" train.out=two-$stage parallel.sum=exact parallel.zero=$stage
    [ "$(rollbacks two-$stage)" = 2 ] || { cat err >&2; fail "2 ranks, stage $stage: $(rollbacks two-$stage) times back"; }
    [ $stage = 0 ] || cmp <(lines two-0) <(lines two-$stage) >&2 || fail "stages 0 and $stage differ"
done

# ---- it may not go back: warned and held, and what it leaves is no place to go back to for a start that may
cp -r base held
check_exit 0 "${run[@]}" train.out=held train.rollbacks=0
grep -q 'warning: step 70: a loss of .* is far above its past.*it could not go back: train.rollbacks=0' err || { cat err >&2; fail "held: no warning"; }
grep -q '"far": true' held/$last/state.json || fail "held: its checkpoint does not say that it is far"
check_exit 0 "${run[@]}" train.out=held train.steps=79
grep -q 'step 78: in steps 63 to 78 .*gone back to held/checkpoints/step-00000060, and passes over positions 480 to 624' err || { cat err >&2; fail "held, then allowed"; }
[ "$(ls held/checkpoints | paste -sd' ')" = "step-00000070 step-00000079" ] || fail "held, then allowed: $(ls held/checkpoints)"

# ---- a rate that makes gradients overflow, whatever the data: it goes back twice, ends, and says so. What it names is there, to go on from.
cp -r base wild
check_exit 7 "${run[@]}" train.out=wild optim.lr=1 optim.beta2=0 optim.eps=1e-20 optim.clip=0
grep -q 'warning: step 66: loss or gradient was not finite in steps 64 to 66: the run has gone back' err || { cat err >&2; fail "skipped: no warning"; }
tail -n 1 err | grep -q 'wild/checkpoints/step-00000060 is the newest.*train.rollbacks=2, and it has gone back 2 times' || { cat err >&2; fail "skipped: the last sentence"; }
[ "$(curve wild | awk '$3 == "null"' | wc -l)" = 3 ] || { curve wild >&2; fail "skipped: not three steps"; }
check_exit 0 "${run[@]}" train.out=wild
check_same wild

# ---- the first bad loss is of the weights in the newest checkpoint, which has not been shown to be good
spoil 61 68 noise
cp -r base next
check_exit 0 "${run[@]}" train.out=next train.stop_after=12
grep -q 'step 68: in steps 61 to 68 .*gone back to next/checkpoints/step-00000050, and passes over positions 400 to 544' err || { cat err >&2; fail "the newest checkpoint is not shown to be good"; }
[ "$(ls next/checkpoints | paste -sd' ')" = "step-00000050 step-00000055" ] || fail "the newest checkpoint is still there: $(ls next/checkpoints)"
