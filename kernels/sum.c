/* Sums of all elements in double. Blocks of fixed size are summed on all threads, then their sums are
 * added up in order by one: which thread had a block changes no bit. */
#include "kernels/cpu/cpu.h"

enum {
    BLOCK = 4096, /* elements per partial sum */
    BATCH = 1024  /* partial sums that exist at a time */
};

static double block_sum(const real *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}

static double block_squares(const real *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void total(const char *function, tensor *result, const tensor *inp,
                  double (*sum_of)(const real *x, int64_t n))
{
    tensor_require_shape(function, result, F64, 1, (int64_t[]){1});
    tensor_require_shape(function, inp, REAL_TYPE, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    const real *x = inp->data;
    const int64_t n = tensor_numel(inp), num_blocks = (n + BLOCK - 1) / BLOCK;
    double sum = *(double *)result->data, partial[BATCH];
    for (int64_t first = 0; first < num_blocks; first += BATCH) {
        const int64_t count = num_blocks - first < BATCH ? num_blocks - first : BATCH;
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            const int64_t from = (first + i) * BLOCK;
            partial[i] = sum_of(x + from, n - from < BLOCK ? n - from : BLOCK);
        }
        for (int64_t i = 0; i < count; i++) sum += partial[i];
    }
    *(double *)result->data = sum;
}

void CPU(sum)(tensor *result, const tensor *inp, stream *s)
{
    (void)s;
    total(__func__, result, inp, block_sum);
}

void CPU(squared_norm)(tensor *result, const tensor *inp, stream *s)
{
    (void)s;
    total(__func__, result, inp, block_squares);
}
