/* Rows of a table, and their gradient. The same token may come up many times, so backward is divided by
 * columns: each slice of columns walks all rows in order, and no two threads add to the same number. */
#include "kernels/cpu/cpu.h"
#include <string.h>

enum { SLICE = 64 }; /* columns: whole cache lines */

static void require_token(int32_t token, int64_t n, int64_t V)
{
    REQUIRE(token >= 0 && token < V, "token %d at row %lld, expected 0 to %lld", (int)token, (long long)n,
            (long long)V - 1);
}

static void forward(real *out, const int32_t *tokens, const real *weight, int64_t N, int64_t V, int64_t C)
{
#pragma omp parallel for schedule(static) if (N * C >= SHARED)
    for (int64_t n = 0; n < N; n++) {
        require_token(tokens[n], n, V);
        memcpy(out + n * C, weight + tokens[n] * C, (size_t)C * sizeof *out);
    }
}

static void backward(real *dweight, const real *dout, const int32_t *tokens, int64_t N, int64_t V, int64_t C)
{
    for (int64_t n = 0; n < N; n++) require_token(tokens[n], n, V);
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < C; from += SLICE) {
        const int64_t to = C - from < SLICE ? C : from + SLICE;
        for (int64_t n = 0; n < N; n++) {
            real *dw = dweight + tokens[n] * C;
            const real *d = dout + n * C;
#pragma omp simd
            for (int64_t c = from; c < to; c++) dw[c] += d[c];
        }
    }
}

void CPU(embedding_forward)(tensor *out, const tensor *tokens, const tensor *weight, stream *s)
{
    (void)s;
    const int64_t N = out->dim[0], C = out->dim[1], V = weight->dim[0];
    REQUIRE_SHAPE(out, REAL_TYPE, N, C);
    REQUIRE_SHAPE(tokens, I32, N);
    REQUIRE_SHAPE(weight, REAL_TYPE, V, C);
    REQUIRE_CONTIGUOUS(out);
    REQUIRE_CONTIGUOUS(weight);
    forward(out->data, tokens->data, weight->data, N, V, C);
}

void CPU(embedding_backward)(tensor *dweight, const tensor *dout, const tensor *tokens, stream *s)
{
    (void)s;
    const int64_t N = dout->dim[0], C = dout->dim[1], V = dweight->dim[0];
    REQUIRE_SHAPE(dweight, REAL_TYPE, V, C);
    REQUIRE_SHAPE(dout, REAL_TYPE, N, C);
    REQUIRE_SHAPE(tokens, I32, N);
    REQUIRE_CONTIGUOUS(dweight);
    REQUIRE_CONTIGUOUS(dout);
    backward(dweight->data, dout->data, tokens->data, N, V, C);
}
