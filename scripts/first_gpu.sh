#!/usr/bin/env bash
# scripts/first_gpu.sh [MODEL SHARDS]: the first hour on a machine with an NVIDIA GPU. Builds the preset cuda, then: the tests on the GPU; NVIDIA's
# four checkers over the op tests; cuDNN against flash against unfused; 50 training steps against the CPU's losses; the same
# twice, and on two GPUs; at last speed, of training and of decoding. One verdict table at the end (build/first_gpu/verdict.txt), everything else in files beside it. MODEL (an MLA model
# folder) and SHARDS to train on: those of scripts/demo.sh where they are, else the tiny model of the tests. Goes on after a failure; exit code 3 if anything failed.
# REHEARSAL=FOLDER: the same on the emulator (preset emu, which must have been built), results in FOLDER; tests/e2e/first_gpu.sh does so, with tools of its own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=cuda out=$ROOT/build/first_gpu
[ -z "${REHEARSAL:-}" ] || preset=emu out=$REHEARSAL
remla=$ROOT/build/$preset/remla
table=$out/verdict.txt
failures=0
rm -rf "$out"
mkdir -p "$out"

# row WHAT VERDICT DETAIL
row() {
    printf '%-44s %-8s %s\n' "$@" | tee -a "$table"
    [ "$2" != FAILED ] || failures=$((failures + 1))
}

# check WHAT LOG COMMAND...: a row; the command's output goes to LOG.
check() {
    local what=$1 log=$out/$2
    shift 2
    say "$what"
    if "$@" >"$log" 2>&1; then row "$what" passed "$(tail -n 1 "$log")"; else row "$what" FAILED "see $log"; fi
}

PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
command -v nvidia-smi >/dev/null || stop "there is no nvidia-smi: this script is for a machine with an NVIDIA GPU and its driver"
# What a program sees of them: one where MIG divides them, and what CUDA_VISIBLE_DEVICES leaves.
listed=$(nvidia-smi --list-gpus)
gpus=$(grep -c '^GPU ' <<<"$listed") || true
! grep -q '^ *MIG ' <<<"$listed" || gpus=1
if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    left=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .) || true
    [ "$left" -ge "$gpus" ] || gpus=$left
fi
[ "$gpus" -gt 0 ] || stop "nvidia-smi lists no GPU, or CUDA_VISIBLE_DEVICES leaves none"
nvidia-smi >"$out/nvidia-smi.txt"
say "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1), $gpus in all"
[ $preset != cuda ] || bash "$ROOT/scripts/build.sh" cuda

# ---- 1 the tests, on the GPU ----------------------------------------------------------------------------------------
cd "$ROOT"
few=(env OMP_NUM_THREADS=4) # small tests take longer on all cores of a large machine
check "op tests, every table" tests.log "${few[@]}" ctest --preset $preset -R '^(base|kernels|model|optim|eval|train)/'
if [ $preset = cuda ] && unseen=$(grep -m 1 'the CUDA tables are not tested' "$ROOT/build/cuda/Testing/Temporary/LastTest.log" 2>/dev/null); then
    row "op tests saw the GPU" FAILED "$unseen"
fi

# ---- 2 NVIDIA's checkers --------------------------------------------------------------------------------------------
# Tests fork, and cuBLAS and cuDNN ask CUDA for what may not be there: neither is an error. What happens inside their kernels is NVIDIA's business, takes long
# to check and raises false alarms; but memcheck sees what they are made to touch, and initcheck what they write. (Filters by name: CUDA 12.3 and later.)
sanitizer=("${few[@]}" compute-sanitizer --error-exitcode 9 --require-cuda-init=no --target-processes application-only --report-api-errors no)
ours=()
for library in cublas cudnn cutlass gemm gemv nvjet splitK; do ours+=(--kernel-name-exclude "kns=$library"); done
# Such a test says so by 77, of which a checker may make another code.
nothing_to_do() {
    local code=0
    timeout 900 "${few[@]}" "$1" >/dev/null 2>&1 || code=$?
    [ $code = 77 ]
}
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck initcheck; do
        filter=()
        [[ $tool != @(racecheck|synccheck) ]] || filter=("${ours[@]}")
        for test in "$ROOT/build/$preset/tests"/kernels_*test_*; do
            name=$(basename "$test")
            code=0
            timeout 900 "${sanitizer[@]}" --tool "$tool" "${filter[@]}" "$test" >"$out/$tool-$name.log" 2>&1 || code=$?
            [ $code = 0 ] || [ $code = 77 ] || { [ $code != 9 ] && nothing_to_do "$test"; } || echo "$name" >>"$out/$tool.bad"
        done
        if [ -e "$out/$tool.bad" ]; then row "compute-sanitizer $tool" FAILED "$(tr '\n' ' ' <"$out/$tool.bad")"; else row "compute-sanitizer $tool" passed "op tests"; fi
    done
else
    row "compute-sanitizer" FAILED "it is missing: install the CUDA toolkit's package for it"
fi

