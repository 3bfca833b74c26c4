/* Private to kernels/: the two products of decoding, whose results for a row have the same bits in any
 * company.
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

INLINE vec fused_vec(vec a, vec b, vec c) /* a * b + c, rounded once */
{
    vec x;
    UNROLL for (int i = 0; i < LANES; i++) x[i] = fused(a[i], b[i], c[i]);
    return x;
}

/* The sums of the lanes of a, b, c and d. Lane i is added to lane i + LANES/2, and so on, for all four at
 * once. */
INLINE void sum_lanes(real out[COLUMNS], vec a, vec b, vec c, vec d)
{
    enum { HALF = LANES / 2, QUARTER = LANES / 4 };
    lane_of low, high, even, odd, near;
    UNROLL for (int i = 0; i < LANES; i++)
    {
        low[i] = i < HALF ? i : LANES + i - HALF;
        high[i] = low[i] + HALF;
        const int block = i / QUARTER; /* 0, 1: halves of the first operand; 2, 3: of the second */
        even[i] = (block < 2 ? 0 : LANES) + block % 2 * HALF + i % QUARTER;
        odd[i] = even[i] + QUARTER;
    }
    const vec ab = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
    const vec cd = __builtin_shuffle(c, d, low) + __builtin_shuffle(c, d, high);
    vec all = __builtin_shuffle(ab, cd, even) + __builtin_shuffle(ab, cd, odd);
    UNROLL for (int step = QUARTER / 2; step > 0; step /= 2)
    {
        UNROLL for (int i = 0; i < LANES; i++) near[i] = i ^ step;
        all += __builtin_shuffle(all, near);
    }
    UNROLL for (int i = 0; i < COLUMNS; i++) out[i] = all[i * QUARTER];
}

/* `rows` rows of a with `columns` (COLUMNS or 1) of b, both constants where this is expanded. */
INLINE void dots_block(int rows, int columns, real *out, int64_t out_stride, const real *const *a,
                       const real *b, int64_t b_stride, int64_t K)
{
    vec sum[ROWS][COLUMNS] = {0};
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) UNROLL for (int r = 0; r < rows; r++)
        {
            const vec x = load(a[r] + k);
            UNROLL for (int j = 0; j < columns; j++) sum[r][j] =
                fused_vec(x, load(b + j * b_stride + k), sum[r][j]);
        }
    if (k < K) {
        vec y[COLUMNS];
        UNROLL for (int j = 0; j < columns; j++) y[j] = load_part(b + j * b_stride + k, K - k);
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vec x = load_part(a[r] + k, K - k);
            UNROLL for (int j = 0; j < columns; j++) sum[r][j] = fused_vec(x, y[j], sum[r][j]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        real total[COLUMNS];
        sum_lanes(total, sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
        UNROLL for (int j = 0; j < columns; j++) out[r * out_stride + j] = total[j];
    }
}

INLINE void dots_rows(int rows, real *out, int64_t out_stride, const real *const *a, const real *b,
                      int64_t b_stride, int64_t columns, int64_t K)
{
    int64_t j = 0;
    for (; j + COLUMNS <= columns; j += COLUMNS)
        dots_block(rows, COLUMNS, out + j, out_stride, a, b + j * b_stride, b_stride, K);
    for (; j < columns; j++)
        for (int r = 0; r < rows; r++)
            dots_block(1, 1, out + r * out_stride + j, out_stride, a + r, b + j * b_stride, b_stride, K);
}

/* out (rows,columns) with row stride out_stride; a: `rows` pointers; b (columns,K) with row stride b_stride.
 */
static inline void dots(int64_t rows, real *out, int64_t out_stride, const real *const *a, const real *b,
                        int64_t b_stride, int64_t columns, int64_t K)
{
    for (int64_t r = 0; r < rows; r += ROWS) {
#define CASE(n)                                                                                              \
    case n:                                                                                                  \
        dots_rows(n, out + r * out_stride, out_stride, a + r, b, b_stride, columns, K);                      \
        break;
        switch (rows - r < ROWS ? rows - r : ROWS) {
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
