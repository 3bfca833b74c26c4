#!/usr/bin/env bash
# same_numbers.sh OLD NEW: two programs give the same numbers, to the last bit. Losses of the golden models, gradient norms and files of 21 steps
# of training, conversions by both methods, on one rank and on two. For changes that are to change nothing: OLD is the build from before.
# On a device the numbers of a step only: device="device.kind=cuda" in the environment says which.
set -euo pipefail
[ $# = 2 ] || { echo "usage: same_numbers.sh OLD NEW (two programs)" >&2; exit 2; }
declare -A program=([old]=$(realpath "$1") [new]=$(realpath "$2"))
REMLA=${program[new]} REMLA_SOURCE=${REMLA_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/common.sh"

compared=0
same() { # FILE: what the two programs wrote there
    cmp "old/$1" "new/$1" >&2 || fail "$1 differs"
    compared=$((compared + 1))
}

# both RANKS ARGUMENTS...: runs the two, each in a folder of its own, where `out` is what it prints.
both() {
    local which launch=()
    [ "$1" = 1 ] || launch=(ranks "$1")
    shift
    for which in old new; do
        mkdir -p $which
        (cd $which && check_exit 0 "${launch[@]}" "${program[$which]}" "$@")
    done
}

read -ra where <<<"${device:-device.kind=cpu}"
for model in gqa mla; do
    write_config $model.yaml "$golden/$model"
    for n in 1 2; do
        for mask in true false; do # OLD may know no other name for eval.seq_len and eval.micro_batch
            both "$n" eval "$golden/$model" data.val="$golden/val.ds" train.seq_len=32 train.micro_batch=3 data.document_mask=$mask "${where[@]}" --json
            for which in old new; do field loss <$which/out >$which/loss; done
            same loss
        done
        run=$model-$n
        # The last step is one rank's, which writes whole tensors: they differ if anything does that several ranks have left.
        both "$n" train ../$model.yaml train.out="$run" train.steps=21 train.stop_after=20 val.every=7 "${where[@]}"
        both 1 train ../$model.yaml train.out="$run" train.steps=21 val.every=7 "${where[@]}"
        for which in old new; do
            { curve $which/"$run" && field val_loss <$which/"$run"/metrics.jsonl; } >$which/curve
            [ "$(wc -l <$which/curve)" -gt 20 ] || fail "$(wc -l <$which/curve) losses in 21 steps"
        done
        same curve
        for file in model.safetensors optim-00000.safetensors config.json; do same "$run/checkpoints/step-00000021/$file"; done
    done
done

convert=(calib.data="$golden/train.ds" val.data="$golden/val.ds" calib.seq_len=32 convert.qk_rope_head_dim=4 convert.kv_lora_rank=12 convert.dtype=f32)
converted() { # FOLDER RANKS OPTIONS...
    local folder=$1 n=$2
    shift 2
    both "$n" convert "$golden/gqa" "$folder" "${convert[@]}" "$@"
    for which in old new; do grep -o '"[a-z_]*loss[a-z_]*": [^,}]*' $which/"$folder"/conversion.json >$which/losses; done
    same losses
    same "$folder/model.safetensors"
    same "$folder/config.json"
}
converted plain-1 1
converted plain-2 2
converted norm-1 1 convert.latent_norm=true convert.q_lora_rank=16
converted norm-2 2 convert.latent_norm=true convert.q_lora_rank=16
converted transmla 1 convert.method=transmla
converted transmla-norm 1 convert.method=transmla convert.latent_norm=true convert.q_lora_rank=16
echo "$compared files are the same in every bit"
