/* A matrix for each head. Its rows lie along what is summed (dots), or, transposed, along what comes out
 * (mix): kernels/cpu/products.h. */
#include "kernels/cpu/products.h"

enum { BLOCK_ROWS = 4 * ROWS };

/* Head h of `rows` rows from n on. */
static void block(tensor *out, const tensor *inp, const tensor *weight, bool transposed, int64_t n,
                  int64_t rows, int64_t h)
{
    const int64_t K = inp->dim[2], O = out->dim[2];
    const real *w = (const real *)weight->data + h * weight->stride[0],
               *x = (const real *)inp->data + n * inp->stride[0] + h * inp->stride[1];
    real *y = (real *)out->data + n * out->stride[0] + h * out->stride[1];
    if (transposed) {
        real *to[BLOCK_ROWS];
        for (int64_t r = 0; r < rows; r++) {
            to[r] = y + r * out->stride[0];
            memset(to[r], 0, (size_t)O * sizeof **to);
        }
        mix(rows, to, O, x, inp->stride[0], w, weight->stride[1], K);
    } else {
        const real *from[BLOCK_ROWS];
        for (int64_t r = 0; r < rows; r++) from[r] = x + r * inp->stride[0];
        dots(rows, y, out->stride[0], from, w, weight->stride[1], O, K);
    }
}

void CPU(heads_matmul)(tensor *out, const tensor *inp, const tensor *weight, bool transposed, stream *s)
{
    (void)s;
    const int64_t N = inp->dim[0], H = inp->dim[1], K = inp->dim[2], O = weight->dim[transposed ? 2 : 1];
    REQUIRE_SHAPE(inp, REAL_TYPE, N, H, K);
    REQUIRE_SHAPE(out, REAL_TYPE, N, H, O);
    REQUIRE_SHAPE(weight, REAL_TYPE, H, transposed ? K : O, transposed ? O : K);
    const int64_t blocks = blocks_of(N, BLOCK_ROWS);
#pragma omp parallel for schedule(dynamic) if (N * H * K * O >= SHARED)
    for (int64_t i = 0; i < H * blocks; i++) {
        const int64_t n = i % blocks * BLOCK_ROWS;
        block(out, inp, weight, transposed, n, smaller(BLOCK_ROWS, N - n), i / blocks);
    }
}
