#!/usr/bin/env bash
# A conversion gives the same model whatever shares its work: 1 and 2 threads, 1 and 2 ranks, within 1e-4 of loss. --plan does nothing;
# what cannot be converted is refused by every rank with one sentence, and leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(calib.data="$golden/train.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12 convert.latent_norm=true convert.dtype=f32)
loss() { "$REMLA" eval "$1" data.val="$golden/val.ds" train.seq_len=32 --json 2>/dev/null | field loss; }

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

"$REMLA" inspect one >said
grep -q '^one: MLA, 4 heads of 8+4, latent of 12 with its norm' said || fail "inspect: $(cat said)"
grep -q '^converted by method remla' said || fail "inspect: $(cat said)"
"$REMLA" inspect one --json >said
grep -q '"method": "remla"' said || fail "inspect --json"
"$REMLA" inspect "$golden/gqa" >said
grep -q 'GQA, 4 heads of 8, 2 of keys' said || fail "inspect of a GQA model"

"$REMLA" convert "$golden/gqa" planned "${arguments[@]}" --plan >said
grep -q '^memory .* GiB a rank' said && grep -q '^time ' said || fail "--plan: $(cat said)"
[ ! -e planned ] || fail "--plan left a folder"

check_exit 3 ranks 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" calib.tokens=32
grep -q '32 calibration tokens are too few: .* at least as many tokens, 33' err || fail "too few tokens: $(cat err)"
check_exit 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" convert.method=remla convert.balance=norm
check_exit 2 ranks 2 "$REMLA" convert "$golden/gqa" few "${arguments[@]}" convert.method=transmla
# NaN in a tensor of the second layer: found when the first one is converted and written already, and named.
cp -r "$golden/gqa" nan
name=model.layers.1.self_attn.o_proj.weight
header=$(head -c 8 nan/model.safetensors | od -An -t u8 | tr -d ' ')
place=$(head -c $((header + 8)) nan/model.safetensors | grep -ao "\"$name\":{[^}]*}" | sed 's/.*"data_offsets":\[\([0-9]*\),.*/\1/')
printf '\x00\x7e' | dd of=nan/model.safetensors bs=1 seek=$((8 + header + place + 6)) conv=notrunc status=none
check_exit 3 ranks 2 "$REMLA" convert nan few "${arguments[@]}"
grep -q "nan/model.safetensors: tensor '$name': element 3 is infinite or not a number" err || fail "NaN: $(cat err)"
for left in few few.tmp-*; do [ ! -e "$left" ] || fail "$left was left behind"; done
