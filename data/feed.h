/* The samples of a training run, in order: sources of shards, mixed by weight, each shuffled again in every
 * epoch of its own. Which sample a position has is a pure function of the options, found in O(1). */
#ifndef REMLA_DATA_FEED_H
#define REMLA_DATA_FEED_H
#include "base/comm.h"
#include "data/dataset.h"
#include "data/mixture.h"

typedef struct feed_order {
    uint64_t seed;
    int64_t window; /* samples of the locality window, 0: none (data/order.h) */
} feed_order;

typedef struct feed {
    dataset *source;
    int sources; /* in the order of the list */
    mixture blend;
    feed_order order;
} feed;

/* Stands for sample `sample` of a source, in that source's epoch `epoch` (from 0). */
typedef struct feed_sample {
    int source;
    uint64_t epoch;
    int64_t sample;
} feed_sample;

/* items: files or patterns, which make one source; or each with a weight, "a-*.ds:0.7", which make one source
 * each. An item that is the name of an existing file has no weight. `key` is the option they came from, for
 * messages. Missing pack indexes are built by the first rank, and by the first rank of a host that does not
 * see that rank's files. MPI: collective; every rank returns the same status. After a failure there is
 * nothing to close. */
status feed_open(feed *s, const char *key, const char *const *items, int count, const dataset_form *form,
                 const feed_order *order, const comm *c, message *why);
void feed_close(feed *s);

feed_sample feed_at(const feed *s, uint64_t position);
/* Fills b with the samples of positions `first`, first + 1, ...: sequence i with that of first + i. Reads
 * them in the order in which they lie, so that a frame with several of them is decoded once. */
status feed_read(const feed *s, uint64_t first, token_batch *b, message *why);
/* Returns the number of positions before the first that repeats a sample. */
uint64_t feed_pass(const feed *s);
/* Returns a hash of the sources (dataset_fingerprint) and, if there are several, their shares: stored in
 * checkpoints, compared at resume. */
uint64_t feed_fingerprint(const feed *s, bool content);

#endif
