#!/usr/bin/env bash
# tests/emu/plant.sh [BUG...]: do the tests on the emulator still find what they are there for? Plants one bug at a time (all of them, or those that are
# named) in a copy of the sources, builds what it concerns, and runs it in the ways in which CI runs the tests, until one of them notices. Prints what
# noticed; exit code 1 when nothing did. First the same runs without a bug, which must pass. About twenty minutes on two cores; the copy and its
# builds stay in build/plant.
# tests/emu/plant.sh --places [BUG...] plants nothing: it says which bugs no longer have a place in the sources, in a second. A run begins with it.
# shellcheck disable=SC2016  # single quotes hold Perl
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"
places_only="" verdict=noticed
if [ "${1:-}" = --places ]; then places_only=1 verdict="have a place" && shift; fi
copy=$ROOT/build/plant
wanted=" $* "
missed=0 planted=0
text=$(mktemp)
trap 'rm -f "$text"' EXIT
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OMPI_MCA_btl_vader_single_copy_mechanism=none
unset SIMT_SEED FAKECUDA_LAZY FAKECUDA_PROTECT

build() { # PRESET TARGET
    [ -e "$copy/build/$1/build.ninja" ] || (cd "$copy" && cmake --preset "$1") >"$copy/log" 2>&1 || { cat "$copy/log" >&2; stop "$1 cannot be configured"; }
    ninja -C "$copy/build/$1" "$2" >"$copy/log" 2>&1 || { tail -n 20 "$copy/log" >&2; stop "$2 cannot be built with preset $1"; }
}

# Ways of running a test of kernels. Each fails when it notices something.
plain() { build emu "$1" && "$copy/build/emu/tests/$1"; }
seeds() {
    local seed
    build emu "$1"
    for seed in 1 2; do SIMT_SEED=$seed FAKECUDA_LAZY=$seed "$copy/build/emu/tests/$1" || return; done
}
asan() { build emu-asan "$1" && FAKECUDA_PROTECT=0 SIMT_SEED=1 ASAN_OPTIONS=detect_leaks=0 setarch -R "$copy/build/emu-asan/tests/$1"; }
tsan() { build emu-tsan "$1" && FAKECUDA_PROTECT=0 SIMT_SEED=1 TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1 setarch -R "$copy/build/emu-tsan/tests/$1"; }

# Ways of running the program. Its losses are known (tests/golden); so are its weights, whatever the streams do.
expected() { awk '$1 == "train" && $2 == "gqa" && $3 <= 3 { print $4 }' "$ROOT/tests/golden/expected.txt"; }
more=() # options of a run
train() { # COMMAND-PREFIX...: three steps; their losses within 5e-4, nothing left behind
    rm -rf "$copy/run"
    cat >"$copy/run.yaml" <<YAML
model: { path: $ROOT/tests/golden/gqa }
data: { train: $ROOT/tests/golden/train.ds, document_mask: true }
train: { steps: 3, seq_len: 32, batch_tokens: 256, micro_batch: 4, seed: 7, out: $copy/run }
optim: { lr: 0.02, min_lr: 0.002, warmup: 3, schedule: cosine, beta1: 0.9, beta2: 0.95, eps: 1.0e-8, weight_decay: 0.1, clip: 0.7 }
device: { kind: cuda, storage: f32, attention: unfused }
YAML
    "$@" "$copy/build/emu/remla" train "$copy/run.yaml" "${more[@]}" >"$copy/train.log" 2>&1 || { tail -n 3 "$copy/train.log"; return 1; }
    ! grep -m 1 FAKECUDA "$copy/train.log" || return 1
    sed -n 's/^{"step": [0-9]*, "loss": \([^,]*\),.*/\1/p' "$copy/run/metrics.jsonl" | paste - <(expected) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= 5e-4 * $2)) { print "loss " $1 " instead of " $2; bad = 1 } } END { exit bad || NR < 3 }'
}
curve() { build emu "$1" && train env; }
lazy() {
    local seed
    build emu "$1"
    for seed in 1 2 3 4 5 6 7 8; do train env FAKECUDA_LAZY=$seed SIMT_SEED=$seed || return; done
}
ranks() { # two of them: a checkpoint is refused where their weights differ
    local seed
    build emu "$1"
    for seed in 1 2 3 4 5 6 7 8; do train env FAKECUDA_LAZY=$seed SIMT_SEED=$seed mpirun -q --oversubscribe --bind-to none -n 2 || return; done
}
cut() { # the same with cut weights, and gradients of each micro-batch
    local more=(train.micro_batch=2 parallel.zero=3 parallel.sum=exact)
    ranks "$1"
}

# with_bug FILE PERL-SUBSTITUTION: writes the file with the bug to $text; fails when the bug has no place there
with_bug() { perl -0pe "$2" <"$ROOT/$1" >"$text" && ! cmp -s "$text" "$ROOT/$1"; }

