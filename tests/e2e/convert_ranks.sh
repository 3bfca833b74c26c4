#!/usr/bin/env bash
# A conversion gives the same model whatever shares its work: 1 and 2 threads, 1 and 2 ranks, within 1e-4 of loss, also with factored queries,
# with biases and by TransMLA's method. --plan does nothing; what cannot be converted is refused by every rank with one sentence, and leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(calib.data="$golden/train.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12 convert.latent_norm=true convert.dtype=f32)
loss() { "$REMLA" eval "$1" data.val="$golden/val.ds" eval.seq_len=32 --json 2>/dev/null | field loss; }

"$REMLA" convert "$golden/gqa" one "${arguments[@]}" >/dev/null
OMP_NUM_THREADS=2 "$REMLA" convert "$golden/gqa" threads "${arguments[@]}" >/dev/null
ranks 2 "$REMLA" convert "$golden/gqa" ranks "${arguments[@]}" >/dev/null
ranks 3 "$REMLA" convert "$golden/gqa" three "${arguments[@]}" >/dev/null
loss one >want
for folder in threads ranks three; do
    loss $folder >got
    check_close 1e-4 "one thread and $folder" want got
    for file in config.json conversion.json conversion.svg; do
        [ -s $folder/$file ] || fail "$folder/$file is missing"
    done
done

# header FILE: the JSON text at the start of a safetensors file.
header() { head -c $((8 + $(head -c 8 "$1" | od -An -t u8))) "$1" | tail -c +9; }

# The golden model with weights of its own as biases, in a second file.
mkdir biased
sed 's/LlamaForCausalLM/Qwen2ForCausalLM/; s/"llama"/"qwen2"/; s/"attention_bias": false/"attention_bias": true/' "$golden/gqa/config.json" >biased/config.json
cp "$golden/gqa/model.safetensors" biased/weights.safetensors
table='' at=0
for layer in 0 1; do
    for part in q:32 k:16 v:16; do
        table+=",\"model.layers.$layer.self_attn.${part%:*}_proj.bias\":{\"dtype\":\"F16\",\"shape\":[${part#*:}],\"data_offsets\":[$at,$((at + 2 * ${part#*:}))]}"
        at=$((at + 2 * ${part#*:}))
    done
done
table="{${table#,}}"
{
    printf '%b' "$(printf '\\x%02x\\x%02x\\x00\\x00\\x00\\x00\\x00\\x00' $((${#table} % 256)) $((${#table} / 256)))"
    printf %s "$table"
    tail -c $at biased/weights.safetensors
} >biased/biases.safetensors
map=$(for file in weights biases; do
    header biased/$file.safetensors | grep -o '"[a-z_]*\.[^"]*"' | sed "s/\$/:\"$file.safetensors\"/"
done | paste -sd,)
echo "{\"weight_map\":{$map}}" >biased/model.safetensors.index.json
"$REMLA" convert biased with-biases "${arguments[@]}" >/dev/null
ranks 2 "$REMLA" convert biased with-biases-ranks "${arguments[@]}" >/dev/null
"$REMLA" convert "$golden/gqa" factored "${arguments[@]}" convert.q_lora_rank=16 >/dev/null
ranks 2 "$REMLA" convert "$golden/gqa" factored-ranks "${arguments[@]}" convert.q_lora_rank=16 >/dev/null
for folder in with-biases factored; do
    loss $folder >biased-want
    loss $folder-ranks >got
    check_close 1e-4 "$folder on one rank and two" biased-want got
    if cmp -s biased-want want; then fail "$folder is the model without"; fi
done

# TransMLA's method, which takes FreqFold and the kind of norm from losses of whole models.
transmla=("${arguments[@]}" convert.method=transmla)
"$REMLA" convert "$golden/gqa" transmla "${transmla[@]}" >/dev/null
ranks 2 "$REMLA" convert "$golden/gqa" transmla-ranks "${transmla[@]}" >/dev/null
loss transmla >transmla-want
loss transmla-ranks >got
check_close 1e-4 'transmla on one rank and two' transmla-want got
if cmp -s transmla-want want; then fail "transmla is the model of remla"; fi

"$REMLA" inspect one >said
grep -q '^one: MLA, 4 heads of 8+4, latent of 12 with its norm' said || fail "inspect: $(cat said)"
grep -q '^converted by method remla in .*, q_lora_rank none, ' said || fail "inspect: $(cat said)"
"$REMLA" inspect one --json >said
grep -q '"method": "remla"' said && grep -q '"q_lora_rank": 0' said || fail "inspect --json: $(cat said)"
"$REMLA" inspect factored >said # into a file: grep -q leaves early, and a pipe that nobody reads is an error
grep -q '^converted by method remla in .*, q_lora_rank 16, ' said || fail "inspect of factored queries"
"$REMLA" inspect "$golden/gqa" >said
grep -q 'GQA, 4 heads of 8, 2 of keys' said || fail "inspect of a GQA model"

for method in remla transmla; do
    "$REMLA" convert "$golden/gqa" planned "${arguments[@]}" convert.method=$method --plan >said
    grep -q '^memory .* GiB a rank' said && grep -q '^time ' said || fail "--plan of $method: $(cat said)"
    [ ! -e planned ] || fail "--plan of $method left a folder"
done

# Text of four thousand million tokens, all of which is read where nothing else is said: no machine holds its rows.
truncate -s 8000000000 huge.ds
printf 'golden|2\n4000000000\n4B\n' >huge.ds.metadata
check_exit 2 ranks 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" calib.data=huge.ds
grep -q 'needs [0-9.]* GiB of memory on each of 2 ranks of this machine, which has [0-9.]* GiB free: lower calib.tokens' err || fail "too large: $(cat err)"
check_exit 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" val.data=huge.ds
grep -q 'lower calib.tokens or val.tokens' err || fail "held out text that is too large: $(cat err)"
"$REMLA" convert "$golden/gqa" planned "${arguments[@]}" calib.data=huge.ds --plan >said
grep -q '^memory [0-9]\{3,\}' said || fail "--plan of what is too large: $(cat said)"

check_exit 3 ranks 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" calib.tokens=32
grep -q '32 calibration tokens are too few: .* at least as many tokens, 33' err || fail "too few tokens: $(cat err)"
check_exit 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" convert.method=remla convert.balance=norm

# NaN in a tensor of the second layer: found when the first one is converted and written already, and named.
cp -r "$golden/gqa" nan
name=model.layers.1.self_attn.o_proj.weight
length=$(header nan/model.safetensors | wc -c)
place=$(header nan/model.safetensors | grep -o "\"$name\":{[^}]*}" | sed 's/.*"data_offsets":\[\([0-9]*\),.*/\1/')
printf '\x00\x7e' | dd of=nan/model.safetensors bs=1 seek=$((8 + length + place + 6)) conv=notrunc status=none
check_exit 3 ranks 2 "$REMLA" convert nan few "${arguments[@]}"
grep -q "nan/model.safetensors: tensor '$name': element 3 is infinite or not a number" err || fail "NaN: $(cat err)"
for left in few few.remla-tmp-*; do [ ! -e "$left" ] || fail "$left was left behind"; done
