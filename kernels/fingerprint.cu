/* A hash that adds up (base/fingerprint.h). 4 (bf16: 2) bytes per element, read once. Its products of 64 bits
 * are about 25 instructions an element, which on paper take longer than the memory. A thread adds up EACH
 * elements at a time; threads of a block are added by shuffles, blocks by atomic additions, which have one
 * result in any order, for they are of whole numbers. */
#include "base/splitmix.h"
#include "kernels/cuda/kernel.h"

enum { THREADS = 256, EACH = 16, PIECE = THREADS * EACH, MAX_BLOCKS = 2048 };

template <class T>
static __global__ void __launch_bounds__(THREADS)
    add_fingerprints(unsigned long long *sum, const T *inp, int64_t n, unsigned long long first)
{
    unsigned long long own = 0;
    for (int64_t from = (int64_t)blockIdx.x * PIECE; from < n; from += (int64_t)gridDim.x * PIECE) {
        float x[EACH];
        for (int j = 0; j < EACH; j++) {
            const int64_t i = from + j * THREADS + threadIdx.x;
            x[j] = i < n ? to_float(inp[i]) : 0;
        }
        for (int j = 0; j < EACH; j++) {
            const int64_t i = from + j * THREADS + threadIdx.x;
            if (i < n) own += splitmix(__float_as_uint(x[j]), first + (uint64_t)i);
        }
    }
    own = block_sum<THREADS>(own);
    if (threadIdx.x == 0) atomicAdd(sum, own);
}

template <class T> static void fingerprint_of(tensor *sum, const tensor *inp, int64_t first, stream *s)
{
    const int64_t n = tensor_numel(inp);
    LAUNCH(add_fingerprints<T>, smaller(blocks_for(n, PIECE), MAX_BLOCKS), THREADS, 0, s,
           data<unsigned long long>(sum), data<T>(inp), n, (unsigned long long)first);
}

void CUDA(fingerprint)(tensor *sum, const tensor *inp, int64_t first, stream *s)
{
    REQUIRE_SHAPE(sum, U64, 1);
    REQUIRE(inp->type == ACT_TYPE || inp->type == F32, "%s is %s, expected %s or f32", inp->name,
            dtype_name(inp->type), dtype_name(ACT_TYPE));
    REQUIRE_CONTIGUOUS(inp);
    REQUIRE(first >= 0, "%s begins at %lld", inp->name, (long long)first);
    if (inp->type == F32)
        fingerprint_of<float>(sum, inp, first, s);
    else
        fingerprint_of<act>(sum, inp, first, s);
}
