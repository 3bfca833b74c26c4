#!/usr/bin/env bash
# A device trains and evaluates as the CPU does: the curves that an independent implementation computed, checkpoints that go from one to the other, the same bits
# whatever order the streams run in and on both ranks, and a sentence where there is no device.
. "$(dirname "$0")/common.sh"
cuda=(device.kind=cuda device.storage=f32)
small=(train.micro_batch=8 val.tokens=32) # every kernel is emulated: few launches, little validation

expected() { # MODEL: step and loss of tests/golden
    awk -v m="$1" '$1 == "train" && $2 == m { print $3, $4 }' "$golden/expected.txt"
}
weights() { # FILE: the hash in the line of the last checkpoint
    grep -o 'weights [0-9a-f]*' "$1" | tail -n 1
}

for model in gqa mla; do
    write_config $model.yaml "$golden/$model"
    expected $model >want
    check_exit 0 "$REMLA" train $model.yaml train.out=$model-f32 train.steps=10 "${small[@]}" "${cuda[@]}"
    curve $model-f32 | cut -d' ' -f1,2 >got
    check_close 5e-4 "$model, f32" got want
    check_exit 0 "$REMLA" train $model.yaml train.out=$model-bf16 train.steps=10 "${small[@]}" device.kind=cuda
    curve $model-bf16 | cut -d' ' -f1,2 >got
    check_close 3e-2 "$model, bf16" got want
    grep -q '^device .* bf16' out || fail "the line that says what it computes on: $(cat out)"

    check_exit 0 "$REMLA" eval "$golden/$model" data.val="$golden/val.ds" eval.seq_len=32 eval.micro_batch=3 data.document_mask=true "${cuda[@]}" --json
    field loss <out >got
    awk -v m=$model '$1 == "eval" && $2 == m && $3 == "docmask" { print $5 }' "$golden/expected.txt" >want
    check_close 5e-4 "eval $model" got want
done

# A checkpoint holds f32 masters, wherever it was written: either side goes on from the other's.
options=(mla.yaml train.steps=10 "${small[@]}")
expected mla >want
for way in "cpu cuda" "cuda cpu"; do
    read -r first second <<<"$way"
    check_exit 0 "$REMLA" train "${options[@]}" train.out="$first-$second" train.stop_after=5 device.storage=f32 device.kind="$first"
    check_exit 0 "$REMLA" train "${options[@]}" train.out="$first-$second" device.storage=f32 device.kind="$second"
    curve "$first-$second" | cut -d' ' -f1,2 >got
    check_close 5e-4 "5 steps on $first, 5 on $second" got want
done
check_exit 0 "$REMLA" train "${options[@]}" train.out=bf16-cpu train.stop_after=5 device.kind=cuda
check_exit 0 "$REMLA" train "${options[@]}" train.out=bf16-cpu device.kind=cpu
curve bf16-cpu | cut -d' ' -f1,2 >got
check_close 3e-2 "5 steps in bf16, 5 on the CPU" got want
# Interrupted on the device: the same bits as if it had not been.
check_exit 0 "$REMLA" train "${options[@]}" train.out=parts train.stop_after=4 device.kind=cuda
check_exit 0 "$REMLA" train "${options[@]}" train.out=parts device.kind=cuda
cmp <(curve mla-bf16) <(curve parts) >&2 || fail "10 = 4 + 6 on a device: the curves differ"
check_same_files "10 = 4 + 6 on a device" mla-bf16/checkpoints/step-00000010 parts/checkpoints/step-00000010

# What the streams do in which order, and in which order a kernel's blocks and threads run, changes no bit.
options=(mla.yaml train.steps=3 train.micro_batch=4 val.tokens=32)
check_exit 0 "$REMLA" train "${options[@]}" train.out=whole device.kind=cuda
weights out >want
for seed in 1 2 3 4 5 6 7 8; do
    check_exit 0 env FAKECUDA_LAZY=$seed SIMT_SEED=$seed "$REMLA" train "${options[@]}" train.out=seed-$seed device.kind=cuda
    weights out >got
    cmp want got >&2 || fail "streams in order $seed give other weights"
done

