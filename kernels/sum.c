/* Sums in double, of all elements or of equal parts. Blocks of fixed size, which begin anew in every part,
 * are summed on all threads, then their sums are added up in order by one: which thread had a block changes
 * no bit. */
#include "kernels/cpu/cpu.h"
#include <string.h>

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

/* Adds to sum[i] that of the i-th of `parts` equal parts of inp. */
static void add_sums(const char *function, double *sum, int64_t parts, const tensor *inp,
                     double (*sum_of)(const real *x, int64_t n))
{
    tensor_require_shape(function, inp, REAL_TYPE, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    REQUIRE(tensor_numel(inp) % parts == 0, "%s has %lld elements, no multiple of %lld", inp->name,
            (long long)tensor_numel(inp), (long long)parts);
    const real *x = inp->data;
    const int64_t n = tensor_numel(inp) / parts; /* of a part */
    const int64_t blocks = (n + BLOCK - 1) / BLOCK, num_blocks = parts * blocks;
    double partial[BATCH];
    for (int64_t first = 0; first < num_blocks; first += BATCH) {
        const int64_t count = num_blocks - first < BATCH ? num_blocks - first : BATCH;
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            const int64_t part = (first + i) / blocks, from = (first + i) % blocks * BLOCK;
            partial[i] = sum_of(x + part * n + from, n - from < BLOCK ? n - from : BLOCK);
        }
        for (int64_t i = 0; i < count; i++) sum[(first + i) / blocks] += partial[i];
    }
}

void CPU(sum)(tensor *result, const tensor *inp, stream *s)
{
    (void)s;
    REQUIRE_SHAPE(result, F64, 1);
    add_sums(__func__, result->data, 1, inp, block_sum);
}

void CPU(squared_norms)(tensor *out, const tensor *inp, stream *s)
{
    (void)s;
    const int64_t n = out->dim[0];
    REQUIRE_SHAPE(out, F64, n);
    REQUIRE_CONTIGUOUS(out);
    memset(out->data, 0, (size_t)n * sizeof(double));
    add_sums(__func__, out->data, n, inp, block_squares);
}
