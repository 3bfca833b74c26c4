#!/usr/bin/env bash
# Memory that runs out is exit code 4 and one sentence, whoever asked for it: the program, jansson, libyaml, zstd, PCRE2, glob. FAILING_MEMORY is the
# library failing_memory.c, which lets one allocation fail. Every allocation has its turn, or where there are many, some 40 of them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
: "${FAILING_MEMORY:?the library that lets allocations fail}"

# failing WORDS K COMMAND...: allocation K of those that WORDS name fails.
failing() { env LD_PRELOAD="$FAILING_MEMORY" FAIL_IN="$1" FAIL_AT="$2" FAIL_COUNT=count "${@:3}"; }

# check_all WORDS COMMAND...: they have no memory each in its turn. The command may write files into the folder made.
check_all() {
    local k total
    rm -rf made && mkdir made
    check_exit 0 failing "$1" 0 "${@:2}"
    total=$(cat count)
    [ "$total" -gt 0 ] || fail "nothing is allocated by $1: ${*:2}"
    for ((k = 1; k <= total; k += 1 + total / 40)); do
        rm -rf made && mkdir made
        check_exit 4 failing "$1" $k "${@:2}"
        [ "$(grep -c '^remla: .*no memory for ' err)" = 1 ] || fail "allocation $k of $1: ${*:2}: $(cat err)"
    done
}

write_config run.yaml "$golden/mla"
check_all yaml "$REMLA" data order run.yaml --count 1
check_all "$REMLA" "$REMLA" data order run.yaml --count 1
check_all "$REMLA" "$REMLA" inspect "$golden/gqa" --json # what jansson asks for comes from the program as well

mkdir set
check_exit 0 "$REMLA" data import "$golden/train.ds" set/train.ds.zst import.vocabulary=96
check_all zstd "$REMLA" data verify set/train.ds.zst
check_all zstd "$REMLA" data import set/train.ds.zst made/a.ds
check_all zstd "$REMLA" data import "$golden/import/mds-zstd" made/a.ds import.column=tokens
check_all zstd "$REMLA" data import "$golden/train.ds" made/a.ds.zst import.vocabulary=96

# Without memory for its machine code, PCRE2 matches all the same.
encode() { failing pcre2 "$1" "$REMLA" data encode "$golden/tokenizer" <<<'"a b"' 2>err; }
encode 0 >want
total=$(cat count) stopped=0
for ((k = 1; k <= total; k++)); do
    if encode $k >got; then
        cmp got want >&2 || fail "data encode without allocation $k: other ids"
    else
        [ $? = 4 ] && grep -q '^remla: no memory for ' err || fail "data encode without allocation $k: $(cat err)"
        stopped=$((stopped + 1))
    fi
done
[ $stopped -gt 1 ] || fail "data encode: PCRE2 always had memory"

# Of what the C library asks for, glob's has its turn.
for ((k = 1;; k++)); do
    failing libc.so $k "$REMLA" data order run.yaml --count 1 'data.train=set/*.zst' >out 2>err && code=0 || code=$?
    ! grep -q 'no memory for the files of' err || break
    [ $k -lt 200 ] || fail "glob never runs out of memory"
done
[ "$code" = 4 ] || fail "glob without memory: exit code $code: $(cat err)"

# A small `ulimit -v` is a sentence of this program or of the loader, and never a hang in the constructor of a library.
for kib in 200000 150000 110000; do
    got=0
    (ulimit -v $kib && exec timeout 120 "$REMLA" version) >out 2>err || got=$?
    case $got in
    0 | 127) ;;
    4) grep -q '^remla: memory is limited (ulimit -v)' err || fail "ulimit -v $kib: $(cat err)" ;;
    *) fail "ulimit -v $kib: exit code $got: $(cat err)" ;;
    esac
done
