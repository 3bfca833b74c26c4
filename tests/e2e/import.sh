#!/usr/bin/env bash
# remla data import through the command line: the tokens and documents of every golden file, decoded by od; what a user can get wrong,
# with the whole sentence; nothing is left of a shard that was not finished, also where the disk is full.
namespace=-m
[ "$(id -u)" = 0 ] || namespace=-rm
if [ -z "${REMLA_IN_NAMESPACE:-}" ] && unshare $namespace mount -t tmpfs -o size=64k none /mnt 2>/dev/null; then
    REMLA_IN_NAMESPACE=1 exec unshare $namespace bash "$0"
fi
. "$(dirname "$0")/common.sh"
from=$golden/import

# decode X.ds BYTES: its documents, one a line.
decode() {
    local end last=0
    od -An -v -t u"$2" -w"$2" "$1" | tr -d ' ' >ids
    for end in $(od -An -v -t u8 -w8 "$1.index"); do
        sed -n "$((last + 1)),${end}p" ids | paste -sd ' '
        last=$end
    done
}

# good WANT BYTES SOURCE OPTION...: as .ds and as .ds.zst, of which zstd makes the same .ds.
good() {
    local want=$from/$1 bytes=$2 source=$from/$3
    shift 3
    rm -rf raw packed
    mkdir raw packed
    check_exit 0 "$REMLA" data import "$source" raw/x.ds "$@"
    decode raw/x.ds "$bytes" | cmp - "$want" >&2 || fail "$source: other documents"
    check_exit 0 "$REMLA" data import "$source" packed/x.ds.zst "$@" --json
    [ "$(field tokens <out) $(field documents <out)" = "$(wc -w <"$want") $(wc -l <"$want")" ] || { cat out >&2; fail "$source: other numbers"; }
    grep -q "\"sha256\": $(field sha256 <out)" packed/dataset.json || fail "$source: dataset.json has another hash"
    cmp raw/x.ds.index packed/x.ds.index >&2 || fail "$source: another index"
    if command -v zstd >/dev/null; then
        zstd -dqc packed/x.ds.zst | cmp - raw/x.ds >&2 || fail "$source: zstd -d gives other bytes"
    fi
}

good narrow.txt 2 datatrove/narrow.ds
grep -q '^golden/tokenizer.json|2$' packed/x.ds.metadata || fail "the tokenizer's name is lost"
good wide.txt 4 datatrove/wide.ds
good narrow.txt 2 megatron/narrow.bin
good wide.txt 4 megatron/wide.bin import.format=megatron
good wide.txt 4 megatron/wide64.bin import.vocabulary=200000
good wide.txt 4 megatron/datatrove.bin
good narrow.txt 2 llmc/narrow.bin import.eos=7
good wide.txt 4 llmc/wide.bin import.eos=7
good narrow.txt 2 nanogpt/narrow.bin import.format=nanogpt import.token_bytes=2 import.eos=7
good wide.txt 4 nanogpt/wide.bin import.format=nanogpt import.token_bytes=4 import.eos=7
good wide.txt 4 mds-raw
good narrow.txt 2 mds-zstd/ import.column=tokens
good wide.txt 4 mds-bytes
good wide.txt 4 mds-blocks import.eos=7

# With the model whose tokenizer made the ids: it is recorded, and its end-of-text id ends documents; samples of MDS stay documents.
mkdir model
cat >model/tokenizer.json <<'JSON'
{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<end>": 199999}, "merges": []},
 "added_tokens": [{"id": 7, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}]}
JSON
printf '%200000s' '' >>model/tokenizer.json # an id is at most the size of the file
echo '{"eos_token_id": 7, "bos_token_id": 250000}' >model/config.json
good wide.txt 4 llmc/wide.bin import.model=model
for key in '"vocabulary": 200000' '"eos": 7' '"bos": null' '"tokenizer": "model"' "\"tokenizer_sha256\": \"$(sha256sum model/tokenizer.json | cut -d' ' -f1)\""; do
    grep -qF "$key" packed/dataset.json || { cat packed/dataset.json >&2; fail "dataset.json does not say $key"; }
