/* Sums over ranks on a device against those of the host, bit for bit: any number of parts, in either order,
 * sent as either type, in vectors and one by one. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/noise.h"
#include "base/bf16.h"
#include "base/comm_sums.h"
#include "base/cuda/comm_sums.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 17, N = 1004 };
static device *d;

/* Several sizes, and among the numbers some whose rounding is a tie, or overflows, and one that is none. */
static float number(int p, int i)
{
    if (i == 5) return p == 1 ? NAN : 1;
    if (i == 6) return 3.4e38F;
    const float x = noise(p, i) * (float)(1 << (p * 7 + i) % 12);
    return i % 3 ? x : bf16_float(bf16_of(x)) * (1 + 1.0F / 256);
}

/* The sum on the device as rank `rank`, whose own part is written over, or not. */
static void check_sum(float *const *part, int parts, int64_t n, int rank, const reduction *how, bool in_place)
{
    const int64_t size = how->sent == BF16 ? 2 : 4;
    char *received = memory_new(parts * n, size, "a test");
    uint16_t *half = memory_new(parts * n, sizeof *half, "a test");
    const void *as_sent[PARTS];
    for (int p = 0, at = 0; p < parts; p++) {
        comm_sums_round(half + p * n, part[p], n);
        as_sent[p] = how->sent == BF16 ? (const void *)(half + p * n) : part[p];
        if (p != rank) memcpy(received + n * size * at++, as_sent[p], (size_t)(n * size));
    }
    float want[N], got[N];
    comm_sums_f32(want, as_sent, parts, n, how);
    void *const there = device_reserve(d, parts * n * size, "received");
    float *const own = device_reserve(d, n * 4, "own"), *const out = device_reserve(d, n * 4, "out");
    device_put(d, there, received, (parts - 1) * n * size);
    device_put(d, own, part[rank], n * 4);
    device_sums(in_place ? own : out, own, there, rank, parts, n, how, device_stream(d));
    device_get(d, got, in_place ? own : out, n * 4);
    for (int64_t i = 0; i < n; i++)
        if (isnan(want[i]) ? !isnan(got[i]) : memcmp(got + i, want + i, 4) != 0)
            fail_msg("element %lld of %lld, %d parts, as %s, %s: %.9g instead of %.9g", (long long)i,
                     (long long)n, parts, dtype_name(how->sent), how->pairwise ? "pairwise" : "in order",
                     (double)got[i], (double)want[i]);
    device_release(d, there);
    device_release(d, own);
    device_release(d, out);
    free(received);
    free(half);
}

static void test_sums(void **state)
{
    (void)state;
    static const int64_t lengths[] = {N, N - 1, 1};
    float *part[PARTS];
    for (int p = 0; p < PARTS; p++) {
        part[p] = memory_new(N, sizeof *part[p], "a test");
        for (int i = 0; i < N; i++) part[p][i] = number(p, i);
    }
    for (int parts = 1; parts <= PARTS; parts++)
        for (int ways = 0; ways < 4; ways++) {
            const reduction how = {.sent = ways & 1 ? BF16 : F32, .pairwise = ways & 2};
            check_sum(part, parts, lengths[(parts + ways) % 3], parts * ways % parts, &how, ways & 1);
            check_sum(part, parts, N, (parts - 1) * (ways & 1), &how, ways & 2);
        }
    for (int p = 0; p < PARTS; p++) free(part[p]);
}

static void test_round(void **state)
{
    (void)state;
    for (int64_t n = N - 1, from = 0; from < 2; from++) { /* not aligned the second time */
        float x[N];
        uint16_t want[N], got[N];
        for (int i = 0; i < N; i++) x[i] = number(1, i);
        float *const full = device_reserve(d, sizeof x, "full");
        uint16_t *const half = device_reserve(d, sizeof got, "half");
        device_put(d, full, x, sizeof x);
        device_sums_round(half + from, full + from, n, device_stream(d));
        comm_sums_round(want, x + from, n);
        device_get(d, got, half + from, n * 2);
        for (int64_t i = 0; i < n; i++) assert_int_equal(got[i], want[i]);
        device_release(d, full);
        device_release(d, half);
    }
}

int main(void)
{
    if (!device_here(NULL)) return 77;
    d = device_open_first();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_round)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(d);
    return failed;
}
