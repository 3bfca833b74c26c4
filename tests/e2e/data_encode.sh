#!/usr/bin/env bash
# remla data encode and data decode: a line in, a line out, at once; text comes back; a bad line is named; nothing is said twice.
. "$(dirname "$0")/common.sh"

# Bytes as letters: Ġ is a space. ids are in the order of this list, "ab" is a merge.
mkdir model
cat >model/tokenizer.json <<'JSON'
{"added_tokens": [{"id": 7, "content": "<s>", "special": true, "normalized": false}],
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ã": 4, "©": 5, "Ā": 6}, "merges": ["a b"]}}
JSON

# check_lines COMMAND INPUT OUTPUT
check_lines() {
    printf '%b' "$2" >in
    check_exit 0 "$REMLA" data "$1" model <in
    printf '%b' "$3" >want
    cmp -s out want || { cat out >&2; fail "data $1 of $2"; }
    [ ! -s err ] || { cat err >&2; fail "data $1 has said something"; }
}

check_lines encode '"ab <s>b"\n""\n"\\u00e9a\\u0000"\n"é"' '[3,2,7,1]\n[]\n[4,5,0,6]\n[4,5]\n'
check_lines decode '[3,2,7,1]\n[]\n[4,5,0,6]\n[4]' '"ab <s>b"\n""\n"\\u00E9a\\u0000"\n"\\uFFFD"\n'
check_lines encode '' ''

# The answer to a line comes before the next line is given.
coproc "$REMLA" data encode model
pid=$COPROC_PID to=${COPROC[1]} from=${COPROC[0]} # bash forgets them when the program ends
for text in a b ab; do
    printf '"%s"\n' "$text" >&"$to"
    read -r -t 20 answer <&"$from" || fail "no answer to $text"
    [ "$answer" = "[$(case $text in a) echo 0 ;; b) echo 1 ;; ab) echo 3 ;; esac)]" ] || fail "$text is $answer"
done
exec {to}>&-
wait "$pid" || fail "exit code $? at the end of the conversation"

# bad COMMAND INPUT SENTENCE: exit code 3 and one sentence; the lines before have been answered.
bad() {
    local got=0
    printf '%b' "$2" | "$REMLA" data "$1" model >out 2>err || got=$?
    [ $got = 3 ] || fail "exit code $got: data $1 of $2"
    [ "$(wc -l <err)" = 1 ] || fail "$(wc -l <err) lines on standard error: data $1 of $2"
    grep -qF -- "$3" err || { cat err >&2; fail "data $1 of $2 does not say: $3"; }
}
bad encode '"a"\n"b\n' 'remla data encode: standard input, line 2: '
grep -qx '\[0\]' out || fail "the line before the bad one was not answered"
bad encode '"\\ud800"\n' 'line 1: invalid Unicode'
bad encode '"\xed\xa0\x80"\n' "line 1: unable to decode byte 0xed"
bad encode '\n' 'line 1: '
bad encode '[1]\n' 'line 1: it is no JSON string'
bad decode '[0]\n[1, 8]\n' 'line 2: element 1 is no id from 0 to 7'
bad decode '[-1]\n' 'line 1: element 0 is no id'
bad decode '[1.5]\n' 'line 1: element 0 is no id'
bad decode '"a"\n' 'line 1: it is no JSON array'

got=0
"$REMLA" data encode nowhere </dev/null >out 2>err || got=$?
{ [ $got = 3 ] && grep -q 'nowhere' err; } || fail "a model that is not there: exit code $got: $(cat err)"
got=0
echo '"a"' | "$REMLA" data encode model >/dev/full 2>err || got=$?
{ [ $got = 3 ] && grep -q 'standard output cannot be written' err; } || fail "a full disk: exit code $got: $(cat err)"
