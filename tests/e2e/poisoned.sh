#!/usr/bin/env bash
# poisoned.sh [all]: batches of noise, numbers that are not finite, a core that multiplies wrongly. The run skips, goes back or stops, as the documents
# say, names the rank, and does the same every time, also when it is killed on its way and started again. `all`: killed at every tenth call that
# changes a file, and many places for the errors.
: "${FAULTY_FILES:?the library made of faulty_files.c}" "${FAULTY_PRODUCTS:?the library made of faulty_products.c}"
FAULTY_FILES=$(realpath "$FAULTY_FILES") FAULTY_PRODUCTS=$(realpath "$FAULTY_PRODUCTS")
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
all=${1:-}
write_config config.yaml "$golden/mla"
sed -i "s,train: $golden/train.ds,train: clean.ds," config.yaml
export PYTHONDONTWRITEBYTECODE=1
python3 "$REMLA_SOURCE/tests/e2e/poison_data.py" clean "$golden" .
check_exit 0 "$REMLA" data order config.yaml --from 0 --count 640
mv out order
python3 "$REMLA_SOURCE/tests/e2e/poison_data.py" poisoned "$golden" . order 32 8
points=0

# Losses, what it went back from, and the last checkpoint; not when and where it was started.
same_end() { # WHAT RUN RUN
    cmp <(grep -v '"start"' "$2/metrics.jsonl" | sed 's/"tokens".*//') <(grep -v '"start"' "$3/metrics.jsonl" | sed 's/"tokens".*//') >&2 || fail "$1: metrics.jsonl differs"
    diff -r -x env.json -x MANIFEST.json -x options.yaml "$2/checkpoints/$last" "$3/checkpoints/$last" >&2 || fail "$1: the last checkpoint differs"
    points=$((points + 1))
}

# ---- noise, for longer than a spike: back to before it, twice at most, and on
last=step-00000080
run=("$REMLA" train config.yaml train.steps=80 data.val= checkpoint.every=4 data.train=poisoned.ds)
for out in noise again; do
    check_exit 0 "${run[@]}" train.out=$out
    grep -q '^remla: warning: step 5[0-9]: in steps 4[0-9] to 5[0-9] the loss, .* was far above its past, .*: the run has gone back to .*step-000000[0-9]*, and passes over positions' err ||
        { cat err >&2; fail "noise: it did not say that it went back"; }
    grep -q '"passed_over"' $out/checkpoints/$last/state.json || fail "noise: not recorded"
done
grep '"rollback"' noise/metrics.jsonl
same_end "noise, twice" noise again

check_exit 0 env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/again" FAULT_COUNT="$work/count" "${run[@]}" train.out=again
rm -r again
check_exit 0 env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/again" FAULT_COUNT="$work/count" "${run[@]}" train.out=again
n=$(cat count.0)
step=10
[ "$all" = all ] || step=$((n / 10))
for ((at = n / 3; at <= n; at += step)); do
    rm -rf again
    code=0
    { env LD_PRELOAD="$FAULTY_FILES" FAULT_UNDER="$work/again" FAULT_DO=kill FAULT_AT=$at "${run[@]}" train.out=again >out 2>err || code=$?; } 2>/dev/null
    [ $code = 137 ] || [ $((n - at)) -lt 10 ] || { cat err >&2; fail "noise, killed at call $at of $n: exit code $code"; }
    check_exit 0 "${run[@]}" train.out=again
    same_end "noise, killed at call $at of $n" noise again
done

# ---- numbers that are not finite: one step is skipped; three in a row, back; again and again, stop
run=("$REMLA" train config.yaml train.steps=80 data.val= checkpoint.every=4)
nan() { # AT TIMES CODE
    for out in nan again; do
        rm -rf $out
        check_exit "$3" env LD_PRELOAD="$FAULTY_PRODUCTS" PRODUCT_DO=nan PRODUCT_AT="$1" PRODUCT_TIMES="$2" "${run[@]}" train.out=$out
    done
    [ "$3" = 0 ] && same_end "not finite at product $1, $2 times" nan again || cmp <(curve nan) <(curve again) >&2 || fail "not finite: the curves differ"
}
nan 10000 1 0
[ "$(curve nan | grep -c null)" = 1 ] && [ "$(curve nan | wc -l)" = 80 ] || fail "one step was to be skipped: $(curve nan | grep null)"
nan 10000 900 0
grep -q 'loss or gradient was not finite in steps [0-9]* to [0-9]*: the run has gone back to again/checkpoints/step-' err || { cat err >&2; fail "not finite: it did not say that it went back"; }
[ "$(curve nan | wc -l)" = 80 ] && grep -q '"rollback"' nan/metrics.jsonl || fail "not finite: not recorded"
nan 10000 1000000000 7
grep -q '^remla train: step [0-9]*: loss or gradient was not finite 3 steps in a row; again/checkpoints/step-' err || { cat err >&2; fail "never finite: no sentence"; }

# ---- an update that is skipped where a checkpoint is due: the next step makes up for it, also while a slow disk still takes the one before
skip() { # OUT AT MILLISECONDS
    rm -rf "$1"
    check_exit 0 env LD_PRELOAD="$FAULTY_PRODUCTS $FAULTY_FILES" PRODUCT_DO=nan PRODUCT_AT="$2" PRODUCT_TIMES=1 FAULT_UNDER="$work/$1/checkpoints" FAULT_DO=slow FAULT_AT=1 FAULT_MS="$3" \
        "${run[@]}" train.steps=14 checkpoint.every=2 checkpoint.keep=9 train.out="$1"
}
for at in 1600 1700 1800 1900; do
    skip held $at 0
    step=$(curve held | awk '$2 == "null" || $3 == "null" { print $1 }')
    [ $((step % 2)) = 1 ] || break
done
[ $((step % 2)) = 0 ] && [ "$step" -gt 2 ] && [ "$step" -lt 13 ] || fail "an update that is skipped where a checkpoint is due: it was step $step"
skip late $at 2
for out in held late; do
    [ "$(ls $out/checkpoints | sed 's/step-0*//')" = "$(for ((i = 2; i < 15; i += 2)); do echo $((i == step ? i + 1 : i)); done)" ] || fail "$out: step $step was skipped, and the checkpoints are $(ls $out/checkpoints)"
done

# ---- a core that multiplies wrongly, on one of four ranks: named, no checkpoint, and without it the same end
last=step-00000020
run=("$REMLA" train config.yaml train.steps=20 data.val= checkpoint.every=5 parallel.check=2)
check_exit 0 ranks 4 env LD_PRELOAD="$FAULTY_PRODUCTS" PRODUCT_RANK=2 PRODUCT_COUNT="$work/products" "${run[@]}" train.out=whole
n=$(cat products)
step=$((n / 40))
[ "$all" = all ] || step=$((n / 2))
for ((at = n / 4; at < n - n / 10; at += step)); do
    rm -rf again
    check_exit 4 ranks 4 env LD_PRELOAD="$FAULTY_PRODUCTS" PRODUCT_RANK=2 PRODUCT_DO=result PRODUCT_AT=$at PRODUCT_TIMES=1000000000 "${run[@]}" train.out=again
    grep -q '^remla train: in step [0-9]* the gradients of .* on rank 2 (.*) are not those of the other ranks' err || { cat err >&2; fail "a wrong core from product $at on: rank 2 is not named"; }
    points=$((points + 1))
    rm -rf again/checkpoints/step-00000015 # it may have been wrong since the check of step 14
    check_exit 0 ranks 4 "${run[@]}" train.out=again
done
echo "poisoned: $points points, each the same every time"
