#!/usr/bin/env bash
# Packed samples train on what the documents alone would: with a mask, the loss of an epoch is the mean of the documents' losses, which `remla eval`
# gives for each by itself. A pack index is built once, by the first job that needs it, and used by every later one.
. "$(dirname "$0")/common.sh"
mkdir data

# A shard of the first 20 documents of the golden one, all shorter than 128 tokens; the last has lost its end-of-text token.
read -ra ends -d '' < <(od -An -v -t u8 -N160 "$golden/train.ds.index") || true # no zero byte ends it
ends[19]=$((ends[19] - 1))
tokens=${ends[19]}
head -c $((2 * tokens)) "$golden/train.ds" >data/short.ds
{ head -c 152 "$golden/train.ds.index" && printf '%b' "\\x$(printf %02x $((tokens % 256)))\\x$(printf %02x $((tokens / 256)))\0\0\0\0\0\0"; } >data/short.ds.index
printf 'golden|2\n%d\n%d' "$tokens" "$tokens" >data/short.ds.metadata

# indexes PATTERN: the number of files in data whose names match.
indexes() { find data -name "$1" | wc -l; }

# document_losses APPEND: over all documents, each alone: tokens and loss; the last one with APPEND behind it.
document_losses() {
    local i from=0
    for ((i = 0; i < 20; i++)); do
        dd if=data/short.ds of=one.ds bs=2 skip="$from" count=$((ends[i] - from)) status=none
        [ $i -lt 19 ] || printf '%b' "$1" >>one.ds
        from=${ends[i]}
        bytes=$(stat -c %s one.ds)
        printf 'golden|2\n%d\n' $((bytes / 2)) >one.ds.metadata
        check_exit 0 "$REMLA" eval "$golden/mla" data.val=one.ds eval.seq_len=$((bytes / 2 - 1)) --json
        echo "$(field tokens <out) $(field loss <out)"
    done | awk '{ n += $1; sum += $1 * $2 } END { printf "%d %.9g\n", n, sum / n }'
}

write_config config.yaml "$golden/mla"
still=(train config.yaml data.train=data/short.ds data.val= train.seq_len=128 train.micro_batch=1 train.steps=1 optim.lr=0 optim.min_lr=0)
for mode in transmla best_fit; do
    append='' # best fit takes documents as they are
    [ $mode = best_fit ] || append='\x5f\0'
    document_losses "$append" >want
    check_exit 0 "$REMLA" data order config.yaml data.train=data/short.ds train.seq_len=128 data.packing=$mode
    samples=$(od -An -t u8 -j40 -N8 data/short.ds.$mode-128-*.pack)
    check_exit 0 "$REMLA" "${still[@]}" data.packing=$mode train.batch_tokens=$((128 * samples)) train.out=still-$mode
    echo "$(cut -d' ' -f1 want) $(curve still-$mode | cut -d' ' -f2)" >got
    check_close 1e-5 "$mode: the documents one by one" got want
done

# In parts, over ranks, killed or not: the same curve. The index is built by one rank and found by all others.
cp "$golden"/train.ds* data
common=(train config.yaml data.train=data/train.ds train.steps=12 train.batch_tokens=128 train.micro_batch=1)
for mode in transmla best_fit; do
    check_exit 0 ranks 4 "$REMLA" "${common[@]}" data.packing=$mode train.out=four-$mode train.stop_after=1
    [ "$(grep -c '^packed data/train.ds' out)" = 1 ] || fail "$mode: not packed once: $(cat out)"
    [ "$(indexes "train.ds.$mode-32-*pack")" = 1 ] || fail "$mode: $(ls data)"
    check_exit 0 "$REMLA" "${common[@]}" data.packing=$mode train.out=whole-$mode
    ! grep -q '^packed' out || fail "$mode: packed again"
    check_exit 0 ranks 2 "$REMLA" "${common[@]}" data.packing=$mode train.out=parts-$mode train.stop_after=5
    check_exit 0 "$REMLA" "${common[@]}" data.packing=$mode train.out=parts-$mode
    curve whole-$mode | cut -d' ' -f1,2 >want
    curve parts-$mode | cut -d' ' -f1,2 >got
    check_close 1e-6 "$mode: two ranks, then one" got want
    check_exit 2 "$REMLA" "${common[@]}" data.packing=concat train.out=parts-$mode train.steps=13
    grep -q 'data.packing is concat' err || fail "$mode, then concat: $(cat err)"
done
check_exit 0 "$REMLA" "${common[@]}" data.packing=transmla train.out=val val.every=12 train.stop_after=1
check_exit 0 "$REMLA" "${common[@]}" train.out=val-concat val.every=12 train.stop_after=1
grep -q '"step": 0, "val_loss"' val/metrics.jsonl || fail "no validation before the first step"
cmp <(grep '"step": 0, "val_loss"' val/metrics.jsonl) <(grep '"step": 0, "val_loss"' val-concat/metrics.jsonl) >&2 || fail "held-out loss depends on data.packing"

# Jobs that begin together build it together.
order=("$REMLA" data order config.yaml data.train=data/train.ds data.packing=transmla train.seq_len=40 --count 50)
jobs=()
for i in 1 2 3 4; do "${order[@]}" >together-$i 2>/dev/null & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || fail "a job that began with others failed"; done
for i in 2 3 4; do cmp together-1 together-$i >&2 || fail "jobs that began together have other orders"; done
[ "$(indexes '*transmla-40*')" = 1 ] || fail "left over: $(ls data)"

# The order needs the model's end-of-text token, not its weights.
mkdir config-only
cp "$golden/mla/config.json" config-only
check_exit 0 "${order[@]}" model.path=config-only
cmp together-1 out >&2 || fail "the order depends on weights"

# Where it cannot be written, a sentence says what can be done; a damaged one is refused, and built again when it is removed.
index=$(echo data/train.ds.transmla-32-*.pack)
cp "$index" kept
printf x | dd of="$index" bs=1 seek=100 conv=notrunc status=none
check_exit 3 "$REMLA" "${common[@]}" data.packing=transmla train.out=whole-transmla train.steps=13
grep -qF "$index: is damaged" err || fail "a damaged index: $(cat err)"
rm "$index"
limited() { (ulimit -f 1 && exec "$@"); }
check_exit 3 limited "${order[@]}" train.seq_len=32
grep -qF "data.pack_index=FOLDER keeps pack indexes elsewhere" err || fail "no space for an index: $(cat err)"
[ "$(indexes '*transmla-32*')" = 0 ] || fail "half-written: $(ls data)"
check_exit 0 "$REMLA" "${common[@]}" data.packing=transmla train.out=whole-transmla train.steps=13 data.pack_index=indexes/of/mine
cmp kept "indexes/of/mine/$(basename "$index")" >&2 || fail "built again it is another"
