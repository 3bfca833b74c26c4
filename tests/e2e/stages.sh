#!/usr/bin/env bash
# stages.sh [all]: stages 0 to 3 of parallel.zero on 1, 2 and 4 ranks (3 where sums run in rank order), with train.recompute, for GQA, MLA with a tied
# head, and biases (of ../shared/fixtures, where they are). Exact sums: losses, norms and weights of all of them are one run's, to the last bit. Fast
# sums: losses to 1e-6. A run that changes ranks and stage on its way is the straight one. Without `all`, a few of the combinations.
. "$(dirname "$0")/common.sh"
all=${1:-}
fixture=$REMLA_SOURCE/../shared/fixtures/qwen2_bias_tied
last=checkpoints/step-00000020

write_config gqa.yaml "$golden/gqa"
write_config mla.yaml "$golden/mla"
models=(gqa mla)
if [ -e "$fixture" ]; then
    sed "s|$golden|$fixture/..|g; s|lr: 0.02, min_lr: 0.002|lr: 0.002, min_lr: 0.0002|" gqa.yaml | sed "s|path: .*/gqa|path: $fixture/mla|" >bias.yaml
    models+=(bias)
fi

runs=0
run() { # NAME MODEL RANKS OPTIONS...: leaves NAME.curve and NAME.weights
    local name=$1 model=$2 launch=()
    [ "$3" = 1 ] || launch=(ranks "$3")
    shift 3
    check_exit 0 "${launch[@]}" "$REMLA" train "$model.yaml" train.steps=20 train.micro_batch=1 train.out="$name" "$@"
    curve "$name" >"$name.curve"
    sed -n 's/^checkpoint .* | weights //p' out | tail -n 1 >"$name.weights"
    [ "$(wc -l <"$name.curve") $(wc -c <"$name.weights")" = "20 17" ] || fail "$name: $(wc -l <"$name.curve") steps, weights $(cat "$name.weights")"
    runs=$((runs + 1))
}

# "RANKS STAGE RECOMPUTE" of the runs that are compared with one rank's
exact_runs() {
    if [ "$all" ]; then
        for n in 1 2 4; do for zero in 0 1 2 3; do for recompute in none light layer; do echo "$n $zero $recompute"; done; done; done
    elif [ "$1" = mla ]; then
        printf '%s\n' "1 3 layer" "2 0 none" "2 1 layer" "4 2 light" "4 3 none"
    else
        printf '%s\n' "2 2 none" "4 3 layer"
    fi
}

for model in "${models[@]}"; do
    run "$model" "$model" 1 parallel.sum=exact
    exact_runs "$model" >combinations
    while read -r n zero recompute; do
        name=$model-$n-$zero-$recompute
        run "$name" "$model" "$n" parallel.sum=exact parallel.zero="$zero" train.recompute="$recompute" val.every=10 </dev/null
        cmp "$model.curve" "$name.curve" >&2 || fail "$name: losses or norms are not one rank's"
        cmp "$model.weights" "$name.weights" >&2 || fail "$name: weights are not one rank's"
        rm -r "$name"
    done <combinations

    fast=(train.batch_tokens=192 optim.lr=0.002 optim.min_lr=0.0002) # a lower rate, which does not amplify the last bits
    run "$model-fast" "$model" 1 "${fast[@]}"
    cut -d' ' -f1,2 "$model-fast.curve" >want
    for zero in $([ "$all" ] && echo 0 1 2 3 || echo 1 3); do
        for n in $([ "$all" ] && echo 1 2 3 || echo 3); do
            run "$model-fast-$n-$zero" "$model" "$n" "${fast[@]}" parallel.zero="$zero"
            cut -d' ' -f1,2 "$model-fast-$n-$zero.curve" >got
            check_close 1e-6 "$model: fast sums of $n ranks in stage $zero" got want
        done
    done
done

# One rank, four, two; stage 3, 1, 2.
elastic=(mla.yaml train.steps=20 train.micro_batch=1 train.out=parts parallel.sum=exact)
check_exit 0 "$REMLA" train "${elastic[@]}" parallel.zero=3 train.stop_after=7
check_exit 0 ranks 4 "$REMLA" train "${elastic[@]}" parallel.zero=1 train.stop_after=6
! grep 'bit for bit' err >&2 || fail "bits are said to change, and do not"
check_exit 0 ranks 2 "$REMLA" train "${elastic[@]}" parallel.zero=2
curve parts | cmp - mla.curve >&2 || fail "a run whose ranks and stage change has other losses"
check_same_values "after ranks and stage have changed" "mla/$last" "parts/$last"

# A checkpoint goes through any ranks and stages, which write it again as it is, and comes back to one rank with the bytes that it had.
from=mla/$last
i=0
for how in "2 0 f32" "4 1 bf16" "1 3 bf16" "4 3 f32" "2 2 bf16" "4 2 f32" "2 1 f32" "1 0 f32"; do
    read -r n zero type <<<"$how"
    launch=()
    [ "$n" = 1 ] || launch=(ranks "$n")
    check_exit 0 "${launch[@]}" "$REMLA" train mla.yaml train.steps=20 train.micro_batch=1 parallel.sum=exact train.out=again-$i train.resume=$from \
        parallel.zero="$zero" checkpoint.weights="$type"
    check_same_values "on $n ranks in stage $zero" mla/$last again-$i/$last
    from=again-$i/$last
    i=$((i + 1))
done
check_same_files "on many ranks and back" mla/$last $from

check_exit 2 ranks 3 "$REMLA" train mla.yaml train.out=none train.batch_tokens=192 parallel.sum=exact
grep -q 'parallel.sum=exact with 3 ranks: it takes 1, 2, 4, 8' err || fail "exact sums of three ranks: $(cat err)"
echo "$runs runs"
