/* The loader gives for every position what reading it at once gives, in any order of positions, and errors
 * when their batch is requested, not before. It also runs under the thread sanitizer (data/loader_threads).
 */
#include "base/clock.h"
#include "base/log.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/shards/shard_writer.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SEQUENCES = 3, T = 16, TOKENS = 70000, VOCABULARY = 500 };

/* ---- with shards --------------------------------------------------------------------------------------- */

static status read_windows(const void *context, token_batch *b, int64_t position, message *why)
{
    const dataset *d = context;
    for (int64_t i = 0; i < b->sequences; i++)
        TRY(dataset_read(d, (position + i) * 7919 % d->samples, b, i, why));
    return OK;
}

static void write_shard(const char *path)
{
    message why = {""};
    shard_writer *w;
    shard_summary summary;
    const shard_identity id = {.token_bytes = 4, .vocabulary = VOCABULARY, .eos = -1, .bos = -1, .pad = -1};
    assert_int_equal(shard_writer_create(&w, path, &id, &why), OK);
    for (uint32_t i = 0; i < TOKENS; i++) {
        const uint32_t token = i * 2654435761u % VOCABULARY;
        assert_int_equal(shard_writer_append(w, &token, 1, &why), OK);
        if (i % 97 == 0) assert_int_equal(shard_writer_end_document(w, &why), OK);
    }
    assert_int_equal(shard_writer_finish(w, &summary, &why), OK);
}

static void open_dataset(dataset *d, const char *path)
{
    message why = {""};
    const dataset_form form = {.T = T, .vocabulary = VOCABULARY, .document_mask = true};
    if (dataset_open(d, "data.train", &path, 1, &form, &why) != OK) fail_msg("%s", why.text);
}

static void expect_batch(const token_batch *got, const dataset *d, int64_t position)
{
    token_batch want;
    message why;
    token_batch_init(&want, SEQUENCES, T);
    assert_int_equal(read_windows(d, &want, position, &why), OK);
    const size_t bytes = sizeof(int32_t) * SEQUENCES * T;
    assert_memory_equal(got->tokens, want.tokens, bytes);
    assert_memory_equal(got->targets, want.targets, bytes);
    assert_memory_equal(got->first, want.first, bytes);
    token_batch_free(&want);
}

static void test_batches(void **state)
{
    (void)state;
    const char *path = scratch_path("loader.ds.zst");
    dataset d;
    message why = {""};
    write_shard(path);
    open_dataset(&d, path);
    loader *l = loader_start(read_windows, &d, SEQUENCES, T, -1);
    double waited = 0;
    const token_batch *b;
    int64_t position = 1000;
    for (int step = 0; step < 60; step++) {
        const int64_t next = step % 5 == 4 ? -1 : position + SEQUENCES;
        assert_int_equal(loader_next(l, position, next, &b, &waited, &why), OK);
        expect_batch(b, &d, position); /* while the next one is being read */
        position = step % 7 == 6 ? position / 2 : position + SEQUENCES;
    }
    assert_true(waited > 0);
    loader_stop(l);
    dataset_close(&d);
}

/* ---- with a source that counts and fails --------------------------------------------------------------- */

typedef struct source {
    atomic_llong reads, last;
    int64_t bad;
    bool slow;
    bool hangs;
} source;

static status read_source(const void *context, token_batch *b, int64_t position, message *why)
{
    source *s = (source *)(uintptr_t)context;
    if (s->slow) usleep(20000);
    if (s->hangs) sleep(2);
    atomic_store(&s->last, position);
    atomic_fetch_add(&s->reads, 1);
    if (position == s->bad) return (fail)(why, ERR_INPUT, "position %lld is bad", (long long)position);
    b->tokens[0] = (int32_t)position;
    return OK;
}

static void wait_until(source *s, long long reads)
{
    for (int i = 0; i < 10000 && atomic_load(&s->reads) < reads; i++) usleep(1000);
    assert_int_equal(atomic_load(&s->reads), reads);
}

static void test_reads_once_and_ahead(void **state)
{
    (void)state;
    source s = {.bad = -1};
    message why = {""};
    loader *l = loader_start(read_source, &s, SEQUENCES, T, 0);
    const token_batch *b;
    double waited = 0;
    wait_until(&s, 1); /* the first one before it is requested */
    for (int64_t step = 0; step < 20; step++) {
        const int64_t next = step < 19 ? 3 * (step + 1) : -1;
        assert_int_equal(loader_next(l, 3 * step, next, &b, &waited, &why), OK);
        assert_int_equal(b->tokens[0], 3 * step);
        wait_until(&s, step < 19 ? step + 2 : 20);
        assert_int_equal(atomic_load(&s.last), step < 19 ? next : 57);
        assert_int_equal(b->tokens[0], 3 * step); /* it is another batch that is filled */
    }
    loader_stop(l);
    assert_int_equal(atomic_load(&s.reads), 20);
    loader_stop(NULL);
}

static void test_errors_wait_for_their_step(void **state)
{
    (void)state;
    source s = {.bad = 6};
    message why = {""};
    loader *l = loader_start(read_source, &s, SEQUENCES, T, -1);
    const token_batch *b;
    double waited = 0;
    assert_int_equal(loader_next(l, 0, 3, &b, &waited, &why), OK);
    assert_int_equal(loader_next(l, 3, 6, &b, &waited, &why), OK);
    wait_until(&s, 3); /* it has met the error */
    assert_int_equal(b->tokens[0], 3);
    assert_string_equal(why.text, "");
    assert_int_equal(loader_next(l, 6, 9, &b, &waited, &why), ERR_INPUT);
    assert_string_equal(why.text, "position 6 is bad");
    assert_int_equal(loader_next(l, 9, -1, &b, &waited, &why), OK); /* reading can continue elsewhere */
    assert_int_equal(b->tokens[0], 9);
    loader_stop(l);
}

/* Waiting is counted, reading ahead is not. */
static void test_waiting(void **state)
{
    (void)state;
    source s = {.bad = -1, .slow = true};
    message why = {""};
    loader *l = loader_start(read_source, &s, SEQUENCES, T, -1);
    const token_batch *b;
    double first = 0, second = 0;
    assert_int_equal(loader_next(l, 0, 3, &b, &first, &why), OK);
    assert_true(first >= 0.02);
    wait_until(&s, 2);
    const double start = clock_seconds();
    assert_int_equal(loader_next(l, 3, 6, &b, &second, &why), OK);
    assert_true(second <= clock_seconds() - start);
    loader_stop(l); /* in the middle of a read */
}

/* What the log says of a read that takes two seconds. */
static const char *said_of_a_hang(double limit)
{
    static char text[1000];
    source s = {.bad = -1, .hangs = true};
    message why = {""};
    const token_batch *b;
    double waited = 0;
    const char *path = scratch_path("log");
    log_file(path);
    loader *l = loader_start(read_source, &s, SEQUENCES, T, -1);
    loader_limit(l, limit, true);
    assert_int_equal(loader_next(l, 0, -1, &b, &waited, &why), OK);
    assert_int_equal(b->tokens[0], 0);
    loader_stop(l);
    log_file(NULL);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    assert_int_equal(remove(path), 0);
    return text;
}

/* Nobody waits for a process alone: it warns once and waits. */
static void test_a_disk_that_hangs(void **state)
{
    (void)state;
    assert_string_equal(
        said_of_a_hang(1),
        "warning: samples have not been read within 1 s: the disk of the training data hangs\n");
    assert_string_equal(said_of_a_hang(0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_reads_once_and_ahead),
        cmocka_unit_test(test_errors_wait_for_their_step),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_a_disk_that_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
