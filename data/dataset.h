/* Windows over shards. Window i of a shard with sequence length T holds inputs tokens[i*T .. i*T+T-1] and
 * targets tokens[i*T+1 .. i*T+T]; there are floor((tokens-1)/T). A dataset is the windows of its shards,
 * one shard after another. With the document mask a position attends only inside its document and a target
 * of another document than its input does not count; positions do not restart. */
#ifndef REMLA_DATA_DATASET_H
#define REMLA_DATA_DATASET_H
#include "data/shard.h"

typedef struct dataset {
    shard *shard;
    int64_t *first_window; /* of each shard, and the total at the end */
    int shards;
    int64_t T;
    int64_t windows;
    int64_t vocabulary;
    bool document_mask;
} dataset;

/* patterns: files or shell patterns. `key` is the option they came from, for messages. Shards too short
 * for one window, of a larger vocabulary, or other than the dataset.json beside them says, are an ERR_INPUT.
 */
status dataset_open(dataset *d, const char *key, const char *const *patterns, int count, int64_t T,
                    int64_t vocabulary, bool document_mask, message *why);
void dataset_close(dataset *d);
/* Window i: inputs, targets (-1: not counted) and first (the first position that each position sees), T
 * each. *counted gains the number of counted targets. */
status dataset_window(const dataset *d, int64_t i, int32_t *inputs, int32_t *targets, int32_t *first,
                      int64_t *counted, message *why);
/* XXH3 over sizes, token widths and document ends of the shards, in order, and, with `content`, over the
 * hashes of their ids where these are known. */
uint64_t dataset_fingerprint(const dataset *d, bool content);

#endif