# Moments and masters in the host's memory, streamed through the device: the same bits, and checkpoints that go from one to the other.
check_exit 0 env FAKECUDA_LAZY=9 SIMT_SEED=9 "$REMLA" train "${options[@]}" train.out=offload device.kind=cuda optim.offload=true
grep -q "^optim.offload: [0-9.]* MiB of states in the host's memory, [0-9.]* MiB on the device" out || fail "optim.offload: $(cat out)"
weights out >got
cmp want got >&2 || fail "states that are streamed give other weights"
cmp <(curve whole) <(curve offload) >&2 || fail "states that are streamed: the curves differ"
for way in "true false" "false true"; do
    read -r first second <<<"$way"
    check_exit 0 "$REMLA" train "${options[@]}" train.out="offload-$first" device.kind=cuda train.stop_after=2 optim.offload="$first"
    check_exit 0 env FAKECUDA_LAZY=2 "$REMLA" train "${options[@]}" train.out="offload-$first" device.kind=cuda optim.offload="$second"
    weights out >got
    cmp want got >&2 || fail "3 = 2 + 1 steps, optim.offload=$first, then $second: other weights"
done
check_exit 0 "$REMLA" train "${options[@]}" train.out=offload-cpu device.kind=cpu optim.offload=true train.steps=1
grep -q "^optim.offload: moments are in the host's memory anyway" out || fail "optim.offload on the CPU: $(cat out)"

# Ranks: the program itself refuses a checkpoint when their weights differ.
options=(mla.yaml train.steps=10 train.micro_batch=4 val.tokens=32)
check_exit 0 ranks 2 env FAKECUDA_LAZY=3 SIMT_SEED=3 "$REMLA" train "${options[@]}" train.out=two "${cuda[@]}"
weights out >want
curve two | cut -d' ' -f1,2 >got
expected mla >wanted
check_close 5e-4 "two ranks" got wanted
for seed in 4 5; do
    check_exit 0 ranks 2 env FAKECUDA_LAZY=$seed SIMT_SEED=$seed "$REMLA" train "${options[@]}" train.out=two-$seed "${cuda[@]}"
    weights out >got
    cmp want got >&2 || fail "two ranks with streams in order $seed give other weights"
done

# Exact sums: one rank's bits on two and four, whatever is cut, sent in bf16 too, with states that are streamed.
options=(mla.yaml train.steps=3 train.micro_batch=2 val.tokens=32 parallel.sum=exact device.kind=cuda)
for type in f32 bf16; do
    check_exit 0 "$REMLA" train "${options[@]}" train.out=exact-$type parallel.reduce_type=$type
    weights out >want
    for way in "2 1 false" "2 3 true" "4 2 false"; do
        read -r n zero offload <<<"$way"
        check_exit 0 ranks "$n" env FAKECUDA_LAZY=$((n + zero)) SIMT_SEED=3 "$REMLA" train "${options[@]}" train.out="exact-$type-$n-$zero" \
            parallel.reduce_type=$type parallel.zero="$zero" optim.offload="$offload"
        weights out >got
        cmp want got >&2 || fail "exact sums sent as $type, $n ranks, parallel.zero=$zero: other weights"
        cmp <(curve exact-$type) <(curve "exact-$type-$n-$zero") >&2 || fail "exact sums sent as $type, $n ranks, parallel.zero=$zero: the curves differ"
    done
done

# Without a device: auto says so and computes on the CPU; requested, it is an error.
options=(mla.yaml train.micro_batch=4 val.tokens=32)
check_exit 0 env FAKECUDA_DEVICES=0 "$REMLA" train "${options[@]}" train.out=none train.steps=1
grep -q '^device the CPU: ' out || fail "auto without a device: $(cat out)"
check_exit 4 env FAKECUDA_DEVICES=0 "$REMLA" train "${options[@]}" train.out=none2 train.steps=1 device.kind=cuda
grep -q 'device.kind=cuda' err || fail "no device: $(cat err)"
check_exit 2 "$REMLA" train "${options[@]}" train.out=none3 device.storage=f32 device.kind=cuda device.attention=cudnn
grep -q 'cudnn' err || fail "cuDNN in f32: $(cat err)"