done
good wide.txt 4 mds-raw import.model=model
check_exit 0 "$REMLA" data import "$from/mds-blocks" raw/blocks.ds import.model=model
[ "$(($(stat -c %s raw/blocks.ds.index) / 8))" = 20 ] || fail "20 samples are $(($(stat -c %s raw/blocks.ds.index) / 8)) documents"
good narrow.txt 2 llmc/narrow.bin import.model=model import.vocabulary=65536

# What a shard of this program says of its ids goes with them, and must not contradict the options.
check_exit 0 "$REMLA" data import packed/x.ds.zst raw/y.ds
cmp raw/y.ds raw/x.ds >&2 || fail "out of .ds.zst: other ids"
grep -q '"eos": 7' raw/dataset.json || fail "out of .ds.zst: the end-of-text id is forgotten"
check_exit 3 "$REMLA" data import packed/x.ds.zst raw/y.ds
grep -q '^remla data import: raw/y.ds exists; nothing is overwritten: name a new file$' err || { cat err >&2; fail "a second time"; }
rm raw/dataset.json # what a kill between the two leaves
check_exit 3 "$REMLA" data import packed/x.ds.zst raw/y.ds
grep -q 'name a new file; no dataset.json lists it: if an import that was killed has left it, remove it$' err || { cat err >&2; fail "a shard that is not listed"; }
cp -r model other
echo >>other/tokenizer.json
check_exit 2 "$REMLA" data import packed/x.ds.zst other/x.ds import.model=other
grep -q '^remla data import: packed/x.ds.zst: its ids are of another tokenizer.json (SHA-256 .*) than import.model.s$' err || { cat err >&2; fail "another tokenizer"; }
check_exit 2 "$REMLA" data import packed/x.ds.zst other/x.ds import.vocabulary=7
grep -q '^remla data import: the end-of-text id is 7, but ids are below 7 ' err || { cat err >&2; fail "an id that is none"; }

# Under mpirun one rank writes.
mkdir ranks
check_exit 0 ranks 2 "$REMLA" data import "$from/datatrove/wide.ds" ranks/x.ds
cmp ranks/x.ds "$from/datatrove/wide.ds" >&2 || fail "with two ranks: other ids"
check_exit 3 ranks 2 "$REMLA" data import none.ds ranks/y.ds
[ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "with two ranks: not one sentence"; }

# A shard beside itself: X.ds becomes X.ds.zst, and the two share their index.
cp "$from"/llmc/wide.bin .
check_exit 0 "$REMLA" data import wide.bin both.ds import.eos=7
check_exit 0 "$REMLA" data import both.ds both.ds.zst import.eos=7
rm -f both.* dataset.json

# ---- what can be wrong: bad CODE SENTENCE SOURCE DST OPTION...
failed=0
bad() {
    local code=$1 sentence=$2 got=0 problem=""
    shift 2
    "$REMLA" data import "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$code" ] || problem+=" exit code $got instead of $code;"
    [ "$(cat err)" = "remla data import: $sentence" ] || problem+=" another sentence than: remla data import: $sentence;"
    [ -z "$(find . -name 'dst*')" ] && [ ! -e dataset.json ] || problem+=" left: $(ls);"
    rm -rf dst* dataset.json
    [ -z "$problem" ] && return
    failed=$((failed + 1))
    { echo "FAILED:$problem"; echo "    $*"; sed 's/^/    > /' err; } >&2
}
cp "$from"/nanogpt/narrow.bin raw.bin
cp -r "$from"/megatron "$from"/mds-raw "$from"/mds-bytes "$from"/datatrove .

