/* The staging ring: data that pass through it arrive, however often it goes round and however late the copies
 * run; no slot is given out while it is in use. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/cuda/cuda.h"
#include <stdlib.h>
#include <string.h>

static void too_much(void *context)
{
    (void)context;
    staging_take(device_stream(device_open_first()), STAGING_BYTES + 1);
}

static void no_ring(void *context)
{
    (void)context;
    staging_take(&device_open_first()->communication, 1);
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(too_much, NULL, ERR_BUG, "4194305 bytes, expected at most 4194304");
    check_stops(no_ring, NULL, ERR_BUG, "a stream without a staging ring");
}

static uint64_t noise(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    return i ^ i >> 31;
}

enum { PIECES = 2 * STAGING_SLOTS + 2, BYTES = (PIECES - 1) * STAGING_BYTES + 4096, N = BYTES / 8 };

static size_t piece_bytes(int64_t from)
{
    return BYTES - from < STAGING_BYTES ? (size_t)(BYTES - from) : STAGING_BYTES;
}

/* Twice round the ring and a bit, up and down again with all slots under way. */
static void test_round(void **state)
{
    (void)state;
    device *d = device_open_first();
    stream *s = device_stream(d);
    char *memory = device_reserve(d, BYTES, "test");
    uint64_t *host = malloc(BYTES);
    assert_non_null(host);
    for (int i = 0; i < N; i++) host[i] = noise((uint64_t)i);
    device_put(d, memory, host, BYTES);
    memset(host, 0, BYTES);

    staging_slot *slot[STAGING_SLOTS];
    for (int p = 0; p < PIECES + STAGING_SLOTS; p++) {
        staging_slot **const place = &slot[p % STAGING_SLOTS];
        if (p >= STAGING_SLOTS) {
            const int64_t from = (int64_t)(p - STAGING_SLOTS) * STAGING_BYTES;
            staging_wait(s, *place);
            memcpy((char *)host + from, (*place)->host, piece_bytes(from));
        }
        if (p >= PIECES) continue;
        const int64_t from = (int64_t)p * STAGING_BYTES;
        *place = staging_take(s, (int64_t)piece_bytes(from));
        CUDA_OK(cudaMemcpyAsync((*place)->host, memory + from, piece_bytes(from), cudaMemcpyDeviceToHost,
                                s->cuda));
        staging_queued(s, *place);
    }
    for (int i = 0; i < N; i++)
        if (host[i] != noise((uint64_t)i)) fail_msg("element %d", i);
    free(host);
    device_release(d, memory);
    device_close(d);
}

static void test_slots(void **state)
{
    (void)state;
    device *d = device_open_first();
    stream *s = device_stream(d);
    staging_slot *slot[STAGING_SLOTS];
    for (int i = 0; i < STAGING_SLOTS; i++) {
        slot[i] = staging_take(s, STAGING_BYTES);
        memset(slot[i]->host, i, STAGING_BYTES); /* all of it is there */
        for (int j = 0; j < i; j++) assert_ptr_not_equal(slot[i]->host, slot[j]->host);
    }
    for (int i = 0; i < STAGING_SLOTS; i++) {
        assert_ptr_equal(staging_take(s, 0), slot[i]); /* the oldest; it waits for nothing */
        assert_int_equal(((char *)slot[i]->host)[STAGING_BYTES - 1], i);
    }
    device_close(d);
}

int main(void)
{
    if (!device_here(NULL)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_round),
                                       cmocka_unit_test(test_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
