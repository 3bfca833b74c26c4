#!/usr/bin/env bash
# X.ds.zst in the place of X.ds: stock zstd gives X.ds back; training, evaluation and conversion give the same files; a run that began on one goes on
# with the other, but not with other ids; what is damaged is named with its frame.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
run=("$REMLA" train config.yaml train.steps=8 checkpoint.every=4)

bad() { # CODE WORDS COMMAND...: one sentence with all the words, which | separates
    local code=$1 word
    local -a words
    IFS='|' read -ra words <<<"$2"
    check_exit "$code" "${@:3}"
    [ "$(grep -vc '^remla: warning' err)" = 1 ] || { cat err >&2; fail "not one sentence: ${*:3}"; }
    for word in "${words[@]}"; do grep -qF -- "$word" err || { cat err >&2; fail "no \"$word\" in the sentence: ${*:3}"; }; done
}

mkdir set back
for part in train val; do
    check_exit 0 "$REMLA" data import "$golden/$part.ds" set/$part.ds.zst import.vocabulary=96
    cmp "$golden/$part.ds.index" set/$part.ds.index >&2 || fail "$part: another index"
    ! command -v zstd >/dev/null || zstd -dcq set/$part.ds.zst | cmp - "$golden/$part.ds" >&2 || fail "$part: zstd -d gives other bytes"
done
check_exit 0 "$REMLA" data import set/train.ds.zst back/train.ds
for suffix in "" .index; do cmp "$golden/train.ds$suffix" back/train.ds$suffix >&2 || fail "back to .ds$suffix: other bytes"; done
grep -q '"vocabulary": 96' back/dataset.json || fail "back to .ds: the vocabulary is forgotten"
packed=(data.train=set/train.ds.zst data.val=set/val.ds.zst)

# ---- the same numbers
check_exit 0 "${run[@]}" train.out=raw
check_exit 0 "${run[@]}" train.out=packed "${packed[@]}"
check_exit 0 ranks 2 "${run[@]}" train.out=ranks train.micro_batch=1 "${packed[@]}"
check_exit 0 "${run[@]}" train.out=one train.micro_batch=1
for out in packed ranks; do
    [ $out = packed ] && want=raw || want=one
    [ $out = ranks ] || cmp <(curve $want) <(curve $out) >&2 || fail "$out: another curve"
    check_close 1e-5 "$out: step, loss, norm, rate" <(curve $want) <(curve $out)
done
for file in model optim-00000; do cmp {raw,packed}/checkpoints/step-00000008/$file.safetensors >&2 || fail "packed: another $file"; done
"$REMLA" eval "$golden/gqa" data.val="$golden/val.ds" eval.seq_len=32 | grep -v -e seconds -e tok_s >want
"$REMLA" eval "$golden/gqa" data.val=set/val.ds.zst eval.seq_len=32 | grep -v -e seconds -e tok_s >got
cmp want got >&2 || fail "eval: other numbers"
for kind in "$golden/train.ds" set/train.ds.zst; do
    check_exit 0 "$REMLA" convert "$golden/gqa" "converted-${kind##*.}" calib.data="$kind" calib.seq_len=32 convert.kv_lora_rank=16 convert.qk_rope_head_dim=4
done
cmp converted-ds/model.safetensors converted-zst/model.safetensors >&2 || fail "convert: another model"

# ---- going on
check_exit 0 "${run[@]}" train.out=moved train.stop_after=4
check_exit 0 "${run[@]}" train.out=moved "${packed[@]}"
cmp {raw,moved}/checkpoints/step-00000008/model.safetensors >&2 || fail "from .ds to .ds.zst: another model"
mkdir other
cp "$golden"/train.ds.index "$golden"/train.ds.metadata other/
tr '\017' '\020' <"$golden/train.ds" >other/train.ds
check_exit 0 "$REMLA" data import other/train.ds other/train.ds.zst import.vocabulary=96
check_exit 0 "${run[@]}" train.out=kept train.stop_after=4 "${packed[@]}"
bad 3 'step-00000004|other data' "${run[@]}" train.out=kept data.train=other/train.ds.zst

