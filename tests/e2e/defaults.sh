#!/usr/bin/env bash
# A model whose config.json does not have what transformers gives a default, as Llama-1's and Llama-2's do: the same losses as with a whole file, a line
# for each key once in a run, nothing but JSON on standard output where that was requested, and whole files out of conversions and checkpoints.
. "$(dirname "$0")/common.sh"

mkdir bare
cp "$golden"/gqa/* bare
keys='rope_theta hidden_act tie_word_embeddings torch_dtype attention_bias' # of the golden model each has its default
for key in $keys; do sed -i "/\"$key\"/d" bare/config.json; done
sed -i 's/"eos_token_id": 95,/"eos_token_id": 95/' bare/config.json

# said FILE: each key in one line.
said() {
    [ "$(grep -c ' is not in config.json: ' "$1")" = 5 ] || fail "$1 does not say five defaults, each once: $(cat "$1")"
    for key in $keys; do grep -q "^$key is not in config.json: " "$1" || fail "$1 does not say $key"; done
}
# whole FILE: a config.json with all keys.
whole() {
    for key in $keys; do grep -q "\"$key\"" "$1" || fail "$1 has no $key"; done
}

on=(data.val="$golden/val.ds" eval.seq_len=32)
check_exit 0 "$REMLA" eval "$golden/gqa" "${on[@]}" --json
field loss <out >want
check_exit 0 "$REMLA" eval bare "${on[@]}" --json
field loss <out >got
cmp want got || fail "eval: $(cat got) instead of $(cat want)"
[ "$(wc -l <out)" = 1 ] || fail "more than JSON on standard output: $(cat out)"
said err

check_exit 0 "$REMLA" inspect bare
said out
grep -q '^rope_theta is not in config.json: 10000, transformers. default$' out || fail "$(cat out)"
grep -q '^torch_dtype is not in config.json: float16, the type of its first tensor$' out || fail "$(cat out)"

# Every rank reads the file, and reads what was written again.
check_exit 0 ranks 2 "$REMLA" convert bare mla calib.data="$golden/train.ds" calib.seq_len=32 calib.tokens=256 convert.kv_lora_rank=12 convert.qk_rope_head_dim=4 \
    data.val="$golden/val.ds"
said out
whole mla/config.json
write_config config.yaml bare
check_exit 0 ranks 2 "$REMLA" train config.yaml train.steps=2 train.micro_batch=1 train.out=run
said out
whole run/checkpoints/step-00000002/config.json
check_exit 0 "$REMLA" inspect run/checkpoints/step-00000002
! grep 'is not in config.json' out || fail "keys are missing from a checkpoint"
