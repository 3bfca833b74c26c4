/* Private to kernels/: the two products of decoding. A row's result has the same bits whichever rows are
 * computed with it.
 *
 *     dots:  out[r][j] = sum over k of a[r][k] * b[j][k]       rows with rows, both contiguous along k
 *     mix:   out[r][d] += sum over j of w[r][j] * v[j][d]      sums of rows, weighted
 *
 * Several rows are computed at once, so that what is read is used more than once; each number is still the
 * same chain of operations. Of a dot product a vector's lanes keep LANES partial sums, which a fixed tree
 * adds up; an element of a mix is added up in the order of j. Every step is a fused multiply-add that is
 * written out: where the compiler may choose to fuse, it chooses differently in loops of different shape. */
#ifndef REMLA_KERNELS_CPU_PRODUCTS_H
#define REMLA_KERNELS_CPU_PRODUCTS_H
#include "kernels/cpu/cpu.h"
#include <string.h>
#ifdef __FMA__
#include <immintrin.h>
#endif

/* gcc warns that vectors wider than the processor's change how arguments are passed. All functions here are
 * inlined, so none is passed. */
#pragma GCC diagnostic ignored "-Wpsabi"

/* A vector's bytes, and how many rows go at once: ROWS * COLUMNS sums stay in registers. */
#if defined __AVX512F__
enum { VECTOR = 64 };
#elif defined __AVX__
enum { VECTOR = 32 };
#else
enum { VECTOR = 4 * sizeof(real) };
#endif
#if defined __AVX512F__ || defined __aarch64__ /* 32 registers, elsewhere 16 */
enum { ROWS = 6 };
#define EACH_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#else
enum { ROWS = 3 };
#define EACH_COUNT(CASE) CASE(1) CASE(2) CASE(3)
#endif
enum { LANES = VECTOR / sizeof(real), COLUMNS = 4 };
_Static_assert(LANES >= COLUMNS, "the tree ends with a lane for each column");

typedef real vec __attribute__((vector_size(VECTOR), aligned(sizeof(real)), may_alias));
#ifdef REAL_IS_DOUBLE
typedef int64_t lane_of __attribute__((vector_size(VECTOR)));
#else
typedef int32_t lane_of __attribute__((vector_size(VECTOR)));
#endif
typedef real four __attribute__((vector_size(COLUMNS * sizeof(real))));
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const real *from) { return *(const vec *)from; }

INLINE vec load_part(const real *from, int64_t count) /* the other lanes are 0 */
{
    vec x = {0};
    memcpy(&x, from, (size_t)count * sizeof *from);
    return x;
}

INLINE real fused(real a, real b, real c)
{
#ifdef REAL_IS_DOUBLE
    return __builtin_fma(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
#endif
}

/* a * b + c, rounded once. gcc has no portable vector form of it, hence the intrinsics. */
INLINE vec fused_vec(vec a, vec b, vec c)
{
#if defined __AVX512F__ && defined REAL_IS_DOUBLE
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined __AVX512F__
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined __AVX__ && defined __FMA__ && defined REAL_IS_DOUBLE
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined __AVX__ && defined __FMA__
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    vec x;
    UNROLL for (int i = 0; i < LANES; i++) x[i] = fused(a[i], b[i], c[i]);
    return x;
#endif
}

/* The sums of the lanes of a, b, c and d, of all four at once: first within groups of four lanes, then of the
 * groups. */
INLINE void sum_lanes(real out[COLUMNS], vec a, vec b, vec c, vec d)
{
    enum { GROUPS = LANES / 4 };
    lane_of low, high, left, right;
    UNROLL for (int i = 0; i < LANES; i++)
    {
        const int group = i / 4 * 4, at = i % 4;
        low[i] = group + at / 2 + at % 2 * LANES; /* a0 b0 a1 b1 */
        high[i] = low[i] + 2;                     /* a2 b2 a3 b3 */
        left[i] = group + at % 2 + at / 2 * LANES;
        right[i] = left[i] + 2;
    }
    const vec ab = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
    const vec cd = __builtin_shuffle(c, d, low) + __builtin_shuffle(c, d, high);
    const vec all = __builtin_shuffle(ab, cd, left) + __builtin_shuffle(ab, cd, right);
    four part[GROUPS];
    memcpy(part, &all, sizeof all);
    UNROLL for (int half = GROUPS / 2; half > 0; half /= 2) UNROLL for (int i = 0; i < half; i++) part[i] +=
        part[i + half];
    memcpy(out, part, sizeof *part);
}

/* Adds to the lanes of sum[r] the products of a[r] and b. `rows` is a constant where this is expanded. */
INLINE void dots_column(int rows, vec sum[ROWS], const real *const *a, const real *b, int64_t K)
{
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        const vec y = load(b + k);
        UNROLL for (int r = 0; r < rows; r++) sum[r] = fused_vec(load(a[r] + k), y, sum[r]);
    }
    if (k == K) return;
    const vec y = load_part(b + k, K - k);
    UNROLL for (int r = 0; r < rows; r++) sum[r] = fused_vec(load_part(a[r] + k, K - k), y, sum[r]);
}

