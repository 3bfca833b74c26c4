#!/usr/bin/env bash
# A checkpoint that is not byte for byte what was written is passed over with a warning, and the one before it is used; when none is
# whole the program stops and touches nothing.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/gqa"
command=("$REMLA" train config.yaml train.steps=8 checkpoint.every=2 checkpoint.keep=3)
last=checkpoints/step-00000008 newest=checkpoints/step-00000006

check_exit 0 "${command[@]}" train.out=whole
check_exit 0 "${command[@]}" train.out=base train.stop_after=6

flip() { # FILE BYTE: inverts its lowest bit
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    printf '%b' "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
size() { stat -c %s "$1"; }

cut_weights() { truncate -s -1 "$1/model.safetensors"; }
cut_state() { truncate -s 0 "$1/state.json"; }
grow() { echo >>"$1/optim-00000.safetensors"; }
flip_header() { flip "$1/model.safetensors" 20; }
flip_weight() { flip "$1/model.safetensors" $(($(size "$1/model.safetensors") - 2)); }
flip_moment() { flip "$1/optim-00000.safetensors" $(($(size "$1/optim-00000.safetensors") / 2)); }
flip_config() { flip "$1/config.json" 40; }
flip_manifest() { flip "$1/MANIFEST.json" $(($(size "$1/MANIFEST.json") / 2)); }
lose_moments() { rm "$1/optim-00000.safetensors"; }
lose_manifest() { rm "$1/MANIFEST.json"; }
swap() { mv "$1/model.safetensors" "$1/x"; mv "$1/optim-00000.safetensors" "$1/model.safetensors"; mv "$1/x" "$1/optim-00000.safetensors"; }
empty() { rm "$1"/*; }
add_index() { echo '{}' >"$1/model.safetensors.index.json"; }
add_moments() { cp "$1/optim-00000.safetensors" "$1/optim-00001.safetensors"; }
rename_older() { rm -r "$1" && cp -r "${1%6}2" "$1"; } # a checkpoint copied under a higher number

for damage in cut_weights cut_state grow flip_header flip_weight flip_moment flip_config flip_manifest lose_moments lose_manifest swap empty add_index add_moments rename_older; do
    rm -rf run
    cp -r base run
    $damage run/$newest
    check_exit 0 "${command[@]}" train.out=run
    grep -q "^remla: warning: passing over run/$newest: " err || { cat err >&2; fail "$damage: no warning that names the checkpoint"; }
    expected=1
    [ $damage != rename_older ] || expected=2 # it may be the user's, and is in the way of the run's own
    [ "$(wc -l <err)" = $expected ] || { cat err >&2; fail "$damage: not $expected warnings"; }
    grep -q "step-00000004: step 4" out || { cat out >&2; fail "$damage: did not go on from step 4"; }
    check_same_files "$damage" whole/$last run/$last
    cmp <(curve whole) <(curve run) >&2 || fail "$damage: the curves differ"
done

# Two ranks share the reading, and both pass over what one of them finds.
check_exit 0 ranks 2 "${command[@]}" train.out=whole2
check_exit 0 ranks 2 "${command[@]}" train.out=base2 train.stop_after=6
for file in optim-00000 optim-00001 "$(basename -s .safetensors "$(ls base2/$newest/model-00002-of-*.safetensors)")"; do
    rm -rf run
    cp -r base2 run
    flip run/$newest/"$file".safetensors $(($(size run/$newest/"$file".safetensors) - 2))
    check_exit 0 ranks 2 "${command[@]}" train.out=run
    [ "$(grep -c "^remla: warning: passing over run/$newest: run/$newest/$file.safetensors: is damaged: " err)" = 1 ] || { cat err >&2; fail "$file: not one warning that names the file"; }
    grep -q "step-00000004: step 4" out || { cat out >&2; fail "$file: did not go on from step 4"; }
    check_same_files "$file of two ranks" whole2/$last run/$last
done

# A damaged one that is not replaced, and what people leave among the checkpoints, neither stop a save nor count for checkpoint.keep. Once
# there are enough newer ones the damaged one goes; what is not the run's own stays.
rm -rf run
cp -r base run
flip_weight run/$newest
cp -r run/checkpoints/step-00000002 run/checkpoints/step-00000099 # a copy under a higher number
cp -r run/checkpoints/step-00000002 run/checkpoints/step-2
mkdir run/checkpoints/step-00000098
echo mine >run/checkpoints/step-00000097
ln -s nowhere run/checkpoints/step-00000096
mine="step-00000096 step-00000097 step-00000098 step-00000099 step-2"
check_exit 0 "${command[@]}" train.out=run checkpoint.every=5 checkpoint.keep=2 train.stop_after=1
[ "$(ls run/checkpoints | tr '\n' ' ')" = "step-00000004 step-00000005 step-00000006 $mine " ] || fail "beside damage: $(ls run/checkpoints)"
check_exit 0 "${command[@]}" train.out=run checkpoint.every=5 checkpoint.keep=2 train.stop_after=2
check_exit 0 "${command[@]}" train.out=run checkpoint.every=5 checkpoint.keep=2
[ "$(ls run/checkpoints | tr '\n' ' ')" = "step-00000007 step-00000008 $mine " ] || fail "past damage: $(ls run/checkpoints)"
[ "$(wc -l <err)" = 3 ] || { cat err >&2; fail "past damage: not one warning for each of three folders"; }
check_same_files "past damage" whole/$last run/$last

# A file in the way of a checkpoint stays, and one sentence says so.
rm -rf run
cp -r base run
echo mine >run/$last
check_exit 86 "${command[@]}" train.out=run
grep -q "run/$last: is in the way of the checkpoint of step 8: it is not a folder; move it elsewhere" err || { cat err >&2; fail "in the way: no sentence"; }
[ "$(cat run/$last)" = mine ] || fail "in the way: the file was touched"
rm run/$last
check_exit 0 "${command[@]}" train.out=run
check_same_files "the way is free" whole/$last run/$last

# Every one is damaged.
rm -rf run
cp -r base run
flip_weight run/checkpoints/step-00000002
cut_weights run/checkpoints/step-00000004
lose_manifest run/$newest
find run -type f -exec md5sum {} + | sort -k2 | grep -v train.log >before
check_exit 3 "${command[@]}" train.out=run
[ "$(grep -c '^remla train: run: none of its 3 checkpoints is whole' err)" = 1 ] || { cat err >&2; fail "all damaged: no sentence that says so"; }
[ "$(grep -vc '^remla: warning: passing over run/checkpoints/' err)" = 1 ] || { cat err >&2; fail "all damaged: other lines"; }
find run -type f -exec md5sum {} + | sort -k2 | grep -v train.log >after
cmp before after >&2 || fail "all damaged: files of the run were touched"

# A damaged one that is named is an error too, and so is evaluating it when its weights are cut.
check_exit 3 "${command[@]}" train.out=other train.resume=run/checkpoints/step-00000004
cp -r base/checkpoints/step-00000002 base/checkpoints/step-00000003
check_exit 3 "${command[@]}" train.out=other train.resume=base/checkpoints/step-00000003/
grep -q 'is of step 2, but its folder is called step-00000003' err || { cat err >&2; fail "resuming from a copy: no sentence"; }
check_exit 3 "$REMLA" eval run/checkpoints/step-00000004 data.val="$golden/val.ds" eval.seq_len=32
