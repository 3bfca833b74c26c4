#!/usr/bin/env bash
# What options make of one another. auto follows from the others and says what it became; what has a value keeps it. Numbers and names from
# before there were words and a section eval mean what they meant, to the last bit.
. "$(dirname "$0")/common.sh"

# ---- eval.seq_len and eval.micro_batch, and their old names
loss() { # FILE OPTIONS...: the lines beside the result stay in err
    check_exit 0 "$REMLA" eval "$golden/mla" data.val="$golden/val.ds" "${@:2}" --json
    field loss <out >"$1"
}
loss want eval.seq_len=32 eval.micro_batch=3
! grep 'its name is now' err || fail "a name that nobody gave is said"
loss got train.seq_len=32 train.micro_batch=3
cmp want got || fail "the old names give another loss"
for name in seq_len micro_batch; do
    [ "$(grep -c "^eval reads train.$name: its name is now eval.$name$" err)" = 1 ] || fail "train.$name is not said once: $(cat err)"
done
loss got eval.seq_len=32 eval.micro_batch=3 train.seq_len=16 train.micro_batch=1
cmp want got || fail "train.seq_len changes what eval.seq_len says"
! grep 'its name is now' err || fail "train.seq_len counts though eval.seq_len is set"
loss other eval.seq_len=16 eval.micro_batch=3
! cmp -s want other || fail "eval.seq_len changes nothing"

# ---- convert.method, convert.balance and convert.layout
converted() { # FOLDER LINE OPTIONS...: LINE is what auto became, or empty
    check_exit 0 "$REMLA" convert "$golden/gqa" "$1" calib.data="$golden/train.ds" calib.seq_len=32 calib.tokens=256 convert.kv_lora_rank=12 \
        convert.qk_rope_head_dim=4 convert.freqfold=2 "${@:3}"
    [ "$(sed -n 's/^auto  *//p' out)" = "$2" ] || fail "$1: auto became $(grep ^auto out), expected: $2"
}
same() { for file in model.safetensors config.json; do cmp "$1/$file" "$2/$file" >&2 || fail "$1 and $2 differ in $file"; done; }
converted plain 'convert.method=remla, convert.layout=deepseek'
converted plain-said '' convert.method=remla convert.layout=deepseek convert.balance=auto
same plain plain-said
converted balance 'convert.method=transmla (convert.balance is set), convert.layout=transmla' convert.balance=transmla
converted balance-said '' convert.method=transmla convert.layout=transmla convert.balance=transmla
same balance balance-said
converted method 'convert.layout=transmla, convert.balance=norm' convert.method=transmla
converted method-said '' convert.method=transmla convert.layout=transmla convert.balance=norm
same method method-said
converted layout 'convert.method=transmla (convert.balance is set)' convert.balance=transmla convert.layout=deepseek
grep -q '"DeepseekV3ForCausalLM"' layout/config.json && ! grep -q qk_latent_layernorm layout/config.json || fail "convert.layout=deepseek is not what was written"
for a in plain balance; do for b in method layout; do ! cmp -s $a/model.safetensors $b/model.safetensors || fail "$a and $b are the same"; done; done
check_exit 0 "$REMLA" convert "$golden/gqa" held-out calib.data="$golden/train.ds" calib.seq_len=32 calib.tokens=256 convert.kv_lora_rank=12 \
    convert.qk_rope_head_dim=4 data.val="$golden/val.ds" train.seq_len=16
grep -q '^convert reads train.seq_len: its name is now eval.seq_len$' out || fail "convert does not say that it reads train.seq_len: $(cat out)"

# ---- numbers that stood for words: the same run, and a file with the words
write_config config.yaml "$golden/gqa"
numbers=(train.stop_after=0 val.every=0 val.tokens=0 checkpoint.every=0 optim.clip=0 optim.warmup=-1 data.eos=-1 data.window=0)
named=(train.stop_after=none val.every=none val.tokens=all checkpoint.every=none optim.clip=none optim.warmup=auto data.eos=auto data.window=none)
check_exit 0 "$REMLA" train config.yaml train.steps=4 train.out=numbers "${numbers[@]}"
check_exit 0 "$REMLA" train config.yaml train.steps=4 train.out=named "${named[@]}"
cmp <(curve numbers) <(curve named) || fail "the two give other losses"
cmp <(grep -v '  out: ' numbers/config.yaml) <(grep -v '  out: ' named/config.yaml) || fail "the two write other options"
grep -q '^  clip: none  # command line$' numbers/config.yaml || fail "$(grep clip numbers/config.yaml)"
check_exit 0 "$REMLA" train named/config.yaml train.steps=5 train.out=numbers
[ "$(curve numbers | tail -n 1 | cut -d' ' -f1)" = 5 ] || fail "the run did not go on"
! grep -E '^changed: .*\b(eos|window|warmup|clip|every|tokens|stop_after) ' out || fail "a word counts as a change"
