#!/usr/bin/env bash
# A conversion that is stopped leaves nothing behind when it can, what it leaves when it cannot is removed by the next one, and one that
# lives is let alone.
. "$(dirname "$0")/common.sh"
convert=("$REMLA" convert "$golden/gqa" mla calib.data="$golden/train.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12)
begun() { compgen -G 'mla.remla-tmp-*/config.json' >/dev/null; }
begin() { # held as soon as it writes
    "${convert[@]}" >out 2>err &
    job=$!
    until begun; do kill -0 $job 2>/dev/null || fail "it ended before it could be held: $(cat err)"; done
    kill -STOP $job
}
begin_again() { # a fast machine may be done before it is held
    for ((try = 0; try < 20; try++)); do
        begin
        [ -e mla ] || return 0
        kill -CONT $job
        wait $job || true
        rm -rf mla
    done
    fail "could not hold a conversion"
}

check_exit 0 "${convert[@]}"
[ ! -e mla/lock ] || fail "the lock is in the result"
mv mla want
for signal in TERM HUP; do # bash makes background commands deaf for SIGINT
    begin_again
    kill -$signal $job
    kill -CONT $job
    got=0
    { wait $job; } 2>/dev/null || got=$?
    [ $got = $((128 + $(kill -l $signal))) ] || fail "SIG$signal: exit code $got"
    grep -q '^remla: stopped by a signal; mla.remla-tmp-[0-9]* is removed$' err || { cat err >&2; fail "SIG$signal: not said"; }
    ! begun || fail "SIG$signal: something was left"
done

begin_again
kill -9 $job
{ wait $job || true; } 2>/dev/null
begun || fail "kill -9 left nothing: this test is wrong"
mkdir mla.remla-tmp-mine # a name that we do not give
check_exit 0 "${convert[@]}"
grep -q '^removed mla.remla-tmp-[0-9]*, which a process that was killed had left$' out || { cat out >&2; fail "what kill -9 left is not removed"; }
[ "$(echo mla*)" = "mla mla.remla-tmp-mine" ] || fail "left: $(echo mla*)"
cmp mla/model.safetensors want/model.safetensors >&2 || fail "after kill -9: the weights differ"
rmdir mla.remla-tmp-mine
rm -r mla

begin_again
check_exit 0 "${convert[@]}"
begun || fail "a conversion that lives has lost its folder"
kill -CONT $job
got=0
wait $job || got=$?
[ $got = 3 ] && ! begun || fail "two at a time: exit code $got"
cmp mla/model.safetensors want/model.safetensors >&2 || fail "two at a time: the weights differ"
