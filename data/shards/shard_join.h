/* Joins shards of any size into shards of nearly equal size. T tokens become n = ceil(T / shard_tokens)
 * shards: shard k ends with the document that holds token floor((k+1) T / n) - 1, counted from 0. So no
 * document is cut, none of the shards is much smaller than the others, and the result does not depend on how
 * the sources were cut. A shard in which no document would begin is left out. */
#ifndef REMLA_DATA_SHARDS_SHARD_JOIN_H
#define REMLA_DATA_SHARDS_SHARD_JOIN_H
#include "base/comm.h"
#include "data/shards/shard_writer.h"

typedef struct shard_join {
    const char *const *from; /* shards of one identity, in order */
    const int64_t *tokens;   /* in each */
    int64_t count;
    const char *folder; /* of tokens-00000.ds.zst, tokens-00001.ds.zst ... */
    const char *suffix; /* .ds.zst or .ds */
    const shard_identity *identity;
    int64_t shard_tokens;
    int threads; /* of this rank */
} shard_join;

/* *summary: the shards that were written, in order, the same on every rank; the caller frees it, also after a
 * failure.
 * ERR_USAGE when there would be more than 100,000 shards. A signal (base/stop.h) ends in STOPPED. MPI:
 * collective; the ranks share the work, and the folder. */
status shard_join_run(const shard_join *j, const comm *c, shard_summary **summary, int64_t *shards,
                      message *why);

#endif
