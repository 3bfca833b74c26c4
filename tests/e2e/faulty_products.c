/* Preloaded by poisoned.sh: a core, or a chip of memory, that errs. Counts the matrix products of one rank
 * that have the shape of a layer's forward pass, inputs (rows, in) times weights (out, in) transposed. At one
 * of them, PRODUCT_AT, something happens, as PRODUCT_DO says:
 *
 *   result   one bit of the product is another one (all later ones are right)
 *   weight   one bit of the weights is another one, low in the mantissa, and stays so in this rank's memory
 *   loud     the same with a high bit of the exponent
 *   nan      a NaN is in the product, PRODUCT_TIMES products long
 *
 * PRODUCT_RANK  on this rank only; else on all      PRODUCT_COUNT  a file for the number of products at the
 * end */
#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int product(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                    int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
product dnnl_sgemm;

static atomic_long counted;

static void flip(float *x, int bit)
{
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    bits ^= 1u << bit;
    memcpy(x, &bits, sizeof bits);
}

static int is_here(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *only = getenv("PRODUCT_RANK");
    return !only || !rank || strcmp(rank, only) == 0;
}

int dnnl_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
               const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    static product *next;
    const char *what = getenv("PRODUCT_DO"), *at = getenv("PRODUCT_AT"), *times = getenv("PRODUCT_TIMES");
    const int forward = ta == 'N' && tb == 'T' && is_here();
    const long now = forward ? atomic_fetch_add(&counted, 1) + 1 : 0, from = at ? strtol(at, NULL, 10) : 0;
    const long to = from + (times ? strtol(times, NULL, 10) : 1) - 1;
    const int hit = forward && what && from && now >= from && now <= to;
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "dnnl_sgemm");
    if (hit && strcmp(what, "weight") == 0) flip((float *)(uintptr_t)b, 3);
    if (hit && strcmp(what, "loud") == 0) flip((float *)(uintptr_t)b, 28);
    const int result = next(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (hit && strcmp(what, "result") == 0) flip(c, 12);
    if (hit && strcmp(what, "nan") == 0) c[0] = NAN;
    return result;
}

__attribute__((destructor)) static void write_count(void)
{
    const char *path = getenv("PRODUCT_COUNT");
    FILE *file = path && is_here() && atomic_load(&counted) ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", atomic_load(&counted));
    fclose(file);
}