# bug NAME FILE PERL-SUBSTITUTION TARGET WAY...
bug() {
    local name=$1 file=$2 edit=$3 target=$4 way
    shift 4
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    planted=$((planted + 1))
    if ! with_bug "$file" "$edit"; then
        echo "$name: $file has changed, the bug no longer has a place there"
        missed=$((missed + 1))
        return 0
    fi
    [ -z "$places_only" ] || return 0
    cp "$text" "$copy/$file"
    build emu "$target" # a bug that does not compile is none
    for way in "$@"; do
        if ! (set +e; "$way" "$target") >"$copy/said" 2>&1; then
            printf '%-30s %-6s %s\n' "$name" "$way" "$(grep -m 1 -aE 'ERROR|LEAK|race|differ|instead|FAILED|error' "$copy/said" | cut -c1-120)"
            way=
            break
        fi
    done
    cp "$ROOT/$file" "$copy/$file"
    [ -n "$way" ] || return 0
    missed=$((missed + 1))
    printf '%-30s NOT NOTICED by %s\n' "$name" "$*"
}

if [ -z "$places_only" ]; then
    bash "${BASH_SOURCE[0]}" --places "$@"
    mkdir -p "$copy"
    # Only what differs, with the time of now: a bug that an interrupted run has left behind must be built away.
    git -C "$ROOT" ls-files | while read -r file; do
        cmp -s "$ROOT/$file" "$copy/$file" || { mkdir -p "$copy/$(dirname "$file")" && cp "$ROOT/$file" "$copy/$file"; }
    done

    say "without a bug"
    for target in kernels_test_rmsnorm kernels_test_head_loss kernels_test_swiglu kernels_test_sum kernels_test_fingerprint kernels_test_transfer kernels_test_attention; do
        for way in plain seeds asan tsan; do "$way" $target >"$copy/said" 2>&1 || { tail -n 5 "$copy/said"; stop "$target fails ($way)"; }; done
    done
    for way in curve lazy ranks; do "$way" remla >"$copy/said" 2>&1 || { tail -n 5 "$copy/said"; stop "training fails ($way)"; }; done
fi

say "bugs in kernels"
all=(plain seeds asan tsan)
barrier='s/\n *__syncthreads\(\)[^\n]*//'
bug sums_without_barrier kernels/rmsnorm.cu 's/(\n    \}\n)    __syncthreads\(\);\n(    for \(int c = threadIdx)/$1$2/' kernels_test_rmsnorm "${all[@]}"
bug reduction_reused_too_soon kernels/cuda/kernel.h "$barrier" kernels_test_rmsnorm "${all[@]}"
bug gradient_over_unread_logits kernels/head_loss.cu 's/\n *__syncthreads\(\); \/\* the piece has been read[^\n]*//' kernels_test_head_loss "${all[@]}"
bug one_element_too_many kernels/swiglu.cu 's/if \(i >= n\) return/if (i > n) return/g' kernels_test_swiglu "${all[@]}"
bug shared_array_too_short kernels/cuda/kernel.h 's/part\[threadIdx\.x \/ WARP\] = x/part[threadIdx.x \/ WARP + 1] = x/' kernels_test_rmsnorm "${all[@]}"
bug barrier_in_a_branch kernels/cuda/kernel.h 's/(threadIdx\.x % WARP == 0\)) part\[threadIdx\.x \/ WARP\] = x;\n *__syncthreads\(\);/$1 {\n part[threadIdx.x \/ WARP] = x;\n __syncthreads();\n }/' kernels_test_rmsnorm "${all[@]}"
bug shuffle_without_all_lanes kernels/rmsnorm.cu 's/if \(n >= N\) return;/if (n >= N || (lane > 0 && lane >= C)) return;/' kernels_test_rmsnorm "${all[@]}"
bug blocks_share_a_sum kernels/sum.cu 's/partial\[blockIdx\.x\] = sum/partial[0] = sum/' kernels_test_sum "${all[@]}"
bug blocks_overwrite_a_sum kernels/fingerprint.cu 's/atomicAdd\(sum, own\)/*sum = own/' kernels_test_fingerprint "${all[@]}"
bug tile_not_waited_for kernels/cuda/attention/attention_flash_backward.cu 's/cp_async_wait<0>/cp_async_wait<1>/' kernels_test_attention "${all[@]}"
bug key_of_the_future kernels/cuda/attention/attention_flash.h 's/key <= query;/key <= query + 1;/' kernels_test_attention "${all[@]}"
bug scores_not_waited_for kernels/cuda/attention/attention_decode.cu 's/__syncthreads\(\); (\/\* all warps)/$1/' kernels_cuda_attention_test_attention_decode "${all[@]}"
bug rows_of_nobody kernels/cuda/attention/attention_decode_tiles.h 's/mine < end\) slot/mine < (end + page - 1) \/ page * page) slot/' kernels_cuda_attention_test_attention_decode "${all[@]}"

