/* out = a + b, for the residual stream and for sums. Blocks of fixed size, so that vector and leftover
 * elements are the same ones with any number of threads. */
#include "kernels/cpu/cpu.h"

enum { BLOCK = 4096 };

static void sum_of(real *out, const real *a, const real *b, int64_t n)
{
#pragma omp parallel for schedule(static) if (n >= SHARED)
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from < BLOCK ? n : from + BLOCK;
#pragma omp simd
        for (int64_t i = from; i < to; i++) out[i] = a[i] + b[i];
    }
}

void CPU(residual_forward)(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    (void)s;
    const int64_t N = out->dim[0], C = out->dim[1];
    REQUIRE_SHAPE(out, REAL_TYPE, N, C);
    REQUIRE_SHAPE(a, REAL_TYPE, N, C);
    REQUIRE_SHAPE(b, REAL_TYPE, N, C);
    REQUIRE_CONTIGUOUS(out);
    REQUIRE_CONTIGUOUS(a);
    REQUIRE_CONTIGUOUS(b);
    sum_of(out->data, a->data, b->data, N * C);
}

void CPU(add)(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    (void)s;
    const tensor *all[] = {out, a, b};
    for (int i = 0; i < 3; i++) {
        tensor_require_shape(__func__, all[i], REAL_TYPE, out->rank, out->dim);
        REQUIRE_CONTIGUOUS(all[i]);
    }
    sum_of(out->data, a->data, b->data, tensor_numel(out));
}
