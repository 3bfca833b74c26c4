#!/usr/bin/env bash
# What goes wrong beside the weights does not cost them: validation or training data that turn bad under way, a loss that explodes, steps
# that are skipped. Good checkpoints stay, and the exit code says what to do.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
copy_shard() { for suffix in "" .index .metadata; do cp "$golden/$1.ds$suffix" "$2.ds$suffix"; done; }
checkpoints() { (cd "$1/checkpoints" && echo step-*) | sed 's/step-0*//g'; }

# ---- held-out text that is gone at the end
run=("$REMLA" train config.yaml train.steps=400 checkpoint.every=0)
check_exit 0 "${run[@]}" train.out=whole
copy_shard val val
"${run[@]}" data.val=val.ds train.out=blind >out 2>err &
job=$!
wait_for_steps blind
: >val.ds
wait $job || { cat err >&2; fail "a failed validation: exit code $?"; }
[ "$(wc -l <err)" = 1 ] && grep -q '^remla: warning: step 400 is not validated: val.ds' err || { cat err >&2; fail "a failed validation: not one warning"; }
check_same_files "without validation" whole/checkpoints/step-00000400 blind/checkpoints/step-00000400
# Repaired: the same command has only this left to do, and does it once.
copy_shard val val
for time in 1 2; do
    check_exit 0 "${run[@]}" data.val=val.ds train.out=blind
    [ "$(grep -c val_loss blind/metrics.jsonl)" = 1 ] || fail "validation made up for, start $time: $(grep val_loss blind/metrics.jsonl)"
done

# ---- training data that are cut, on one rank and on two, and repaired
for n in 1 2; do
    copy_shard train cut
    many=()
    [ $n = 1 ] || many=(ranks 2)
    "${many[@]}" "${run[@]}" data.train=cut.ds train.out=cut$n >out 2>err &
    job=$!
    wait_for_steps cut$n
    truncate -s 100 cut.ds
    got=0
    wait $job || got=$?
    [ $got = 6 ] || { cat err >&2; fail "data that are cut, $n ranks: exit code $got"; }
    step=$(curve cut$n | tail -n 1 | cut -d' ' -f1)
    [ "$step" -lt 400 ] && [ "$(checkpoints cut$n)" = "$step" ] || fail "data that are cut, $n ranks: step $step, checkpoints $(checkpoints cut$n)"
    grep -q "^remla train: cut.ds: .*stopped after step $step" err && [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "data that are cut: not one sentence"; }
    copy_shard train cut
    check_exit 0 "${many[@]}" "${run[@]}" data.train=cut.ds train.out=cut$n
done
check_same_files "data that were repaired" whole/checkpoints/step-00000400 cut1/checkpoints/step-00000400

# ---- a rate that explodes: what was good stays, however long it takes, and a second start does not remove it either
run=("$REMLA" train config.yaml optim.schedule=constant optim.weight_decay=0 checkpoint.every=10 data.val= train.out=wild)
check_exit 0 "${run[@]}" train.steps=20
check_exit 0 "${run[@]}" train.steps=50 optim.lr=1 optim.clip=0
[ "$(checkpoints wild)" = "10 20 50" ] || fail "exploded: the checkpoints are $(checkpoints wild)"
grep -q '^remla: warning: step 30 has no checkpoint, since the loss is far above its past.*step-00000020 is the newest' err || { cat err >&2; fail "exploded: no warning at the checkpoint that is not"; }
grep -q 'step 50: the checkpoint is written, but none is removed' err || { cat err >&2; fail "exploded: no warning at the end"; }
grep -q '^changed: optim.lr 0.02 -> 1.0$' out || fail "what changed on resuming is not said"
check_exit 0 "${run[@]}" train.steps=50 optim.lr=1 optim.clip=0
check_exit 0 "${run[@]}" train.steps=54 optim.lr=1 optim.clip=0
[ "$(checkpoints wild)" = "10 20 50 54" ] || fail "exploded, and on: the checkpoints are $(checkpoints wild)"

# ---- three updates that are skipped: the sentence names a checkpoint that exists
check_exit 7 "$REMLA" train config.yaml train.steps=40 train.out=nan checkpoint.every=1 optim.lr=1 optim.beta2=0 optim.eps=1e-20 optim.clip=0 optim.warmup=0 data.val=
named=$(sed -n 's/.*in a row; \(.*\) is the newest checkpoint.*/\1/p' err)
[ -f "$named/MANIFEST.json" ] || { cat err >&2; fail "skipped: no checkpoint is named that exists"; }
[ "$(curve nan | awk '$3 == "null"' | wc -l)" = 3 ] && [ "$(curve nan | tail -n 4 | head -n 1 | cut -d' ' -f1)" = "$(checkpoints nan | sed 's/.* //')" ] ||
    { curve nan >&2; fail "skipped: checkpoints $(checkpoints nan)"; }

# ---- the best by validation stays beside the newest two, across stops; not when it is not wanted
run=("$REMLA" train config.yaml train.steps=24 checkpoint.every=2 val.every=2 optim.schedule=constant)
for best in true false; do
    check_exit 0 "${run[@]}" checkpoint.keep_best=$best train.out=best-$best train.stop_after=12
    check_exit 0 "${run[@]}" checkpoint.keep_best=$best train.out=best-$best train.stop_after=6 optim.lr=0.5
    check_exit 0 "${run[@]}" checkpoint.keep_best=$best train.out=best-$best optim.lr=0.5
done
lowest=$(sed -n 's/^{"step": \([0-9]*\), "val_loss": \([^,]*\).*/\2 \1/p' best-true/metrics.jsonl | sort -g | head -n 1 | cut -d' ' -f2)
[ "$lowest" = 12 ] || fail "the lowest validation loss is at step $lowest: this test wants it at 12"
[ "$(checkpoints best-true)" = "12 22 24" ] || fail "the best is 12, the checkpoints are $(checkpoints best-true)"
[ "$(checkpoints best-false)" = "22 24" ] || fail "without keep_best: $(checkpoints best-false)"
