/* Verifies a shard by reading all of it: every hash, checksum and id, and that header, metadata, index and
 * dataset.json agree. */
#ifndef REMLA_DATA_SHARDS_SHARD_VERIFY_H
#define REMLA_DATA_SHARDS_SHARD_VERIFY_H
#include "data/shards/shard_listed.h"

typedef struct verified {
    int64_t tokens, documents;
    int64_t bytes;      /* of the data file */
    int64_t vocabulary; /* all ids are below it; -1: unknown */
    int64_t eos;        /* the end-of-text id that header or dataset.json name; -1: none */
    /* Documents but the last that do not end with it, although it is in the shard: documents of an imported
     * file may be like that. */
    int64_t open_ended;
    bool listed; /* in a dataset.json, whose hashes are right */
} verified;

/* ERR_INPUT names the first damage: file, and frame, token or document. If most documents end with the
 * end-of-text id, a document that does not and has it inside, or whose neighbour has, counts as damaged. */
status shard_verify(verified *v, listed *l, const char *path, message *why);

/* Finds the shards that arguments name: a shard; a pattern; a dataset.json, for those that it lists; a
 * folder, for those that lie in it and those that its dataset.json lists. A file whose name is not a shard's
 * is an ERR_INPUT, and so is a folder without shards. The caller frees with path_list_free. */
status shard_verify_find(path_list *out, char *const *arguments, int count, message *why);

#endif
