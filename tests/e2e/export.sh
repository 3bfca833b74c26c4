#!/usr/bin/env bash
# `remla export` makes a clean model folder of a checkpoint: the weights are the masters, rounded once, or their mean; it takes the best whole
# checkpoint of a run; what is in its way is a sentence, and then nothing is left.
. "$(dirname "$0")/common.sh"

check_exit 0 "$REMLA" convert "$golden/gqa" mla calib.data="$golden/train.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12 convert.dtype=bf16
echo '{"eos_token_id": 3}' >mla/generation_config.json
write_config config.yaml mla
check_exit 0 "$REMLA" train config.yaml train.out=run train.steps=12 checkpoint.every=4 checkpoint.keep=3 val.every=4
step() { echo "run/checkpoints/step-000000$1"; }

# numbers u4|u2 FILE: the data of a safetensors file, as unsigned numbers, one a line.
numbers() { od -A n -v -w"${1#u}" -t "$1" -j $((8 + $(od -A n -t u8 -N 8 "$2"))) "$2"; }
# values FILE: its float32 numbers.
values() { od -A n -v -w4 -t f4 -j $((8 + $(od -A n -t u8 -N 8 "$1"))) "$1"; }

# ---- what is in it ------------------------------------------------------------------------------------------------------
check_exit 0 "$REMLA" export "$(step 12)" f32 export.dtype=f32
cmp f32/model.safetensors "$(step 12)/model.safetensors" || fail "in float32 the weights are not the masters"
cmp f32/config.json "$(step 12)/config.json" || fail "in float32 config.json is another one"
[ "$(cd f32 && echo *)" = "config.json conversion.json conversion.svg export.json generation_config.json model.safetensors" ] || fail "the folder has $(cd f32 && echo *)"
cmp f32/conversion.json mla/conversion.json || fail "the record of the conversion is another one"

check_exit 0 "$REMLA" export "$(step 12)" auto # the type of model.path
grep -q '"torch_dtype": "bfloat16"' auto/config.json || fail "auto is not the type that the run began with: $(cat auto/config.json)"
# To nearest, ties to even.
numbers u4 f32/model.safetensors | awk '{ high = int($1 / 65536); low = $1 % 65536; print high + (low > 32768 || (low == 32768 && high % 2)) }' >want
numbers u2 auto/model.safetensors | awk '{ print $1 + 0 }' | cmp - want || fail "bf16 is not the masters, rounded"

check_exit 0 "$REMLA" export "$(step 12)" f16 export.dtype=f16 --json
[ "$(field dtype <out) $(field steps <out)" = '"f16" [12]' ] || fail "--json: $(cat out)"
check_exit 0 "$REMLA" eval f16 data.val="$golden/val.ds" eval.seq_len=32 --json
near=$(field loss <out)
check_exit 0 "$REMLA" eval "$(step 12)" data.val="$golden/val.ds" eval.seq_len=32 --json
echo "$near $(field loss <out)" | awk '{ exit !($1 != $2 && $1 / $2 - 1 < 1e-4 && $2 / $1 - 1 < 1e-4) }' || fail "f16 computes $near, the checkpoint $(field loss <out)"

# Masters that lie in the state files are the same.
check_exit 0 "$REMLA" train config.yaml train.out=halves train.steps=12 checkpoint.every=none checkpoint.weights=bf16
check_exit 0 "$REMLA" export halves/checkpoints/step-00000012 from_halves export.dtype=f32
cmp from_halves/model.safetensors f32/model.safetensors || fail "masters beside bf16 weights are other ones"
cmp halves/checkpoints/step-00000012/model.safetensors auto/model.safetensors || fail "the bf16 weights of the checkpoint are other ones"

