/* Bytes arrive in the order in which they were handed over, through any number of chunks, whichever side is
 * slower; and a ring that holds all of them makes nobody wait. */
#include "train/copy_ring.h"
#include "base/helper.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { CHUNK = 128, ALL = 1000 };

typedef struct reader {
    copy_ring *ring;
    long pause; /* nanoseconds for each chunk */
    int64_t next;
} reader;

static status wrong(message *why, int64_t chunk)
{
    snprintf(why->text, sizeof why->text, "chunk %lld", (long long)chunk);
    return ERR_BUG;
}

/* Chunk i has 8 + i % 100 bytes, of which each is i % 251. */
static status take(void *context, message *why)
{
    reader *const r = context;
    for (; r->next < ALL; r->next++) {
        const copy_chunk *c = copy_ring_full(r->ring);
        if (r->pause) nanosleep(&(struct timespec){.tv_nsec = r->pause}, NULL);
        if (c->bytes != 8 + r->next % 100) return wrong(why, r->next);
        for (int64_t i = 0; i < c->bytes; i++)
            if (c->data[i] != (char)(r->next % 251)) return wrong(why, r->next);
        copy_ring_emptied(r->ring);
    }
    return OK;
}

static void give(copy_ring *ring, long pause)
{
    for (int64_t i = 0; i < ALL; i++) {
        copy_chunk *c = copy_ring_empty(ring);
        if (pause) nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
        assert_int_equal(c->bytes, 0);
        c->bytes = 8 + i % 100;
        memset(c->data, (int)(i % 251), (size_t)c->bytes);
        copy_ring_filled(ring);
    }
}

static void check(int64_t chunks, long filling, long emptying)
{
    message why;
    reader r = {.ring = copy_ring_new(NULL, CHUNK, chunks), .pause = emptying};
    helper *h = helper_start();
    assert_int_equal(copy_ring_chunk_bytes(r.ring), CHUNK);
    copy_ring_touch(r.ring);
    for (int i = 0; i < 2; i++) { /* the second begins anywhere in the ring */
        r.next = 0;
        helper_run(h, take, &r);
        give(r.ring, filling);
        if (helper_wait(h, &why) != OK) fail_msg("%lld chunks: %s", (long long)chunks, why.text);
    }
    helper_stop(h);
    copy_ring_free(r.ring);
}

static void test_order(void **state)
{
    (void)state;
    for (int64_t chunks = 1; chunks < 8; chunks++) {
        check(chunks, 0, 0);
        check(chunks, 1000, 0);
        check(chunks, 0, 1000);
    }
}

static void test_room_for_all(void **state)
{
    (void)state;
    message why;
    reader r = {.ring = copy_ring_new(NULL, CHUNK, ALL)};
    give(r.ring, 0); /* nobody takes anything yet */
    assert_int_equal(take(&r, &why), OK);
    copy_ring_free(r.ring);
    copy_ring_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_room_for_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