# ---- data inspect, data verify
check_exit 0 "$REMLA" data verify set
grep -q 'set/train.ds.zst: good: 2309 tokens, 66 documents, ids below 96, hashes as dataset.json says' out || { cat out >&2; fail "data verify"; }
check_exit 0 "$REMLA" data verify set other "$golden" --json
grep -q '^{"shards": 6, "damaged": 0, "listed": 3, .*"first_damage": null}$' out || { cat out >&2; fail "data verify --json"; }
check_exit 0 "$REMLA" data inspect set/train.ds.zst --json
[ "$(field tokens <out) $(field documents <out) $(field vocabulary <out) $(field tokenizer <out)" = '2309 66 96 "golden"' ] || { cat out >&2; fail "data inspect"; }
grep -q '"first_tokens": \[12, 14, 16, 76, ' out || { cat out >&2; fail "data inspect: first tokens"; }
mkdir tokenizer # id k is the character 32 + k, 95 is <eos>
awk 'BEGIN { printf "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {"
    for (k = 0; k < 96; k++) { c = k < 95 ? sprintf("%c", 32 + k) : "<eos>"; if (c == "\"" || c == "\\") c = "\\" c; printf "%s\"%s\": %d", k ? ", " : "", c, k }
    print "}}}" }' >tokenizer/tokenizer.json
check_exit 0 "$REMLA" data inspect set/train.ds.zst tokenize.model=tokenizer
grep -q '^  as text: , . 0 l n p r t v x' out || { cat out >&2; fail "data inspect: text"; }
check_exit 0 "$REMLA" data inspect set
grep -q 'set/dataset.json: dataset.json, 2950 tokens of 2 bytes, 84 documents' out || { cat out >&2; fail "data inspect of a folder"; }

# ---- bad input
damaged() { # NAME: a copy of the set
    rm -rf "$1"
    cp -r set "$1"
}
damaged flipped
printf '\x55' | dd of=flipped/train.ds.zst bs=1 seek=1000 conv=notrunc status=none
rm flipped/dataset.json
bad 3 'flipped/train.ds.zst: frame 1 is damaged' "${run[@]}" train.out=none data.train=flipped/train.ds.zst
bad 3 'flipped/train.ds.zst: frame 1 is damaged' ranks 2 "${run[@]}" train.micro_batch=1 train.out=none data.train=flipped/train.ds.zst
bad 3 '1 of 2 shards|flipped/train.ds.zst: frame 1 is damaged' "$REMLA" data verify flipped
check_exit 3 "$REMLA" data verify flipped --json
grep -q '^{"shards": 2, "damaged": 1, .*"first_damage": "flipped/train.ds.zst: frame 1 is damaged' out || { cat out >&2; fail "data verify --json: the first damage"; }
cp set/dataset.json flipped
bad 3 'flipped/train.ds.zst: is damaged: its XXH3-128 is|flipped/dataset.json says' "$REMLA" data verify flipped/train.ds.zst
damaged unindexed
rm unindexed/val.ds.index
bad 3 '1 of 3 could not be read; the first: unindexed/val.ds.zst: its .index is missing, and unindexed/dataset.json says that it has 18 documents' \
    "$REMLA" data inspect unindexed/val.ds.zst unindexed/train.ds.zst set/train.ds.zst --json
[ "$(field tokens <out | wc -w)" = 1 ] && grep -q '"unreadable": \["unindexed/val.ds.zst: its .index is missing' out || { cat out >&2; fail "data inspect --json behind a file that cannot be read"; }
check_exit 3 "$REMLA" data inspect none.ds set/train.ds.zst
grep -q '^remla: warning: none.ds: no file matches$' err && grep -q '^set/train.ds.zst: ds.zst, 2309 tokens' out || { cat out err >&2; fail "data inspect behind a file that is not there"; }
bad 3 'unindexed/val.ds.zst: its .index is missing' "${run[@]}" train.out=none data.train=set/train.ds.zst data.val=unindexed/val.ds.zst
damaged cut
truncate -s -1 cut/train.ds.zst
bad 3 'cut/train.ds.zst' "${run[@]}" train.out=none data.train=cut/train.ds.zst
damaged width
sed -i 's/|2$/|4/' width/train.ds.metadata
bad 3 'width/train.ds.metadata says 2309 tokens of 4 bytes' "${run[@]}" train.out=none data.train=width/train.ds.zst
damaged stale
cp other/train.ds.zst stale/
rm other/dataset.json
bad 3 'stale/train.ds.zst' "$REMLA" data verify stale
bad 3 'words.ds.zst holds ids of a vocabulary of 97, but the model|96' bash -c '"$1" data import "$2" words.ds.zst import.vocabulary=97 >/dev/null && shift 2 && "$@"' - \
    "$REMLA" "$golden/train.ds" "${run[@]}" train.out=none data.train=words.ds.zst
[ ! -e none/checkpoints ] || [ -z "$(ls none/checkpoints)" ] || fail "a refused run left a checkpoint"