# The mean, against awk's.
check_exit 0 "$REMLA" export "$(step 12)" mean export.dtype=f32 export.average=3
grep -q '"val_loss": null' mean/export.json || fail "a mean has not been validated: $(cat mean/export.json)"
for s in 04 08 12; do values "$(step $s)/model.safetensors" >values.$s; done
values mean/model.safetensors | paste - values.04 values.08 values.12 | awk '
    function size(x) { return x < 0 ? -x : x }
    { most = size($2) > size($3) ? size($2) : size($3); most = most > size($4) ? most : size($4) }
    size($1 - ($2 + $3 + $4) / 3) > 3e-7 * most { print NR, $0; exit 1 }' ||
    fail "the mean is another one"
check_exit 3 "$REMLA" export "$(step 08)" no export.average=3
grep -q 'export.average=3, but it has 2 good checkpoints up to step 8' err || fail "$(cat err)"
cp -r "$(step 12)" best
check_exit 2 "$REMLA" export best no export.average=2
grep -q 'best: is not called RUN/checkpoints/step-N' err || fail "$(cat err)"
check_exit 0 "$REMLA" export best of_copy export.dtype=f32
cmp of_copy/model.safetensors f32/model.safetensors || fail "a copy of a checkpoint is exported otherwise"

# ---- which one of a run -------------------------------------------------------------------------------------------------
# chosen STEP [OPTION...]: what is exported of the run.
chosen() {
    rm -rf of_run
    check_exit 0 "$REMLA" export run of_run "${@:2}"
    grep -q "^exporting run/checkpoints/step-000000$1: step $((10#$1))," out || { cat out err >&2; fail "not step $1 of the run"; }
}
loss() { sed -i "s/\"step\": $1, \"val_loss\": [^,]*/\"step\": $1, \"val_loss\": $2/" run/metrics.jsonl; }
loss 4 3.25
loss 8 2.5
loss 12 2.75
chosen 08
printf 'x' | dd of="$(step 08)/model.safetensors" bs=1 seek=5000 conv=notrunc status=none
chosen 12 # the next best one that is whole
grep -q "^remla: warning: passing over $(step 08): .*model.safetensors: is damaged" err || fail "the damage is not reported: $(cat err)"
check_exit 3 "$REMLA" export "$(step 08)" no # what was asked for, or nothing
loss 4 null; loss 8 null; loss 12 null
chosen 12
mv run/metrics.jsonl metrics.jsonl
chosen 12
mv metrics.jsonl run

# ---- refusals, none of which leaves anything ----------------------------------------------------------------------------
# refused CODE PATTERN ARGUMENT...
refused() {
    check_exit "$1" "$REMLA" export "${@:3}"
    grep -q "$2" err || { cat err >&2; fail "not said: $2"; }
    ! compgen -G 'no*' >/dev/null || fail "left: $(echo no*)"
}
refused 3 'f32 exists and is not empty' run f32
refused 3 "'' is no name of a folder" run ''
refused 3 'nowhere: there is no such folder, expected that of a run' nowhere no
refused 3 'rnu: there is no such folder; did you mean run?' rnu no
refused 3 'run/env.json: is a file' run/env.json no
refused 3 'run/checkpoints: holds checkpoints: name one of them' run/checkpoints no
refused 3 'mla: is neither a run .* nor a checkpoint' mla no
mv mla elsewhere
refused 2 'export.dtype=auto is the type of the model that the run began with, but mla: .*export where the run was started, or give export.dtype=' run no
check_exit 0 "$REMLA" export "$(step 12)" bf16 export.dtype=bf16 # the record of the conversion is gone with the model
[ ! -e bf16/conversion.json ] || fail "a conversion.json of nothing"
mv elsewhere mla
(
    ulimit -f 8
    refused 3 'no.remla-tmp-[0-9]*/model.safetensors' run no
)
mkdir no.remla-tmp-1 no.remla-tmp-mine
touch no.remla-tmp-1/config.json no.remla-tmp-1/lock # a process that was killed had left it
check_exit 0 "$REMLA" export run no
grep -q '^removed no.remla-tmp-1, which a process that was killed had left$' out || fail "what a kill left is not removed: $(cat out)"
[ "$(echo no*)" = "no no.remla-tmp-mine" ] || fail "left: $(echo no*)"
