/* Reads samples from shards. A dataset is the samples of its shards, one shard after another. Usually they
 * are windows: window i of a shard with sequence length T holds inputs tokens[i*T .. i*T+T-1] and targets
 * tokens[i*T+1 .. i*T+T]; there are floor((tokens-1)/T). With the document mask a position attends only
 * inside its document and a target of another document than its input does not count; positions do not
 * restart. Packed samples are pieces of documents as a pack index has them (data/pack.h); there the pieces
 * are what the mask separates, and no target lies in another piece than its input whether there is a mask or
 * not. */
#ifndef REMLA_DATA_DATASET_H
#define REMLA_DATA_DATASET_H
#include "base/token_batch.h"
#include "data/pack.h"

/* The settings that, beside the shards, decide the samples. */
typedef struct dataset_form {
    int64_t T, vocabulary;
    bool document_mask;
    packing packing;
    int64_t eos;             /* for PACKING_TRANSMLA */
    const char *pack_folder; /* of pack indexes; NULL or empty: beside the shards. Borrowed */
} dataset_form;

typedef struct dataset {
    shard *shard;
    pack *pack;            /* of each shard; NULL for windows */
    int64_t *first_sample; /* number of the first sample of each shard, and the total at the end */
    int shards;
    int64_t T;
    int64_t samples;
    int64_t vocabulary;
    int64_t eos;
    bool document_mask;
} dataset;

/* patterns: files or shell patterns. `key` is the option they came from, for messages. A shard that is too
 * short for one sample, has a larger vocabulary, or contradicts the dataset.json beside it, is an ERR_INPUT.
 * Missing pack indexes are built. */
status dataset_open(dataset *d, const char *key, const char *const *patterns, int count,
                    const dataset_form *form, message *why);
void dataset_close(dataset *d);
/* Reads sample `i` into sequence `row` of a batch of the same T. After a failure (ERR_INPUT) the sequence
 * holds anything. */
status dataset_read(const dataset *d, int64_t i, token_batch *b, int64_t row, message *why);
/* Returns XXH3 over sizes, token widths, document ends and pack indexes of the shards, in order, and, with
 * `content`, over the hashes of their ids where these are known. */
uint64_t dataset_fingerprint(const dataset *d, bool content);

#endif
