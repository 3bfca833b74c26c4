/* What dataset.json says of a shard beside it. */
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

/* The entry of the shard in the dataset.json of its folder, NULL where there is none; borrowed until the next
 * call. ERR_INPUT when the manifest is damaged. */
status listed_find(listed *l, const char *shard_path, const shard_summary **entry, message *why);
/* Looks an open shard up: sizes must be what the manifest says, and the index there; identity and content are
 * filled in where the file itself does not tell them. */
status listed_check(listed *l, shard *s, message *why);

#endif
