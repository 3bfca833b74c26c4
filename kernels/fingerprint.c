/* A hash that adds up (base/fingerprint.h): blocks are summed on all threads, in any order. */
#include "base/fingerprint.h"
#include "kernels/cpu/cpu.h"

enum { BLOCK = 4096 }; /* elements of a thread at a time */

#ifdef REAL_IS_DOUBLE
static uint64_t block_of(const double *x, int64_t count, int64_t first)
{
    float narrow[BLOCK];
    for (int64_t i = 0; i < count; i++) narrow[i] = (float)x[i];
    return fingerprint_f32(narrow, count, first);
}
#else
static uint64_t block_of(const float *x, int64_t count, int64_t first)
{
    return fingerprint_f32(x, count, first);
}
#endif

void CPU(fingerprint)(tensor *sum, const tensor *inp, int64_t first, stream *s)
{
    (void)s;
    REQUIRE_SHAPE(sum, U64, 1);
    tensor_require_shape(__func__, inp, REAL_TYPE, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    REQUIRE(first >= 0, "%s begins at %lld", inp->name, (long long)first);
    const real *x = inp->data;
    const int64_t n = tensor_numel(inp), blocks = (n + BLOCK - 1) / BLOCK;
    uint64_t all = 0;
#pragma omp parallel for schedule(static) reduction(+ : all) if (n > SHARED)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t from = b * BLOCK, left = n - from;
        all += block_of(x + from, left < BLOCK ? left : BLOCK, first + from);
    }
    *(uint64_t *)sum->data += all;
}