bad 2 "raw.bin: the format is not recognised, and ids without a header are not guessed: import.format=nanogpt with import.token_bytes=2 or 4 reads the whole file as ids" raw.bin dst.ds
bad 2 "raw.bin: raw ids do not say how wide they are: give import.token_bytes=2 or 4" raw.bin dst.ds import.format=nanogpt
bad 3 "raw.bin: its first ids, read with 4 bytes each, are not tokens; if they have 2 bytes, give import.token_bytes=2" raw.bin dst.ds.zst import.format=nanogpt import.token_bytes=4
cp "$from/llmc/narrow.bin" said.bin
bad 2 "said.bin: import.token_bytes=4, but its ids take 2 bytes" said.bin dst.ds import.token_bytes=4
bad 2 "import.token_bytes=3 (command line): expected one of auto, 2, 4" raw.bin dst.ds import.token_bytes=3
bad 2 "the end-of-text id is 7, but ids are below 7 (import.eos and import.vocabulary, or import.model)" raw.bin dst.ds import.eos=7 import.vocabulary=7
bad 2 "dst.bin: the name of what is written ends with .ds.zst or .ds" raw.bin dst.bin import.format=nanogpt import.token_bytes=2
bad 2 "datatrove/../datatrove/narrow.ds: is what would be imported: write under another name" datatrove/narrow.ds datatrove/../datatrove/narrow.ds
bad 3 "none.bin: cannot be opened: No such file or directory" none.bin dst.ds
bad 3 "datatrove: is a folder without index.json, so that it is not MDS" datatrove dst.ds
bad 3 "no/dst.ds: cannot be created: No such file or directory" raw.bin no/dst.ds import.format=nanogpt import.token_bytes=2
first=$(od -An -v -t u2 -w2 raw.bin | awk '$1 >= 60000 { print NR - 1, $1; exit }')
read -r token id <<<"$first"
bad 3 "raw.bin: token $token (byte $((2 * token))) is $id, expected 0 to 59999" raw.bin dst.ds import.format=nanogpt import.token_bytes=2 import.vocabulary=60000
head -c 447 raw.bin >odd.bin
bad 3 "odd.bin: 447 bytes are not a whole number of ids of 2 bytes" odd.bin dst.ds import.format=nanogpt import.token_bytes=2
: >empty.bin
bad 3 "dst.ds: there are no tokens to write" empty.bin dst.ds import.format=nanogpt import.token_bytes=2
head -c 1471 "$from"/llmc/narrow.bin >cut.bin
bad 3 "cut.bin: the header says 224 tokens of 2 bytes, but 447 bytes are behind the header" cut.bin dst.ds
printf '\x8a\xd8\x34\x01' | dd of=cut.bin conv=notrunc status=none
bad 3 "cut.bin: is a multiple-choice evaluation of llm.c (magic 20240522), not tokens" cut.bin dst.ds
truncate -s 1272 megatron/wide.bin
bad 3 "megatron/wide.idx: sequence 23 takes $(od -An -t d4 -j $((34 + 4 * 23)) -N 4 megatron/wide.idx | awk '{ print 4 * $1 }') bytes from byte $(od -An -t d8 -j $((34 + 4 * 24 + 8 * 23)) -N 8 megatron/wide.idx | tr -d ' ') on, but megatron/wide.bin ends at 1272" megatron/wide.bin dst.ds.zst
truncate -s 425 megatron/narrow.idx
bad 3 "megatron/narrow.idx: has 425 bytes, which is not what 24 sequences and 13 document bounds take" megatron/narrow.bin dst.ds
bad 3 "megatron/narrow.idx: is an index of Megatron: name the .bin beside it" megatron/narrow.idx dst.ds
printf 'x' | dd of=mds-raw/shard.00001.mds bs=1 seek=800 conv=notrunc status=none
sha=$(sha1sum mds-raw/shard.00001.mds | cut -d' ' -f1)
says=$(grep -o '"basename": "shard.00001.mds", "bytes": [0-9]*, "hashes": {"sha1": "[0-9a-f]*' mds-raw/index.json | grep -o '[0-9a-f]*$')
bad 3 "mds-raw/shard.00001.mds: is damaged: its sha1 is $sha, but index.json says $says" mds-raw dst.ds.zst
rm mds-raw/shard.00002.mds
sed -i 's/"ndarray:int32"/"pkl"/' mds-raw/index.json
bad 3 "mds-raw/index.json: shard 0: column tokens is pickled (pkl): pickles are programs and are never read" mds-raw dst.ds
bad 3 "mds-raw/index.json: shard 0: there is no column text; there are: source, tokens, weight" mds-raw dst.ds import.column=text
printf '\x01\0\0\0\0\0\0\0' | dd of=datatrove/narrow.ds.index bs=1 seek=80 conv=notrunc status=none
end=$(od -An -t u8 -j 72 -N 8 datatrove/narrow.ds.index | tr -d ' ')
bad 3 "datatrove/narrow.ds.index: document 10 ends at token 1, expected $end to 224" datatrove/narrow.ds dst.ds