say "bugs on the host"
bug sums_not_waited_for optim/shard_gradients.c 's/\n *comm_wait\(s->c, s->reduced\);(\n\}\n\ntensor)/$1/' remla ranks
bug weights_not_waited_for optim/shard_weights.c 's/\n *comm_wait\(s->c, s->gathered\[u\]\);//' remla ranks
bug unit_not_waited_for optim/shard_weights.c 's/(x->last = p;\n) *comm_wait\([^\n]*/$1/' remla cut
bug unit_sum_not_waited_for optim/shard_gradients.c 's/\n *comm_wait\(s->c, here->ticket\);//' remla cut
bug ranks_do_not_wait base/cuda/comm_nccl.c 's/\n *CUDA_OK\(cudaStreamWaitEvent\(d->communication[^\n]*//' remla ranks
bug nobody_waits_for_ranks base/cuda/comm_nccl.c 's/CUDA_OK\(cudaStreamWaitEvent\(d->compute\.cuda[^\n]*/(void)d;/' remla ranks
bug another_call_waited_for base/cuda/comm_nccl.c 's/done\[ticket\.call % EVENTS\], 0/done[(ticket.call - 1) % EVENTS], 0/' base_cuda_test_comm_nccl plain
bug every_call_waited_for base/cuda/comm_nccl.c 's/done\[ticket\.call % EVENTS\], 0/done[ranks.calls % EVENTS], 0/' base_cuda_test_comm_nccl plain
bug calls_not_seen_through base/cuda/comm_nccl.c 's/result = poll_call\(result\);/if (result == ncclInProgress) return;/' remla ranks
bug copy_not_waited_for base/cuda/copies.c 's/CUDA_OK\(cudaStreamWaitEvent\(d->compute\.cuda, [^\n]*/(void)c;/' base_cuda_test_copies plain
bug copied_before_computed base/cuda/copies.c 's/\n *CUDA_OK\(cudaStreamWaitEvent\(s->cuda, d->copies\.computed[^\n]*//' base_cuda_test_copies plain
bug filled_before_emptied base/cuda/copies.c 's/\n *CUDA_OK\(cudaStreamWaitEvent\(in, c->left[^\n]*//' base_cuda_test_copies plain
bug states_not_waited_for optim/states.c 's/\n *device_wait\([^\n]*//' optim_cuda_test_states plain
bug states_fetched_too_early optim/states.c 's/i < STATE_SLOTS - 1/i < STATE_SLOTS/' optim_cuda_test_states plain
bug states_read_too_soon optim/states.c 's/\n *device_copies_finish\([^\n]*//g' optim_cuda_test_states plain
bug slot_used_too_soon base/cuda/staging.c 's/\n *staging_wait\(s, slot\);\n *return slot;/\n    return slot;/' kernels_test_transfer plain seeds
bug read_too_soon kernels/transfer.cu 's/\n *staging_wait\(s, slots[^\n]*//' remla curve lazy
bug gradients_never_cleared optim/shard_gradients.c 's/\n *if \(!s->grad_held\[u\] && s->micro_batch <= 0\)[^\n]*//' remla curve
bug moments_never_cleared optim/states.c 's/k->zero\(t, k->stream\)/(void)k/' remla curve
bug copy_too_long kernels/transfer.cu 's/workspace<H>\(s, count\);\n(.*?)\(size_t\)bytes, cudaMemcpyHostToDevice/workspace<H>(s, count);\n$1(size_t)bytes + STAGING_BYTES, cudaMemcpyHostToDevice/s' kernels_test_transfer plain
bug null_stream base/cuda/vectors.h 's/\(s\)->cuda/((s)->cuda ? (cudaStream_t)0 : (s)->cuda)/' kernels_test_swiglu plain
bug pointer_of_the_host kernels/clip.cu 's/data<double>\(squares\), m, mean/\&mean, m, mean/' remla curve
bug host_writes_device_memory base/arena.c 's/(a->base = device_reserve\([^\n]*\n)/$1    a->base[0] = 0;\n/' remla curve
bug memory_never_given_back base/arena.c 's/device_release\(a->device, a->base\)/(void)0/' remla curve
bug memory_used_after_release train/training.c 's/(    arena_release\(&t->optimizer_arena\);\n)/$1    t->m.k->zero(\&t->opt.squares, t->m.k->stream);\n/' remla curve

[ "$planted" -gt 0 ] || CODE=2 stop "there is no bug of that name"
say "$((planted - missed)) of $planted bugs $verdict"
[ "$missed" = 0 ] || exit 1
