/* Reads all of a shard: every hash and checksum, every id, and what header, metadata, index and dataset.json
 * say against each other. */
#ifndef REMLA_DATA_SHARDS_SHARD_VERIFY_H
#define REMLA_DATA_SHARDS_SHARD_VERIFY_H
#include "data/shards/shard_listed.h"

typedef struct verified {
    int64_t tokens, documents;
    int64_t bytes;      /* of the data file */
    int64_t vocabulary; /* that ids were compared with; -1: none is known */
    int64_t eos;        /* the end-of-text id that header or dataset.json name; -1: none */
    /* Documents but the last that do not end with it, although it is in the shard: documents of an imported
     * file may be like that. */
    int64_t open_ended;
    bool listed; /* in a dataset.json, whose hashes are right */
} verified;

/* ERR_INPUT names the first damage: file, and frame, token or document. Where most documents end with the
 * end-of-text id, one that does not and has it inside, or whose neighbour has, ends at a wrong place. */
status shard_verify(verified *v, listed *l, const char *path, message *why);

/* The shards that arguments name: a shard; a pattern; a dataset.json, for those that it lists; a folder, for
 * those that lie in it and those that its dataset.json lists. What is not a shard by its name is an
 * ERR_INPUT, and so is a folder without shards. The caller frees with path_list_free. */
status shards_find(path_list *out, char *const *arguments, int count, message *why);

#endif
