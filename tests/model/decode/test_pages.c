/* Pages of sequences that grow, fork, go back and end at random, against a plain copy of each sequence: what
 * was written at a position is read there until the sequence goes back behind it. */
#include "model/decode/pages.h"
#include "base/memory.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, COUNT = 20, SEQUENCES = 7, LONGEST = 60 };

typedef struct world {
    pages p;
    int32_t content[COUNT * SIZE];               /* of the pages */
    int32_t expected[SEQUENCES][LONGEST + SIZE]; /* of the sequences */
    int32_t next;
} world;

static void check(const world *w)
{
    int64_t held[COUNT] = {0}, unused = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        if (!w->p.sequence[s].open) continue;
        const page_sequence *q = pages_sequence(&w->p, s);
        for (int64_t t = 0; t < q->length; t++)
            if (w->content[pages_row(&w->p, s, t)] != w->expected[s][t])
                fail_msg("sequence %d holds %d at position %d, expected %d", s,
                         w->content[pages_row(&w->p, s, t)], (int)t, w->expected[s][t]);
        for (int64_t i = 0; i * SIZE < q->length; i++) held[q->page[i]]++;
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(w->p.holders[i], held[i]);
        unused += held[i] == 0;
    }
    assert_int_equal(w->p.num_unused, unused);
}

static void append(world *w, int s, int64_t count)
{
    const int64_t length = pages_sequence(&w->p, s)->length, unused = w->p.num_unused,
                  wanted = pages_for(&w->p, s, count);
    if (wanted > unused) return;
    const page_copy copy = pages_append(&w->p, s, count);
    assert_int_equal(w->p.num_unused, unused - wanted);
    assert_int_equal(pages_sequence(&w->p, s)->length, length + count);
    memcpy(w->content + copy.to * SIZE, w->content + copy.from * SIZE,
           (size_t)copy.positions * sizeof *w->content);
    for (int64_t t = length; t < length + count; t++) {
        w->expected[s][t] = w->next++;
        w->content[pages_row(&w->p, s, t)] = w->expected[s][t];
    }
}

static void test_random(void **state)
{
    (void)state;
    world w = {.next = 1};
    uint64_t seed = 1;
    int forks = 0, full = 0;
    pages_init(&w.p, SIZE, COUNT, SEQUENCES, LONGEST);
    for (int step = 0; step < 20000; step++) {
        const int s = (int)draw_below(&seed, SEQUENCES);
        if (!w.p.sequence[s].open) {
            const int opened = pages_open(&w.p);
            assert_true(opened >= 0 && pages_sequence(&w.p, opened)->length == 0);
            continue;
        }
        const int64_t length = pages_sequence(&w.p, s)->length,
                      part = (int64_t)draw_below(&seed, (uint64_t)length + 1);
        switch (draw_below(&seed, 8)) {
        case 0: {
            const int64_t unused = w.p.num_unused;
            const int fork = pages_fork(&w.p, s, part);
            full += fork < 0;
            if (fork < 0) break;
            forks++;
            memcpy(w.expected[fork], w.expected[s], sizeof w.expected[s]);
            assert_int_equal(pages_sequence(&w.p, fork)->length, part);
            assert_int_equal(w.p.num_unused, unused);
            break;
        }
        case 1:
            pages_rewind(&w.p, s, part);
            break;
        case 2:
            if (step % 3 == 0) pages_close(&w.p, s);
            break;
        default:
            append(&w, s,
                   (int64_t)draw_below(&seed, (uint64_t)(LONGEST - length < 12 ? LONGEST - length : 12) + 1));
        }
        check(&w);
    }
    assert_true(forks > 100 && full > 100);
    for (int s = 0; s < SEQUENCES; s++)
        if (w.p.sequence[s].open) pages_close(&w.p, s);
    assert_int_equal(w.p.num_unused, COUNT);
    pages_free(&w.p);
}

/* What is shared is stored once. The sequence that appends first gets the copy; the other needs none. */
static void test_shared(void **state)
{
    (void)state;
    pages p;
    pages_init(&p, SIZE, COUNT, SEQUENCES, LONGEST);
    const int a = pages_open(&p);
    assert_int_equal(pages_for(&p, a, 20), 3);
    assert_int_equal(pages_append(&p, a, 20).positions, 0);
    const int b = pages_fork(&p, a, 18), c = pages_fork(&p, a, 16);
    assert_int_equal(p.num_unused, COUNT - 3);
    assert_int_equal(pages_for(&p, a, 0), 0);
    assert_int_equal(pages_for(&p, a, 1), 1);
    assert_int_equal(pages_for(&p, b, 7), 2);
    assert_int_equal(pages_for(&p, c, 1), 1); /* a page of its own, for it has shared full ones alone */
    assert_int_equal(pages_append(&p, c, 1).positions, 0);
    const page_copy copy = pages_append(&p, a, 1);
    assert_int_equal(copy.positions, 4);
    assert_int_equal(copy.from, p.sequence[b].page[2]);
    assert_int_equal(copy.to, p.sequence[a].page[2]);
    assert_int_equal(pages_for(&p, b, 1), 0);
    assert_int_equal(pages_append(&p, b, 1).positions, 0);
    pages_free(&p);
}

static void run_out(void *context) { pages_append(context, 0, LONGEST); }
static void too_long(void *context) { pages_append(context, 0, LONGEST + SIZE); }
static void closed(void *context) { pages_rewind(context, 1, 0); }

static void test_refused(void **state)
{
    (void)state;
    pages p;
    pages_init(&p, SIZE, 3, SEQUENCES, LONGEST);
    pages_open(&p);
    check_stops(run_out, &p, ERR_BUG, "all 3 pages are held");
    check_stops(too_long, &p, ERR_BUG, "68 positions behind 0 in a sequence of 8 pages");
    check_stops(closed, &p, ERR_BUG, "sequence 1 of 7 is not open");
    pages_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_random), CHECK_TEST(test_shared),
                                       CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
