#!/usr/bin/env bash
# The disk is full while text is tokenized: in the first piece, in a later one, in the shards that are put together. One sentence, nothing under
# the final name; with more space the same command goes on. The small disk is a tmpfs in a mount namespace of our own.
. "$(dirname "$0")/mounts.sh"
in_mounts "$0"
. "$(dirname "$0")/common.sh"
for i in 1 2 3 4; do
    seq -f "{\"text\": \"line %.0f of many, and another $i\"}" 1 30000 >text-$i.jsonl
done
tokenize=("$REMLA" data tokenize text-?.jsonl tokenize.model="$golden/tokenizer" tokenize.compress=false tokenize.shard_tokens=1000000)
check_exit 0 "${tokenize[@]}" tokenize.out=whole
whole=$(du -sk --apparent-size whole | cut -f1) # pieces and shards together take twice this
mkdir disk
for percent in 10 60 130; do
    mount -t tmpfs -o size=$((whole * percent / 100))k none disk
    check_exit 3 "${tokenize[@]}" tokenize.out=disk/out
    [ "$(wc -l <err)" = 1 ] && grep -q '^remla data tokenize: disk/out.part/.*No space left on device' err || { cat err >&2; fail "$percent %: not one sentence"; }
    [ ! -e disk/out ] || fail "$percent %: something is under the final name"
    [ $percent != 10 ] || [ -z "$(ls disk)" ] || fail "$percent %: left: $(ls -R disk)"
    mount -o remount,size=$((3 * whole))k disk
    check_exit 0 "${tokenize[@]}" tokenize.out=disk/out
    [ $percent = 10 ] || grep -q 'were done before, going on' out || fail "$percent %: it began again from the beginning"
    diff -r whole disk/out >&2 || fail "$percent %: the shards differ"
    [ "$(ls disk)" = out ] || fail "$percent %: left: $(ls disk)"
    umount disk
done
