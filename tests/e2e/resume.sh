#!/usr/bin/env bash
# Stopping and going on leaves no trace: the curve and the final files are those of the run that was never stopped.
. "$(dirname "$0")/common.sh"
last=checkpoints/step-00000020
write_config config.yaml "$golden/mla"
options=(config.yaml train.steps=20 val.every=5)

# in_parts RUN COMMAND...: 7 steps, 6 steps, and the rest.
in_parts() {
    local run=$1
    shift
    check_exit 0 "$@" train "${options[@]}" train.out="$run" train.stop_after=7
    [ "$(curve "$run" | tail -n 1 | cut -d' ' -f1)" = 7 ] || fail "$run: train.stop_after=7 stopped elsewhere"
    check_exit 0 "$@" train "${options[@]}" train.out="$run" train.stop_after=6
    check_exit 0 "$@" train "${options[@]}" train.out="$run"
    ! grep 'bit for bit' err >&2 || fail "$run: nothing has changed since its checkpoint"
}

check_same_run() {
    curve "$2" >want
    curve "$3" >got
    [ "$(wc -l <want)" = 20 ] || fail "$1: $(wc -l <want) steps instead of 20"
    cmp want got >&2 || fail "$1: the curves differ: $(diff want got | head -n 4)"
    cmp <(grep val_loss "$2/metrics.jsonl") <(grep val_loss "$3/metrics.jsonl") >&2 || fail "$1: validation differs"
    check_same_files "$1" "$2/$last" "$3/$last"
}

check_exit 0 "$REMLA" train "${options[@]}" train.out=whole
in_parts parts "$REMLA"
check_same_run "20 = 7 + 6 + 7" whole parts

# Going on from a named checkpoint of another run, in a folder of one's own.
check_exit 0 "$REMLA" train "${options[@]}" train.out=named train.resume=parts/checkpoints/step-00000013
check_same_files "train.resume=PATH" "whole/$last" "named/$last"

# The same command again goes on from where that run has come to, not from the named checkpoint.
check_exit 0 "$REMLA" train "${options[@]}" train.out=again train.resume=parts/checkpoints/step-00000013 train.stop_after=3
check_exit 0 "$REMLA" train "${options[@]}" train.out=again train.resume=parts/checkpoints/step-00000013 train.stop_after=3
[ "$(curve again | cut -d' ' -f1 | tr '\n' ' ')" = "14 15 16 17 18 19 " ] || fail "train.resume=PATH given twice: $(curve again)"
# Inside a run there is no way back: two histories in one folder would mix.
check_exit 2 "$REMLA" train "${options[@]}" train.out=parts train.resume=parts/checkpoints/step-00000013
grep -q 'give another train.out' err || fail "a way back inside a run: $(cat err)"
check_exit 3 "$REMLA" train "${options[@]}" train.out=new train.resume=parts
grep -q 'train.resume=parts: is a run: name one of its checkpoints' err || fail "a run as checkpoint: $(cat err)"
# A named checkpoint that is the last step already is the new run's as well.
check_exit 0 "$REMLA" train "${options[@]}" train.out=done train.resume=whole/$last
check_same_files "nothing left to do" "whole/$last" "done/$last"
check_exit 2 "$REMLA" train "${options[@]}" train.out=whole train.steps=3
# A copy that the user has made is not removed.
cp -r "whole/$last" "whole/$last-keep"

# A finished run has nothing left to do.
find whole -name '*.safetensors' -exec stat -c '%n %Y %i' {} + | sort >before
check_exit 0 "$REMLA" train "${options[@]}" train.out=whole
find whole -name '*.safetensors' -exec stat -c '%n %Y %i' {} + | sort >after
cmp before after >&2 || fail "starting a finished run again wrote weights"
cmp <(curve whole) <(curve parts) >&2 || fail "starting a finished run again changed its metrics"
[ -d "whole/$last-keep" ] || fail "a user's copy of a checkpoint is gone"

check_exit 0 ranks 2 "$REMLA" train "${options[@]}" train.out=whole2
in_parts parts2 ranks 2 "$REMLA"
check_same_run "20 = 7 + 6 + 7 on two ranks" whole2 parts2

# Threads decide nothing.
for threads in 2 3; do
    OMP_NUM_THREADS=$threads check_exit 0 "$REMLA" train "${options[@]}" train.out=threads$threads
    cmp <(curve whole) <(curve threads$threads) >&2 || fail "$threads threads: the curves differ"
    for file in model optim-00000; do
        cmp whole/$last/$file.safetensors threads$threads/$last/$file.safetensors >&2 || fail "$threads threads: $file differs"
    done
done

# One rank writes, two go on.
check_exit 0 "$REMLA" train "${options[@]}" train.out=mixed train.stop_after=7
check_exit 0 ranks 2 "$REMLA" train "${options[@]}" train.out=mixed train.stop_after=7
grep -q '^remla: warning: ranks 1 -> 2: losses will agree to about 1e-8, not bit for bit$' err || fail "one rank, then two: no warning"
OMP_NUM_THREADS=2 check_exit 0 "$REMLA" train "${options[@]}" train.out=mixed train.micro_batch=4
grep -q '^remla: warning: ranks 2 -> 1, train.micro_batch 2 -> 4: losses will agree' err || fail "ranks and micro-batch: no warning"
curve whole | cut -d' ' -f1,2 >want
curve mixed | cut -d' ' -f1,2 >got
check_close 1e-6 "one rank, then two, then one with two threads" got want

# The state has the hash of the weights that the log tells of: float32 weights are their own masters.
logged=$(sed -n 's/^checkpoint .* | weights //p' whole/train.log | tail -n 1)
[ "$(field weights_fingerprint <whole/$last/state.json)" = "\"$logged\"" ] || fail "the log has weights $logged, state.json other ones"
