#!/usr/bin/env bash
# Every sample is trained on exactly once in an epoch, through kills and changes of the number of ranks. The learning rate is 0, so that a step's
# loss is the mean of its samples' own losses, which `remla eval` gives for each by itself; `remla data order` says which samples they are.
. "$(dirname "$0")/common.sh"

# losses NAME N: NAME.ds, the first N windows of 32 tokens of a golden shard, and the loss of each in the file NAME.losses.
losses() {
    local i tokens=$((32 * $2 + 1))
    head -c $((2 * tokens)) "$golden/$1.ds" >"$1.ds"
    printf 'golden|2\n%d\n' $tokens >"$1.ds.metadata"
    printf 'golden|2\n33\n33' >one.ds.metadata
    for ((i = 0; i < $2; i++)); do
        dd if="$1.ds" of=one.ds bs=2 skip=$((32 * i)) count=33 status=none
        check_exit 0 "$REMLA" eval "$golden/mla" data.val=one.ds eval.seq_len=32 --json
        field loss <out
    done >"$1.losses"
    [ "$(wc -l <"$1.losses")" = "$2" ] || fail "$(wc -l <"$1.losses") losses of $2 windows of $1.ds"
}
losses train 40
losses val 20

# check_run RUN STEPS OPTION...: the loss of each step of 4 samples is that of the samples that `data order` names.
check_run() {
    local run=$1 steps=$2
    shift 2
    check_exit 0 "$REMLA" data order config.yaml --from 0 --count $((4 * steps)) "$@"
    sed 's/[^0-9 ]//g' out >order # position, source, epoch, sample
    [ "$(wc -l <order)" = $((4 * steps)) ] || fail "data order printed $(wc -l <order) lines"
    awk 'FILENAME == "order" { sum += loss[$2 "," $4]; if (FNR % 4 == 0) { printf "%d %.9g\n", FNR / 4, sum / 4; sum = 0 } }
         FILENAME != "order" { loss[(FILENAME == "val.losses") "," FNR - 1] = $1 }' train.losses val.losses order >want
    curve "$run" | cut -d' ' -f1,2 >got
    [ "$(wc -l <got)" = "$steps" ] || fail "$run: $(wc -l <got) steps instead of $steps"
    check_close 2e-5 "$run: losses of the samples in data order" got want
}

# check_once SOURCE WINDOWS: in the file order, every whole epoch of the source holds every sample once.
check_once() {
    awk -v source="$1" -v n="$2" '
        $2 == source { if (seen[$3 "," $4]++) { print "FAILED: sample " $4 " twice in epoch " $3; bad = 1; exit } count[$3]++; if ($3 > last) last = $3 }
        END { for (e = 0; e < last; e++) if (count[e] != n) { print "FAILED: " count[e] " samples of " n " in epoch " e; bad = 1 }
              if (last == 0) { print "FAILED: no whole epoch of source " source; bad = 1 }; exit bad }' order >&2 || exit 1
}

write_config config.yaml "$golden/mla"
sed -i "s|train: $golden/train.ds|train: train.ds|" config.yaml
options=(train.batch_tokens=128 train.micro_batch=1 optim.lr=0 optim.min_lr=0 data.document_mask=false data.val=)
command=(train config.yaml "${options[@]}" train.out=run train.steps=60 checkpoint.every=1)

# start RANKS: the run in the background, as $job; its processes are $job or its children.
start() {
    if [ "$1" = 1 ]; then
        "$REMLA" "${command[@]}" >out 2>err &
    else
        ASAN_OPTIONS=detect_leaks=0 mpirun -q --oversubscribe --bind-to none -n "$1" "$REMLA" "${command[@]}" >out 2>err &
    fi
    job=$!
}
steps_done() { { curve run 2>/dev/null || true; } | wc -l; }

kills=0
for ranks in 1 2 4 1 4 2; do
    wanted=$(($(steps_done) + 3))
    start $ranks
    while [ "$(steps_done)" -lt $wanted ] && kill -0 $job 2>/dev/null; do sleep 0.01; done
    victims=$job
    [ $ranks = 1 ] || victims=$(cut -d' ' -f$ranks "/proc/$job/task/$job/children" 2>/dev/null || true) # the last rank; mpirun ends the others
    kill -9 ${victims:-$job} 2>/dev/null || true
    code=0
    { wait $job; } 2>/dev/null || code=$?
    [ $code = 0 ] || kills=$((kills + 1))
done
[ $kills -ge 4 ] || fail "only $kills of 6 runs were killed before they ended"
check_exit 0 "$REMLA" "${command[@]}"
check_run run 60 "${options[@]}"
check_once 0 40

# A locality window and mixtures, over one rank and then two.
number=0
for more in data.window=24 data.train=train.ds:3,val.ds:1 "data.train=train.ds:0.5,val.ds:0.5 data.window=10"; do
    name=run-$((++number))
    read -ra more <<<"$more"
    check_exit 0 "$REMLA" train config.yaml "${options[@]}" "${more[@]}" train.out="$name" train.steps=28 train.stop_after=11
    check_exit 0 ranks 2 "$REMLA" train config.yaml "${options[@]}" "${more[@]}" train.out="$name" train.steps=28
    check_run "$name" 28 "${options[@]}" "${more[@]}"
    check_once 0 40
    [ "${more[0]}" = data.window=24 ] || check_once 1 20
done

# In the file the same mixture reads so; it is kept in RUN/config.yaml, and other weights are other data.
sed "s|train: train.ds|train: [{path: train.ds, weight: 0.5}, {weight: 0.5, path: val.ds}]|" config.yaml >mixture.yaml
for file in mixture.yaml run-3/config.yaml; do
    check_exit 0 "$REMLA" data order $file --from 1000000000000 --count 100 "${options[@]}" data.window=10
    [ -s want_order ] || mv out want_order
    [ ! -e out ] || cmp out want_order >&2 || fail "$file gives another order"
done
check_exit 3 "$REMLA" train config.yaml "${options[@]}" data.window=10 data.train=train.ds:2,val.ds:1 train.out=run-3 train.steps=29
grep -q 'was trained on other data' err || fail "other weights: $(cat err)"
# One pass of a mixture ends before a source repeats: of 3 to 1, the 41st sample of source 0, which has 40, would be at position 53.
check_exit 0 "$REMLA" train config.yaml "${options[@]}" data.train=train.ds:3,val.ds:1 train.out=pass
[ "$(curve pass | wc -l)" = 13 ] || fail "train.steps=0 of a mixture took $(curve pass | wc -l) steps"

# Any position, at once.
check_exit 0 "$REMLA" data order config.yaml data.train="$golden/train.ds" --from 9223372036854775807
[ "$(cat out)" = '{"position": 9223372036854775807, "source": 0, "epoch": 128102389400760775, "sample": 41}' ] || fail "the last position: $(cat out)"