# Of another kind than the shards that the folder lists: refused before anything is written.
mkdir folder
check_exit 0 "$REMLA" data import "$from/llmc/wide.bin" folder/a.ds.zst import.eos=7
bad 3 "folder/dataset.json: lists shards of another token size; write these into a folder of their own" raw.bin folder/dst.ds import.format=nanogpt import.token_bytes=2

# JSON cannot hold the name: nothing of the shard is left, and the folder's list stays as it was.
list=$(sha256sum folder/dataset.json)
bad 3 "folder/dataset.json: a name is not UTF-8 and cannot be listed" "$from/llmc/wide.bin" folder/dst$'\xff'.ds import.eos=7
[ "$(sha256sum folder/dataset.json)" = "$list" ] || fail "a name that cannot be listed changed the list"

# An end-of-text id that these ids cannot be, and one that they happen not to have.
bad 2 "raw.bin: import.eos=65536, but its ids of 2 bytes are below 65536" raw.bin dst.ds import.format=nanogpt import.token_bytes=2 import.eos=65536
bad 2 "mds-bytes: import.eos=16777216, but its ids of 4 bytes are below 16777216" mds-bytes dst.ds import.eos=16777216
[ "$failed" = 0 ] || fail "$failed cases"
check_exit 0 "$REMLA" data import raw.bin other/never.ds import.format=nanogpt import.token_bytes=2 import.eos=65533
grep -q '^remla: warning: raw.bin: the end-of-text id 65533 is nowhere in it: it became one document$' err || { cat err >&2; fail "an id that is never found"; }
check_exit 0 "$REMLA" data import raw.bin model/found.ds import.format=nanogpt import.token_bytes=2 import.eos=7
! grep -q nowhere err || { cat err >&2; fail "an id that is found"; }

# ---- stopped
head -c 60000000 /dev/urandom >large.bin
mkdir stopped
for _ in 1 2 3 4 5; do
    "$REMLA" data import large.bin stopped/x.ds.zst import.format=nanogpt import.token_bytes=2 >out 2>err &
    job=$!
    for ((wait = 0; wait < 1000; wait++)); do
        [ -s stopped/x.ds.zst.part ] && break
        sleep 0.002
    done
    kill -TERM $job 2>/dev/null || true
    code=0
    wait $job || code=$?
    [ $code = 85 ] && break
    [ $code = 0 ] || { cat err >&2; fail "exit code $code after SIGTERM"; }
    rm -f stopped/*
done
[ "$code" = 85 ] || fail "the program was always faster than the signal"
[ "$(cat err)" = "remla data import: stopped by signal 15: nothing was written; start again from the beginning" ] || { cat err >&2; fail "not one sentence"; }
[ -z "$(ls -A stopped)" ] || fail "a signal left: $(ls -A stopped)"
rm large.bin

# ---- no space
if [ -n "${REMLA_IN_NAMESPACE:-}" ]; then
    mkdir disk
    mount -t tmpfs -o size=64k none disk
    clean_up+=("umount disk")
    head -c 200000 /dev/urandom >long.bin
    for name in x.ds x.ds.zst; do
        check_exit 3 "$REMLA" data import long.bin "disk/$name" import.format=nanogpt import.token_bytes=2
        [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "not one sentence"; }
        grep -q "^remla data import: disk/x.ds.*No space left on device" err || { cat err >&2; fail "not a sentence that names the place"; }
        [ -z "$(ls -A disk)" ] || fail "left over: $(ls -A disk)"
    done
else
    echo "the part about a full disk was left out: no right to mount a small one"
fi
