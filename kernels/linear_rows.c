/* Linear layers whose rows have the same bits in any company (kernels/cpu/products.h). Work is a block of
 * outputs times a block of rows: the weights of a block stay in the second cache while its rows pass. With
 * few rows there is one block of rows, and each weight is read from memory once. */
#include "kernels/cpu/linear.h"
#include "kernels/cpu/products.h"
#include <omp.h>

enum {
    BLOCK_WEIGHTS = 1 << 16, /* weights of a block: a part of the second cache */
    BLOCK_ROWS = 16 * ROWS
};

/* Outputs of a block: what fits, and few enough that every thread gets several blocks. */
static int64_t block_outputs(int64_t K, int64_t O, int64_t threads)
{
    const int64_t count = smaller(blocks_of(O, 4 * threads), BLOCK_WEIGHTS / larger(K, 1));
    return blocks_of(larger(count, 1), COLUMNS) * COLUMNS;
}

/* Rows from n on, outputs from o on. */
static void block(const tensor *out, const tensor *inp, const tensor *weight, const tensor *bias, int64_t n,
                  int64_t rows, int64_t o, int64_t outputs)
{
    const int64_t K = inp->dim[1];
    const real *x[BLOCK_ROWS];
    for (int64_t r = 0; r < rows; r++) x[r] = (const real *)inp->data + (n + r) * inp->stride[0];
    real *y = (real *)out->data + n * out->stride[0] + o;
    dots(rows, y, out->stride[0], x, (const real *)weight->data + o * K, K, outputs, K);
    if (!bias) return;
    const real *add = (const real *)bias->data + o;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < outputs; i++) y[r * out->stride[0] + i] += add[i];
}

void CPU(linear_rows)(tensor *out, operand input, operand weights, const tensor *bias, stream *s)
{
    (void)s;
    const tensor *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    require_linear(__func__, out, inp, weight, bias);
    const int64_t outputs = block_outputs(K, O, omp_get_max_threads()), across = blocks_of(O, outputs),
                  count = across * blocks_of(N, BLOCK_ROWS);
#pragma omp parallel for schedule(dynamic) if (N * K * O >= SHARED)
    for (int64_t i = 0; i < count; i++) {
        const int64_t n = i / across * BLOCK_ROWS, o = i % across * outputs;
        block(out, inp, weight, bias, n, smaller(BLOCK_ROWS, N - n), o, smaller(outputs, O - o));
    }
}
