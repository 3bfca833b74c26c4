/* bench/rows: the speed of the ops of decoding on the CPU, as a table: linear layers of a few rows and of
 * many beside the same product by oneDNN, and attention over caches of every type beside the rate at which
 * the same threads read memory. Times are the best of several calls, each on other weights. They are
 * processor time over threads, so that a busy machine counts less: least with OMP_NUM_THREADS=1. */
#include "base/memory.h"
#include "kernels/cpu/blas.h"
#include "kernels/kernels.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 8, PAGE = 64 };
static const int64_t PLENTY = 1 << 26; /* floats: more than caches hold */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / omp_get_max_threads();
}

/* Whole vectors do not cross the lines of a cache: so it is in a model's memory. */
static void *aligned(int64_t bytes)
{
    return memory_check(aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64), "numbers");
}

static float *numbers(int64_t count)
{
    float *x = aligned(count * 4);
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) x[i] = (float)(i * 7919 % 1000) / 1000 - 0.5f;
    return x;
}

static tensor of(void *data, dtype type, int rank, const int64_t *dim)
{
    return tensor_of(data, type, "bench", rank, dim);
}

/* Bytes that all threads together read in a second. */
static double bandwidth(const float *plenty)
{
    double best = 1e9;
    float sum = 0;
    for (int i = 0; i < REPEATS; i++) {
        const double began = seconds();
#pragma omp parallel for simd reduction(+ : sum) schedule(static)
        for (int64_t e = 0; e < PLENTY; e++) sum += plenty[e];
        const double taken = seconds() - began;
        best = taken < best ? taken : best;
    }
    return sum == 1 ? 0 : (double)(PLENTY * 4) / best; /* so that the sum is wanted */
}

static void linear(const ops *k, float *plenty, int64_t N, int64_t K, int64_t O)
{
    float *x = numbers(N * K), *y = numbers(N * O);
    const tensor inp = of(x, F32, 2, (int64_t[]){N, K});
    tensor out = of(y, F32, 2, (int64_t[]){N, O});
    double best[2] = {1e9, 1e9};
    for (int i = 0; i < 2 * REPEATS; i++) {
        float *w = plenty + i % (PLENTY / (K * O)) * K * O;
        const tensor weight = of(w, F32, 2, (int64_t[]){O, K});
        const double began = seconds();
        if (i < REPEATS)
            k->linear_rows(&out, operand_of(&inp), operand_of(&weight), NULL, k->stream);
        else
            blas_gemm_f32(false, true, N, O, K, 1, x, K, w, K, 0, y, O);
        const double taken = seconds() - began;
        if (taken < best[i / REPEATS]) best[i / REPEATS] = taken;
    }
    const double flops = 2 * (double)(N * K * O), bytes = 4 * (double)(K * O + N * K + N * O);
    printf("| linear_rows %lld x %lld x %lld | %.1f | %.1f | %.1f | %.2f |\n", (long long)N, (long long)K,
           (long long)O, best[0] * 1e6, bytes / best[0] / 1e9, flops / best[0] / 1e9, best[1] / best[0]);
    free(x);
    free(y);
}

typedef struct attention {
    const char *name;
    int64_t sequences, rows, length, H, G, D, Dv; /* G 0: mla, D wide, of which Dv are the value */
} attention;

/* What it holds is small and positive in every type. */
static cached cache_of(dtype type, int64_t positions, int64_t width)
{
    const int64_t bytes = positions * width * dtype_bytes(type);
    cached c = {.rows =
                    of(memset(aligned(bytes), 0x21, (size_t)bytes), type, 2, (int64_t[]){positions, width})};
    if (type == F8) c.scale = of(numbers(positions), F32, 1, &positions);
    return c;
}

static void cache_free(cached *c)
{
    free(c->rows.data);
    if (c->rows.type == F8) free(c->scale.data);
}

static void decode(const ops *k, const attention *a, dtype type)
{
    const int64_t most = (a->length + PAGE - 1) / PAGE, positions = a->sequences * most * PAGE,
                  N = a->sequences * a->rows, wide = a->G ? a->G * a->D : a->D, ends = a->sequences + 1,
                  room = N * a->H * (a->Dv + 2) * (a->length / 256 + 1);
    cached keys = cache_of(type, positions, wide),
           values = cache_of(type, positions, a->G ? a->G * a->Dv : 1);
    int32_t *start = aligned(ends * 4), *length = aligned(ends * 4),
            *table = aligned(a->sequences * most * 4);
    for (int64_t i = 0; i < ends; i++) start[i] = (int32_t)(i * a->rows), length[i] = (int32_t)a->length;
    for (int64_t i = 0; i < a->sequences * most; i++) table[i] = (int32_t)i;
    const ragged r = {.N = N,
                      .sequences = a->sequences,
                      .page = PAGE,
                      .longest = a->length,
                      .start = of(start, I32, 1, &ends),
                      .length = of(length, I32, 1, &a->sequences),
                      .table = of(table, I32, 2, (int64_t[]){a->sequences, most})};
    const tensor q = of(numbers(N * a->H * a->D), F32, 3, (int64_t[]){N, a->H, a->D});
    tensor out = of(numbers(N * a->H * a->Dv), F32, 3, (int64_t[]){N, a->H, a->Dv}),
           scratch = of(numbers(room), F32, 1, &room);
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double began = seconds();
        if (a->G)
            k->gqa_decode(&out, &q, &keys, &values, &r, 0.1, &scratch, k->stream);
        else
            k->mla_decode(&out, &q, &keys, &r, 0.1, &scratch, k->stream);
        const double taken = seconds() - began;
        best = taken < best ? taken : best;
    }
    const double rows = (double)(a->sequences * a->length),
                 bytes = rows * (double)((wide + a->G * a->Dv) * dtype_bytes(type)),
                 scores = (double)N * ((double)a->length - (double)(a->rows - 1) / 2) * (double)a->H;
    printf("| %s %s | %.1f | %.1f | %.1f | |\n", a->name, dtype_name(type), best * 1e6, bytes / best / 1e9,
           2 * scores * (double)(a->D + a->Dv) / best / 1e9);
    cache_free(&keys);
    cache_free(&values);
    free(start);
    free(length);
    free(table);
    free(q.data);
    free(out.data);
    free(scratch.data);
}

int main(void)
{
    static const int64_t rows[] = {1, 4, 16, 256, 1024},
                         shapes[][2] = {{576, 1536}, {1536, 576}, {4096, 4096}};
    static const attention attentions[] = {{"gqa, 8 of 8192", 8, 1, 8192, 9, 3, 64, 64},
                                           {"gqa, 64 of 512", 64, 1, 512, 9, 3, 64, 64},
                                           {"gqa, prompt of 512", 1, 512, 512, 9, 3, 64, 64},
                                           {"mla, 8 of 8192", 8, 1, 8192, 32, 0, 576, 512},
                                           {"mla, 64 of 512", 64, 1, 512, 9, 0, 160, 128},
                                           {"mla, prompt of 512", 1, 512, 512, 9, 0, 160, 128}};
    const ops *k = ops_cpu_f32();
    float *plenty = numbers(PLENTY);
    printf("%d threads read %.1f GB/s\n\n", omp_get_max_threads(), bandwidth(plenty) / 1e9);
    printf("| op | µs | GB/s | GFLOP/s | oneDNN's time over this |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
            linear(k, plenty, rows[n], shapes[i][0], shapes[i][1]);
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
        for (int t = 0; t < 3; t++) decode(k, &attentions[i], (dtype[]){F32, BF16, F8}[t]);
    free(plenty);
    return 0;
}
