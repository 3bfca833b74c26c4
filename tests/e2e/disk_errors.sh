#!/usr/bin/env bash
# disk_errors.sh [all]: a disk that is full, or on which a call fails that a save or a prune makes, on one of the ranks, once or from then on: training
# goes on, older checkpoints stand, the log says so. When the last save fails too, the exit code is 86, and the same command without the error ends
# as if nothing had happened. `all`: every kind of call, at its first, middle and last call of a save.
. "$(dirname "$0")/mounts.sh"
in_mounts "$0" "$@"
: "${FAULTY_FILES:?the library made of faulty_files.c}"
FAULTY_FILES=$(realpath "$FAULTY_FILES")
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
all=${1:-}
command=("$REMLA" train config.yaml train.steps=8 checkpoint.every=2 checkpoint.keep=9 train.out=run)
points=0

# start N COMMAND...: on N ranks; sets code.
start() {
    local n=$1
    shift
    code=0
    if [ "$n" = 1 ]; then "$@" >out 2>err || code=$?; else ranks "$n" "$@" >out 2>err || code=$?; fi
}
show() { cat err >&2; ls -A run/checkpoints >&2; fail "$*"; }
same_end() { # WHERE N
    local file
    for file in "whole$2"/checkpoints/step-00000008/*.safetensors; do cmp "$file" "run/checkpoints/step-00000008/${file##*/}" >&2 || show "$1: other weights"; done
    cmp <(curve "whole$2") <(curve run) >&2 || show "$1: the curves differ"
    [ -z "$(find run -name '*.part' -o -name '.remla-*')" ] || show "$1: left over: $(find run -name '*.part' -o -name '.remla-*')"
}

for n in 1 2; do
    rm -rf run
    start $n "${command[@]}"
    [ $code = 0 ] || show "$n ranks: exit code $code"
    mv run whole$n
done

# ---- a full disk, of so many parts of a checkpoint; then with space again
bytes=$(du -sb whole1/checkpoints/step-00000002 | cut -f1)
mkdir run
for n in 1 2; do
    for tenths in 5 9 15; do
        [ "$all" = all ] || [ $n$tenths = 115 ] || [ $n$tenths = 29 ] || continue
        where="a disk of $tenths tenths of a checkpoint, $n ranks"
        mount -t tmpfs -o size=$((bytes * tenths / 10 / 4096 * 4 + 24))k none run # and what else is in the folder
        start $n "${command[@]}"
        [ $code = 86 ] || show "$where: exit code $code"
        grep -q '^remla: warning: step [246] has no checkpoint: .*No space left on device; training goes on' err || show "$where: no warning"
        grep -q '^remla train: step 8 has no checkpoint: .*No space left on device' err || show "$where: no sentence"
        [ $tenths != 15 ] || [ "$(ls -A run/checkpoints)" = step-00000002 ] || show "$where: not the first alone is left"
        [ $tenths = 15 ] || [ -z "$(ls -A run/checkpoints)" ] || show "$where: something is left"
        [ "$(curve run | wc -l)" = 8 ] || show "$where: training did not go on"
        mount -o remount,size=16m run
        start $n "${command[@]}"
        [ $code = 0 ] || show "$where, with space: exit code $code"
        same_end "$where, with space" $n
        umount run
        points=$((points + 1))
    done
done
rmdir run

# ---- a call that fails

# count N STOP: how many calls of a kind each rank makes, in the files count.RANK.
count() {
    rm -rf run count.*
    start "$1" env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/run/checkpoints" FAULT_CALLS="$kind" FAULT_COUNT="$work/count" "${command[@]}" train.stop_after="$2"
    [ $code = 0 ] || show "counting $kind: exit code $code"
}
# break_call N RANK AT TIMES ERRNO
break_call() {
    rm -rf run said
    start "$1" env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/run/checkpoints" FAULT_CALLS="$kind" FAULT_DO=fail FAULT_RANK="$2" FAULT_AT="$3" FAULT_TIMES="$4" FAULT_ERRNO="$5" \
        FAULT_SAID="$work/said" "${command[@]}" checkpoint.keep="$keep"
    [ -s said ] || show "$kind $3 of rank $2: nothing was hit"
    points=$((points + 1))
}
check_break() { # N RANK AT ERRNO SENTENCE
    local where="$kind $3 of rank $2 of $1, $5"
    break_call "$1" "$2" "$3" 1 "$4"
    [ $code = 0 ] || show "$where, once: exit code $code"
    # A lock is closed without a look at the result.
    grep -q "$5.*training goes on" err || [ $kind = close ] || show "$where, once: no warning"
    same_end "$where, once" "$1"
    break_call "$1" "$2" "$3" 1000000 "$4"
    [ $code = 86 ] || show "$where: exit code $code"
    # Where it was a lock that was closed, the checkpoint is written, and the next one is not.
    local newest=2
    [ $kind != close ] || [ ! -e run/checkpoints/step-00000004 ] || newest=4
    grep -q "^remla train: step 8 has no checkpoint: .*$5.*step-0000000$newest is the newest" err || show "$where: no sentence"
    [ "$(ls -A run/checkpoints | grep -v remla-tmp | tail -n 1)" = step-0000000$newest ] && [ -e run/checkpoints/step-00000002 ] || show "$where: the older one does not stand alone"
    start "$1" "${command[@]}"
    [ $code = 0 ] && [ ! -s err ] || show "$where, repaired: exit code $code"
    same_end "$where, repaired" "$1"
}

keep=9
kinds="write fsync rename close"
[ "$all" != all ] || kinds="open write pwrite ftruncate fallocate fsync rename close mkdir"
for kind in $kinds; do
    for n in 1 2; do
        count $n 2
        for file in count.*; do [ ! -e "$file" ] || mv "$file" "first-$file"; done
        count $n 4
        for rank in 0 1; do
            [ -e count.$rank ] || continue
            first=$(($(cat first-count.$rank) + 1)) last=$(cat count.$rank)
            [ "$last" -ge "$first" ] || continue
            if [ "$all" = all ]; then
                for at in $first $(((first + last) / 2)) "$last"; do
                    check_break $n $rank "$at" 5 "Input/output error"
                    check_break $n $rank "$at" 122 "Disk quota exceeded"
                done
            elif [ $n$rank = 10 ] || [ $n$rank$kind = 21write ]; then
                [ $kind = fsync ] || last=$first # the last one is that of the folder, behind the renaming
                check_break $n $rank "$last" 122 "Disk quota exceeded"
            fi
        done
        rm -f count.* first-count.*
    done
done

# ---- a prune that fails costs nothing
keep=1
for kind in unlink rmdir; do
    break_call 1 0 1 1000000 5
    [ $code = 0 ] && grep -q 'older checkpoints stay: .*Input/output error' err || show "a prune without $kind: exit code $code"
    cmp whole1/checkpoints/step-00000008/model.safetensors run/checkpoints/step-00000008/model.safetensors >&2 || show "a prune without $kind: other weights"
    start 1 "${command[@]}" checkpoint.keep=1
    [ $code = 0 ] && [ "$(ls -A run/checkpoints)" = step-00000008 ] || show "a prune without $kind, repaired: exit code $code"
done
echo "disk errors: $points points; training went on at all, and ended the same"
