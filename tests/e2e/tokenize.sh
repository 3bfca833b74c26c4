#!/usr/bin/env bash
# `remla data tokenize`: the same shards, byte for byte, from any number of threads and ranks, from text that is compressed or not, and after
# kills and signals; one sentence and nothing under the final name when it fails; shards that `remla train` takes.
. "$(dirname "$0")/common.sh"

# About 4 MiB: a large file that is cut into pieces, a compressed one, and small ones of plain text, with lines and words of all lengths.
mkdir -p text/more
words() { # FIRST COUNT: lines of JSON
    awk -v first="$1" -v count="$2" 'BEGIN {
        x = first
        for (i = 0; i < count; i++) {
            printf "{\"id\": %d, \"text\": \"", i
            words = i % 97 * 3
            for (w = 0; w < words; w++) {
                x = (x * 16807) % 2147483647
                printf "%s%s", w ? (x % 17 ? " " : "\\n") : "", substr("thequickbrownfoxjumpsoverthelazydog\303\251\303\250", x % 29 + 1, x % 7 + 1)
            }
            print "\"}"
        }
    }' | iconv -c -f UTF-8 -t UTF-8
}
words 1 3700 >text/a.jsonl
words 2 800 | gzip -n >text/b.json.gz
for i in 1 2 3; do words "$i" 3 >text/more/$i.txt; done
bytes=$(stat -c %s text/a.jsonl)
[ "$bytes" -gt 2100000 ] || fail "the text is too small to be cut: $bytes bytes"

tokenize=("$REMLA" data tokenize text tokenize.model="$golden/tokenizer" tokenize.shard_tokens=500000)
same() { diff -r whole "$1" >&2 || fail "$1: the shards differ"; [ ! -e "$1.part" ] || fail "$1.part is left"; }

check_exit 0 "${tokenize[@]}" tokenize.out=whole
grep -q '^whole: [0-9]* documents, [0-9]* tokens in [0-9]* shards, from 5 files of ' out || { cat out >&2; fail "no summary"; }
[ "$(ls whole/*.ds.zst | wc -l)" -ge 3 ] || fail "too few shards: $(ls whole)"
for threads in 2 3; do
    OMP_NUM_THREADS=$threads check_exit 0 "${tokenize[@]}" tokenize.out=threads-$threads/
    same threads-$threads
done
for n in 2 3; do
    check_exit 0 ranks $n "${tokenize[@]}" tokenize.out=ranks-$n
    same ranks-$n
done

# The same text in other wrappings, and named file by file: the same tokens.
mkdir other
gzip -nc text/a.jsonl >other/a.jsonl.gz
gzip -dc text/b.json.gz >other/b.ndjson
gzip -nc text/more/2.txt >other/2.txt.gz
check_exit 0 "$REMLA" data tokenize other/a.jsonl.gz other/b.ndjson text/more/1.txt other/2.txt.gz text/more/3.tx? tokenize.model="$golden/tokenizer" \
    tokenize.shard_tokens=500000 tokenize.out=wrapped --json
same wrapped
[ "$(wc -l <out)" = 1 ] && [ "$(field files <out)" = 5 ] && [ "$(field empty <out)" -gt 0 ] || { cat out >&2; fail "--json"; }
documents=$(field documents <out)

# A folder that names something else than the token that ends texts, as those of chat models do.
mkdir chat
cp "$golden/tokenizer/tokenizer.json" chat/
echo '{"eos_token": "!"}' >chat/tokenizer_config.json
for eos in auto 0; do
    check_exit 0 "$REMLA" data tokenize text/more tokenize.model=chat tokenize.eos=$eos tokenize.out=chat-$eos
    grep -q '^remla: warning: tokenize.eos=auto takes [0-9]*, .* has <|endoftext|> too: .* give tokenize.eos=0$' err && warned=auto || warned=0
    [ $warned = $eos ] || { cat err >&2; fail "tokenize.eos=$eos: the warning of another end of text"; }
done

