#!/usr/bin/env bash
# damage_many.sh [all]: bits that are flipped at random places of a checkpoint, files that are cut at every 4 KiB: all are seen before anything is
# trained, and the older checkpoint is taken. Most are shown to the function that a start calls (damage_checkpoint.c), some to the program, which goes
# on from the older one to the same end. `all`: 10,000 bits, and 200 starts.
: "${DAMAGE_CHECKPOINT:?the program made of damage_checkpoint.c}" "${FAULTY_FILES:?the library made of faulty_files.c}"
DAMAGE_CHECKPOINT=$(realpath "$DAMAGE_CHECKPOINT") FAULTY_FILES=$(realpath "$FAULTY_FILES")
. "$(dirname "$0")/common.sh"
flips=400 starts=6
[ "${1:-}" != all ] || flips=10000 starts=200
write_config config.yaml "$golden/mla"
command=("$REMLA" train config.yaml train.steps=6 checkpoint.every=2)
last=checkpoints/step-00000006 newest=checkpoints/step-00000004
RANDOM=17

for n in 1 2; do
    many=()
    [ $n = 1 ] || many=(ranks 2)
    check_exit 0 "${many[@]}" "${command[@]}" train.out=whole$n
    check_exit 0 "${many[@]}" "${command[@]}" train.out=base$n train.stop_after=4
    "$DAMAGE_CHECKPOINT" base$n ${newest#*/} step-00000002 $((flips / 2)) $n 2>warnings || { head -n 5 warnings >&2; fail "damage was not seen"; }
    [ "$(grep -c "^remla: warning: passing over base$n/$newest: " warnings)" = "$(wc -l <warnings)" ] || { sort warnings | uniq -c | sort -rn | head -n 5 >&2; fail "other warnings"; }
    [ "$(wc -l <warnings)" -gt $((flips / 2)) ] || fail "only $(wc -l <warnings) warnings"
done

# A bit reaches the disk otherwise than it was in memory, in a write of a save: nobody notices then, and the next start does.
flip=(env "LD_PRELOAD=$FAULTY_FILES" "FAULT_UNDER=$work/run/checkpoints" FAULT_CALLS=write,pwrite)
rm -rf run
cp -r base1 run
check_exit 0 "${flip[@]}" "FAULT_COUNT=$work/count" "${command[@]}" train.out=run
writes=$(cat count.0) step=1
[ "${1:-}" = all ] || step=$((writes / 3))
for ((at = 1; at <= writes; at += step)); do
    rm -rf run
    cp -r base1 run
    check_exit 0 "${flip[@]}" FAULT_DO=flip "FAULT_AT=$at" "${command[@]}" train.out=run
    check_exit 0 "${command[@]}" train.out=run
    grep -q "^remla: warning: passing over run/$last: " err && [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "a bit of write $at of $writes: not one warning"; }
    cmp whole1/$last/model.safetensors run/$last/model.safetensors >&2 || fail "a bit of write $at of $writes: other weights"
done
echo "$writes writes of a save: in every $step. of them a flipped bit, found by the next start"

# The program. Two ranks start slowly: a tenth of the starts.
for ((start = 0; start < starts; start++)); do
    n=1 many=()
    [ $((start % 10)) != 5 ] || { n=2 && many=(ranks 2); }
    rm -rf run
    cp -r base$n run
    files=(run/"$newest"/*)
    file=${files[start % ${#files[@]}]}
    bytes=$(stat -c %s "$file")
    at=$(((RANDOM * 32768 + RANDOM) % bytes))
    if [ $((start % 3)) = 2 ]; then
        truncate -s $((at / 4096 * 4096)) "$file"
    else
        byte=$(od -An -tu1 -j$at -N1 "$file")
        printf '%b' "\\x$(printf %02x $((byte ^ (1 << RANDOM % 8))))" | dd of="$file" bs=1 seek=$at conv=notrunc status=none
    fi
    check_exit 0 "${many[@]}" "${command[@]}" train.out=run
    grep -q "^remla: warning: passing over run/$newest: " err && [ "$(wc -l <err)" = 1 ] || { cat err >&2; fail "start $start: not one warning"; }
    grep -q "step-00000002: step 2" out || { cat out >&2; fail "start $start: did not go on from step 2"; }
    for file in whole$n/$last/*.safetensors; do cmp "$file" "run/$last/${file##*/}" >&2 || fail "start $start: other weights"; done
    cmp <(curve whole$n) <(curve run) >&2 || fail "start $start: the curves differ"
done
echo "damage: $flips bits and every 4 KiB of checkpoints of 1 and of 2 ranks, all seen; $starts starts, all from the older checkpoint to the same end"
