/* States in pinned memory of the host, which updates stream through slots of the device: the very bits of
 * states that stay on the device, in many orders of the emulator's streams. What forks comes first: who has
 * spoken to a GPU cannot. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "tests/support/noise.h"
#include "base/comm.h"
#include "base/memory.h"
#include "optim/optimizer.h"
#include <stdlib.h>
#include <string.h>

static bool emulated;

/* Three units; parameters begin and end inside of pieces. */
enum { UNITS = 3, PIECE = 272, STEPS = 4, PARTS = OPTIM_MASTER + 1 };
static int64_t used[UNITS] = {700, 2000, 40};
static param params[] = {{.unit = 0, .offset = 0, .rank = 2, .dim = {70, 10}, .numel = 700},
                         {.unit = 1, .offset = 0, .rank = 1, .dim = {300, 1}, .numel = 300},
                         {.unit = 1, .offset = 300, .rank = 2, .dim = {17, 100}, .numel = 1700},
                         {.unit = 2, .offset = 0, .rank = 1, .dim = {40, 1}, .numel = 40}};
static int firsts[UNITS + 1] = {0, 1, 3, 4};
static const param_table the_table = {.param = params,
                                      .count = 4,
                                      .num_units = UNITS,
                                      .unit_numel = used,
                                      .unit_first = firsts,
                                      .head_unit = UNITS - 1};

typedef struct run {
    shards s;
    optimizer o;
    arena parameters, device, host;
} run;

static void fill(float *x, int64_t n, int seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = noise(seed, i) * 0x1p-31f;
}

static void step(run *r, int number, float *full)
{
    const units sums = shards_gradients(&r->s, 0);
    optimizer_begin(&r->o);
    tensor loss = optimizer_loss(&r->o, 0);
    const float one = 1;
    r->s.k->upload(&loss, &one, r->s.k->stream);
    for (int u = 0; u < UNITS; u++) {
        tensor whole = units_acquire(&sums, u);
        memset(full, 0, sizeof *full * (size_t)shards_padded(&r->s, u));
        fill(full, used[u], 10 * number + u);
        r->s.k->upload(&whole, full, r->s.k->stream);
        units_release(&sums, u);
    }
    optimizer_clip(&r->o, 0.5, 1);
    optimizer_update(&r->o, 0.01 * number, number);
}

/* Everything after some steps, of which the last follow after moments have been read and set: (PARTS, all
 * units) and then the weights. */
static float *after_steps(const ops *k, bool offload, int64_t *count)
{
    static const shards_settings set = {.stage = 1, .how = {.sent = F32}, .micro_batches = 1};
    run r = {.o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-3, .decay = 0.1},
             .parameters = {.name = "parameters", .device = k->device},
             .device = {.name = "optimizer", .device = k->device},
             .host = {.name = "states", .device = k->device, .pinned = true}};
    if (offload) r.o.offload = &r.host;
    shards_reserve(&r.s, k, comm_self(), &the_table, &set, &r.parameters);
    optimizer_reserve(&r.o, comm_self(), &r.s, &r.device);
    assert_int_equal(r.host.size > 0, offload);
    r.o.states.piece_most = PIECE; /* of slots that have room for more */
    int64_t all = 0, most = 0, at = 0;
    for (int u = 0; u < UNITS; u++) {
        all += shards_padded(&r.s, u);
        if (shards_padded(&r.s, u) > most) most = shards_padded(&r.s, u);
    }
    *count = (PARTS + 1) * all;
    float *const result = memory_new(*count, sizeof *result, "a test"), *const full = memory_new(
                                                                            most, sizeof *full, "a test");
    for (int u = 0; u < UNITS; u++) {
        memset(full, 0, sizeof *full * (size_t)most);
        fill(full, used[u], u);
        optimizer_set(&r.o, OPTIM_MASTER, u, full);
    }
    optimizer_masters_set(&r.o);
    for (int number = 1; number <= STEPS; number++) {
        step(&r, number, full);
        for (int u = 0; number == 2 && u < UNITS; u++) {
            optimizer_gather(&r.o, OPTIM_V, u, full);
            for (int64_t i = 0; i < used[u]; i++) full[i] *= 3;
            optimizer_set(&r.o, OPTIM_V, u, full);
        }
    }
    for (int part = 0; part < PARTS; part++)
        for (int u = 0; u < UNITS; at += shards_padded(&r.s, u++))
            optimizer_gather(&r.o, (optim_part)part, u, result + at);
    for (int u = 0; u < UNITS; at += shards_padded(&r.s, u++)) {
        const tensor part = shards_weight_part(&r.s, u);
        k->download(result + at, &part, k->stream);
    }
    optimizer_free(&r.o);
    shards_free(&r.s);
    arena_release(&r.host);
    arena_release(&r.device);
    arena_release(&r.parameters);
    free(full);
    return result;
}

static bool same_bits(dtype act)
{
    device *const d = device_open_first();
    ops *const k = ops_cuda(d, act, ATTENTION_UNFUSED);
    int64_t count[2];
    float *const there = after_steps(k, false, &count[0]), *const streamed = after_steps(k, true, &count[1]);
    const bool same = count[0] == count[1] && !memcmp(there, streamed, sizeof(float) * (size_t)count[0]) &&
                      there[0] != 0 && there[0] == there[0];
    free(there);
    free(streamed);
    ops_cuda_free(k);
    device_close(d);
    return same;
}

static bool other_bits(const void *act) { return !same_bits(*(const dtype *)act); }

static void test_orders(void **state)
{
    (void)state;
    if (!emulated) skip();
    assert_int_equal(device_orders_wrong(4, other_bits, &(dtype){F32}), 0);
    assert_int_equal(device_orders_wrong(4, other_bits, &(dtype){BF16}), 0);
}

static void test_same_bits(void **state)
{
    (void)state;
    assert_true(same_bits(F32));
    assert_true(same_bits(BF16));
}

int main(void)
{
    if (!device_here(&emulated)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_orders), cmocka_unit_test(test_same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
