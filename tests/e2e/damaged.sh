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

for damage in cut_weights cut_state grow flip_header flip_weight flip_moment flip_config flip_manifest lose_moments lose_manifest swap empty; do
    rm -rf run
    cp -r base run
    $damage run/$newest
    check_exit 0 "${command[@]}" train.out=run
    grep -q "^remla: warning: passing over run/$newest: " err || { cat err >&2; fail "$damage: no warning that names the checkpoint"; }
    [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "$damage: not one warning"; }
    grep -q "step-00000004: step 4" out || { cat out >&2; fail "$damage: did not go on from step 4"; }
    check_same_files "$damage" whole/$last run/$last
    cmp <(curve whole) <(curve run) >&2 || fail "$damage: the curves differ"
done

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

# A damaged one that is asked for by name is an error too, and so is evaluating it when its weights are cut.
check_exit 3 "${command[@]}" train.out=other train.resume=run/checkpoints/step-00000004
check_exit 3 "$REMLA" eval run/checkpoints/step-00000004 data.val="$golden/val.ds" train.seq_len=32