# ---- 3 to 5 whole models ---------------------------------------------------------------------------------------------
if [ $# = 2 ]; then
    model=$1 shards=$2 seq_len=512
elif [ $preset = cuda ] && [ -e "$ROOT/build/demo/mla/config.json" ]; then
    model=$ROOT/build/demo/mla shards="$ROOT/build/demo/tokens/train/*.ds.zst" seq_len=512
else
    model=$out/mla shards=$ROOT/tests/golden/train.ds seq_len=32 # heads that cuDNN and flash can do
    "$remla" convert "$ROOT/tests/golden/gqa" "$model" calib.data="$shards" calib.seq_len=32 convert.qk_rope_head_dim=8 convert.kv_lora_rank=16 convert.freqfold=1 \
        convert.dtype=f32 >"$out/convert.log" 2>&1 || stop "the model of the tests cannot be converted: see $out/convert.log"
fi
cat >"$out/run.yaml" <<YAML
model: { path: $model }
data: { train: "$shards" }
train: { steps: 50, seq_len: $seq_len, batch_tokens: $((8 * seq_len)), micro_batch: 2 }
optim: { lr: 1.0e-4, warmup: 5 }
checkpoint: { every: 0, keep: 1 }
YAML

train() { # NAME OPTION...
    "$remla" train "$out/run.yaml" train.out="$out/$1" "${@:2}"
}

losses() { # NAME
    sed -n 's/^{"step": \([0-9]*\), "loss": \([^,]*\),.*/\1 \2/p' "$out/$1/metrics.jsonl"
}

# apart LIMIT NAME NAME: prints how far two curves are apart at most, relatively; fails beyond LIMIT.
apart() {
    paste <(losses "$2") <(losses "$3") | awk -v limit="$1" '
        { d = ($2 - $4) / $4; if (d < 0) d = -d; if (d > most) { most = d; at = $1 } }
        END { printf "%d steps, at most %.2e apart (step %d; allowed %g)\n", NR, most, at, limit; exit !(NR == 50 && most <= limit) }'
}

weights() { # NAME: the hash in the line of its last checkpoint
    grep -o 'weights [0-9a-f]*' "$out/$1.log" | tail -n 1
}

ran=()
check "50 steps on the CPU" cpu.log train cpu device.kind=cpu
for storage in f32 bf16; do
    for attention in unfused flash cudnn; do
        [ $storage-$attention != f32-cudnn ] || continue
        name=$storage-$attention
        if train "$name-asked" device.kind=cuda device.storage=$storage device.attention=$attention data.document_mask=false train.stop_after=1 >"$out/$name.asked" 2>&1 ||
            ! grep -q "device.attention=$attention does not do" "$out/$name.asked"; then
            check "50 steps, $storage, $attention" "$name.log" train "$name" device.kind=cuda device.storage=$storage device.attention=$attention data.document_mask=false
            ran+=("$name")
        else
            row "50 steps, $storage, $attention" skipped "$(tail -n 1 "$out/$name.asked")"
        fi
    done
done
check "50 steps on the CPU, no documents" cpu-plain.log train cpu-plain device.kind=cpu data.document_mask=false
for name in "${ran[@]}"; do
    [[ $name == f32-* ]] && limit=5e-4 || limit=3e-2
    check "$name against the CPU" "$name.apart" apart "$limit" "$name" cpu-plain
done
check "50 steps with documents, as a run would" auto.log train auto device.kind=cuda
check "that against the CPU" auto.apart apart 3e-2 auto cpu
check "the same again" again.log train again device.kind=cuda
# same WHAT NAME NAME: both have left weights, the same.
same() {
    if [ -n "$(weights "$2")" ] && [ "$(weights "$2")" = "$(weights "$3")" ]; then row "$1" passed "$(weights "$2")"; else row "$1" FAILED "$(weights "$2"), then $(weights "$3")"; fi
}
same "runs repeat bit for bit" auto again
for way in "cpu cuda" "cuda cpu"; do # 25 steps on one, 25 on the other
    read -r first second <<<"$way"
    check "25 steps on $first, 25 on $second" "$first-$second.log" train "$first-$second" device.kind="$first" train.stop_after=25
    check "... going on" "$first-$second.log2" train "$first-$second" device.kind="$second"
    check "... against the CPU" "$first-$second.apart" apart 3e-2 "$first-$second" cpu
done

# ---- 6 two GPUs: a checkpoint is refused where the ranks' weights differ -------------------------------------------------
if [ "$gpus" -ge 2 ]; then
    two() { NCCL_DEBUG=INFO NCCL_DEBUG_FILE="$out/$1.nccl.%h.%p" mpirun -np 2 --oversubscribe --bind-to none "$remla" train "$out/run.yaml" train.out="$out/$1" device.kind=cuda; }
    check "50 steps on two GPUs" two.log two two
    check "that against one" two.apart apart 3e-2 two auto
    check "the same again" two-again.log two two-again
    same "two GPUs repeat bit for bit" two two-again
else
    row "two GPUs" skipped "there is one"
fi

# ---- 7 speed ----------------------------------------------------------------------------------------------------------
step=$ROOT/build/$preset/bench/step
large=(--shape llama2-7b --layers 4 --batch 1 --seq-len 4096 --steps 10) small=(--batch 8 --seq-len 2048 --steps 10)
[ $preset = cuda ] || large=(--layers 1 --batch 1 --seq-len 16 --steps 1) small=("${large[@]}")
for attention in auto flash; do
    check "speed: 4 layers of Llama-2-7B, 4096, $attention" "speed-$attention.log" "$step" "${large[@]}" device.kind=cuda device.attention=$attention
done
check "speed: 140M model, 8 x 2048" speed-small.log "$step" "${small[@]}" device.kind=cuda
if [ $preset = cuda ]; then # the emulator takes too long over so many positions
    for shape in smollm2 llama2-7b; do
        check "speed: decoding, $shape" "decode-$shape.csv" "$ROOT/build/cuda/bench/decode" --only $shape --longest 8192 --sequences 16 --seconds 0.2 device.kind=cuda
    done
fi

say "verdict (also in $table)"
cat "$table"
[ "$failures" = 0 ] || stop "$failures of the checks failed"