# Without compression the bytes are those that decompression gives.
check_exit 0 "${tokenize[@]}" tokenize.out=raw tokenize.compress=false
if command -v zstd >/dev/null; then
    for shard in raw/*.ds; do zstd -dqc "whole/${shard#raw/}.zst" | cmp - "$shard" || fail "$shard differs"; done
fi
[ "$(cat raw/*.ds.index | wc -c)" = $((8 * documents)) ] || fail "the index does not have $documents documents"
check_exit 0 "$REMLA" data verify whole
check_exit 0 "$REMLA" data verify raw

# ---- stopped and started again
wait_for_pieces() { # FOLDER COUNT PID
    for ((wait = 0; wait < 6000; wait++)); do
        [ "$(find "$1.part/pieces" -name '*.ds.zst' 2>/dev/null | wc -l)" -ge "$2" ] && return
        kill -0 "$3" 2>/dev/null || return 0
        sleep 0.002
    done
}
kills=0
for pieces in 1 2 3; do
    "${tokenize[@]}" tokenize.out=killed >out 2>err &
    job=$!
    wait_for_pieces killed $pieces $job
    kill -9 $job 2>/dev/null || true
    code=0
    { wait $job; } 2>/dev/null || code=$?
    [ $code = 0 ] && rm -r killed && continue # too fast: begin again
    kills=$((kills + 1))
    [ ! -e killed ] || fail "a kill left something under the final name"
done
[ $kills -gt 0 ] || fail "the program was always faster than its killer"
check_exit 0 "${tokenize[@]}" tokenize.out=killed
same killed

stop_it() { # FOLDER: a job that was stopped with some pieces done
    for attempt in 1 2 3 4 5; do
        "${tokenize[@]}" tokenize.out="$1" >out 2>err &
        job=$!
        wait_for_pieces "$1" 1 $job
        kill -TERM $job 2>/dev/null || true
        code=0
        wait $job || code=$?
        [ $code = 85 ] && return
        [ $code = 0 ] || { cat err >&2; fail "exit code $code after SIGTERM"; }
        rm -r "$1"
    done
    fail "the program was always faster than the signal"
}
stop_it stopped
grep -q '^remla data tokenize: stopped by signal 15; the finished part is in stopped.part: start again to resume$' err && [ "$(wc -l <err)" = 1 ] ||
    { cat err >&2; fail "not one sentence"; }
[ ! -e stopped ] || fail "a signal left something under the final name"
check_exit 0 "${tokenize[@]}" tokenize.out=stopped
grep -q 'MiB were done before, going on' out || { cat out >&2; fail "it began again from the beginning"; }
same stopped

# A piece that was damaged since is made again.
stop_it spoiled
piece=$(ls spoiled.part/pieces/*.ds.zst | head -n 1)
printf 'damaged' | dd of="$piece" bs=1 seek=$(($(stat -c %s "$piece") / 2)) conv=notrunc status=none
check_exit 0 "${tokenize[@]}" tokenize.out=spoiled
grep -q "^remla: warning: $piece: frame [0-9]* is damaged.*: this piece is made again$" err || { cat err >&2; fail "nothing was said of the damaged piece"; }
same spoiled

# What was done of other text is of no use, and does no harm.
mkdir -p again.part/pieces
cp -r text text2
sed -i '1s/the/teh/' text2/a.jsonl
"$REMLA" data tokenize text2 tokenize.model="$golden/tokenizer" tokenize.out=again >out 2>err &
job=$!
wait_for_pieces again 1 $job
kill -9 $job 2>/dev/null || true
{ wait $job; } 2>/dev/null || true
rm -rf again
check_exit 0 "${tokenize[@]}" tokenize.out=again
same again

# ---- a failure on one rank of two, and with a damaged file at the end
cp -r text bad
printf '{"text": "a"}\n{"txet": "b"}\n' >bad/more/0.jsonl
for n in 1 2; do
    check_exit 3 ranks $n "$REMLA" data tokenize bad tokenize.model="$golden/tokenizer" tokenize.out=failed
    grep -q '^remla data tokenize: bad/more/0.jsonl:2: there is no column "text", only txet; tokenize.column names it$' err && [ "$(wc -l <err)" = 1 ] ||
        { cat err >&2; fail "not one sentence"; }
    [ ! -e failed ] || fail "a failure left something under the final name"
done
sed -i s/txet/text/ bad/more/0.jsonl
check_exit 0 ranks 2 "$REMLA" data tokenize bad tokenize.model="$golden/tokenizer" tokenize.out=failed
[ "$(ls -d failed*)" = failed ] || fail "left: $(ls -d failed*)"
