/* The samples of a run: each source's come exactly once in each of its epochs, in turns by weight, and where
 * a position lies is the same however one came to it. */
#include "data/feed.h"
#include "data/order.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { T = 4, V = 1000 };

static const char *make_shard(const char *name, int64_t windows)
{
    static uint32_t ids[4096];
    for (int64_t i = 0; i <= windows * T; i++) ids[i] = (uint32_t)(i % V);
    return scratch_shard(name, 2, ids, windows * T + 1, NULL, 0);
}

static status open_items(feed *f, const char *const *items, int count, packing how, int64_t window,
                         message *why)
{
    const dataset_form form = {.T = T, .vocabulary = V, .packing = how, .eos = 0};
    const feed_order order = {.seed = 42, .window = window};
    return feed_open(f, "data.train", items, count, &form, &order, comm_self(), why);
}

static feed open_good(const char *const *items, int count, int64_t window)
{
    feed f;
    message why = {""};
    if (open_items(&f, items, count, PACKING_CONCAT, window, &why) != OK) fail_msg("%s", why.text);
    return f;
}

/* "PATH:WEIGHT", good until three calls later. */
static const char *weighted(const char *path, const char *weight)
{
    static char text[4][512];
    static int turn;
    char *out = text[turn++ % 4];
    snprintf(out, sizeof text[0], "%s:%s", path, weight);
    return out;
}

/* Without weights a list is one source, in the order that it always had. */
static void test_plain(void **state)
{
    (void)state;
    const char *const items[] = {make_shard("a.ds", 13), make_shard("b.ds", 9)};
    feed f = open_good(items, 2, 0);
    assert_int_equal(f.sources, 1);
    assert_true(feed_pass(&f) == 22);
    for (uint64_t p = 0; p < 100; p++) {
        const feed_sample at = feed_at(&f, p);
        assert_int_equal(at.source, 0);
        assert_int_equal(at.epoch, p / 22);
        assert_int_equal(at.sample, order_permute(42, p / 22, (int64_t)(p % 22), 22));
    }
    const uint64_t far = UINT64_C(22) * 100000000000000000u;
    for (uint64_t p = far; p < far + 22; p++)
        assert_int_equal(feed_at(&f, p).sample,
                         order_permute(42, 100000000000000000u, (int64_t)(p - far), 22));
    const uint64_t fingerprint = feed_fingerprint(&f, true);
    feed_close(&f);
    dataset d;
    message why;
    const dataset_form form = {.T = T, .vocabulary = V};
    assert_int_equal(dataset_open(&d, "data.train", items, 2, &form, &why), OK);
    assert_true(dataset_fingerprint(&d, true) == fingerprint);
    dataset_close(&d);
}

static void expect_exactly_once(const feed *f, uint64_t positions)
{
    int *seen[3] = {0};
    for (int i = 0; i < f->sources; i++) seen[i] = calloc((size_t)f->source[i].samples, sizeof(int));
    for (uint64_t p = 0; p < positions; p++) {
        const feed_sample at = feed_at(f, p);
        assert_in_range(at.sample, 0, f->source[at.source].samples - 1);
        /* Seen once in every epoch so far, and not in this one. */
        assert_int_equal(seen[at.source][at.sample]++, at.epoch);
    }
    uint64_t first = UINT64_MAX; /* position that repeats */
    for (uint64_t p = 0; p < positions && first == UINT64_MAX; p++)
        if (feed_at(f, p).epoch) first = p;
    assert_true(feed_pass(f) == first);
    for (int i = 0; i < f->sources; i++) free(seen[i]);
}

static void test_exactly_once(void **state)
{
    (void)state;
    const char *a = make_shard("a.ds", 13), *b = make_shard("b.ds", 9), *c = make_shard("c.ds", 200);
    static const char *const weights[][3] = {{"1", "1", "1"}, {"0.5", "0.25", "3"}, {"7", "2", "5"}};
    for (int k = 0; k < 3; k++)
        for (int64_t window = 0; window <= 40; window += 20) {
            const char *const items[] = {weighted(a, weights[k][0]), weighted(b, weights[k][1]),
                                         weighted(c, weights[k][2])};
            feed f = open_good(items, 3, window);
            assert_int_equal(f.sources, 3);
            expect_exactly_once(&f, 3000);
            feed_close(&f);
        }
}

/* Sources of one size are not shuffled alike. */
static void test_sources_differ(void **state)
{
    (void)state;
    const char *a = make_shard("a.ds", 100);
    const char *const items[] = {weighted(a, "1"), weighted(a, "1")};
    feed f = open_good(items, 2, 0);
    int equal = 0;
    for (uint64_t p = 0; p < 200; p += 2) equal += feed_at(&f, p).sample == feed_at(&f, p + 1).sample;
    assert_in_range(equal, 0, 8);
    feed_close(&f);
}

