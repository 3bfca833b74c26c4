/* bench/first_batch SHARD [SHARD:WEIGHT ...]: measures the time to the first batch of 64 samples of 4096, at
 * position 0 and at later ones, windows and packed, with shards opened again each time, as in a run that
 * resumes. The files should be in the page cache, so that the work is measured and not the disk. */
#include "base/clock.h"
#include "base/comm.h"
#include "base/log.h"
#include "data/feed.h"
#include <stdio.h>

enum { T = 4096, BATCH = 64, TRIES = 9 };

static void check(status s, const message *why)
{
    if (s != OK) die(s, "%s", why->text);
}

/* Lowers *open and *read to the seconds that it takes to open, and to find and read the batch. */
static void try(char **items, int count, packing how, uint64_t position, double *open, double *read)
{
    static int32_t tokens[T], targets[T], first[T];
    token_batch one = {.sequences = 1, .T = T, .tokens = tokens, .targets = targets, .first = first};
    message why;
    feed f;
    const dataset_form form = {
        .T = T, .vocabulary = ANY_TOKEN, .document_mask = true, .packing = how, .eos = 0};
    const feed_order order = {.seed = 42};
    const double start = clock_seconds();
    check(feed_open(&f, "shards", (const char *const *)items, count, &form, &order, comm_self(), &why), &why);
    const double opened = clock_seconds();
    for (int i = 0; i < BATCH; i++) {
        const feed_sample at = feed_at(&f, position + (uint64_t)i);
        check(dataset_read(&f.source[at.source], at.sample, &one, 0, &why), &why);
    }
    const double done = clock_seconds();
    if (opened - start < *open) *open = opened - start;
    if (done - opened < *read) *read = done - opened;
    feed_close(&f);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"concat", "transmla", "best_fit"};
    static const uint64_t positions[] = {0, 1000000000, INT64_MAX};
    if (argc < 2) die(ERR_USAGE, "usage: first_batch SHARD [SHARD:WEIGHT ...]");
    log_start(0, true);
    for (packing how = PACKING_CONCAT; how <= PACKING_BEST_FIT; how++)
        for (int k = 0; k < 3; k++) {
            double open = 1e9, read = 1e9;
            for (int i = 0; i < TRIES; i++) try(argv + 1, argc - 1, how, positions[k], &open, &read);
            printf("%-8s position %19llu: opened in %.2f ms, first batch in %.2f ms (least of %d)\n",
                   names[how], (unsigned long long)positions[k], 1e3 * open, 1e3 * read, TRIES);
        }
    return OK;
}
