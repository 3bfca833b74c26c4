/* Compares a shard with its entry in the dataset.json beside it. */
#ifndef REMLA_DATA_SHARDS_SHARD_LISTED_H
#define REMLA_DATA_SHARDS_SHARD_LISTED_H
#include "data/shards/dataset_json.h"
#include "data/shards/shard.h"

/* The manifest that was read last: shards of one folder come one after another. Starts as {0}. */
typedef struct listed {
    char path[PATH_BYTES]; /* of dataset.json */
    bool there;
    dataset_manifest manifest;
} listed;
void listed_free(listed *l);

/* Finds the entry of the shard in the dataset.json of its folder, NULL if there is none; borrowed until the
 * next call. ERR_INPUT when the manifest is damaged. */
status listed_find(listed *l, const char *shard_path, const shard_summary **entry, message *why);
/* Checks an open shard against its entry: the sizes must agree and the index exist. Fills in identity and
 * content if the file itself does not tell them. A shard without an entry passes. */
status listed_check(listed *l, shard *s, message *why);

#endif
