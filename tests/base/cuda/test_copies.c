/* Copies beside the computing: pieces that go through slots of the device, are worked on there and come back,
 * in many orders of the streams; and pinned memory. What forks comes first: who has spoken to a GPU cannot.
 */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/arena.h"
#include "base/cuda/cuda.h"
#include <string.h>

static bool emulated;

/* ---- what stops the job -------------------------------------------------------------------------------- */

static void too_large(void *context)
{
    (void)context;
    arena a = {.name = "optimizer", .device = device_open_first(), .pinned = true};
    arena_reserve(&a, (int64_t)1 << 50);
}

static void never_made(void *context)
{
    (void)context;
    device_wait(device_open_first(), (device_ticket){1});
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(too_large, NULL, ERR_DEVICE, "no pinned host memory for the optimizer arena of GPU 0 (");
    check_stops(too_large, NULL, ERR_DEVICE, "): 1073741824.0 MiB asked, ");
    check_stops(never_made, NULL, ERR_BUG, "a wait for copy 1 of 0");
}

/* ---- through slots ------------------------------------------------------------------------------------- */

enum { SLOTS = 3, PIECES = 8, PASSES = 3, PIECE = 64 };

/* Walks PASSES times through PIECES of host memory; each pass sets one byte of each piece, in a slot of the
 * device, which waits for the piece if it shall. Returns whether all bytes arrived, and nothing else changed.
 */
static bool walk(bool wait)
{
    device *const d = device_open_first();
    arena host = {.name = "states", .device = d, .pinned = true}, slots = {.name = "slots", .device = d};
    arena_reserve(&host, PIECES * PIECE);
    arena_reserve(&slots, SLOTS * PIECE);
    for (int i = 0; i < PIECES * PIECE; i++) host.base[i] = (char)(100 + i / PIECE);
    for (int pass = 0; pass < PASSES; pass++) {
        device_ticket arrived[PIECES];
        for (int p = -2; p < PIECES; p++) {
            const int next = p + 2;
            char *const ahead = slots.base + next % SLOTS * PIECE;
            if (next < PIECES) arrived[next] = device_copy_in(d, ahead, host.base + next * PIECE, PIECE);
            if (p < 0) continue;
            char *const slot = slots.base + p % SLOTS * PIECE;
            if (wait) device_wait(d, arrived[p]);
            CUDA_OK(cudaMemsetAsync(slot + pass, p + 1, 1, d->compute.cuda));
            device_copy_out(d, host.base + p * PIECE, slot, PIECE);
        }
    }
    device_copies_finish(d);
    bool right = true;
    for (int i = 0; i < PIECES * PIECE; i++) {
        const int p = i / PIECE;
        right = right && host.base[i] == (i % PIECE < PASSES ? p + 1 : 100 + p);
    }
    arena_release(&host);
    arena_release(&slots);
    device_close(d);
    return right;
}

static bool walk_is_wrong(const void *wait) { return !walk(*(const bool *)wait); }

static void test_orders(void **state)
{
    (void)state;
    enum { ORDERS = 16 };
    if (!emulated) skip();
    assert_int_equal(device_orders_wrong(ORDERS, walk_is_wrong, &(bool){true}), 0);
    assert_in_range(device_orders_wrong(ORDERS, walk_is_wrong, &(bool){false}), 8, ORDERS);
}

static void test_walk(void **state)
{
    (void)state;
    assert_true(walk(true));
}

/* ---- tickets and memory -------------------------------------------------------------------------------- */

/* More copies than there are events, waited for in either order, and none at all. */
static void test_tickets(void **state)
{
    (void)state;
    enum { COPIES = 3 * COPY_EVENTS + 1 };
    device *const d = device_open_first();
    int *const host = device_reserve_pinned(d, COPIES * sizeof *host, "test");
    int *const there = device_reserve(d, COPIES * sizeof *there, "test");
    for (int last_first = 0; last_first < 2; last_first++) {
        device_ticket arrived[COPIES];
        for (int i = 0; i < COPIES; i++) host[i] = i + 1000 * last_first;
        for (int i = 0; i < COPIES; i++) arrived[i] = device_copy_in(d, there + i, host + i, sizeof *host);
        for (int k = 0; k < COPIES; k++) {
            const int i = last_first ? COPIES - 1 - k : k;
            int got;
            device_wait(d, arrived[i]);
            device_get(d, &got, there + i, sizeof got);
            assert_int_equal(got, i + 1000 * last_first);
        }
        device_copies_finish(d);
    }
    device_wait(d, (device_ticket){0});
    device_release(d, there);
    device_release_pinned(d, host);
    device_release_pinned(d, NULL);
    device_close(d);
}

static void test_arena(void **state)
{
    (void)state;
    device *const d = device_open_first();
    arena a = {.name = "states", .device = d, .pinned = true};
    for (int times = 0; times < 2; times++) {
        arena_reserve(&a, 1000);
#ifdef REMLA_POISON
        assert_int_equal(a.base[999], (char)0xff);
#endif
        memset(a.base, 1, 1000);
        arena_release(&a);
        assert_null(a.base);
        assert_true(a.pinned && a.device == d);
    }
    device_close(d);
}

int main(void)
{
    if (!device_here(&emulated)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_orders),
                                       cmocka_unit_test(test_walk), cmocka_unit_test(test_tickets),
                                       cmocka_unit_test(test_arena)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
