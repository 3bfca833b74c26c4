/* The order of writing is the order of reading, whatever the number of threads and however long each item
 * takes; the error that is reported is the first in that order; memory on the way stays under its limit. */
#include "data/prepare/pipeline.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail /* cmocka's; ours is base/status.h's */

enum { SLOTS = 6 };

typedef struct job {
    int64_t items, read, written;       /* how many there are, have been read, have been written */
    int64_t read_fails, write_fails;    /* number of the item at which the step fails; -1: none */
    int64_t work_fails, work_fails_too; /* two of them */
    int64_t weight, on_the_way,
        most;      /* bytes of an item; of all between read and write; the most there were */
    int64_t waits; /* number of the item whose work waits until the next one is read */
    int reading, writing, working[16];
    int wrong; /* what was not as it should be: cmocka's checks work on the first thread only */
} job;

static void check(job *j, bool right)
{
    if (!right) __atomic_fetch_add(&j->wrong, 1, __ATOMIC_SEQ_CST);
}

/* Only one thread at a time may be between enter and leave. */
static void enter(job *j, int *inside) { check(j, __atomic_fetch_add(inside, 1, __ATOMIC_SEQ_CST) == 0); }
static void leave(int *inside) { __atomic_fetch_sub(inside, 1, __ATOMIC_SEQ_CST); }

typedef struct thing {
    int64_t number, result;
} thing;

static status read_next(void *context, void *item, int64_t *bytes, bool *ended, message *why)
{
    job *j = context;
    thing *t = item;
    enter(j, &j->reading);
    *ended = j->read == j->items;
    const bool failing = j->read == j->read_fails;
    *t = (thing){.number = j->read};
    *bytes = j->weight;
    if (!*ended) __atomic_fetch_add(&j->read, 1, __ATOMIC_SEQ_CST);
    const int64_t now = __atomic_add_fetch(&j->on_the_way, *ended ? 0 : j->weight, __ATOMIC_SEQ_CST);
    if (now > j->most) j->most = now;
    leave(&j->reading);
    return failing ? fail(why, ERR_INPUT, "reading %lld", (long long)t->number) : OK;
}

static status work(void *context, int thread, void *item, message *why)
{
    job *j = context;
    thing *t = item;
    enter(j, &j->working[thread]);
    usleep((unsigned)(t->number * 7919 % 300)); /* later items are often ready earlier */
    for (int i = 0; t->number == j->waits && __atomic_load_n(&j->read, __ATOMIC_SEQ_CST) < j->waits + 2;
         i++) {
        check(j, i < 10000);
        if (i == 10000) break;
        usleep(1000);
    }
    t->result = t->number * t->number;
    leave(&j->working[thread]);
    if (t->number == j->work_fails || t->number == j->work_fails_too)
        return fail(why, ERR_INPUT, "working on %lld", (long long)t->number);
    return OK;
}

static status write_next(void *context, void *item, message *why)
{
    job *j = context;
    const thing *t = item;
    enter(j, &j->writing);
    check(j, t->number == j->written && t->result == t->number * t->number);
    __atomic_fetch_sub(&j->on_the_way, j->weight, __ATOMIC_SEQ_CST);
    leave(&j->writing);
    if (t->number == j->write_fails) return fail(why, ERR_DEVICE, "writing %lld", (long long)t->number);
    j->written++;
    return OK;
}

static status run(job *j, int threads, int64_t bytes, message *why)
{
    thing things[SLOTS];
    void *item[SLOTS];
    for (int i = 0; i < SLOTS; i++) item[i] = &things[i];
    const pipeline p = {.read = read_next,
                        .work = work,
                        .write = write_next,
                        .context = j,
                        .item = item,
                        .items = SLOTS,
                        .threads = threads,
                        .bytes = bytes};
    const status s = pipeline_run(&p, why);
    assert_int_equal(j->wrong, 0);
    return s;
}

static job new_job(int64_t items)
{
    return (job){.items = items,
                 .read_fails = -1,
                 .write_fails = -1,
                 .work_fails = -1,
                 .work_fails_too = -1,
                 .waits = -1};
}

static void test_order(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 5, 200};
    for (int threads = 1; threads <= 8; threads++)
        for (int i = 0; i < 4; i++) {
            job j = new_job(counts[i]);
            message why;
            assert_int_equal(run(&j, threads, 1, &why), OK);
            assert_int_equal(j.written, counts[i]);
        }
}

static void expect_failed(job j, int threads, status want, const char *sentence, int64_t written)
{
    message why = {""};
    assert_int_equal(run(&j, threads, 1, &why), want);
    assert_string_equal(why.text, sentence);
    assert_int_equal(j.written, written);
}

/* What came before the failure is written, always. */
static void test_failures(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        job j = new_job(100);
        j.work_fails = 41;
        j.work_fails_too = 40;
        expect_failed(j, threads, ERR_INPUT, "working on 40", 40);
        j.read_fails = 30;
        expect_failed(j, threads, ERR_INPUT, "reading 30", 30);
        j.write_fails = 20;
        expect_failed(j, threads, ERR_DEVICE, "writing 20", 20);
        j.work_fails_too = 0;
        expect_failed(j, threads, ERR_INPUT, "working on 0", 0);
        j = new_job(100);
        j.read_fails = 0;
        expect_failed(j, threads, ERR_INPUT, "reading 0", 0);
        j = new_job(100);
        j.write_fails = 99;
        expect_failed(j, threads, ERR_DEVICE, "writing 99", 99);
    }
}

static void test_memory(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        job j = new_job(60);
        message why;
        j.weight = 10;
        j.waits = threads > 1 ? 40 : -1; /* what was written gives its space back */
        assert_int_equal(run(&j, threads, 25, &why), OK);
        assert_int_equal(j.written, 60);
        assert_true(j.most <= 25 + 10);
        j = new_job(60);
        j.weight = 100; /* larger than all that is allowed: one at a time */
        assert_int_equal(run(&j, threads, 25, &why), OK);
        assert_int_equal(j.most, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