/* The same of COLUMNS rows of b at once. */
INLINE void dots_columns(int rows, vec sum[COLUMNS][ROWS], const real *const *a, const real *const b[COLUMNS],
                         int64_t K)
{
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) UNROLL for (int r = 0; r < rows; r++)
        {
            const vec x = load(a[r] + k);
            UNROLL for (int j = 0; j < COLUMNS; j++) sum[j][r] = fused_vec(x, load(b[j] + k), sum[j][r]);
        }
    if (k == K) return;
    vec y[COLUMNS];
    UNROLL for (int j = 0; j < COLUMNS; j++) y[j] = load_part(b[j] + k, K - k);
    UNROLL for (int r = 0; r < rows; r++)
    {
        const vec x = load_part(a[r] + k, K - k);
        UNROLL for (int j = 0; j < COLUMNS; j++) sum[j][r] = fused_vec(x, y[j], sum[j][r]);
    }
}

/* Rows of b that are `fresh` come from memory, which is read fastest one row after the other; others come
 * from a cache and are read COLUMNS at a time. */
INLINE void dots_rows(int rows, bool fresh, real *out, int64_t out_stride, const real *const *a,
                      const real *b, int64_t b_stride, int64_t columns, int64_t K)
{
    for (int64_t first = 0; first < columns; first += COLUMNS) {
        const int64_t count = columns - first;
        const real *y[COLUMNS]; /* of the last few, the last again */
        UNROLL for (int j = 0; j < COLUMNS; j++) y[j] = b + (first + (j < count ? j : count - 1)) * b_stride;
        vec sum[COLUMNS][ROWS];
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int j = 0; j < COLUMNS; j++) sum[j][r] = (vec){0};
        if (fresh)
            UNROLL for (int j = 0; j < COLUMNS; j++) dots_column(rows, sum[j], a, y[j], K);
        else
            dots_columns(rows, sum, a, y, K);
        UNROLL for (int r = 0; r < rows; r++)
        {
            real total[COLUMNS], *to = out + r * out_stride + first;
            sum_lanes(total, sum[0][r], sum[1][r], sum[2][r], sum[3][r]);
            if (count >= COLUMNS)
                memcpy(to, total, sizeof total);
            else
                for (int64_t j = 0; j < count; j++) to[j] = total[j];
        }
    }
}

/* out (rows,columns) with row stride out_stride; a: `rows` pointers; b (columns,K) with row stride
 * b_stride. */
static inline void dots(int64_t rows, real *out, int64_t out_stride, const real *const *a, const real *b,
                        int64_t b_stride, int64_t columns, int64_t K)
{
    enum { NEAREST = 4096 }; /* numbers of which half the first cache is full */
    for (int64_t r = 0; r < rows; r += ROWS) {
        const int64_t count = rows - r < ROWS ? rows - r : ROWS;
        const bool fresh = r == 0 && rows <= 4 * ROWS && count * K < NEAREST; /* a stays while b passes */
#define CASE(n)                                                                                              \
    case n:                                                                                                  \
        dots_rows(n, fresh, out + r * out_stride, out_stride, a + r, b, b_stride, columns, K);               \
        break;
        switch (count) {
            EACH_COUNT(CASE)
        }
#undef CASE
    }
}

/* `vectors` vectors of columns from the first on. */
INLINE void mix_block(int rows, int vectors, real *const *out, int64_t first, const real *w, int64_t w_stride,
                      const real *v, int64_t v_stride, int64_t count)
{
    vec sum[ROWS][COLUMNS];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < vectors; i++) sum[r][i] =
        load(out[r] + first + i * LANES);
    for (int64_t j = 0; j < count; j++) {
        vec x[COLUMNS];
        UNROLL for (int i = 0; i < vectors; i++) x[i] = load(v + j * v_stride + first + i * LANES);
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec weight = w[r * w_stride + j] - (vec){0};
            UNROLL for (int i = 0; i < vectors; i++) sum[r][i] = fused_vec(weight, x[i], sum[r][i]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < vectors; i++) *
        (vec *)(out[r] + first + i * LANES) = sum[r][i];
}

INLINE void mix_rows(int rows, real *const *out, int64_t width, const real *w, int64_t w_stride,
                     const real *v, int64_t v_stride, int64_t count)
{
    int64_t d = 0;
    for (; d + COLUMNS * LANES <= width; d += COLUMNS * LANES)
        mix_block(rows, COLUMNS, out, d, w, w_stride, v, v_stride, count);
    for (; d + LANES <= width; d += LANES) mix_block(rows, 1, out, d, w, w_stride, v, v_stride, count);
    for (; d < width; d++)
        for (int r = 0; r < rows; r++) {
            real sum = out[r][d];
            for (int64_t j = 0; j < count; j++) sum = fused(w[r * w_stride + j], v[j * v_stride + d], sum);
            out[r][d] = sum;
        }
}

/* out: `rows` pointers to `width` numbers that are added to; w (rows,count); v (count,width). */
static inline void mix(int64_t rows, real *const *out, int64_t width, const real *w, int64_t w_stride,
                       const real *v, int64_t v_stride, int64_t count)
{
    for (int64_t r = 0; r < rows; r += ROWS) {
#define CASE(n)                                                                                              \
    case n:                                                                                                  \
        mix_rows(n, out + r, width, w + r * w_stride, w_stride, v, v_stride, count);                         \
        break;
        switch (rows - r < ROWS ? rows - r : ROWS) {
            EACH_COUNT(CASE)
        }
#undef CASE
    }
}

#endif