/* A batch has, in every sequence, the sample of that position, read by itself: whatever the order in which
 * they lie. A sample that cannot be read fails it. */
static void test_read(void **state)
{
    (void)state;
    enum { SEQUENCES = 16 };
    message why = {""};
    const char *const items[] = {weighted(make_shard("a.ds", 30), "1"), weighted(make_shard("b.ds", 9), "2")};
    feed f = open_good(items, 2, 0);
    token_batch all, one;
    token_batch_init(&all, SEQUENCES, T);
    token_batch_init(&one, 1, T);
    for (uint64_t first = 0; first < 100; first += 7) {
        assert_int_equal(feed_read(&f, first, &all, &why), OK);
        for (int64_t i = 0; i < SEQUENCES; i++) {
            const feed_sample at = feed_at(&f, first + (uint64_t)i);
            const token_batch got = token_batch_view(&all, i, 1);
            assert_int_equal(dataset_read(&f.source[at.source], at.sample, &one, 0, &why), OK);
            assert_memory_equal(got.tokens, one.tokens, sizeof(int32_t) * T);
            assert_memory_equal(got.targets, one.targets, sizeof(int32_t) * T);
            assert_memory_equal(got.first, one.first, sizeof(int32_t) * T);
        }
    }
    f.source[0].vocabulary =
        9; /* ids of its later samples are none any more; what lies behind them is good */
    assert_int_equal(feed_read(&f, 0, &all, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "a.ds"));
    token_batch_free(&all);
    token_batch_free(&one);
    feed_close(&f);
}

static uint64_t fingerprint_of(const char *const *items, int count, packing how)
{
    feed f;
    message why = {""};
    if (open_items(&f, items, count, how, 0, &why) != OK) fail_msg("%s", why.text);
    const uint64_t fingerprint = feed_fingerprint(&f, true);
    feed_close(&f);
    return fingerprint;
}

static void test_fingerprint(void **state)
{
    (void)state;
    const char *a = make_shard("a.ds", 13), *b = make_shard("b.ds", 9);
    const uint64_t want =
        fingerprint_of((const char *const[]){weighted(a, "1"), weighted(b, "2")}, 2, PACKING_CONCAT);
    const uint64_t same =
        fingerprint_of((const char *const[]){weighted(a, "0.50"), weighted(b, "1")}, 2, PACKING_CONCAT);
    const uint64_t others[] = {
        fingerprint_of((const char *const[]){weighted(a, "2"), weighted(b, "1")}, 2, PACKING_CONCAT),
        fingerprint_of((const char *const[]){weighted(b, "1"), weighted(a, "2")}, 2, PACKING_CONCAT),
        fingerprint_of((const char *const[]){weighted(a, "1"), weighted(b, "2")}, 2, PACKING_BEST_FIT),
        fingerprint_of((const char *const[]){a, b}, 2, PACKING_CONCAT)};
    assert_true(same == want);
    for (int i = 0; i < 4; i++) assert_true(others[i] != want);
    /* A weight alone says nothing. */
    assert_true(fingerprint_of((const char *const[]){weighted(a, "5")}, 1, PACKING_CONCAT) ==
                fingerprint_of((const char *const[]){a}, 1, PACKING_CONCAT));
}

static void test_names_and_weights(void **state)
{
    (void)state;
    const char *a = make_shard("a.ds", 13), *odd = make_shard("b.ds:3", 9);
    feed f;
    message why;
    const char *const mixed[] = {weighted(a, "1"), a};
    assert_int_equal(open_items(&f, mixed, 2, PACKING_CONCAT, 0, &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "a.ds has no weight, but others have"));
    const char *const missing[] = {weighted(scratch_path("none.ds"), "1"), weighted(a, "1")};
    assert_int_equal(open_items(&f, missing, 2, PACKING_CONCAT, 0, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "none.ds"));
    const char *const zero[] = {weighted(a, "1"), weighted(a, "0")};
    assert_int_equal(open_items(&f, zero, 2, PACKING_CONCAT, 0, &why), ERR_USAGE);
    /* What exists under its very name has no weight. */
    f = open_good((const char *const[]){odd, a}, 2, 0);
    assert_int_equal(f.sources, 1);
    assert_int_equal(f.source[0].samples, 22);
    feed_close(&f);
    f = open_good((const char *const[]){weighted(odd, "2"), weighted(a, "1")}, 2, 0);
    assert_int_equal(f.sources, 2);
    assert_int_equal(f.source[0].samples, 9);
    feed_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),          cmocka_unit_test(test_exactly_once),
        cmocka_unit_test(test_read),           cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_sources_differ), cmocka_unit_test(test_names_and_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
